//! What is particular in the status of a HelmRepository. Pure.

use nave_crds::source::HelmRepositoryStatus;

use crate::source::{ConditionRules, Rules};

impl Rules for HelmRepositoryStatus {
    const RULES: ConditionRules = ConditionRules::OF_FETCHED;
}
