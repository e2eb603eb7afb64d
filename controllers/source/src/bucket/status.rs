//! What is particular in the status of a Bucket. Pure.

use nave_crds::{
    conditions::{
        ARTIFACT_IN_STORAGE, ARTIFACT_OUTDATED, FETCH_FAILED, RECONCILING, STALLED, STORAGE_OPERATION_FAILED,
    },
    source::BucketStatus,
};

use crate::{
    source::{ConditionRules, Rules},
    summary::Summary,
};

impl Rules for BucketStatus {
    const RULES: ConditionRules = ConditionRules {
        summary: Summary {
            order: &[
                STORAGE_OPERATION_FAILED,
                FETCH_FAILED,
                ARTIFACT_OUTDATED,
                ARTIFACT_IN_STORAGE,
                STALLED,
                RECONCILING,
            ],
            negative: &[
                STORAGE_OPERATION_FAILED,
                FETCH_FAILED,
                ARTIFACT_OUTDATED,
                STALLED,
                RECONCILING,
            ],
        },
        failures: &[STORAGE_OPERATION_FAILED, FETCH_FAILED],
        passed: |failed| match failed {
            FETCH_FAILED => &[STORAGE_OPERATION_FAILED],
            _ => &[FETCH_FAILED],
        },
        stored: |artifact| format!("stored artifact: revision '{}'", artifact.revision),
    };
}
