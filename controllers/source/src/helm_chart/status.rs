//! What is particular in the status of a HelmChart. Pure.

use nave_crds::{
    conditions::{
        ARTIFACT_IN_STORAGE, ARTIFACT_OUTDATED, BUILD_FAILED, FETCH_FAILED, RECONCILING, SOURCE_VERIFIED, STALLED,
        STORAGE_OPERATION_FAILED,
    },
    source::HelmChartStatus,
};

use crate::{
    source::{ConditionRules, Rules},
    summary::Summary,
};

impl Rules for HelmChartStatus {
    const RULES: ConditionRules = ConditionRules {
        summary: Summary {
            order: &[
                STORAGE_OPERATION_FAILED,
                FETCH_FAILED,
                BUILD_FAILED,
                ARTIFACT_OUTDATED,
                ARTIFACT_IN_STORAGE,
                SOURCE_VERIFIED,
                STALLED,
                RECONCILING,
            ],
            negative: &[
                STORAGE_OPERATION_FAILED,
                FETCH_FAILED,
                BUILD_FAILED,
                ARTIFACT_OUTDATED,
                STALLED,
                RECONCILING,
            ],
        },
        failures: &[STORAGE_OPERATION_FAILED, FETCH_FAILED, BUILD_FAILED],
        passed: |failed| match failed {
            FETCH_FAILED => &[STORAGE_OPERATION_FAILED, BUILD_FAILED],
            BUILD_FAILED => &[STORAGE_OPERATION_FAILED, FETCH_FAILED],
            _ => &[FETCH_FAILED, BUILD_FAILED],
        },
        stored: |artifact| format!("stored chart with version '{}'", artifact.revision),
    };
}
