//! What is particular in the status of a Bucket. Pure.

use nave_crds::source::BucketStatus;

use crate::source::{ConditionRules, Rules};

impl Rules for BucketStatus {
    const RULES: ConditionRules = ConditionRules::OF_FETCHED;
}
