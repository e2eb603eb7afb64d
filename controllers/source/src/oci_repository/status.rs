//! What is particular in the status of an OCIRepository. Pure.

use nave_crds::{
    conditions::{
        ARTIFACT_IN_STORAGE, ARTIFACT_OUTDATED, FETCH_FAILED, RECONCILING, SOURCE_VERIFIED, STALLED,
        STORAGE_OPERATION_FAILED,
    },
    source::{OciLayerSelector, OciRepositorySpec, OciRepositoryStatus},
};

use crate::{
    source::{ConditionRules, Rules},
    summary::Summary,
};

impl Rules for OciRepositoryStatus {
    const RULES: ConditionRules = ConditionRules {
        summary: Summary {
            order: &[
                STORAGE_OPERATION_FAILED,
                FETCH_FAILED,
                ARTIFACT_OUTDATED,
                ARTIFACT_IN_STORAGE,
                SOURCE_VERIFIED,
                STALLED,
                RECONCILING,
            ],
            ..ConditionRules::OF_FETCHED.summary
        },
        stored: |artifact| format!("stored artifact for digest '{}'", artifact.revision),
        ..ConditionRules::OF_FETCHED
    };
}

/// Whether what the spec says about content, beside the revision, is what the artifact was made with.
pub(crate) fn is_made_of(status: &OciRepositoryStatus, spec: &OciRepositorySpec) -> bool {
    status.observed_ignore == spec.ignore
        && selected(status.observed_layer_selector.as_ref()) == selected(spec.layer_selector.as_ref())
}

/// Notes what an artifact was made of.
pub(crate) fn made_of(status: &mut OciRepositoryStatus, spec: &OciRepositorySpec) {
    status.observed_ignore = spec.ignore.clone();
    status.observed_layer_selector = spec.layer_selector.clone();
}

/// No selector is the one that selects nothing in particular.
fn selected(selector: Option<&OciLayerSelector>) -> OciLayerSelector {
    let mut selector = selector.cloned().unwrap_or_default();
    selector.operation = Some(selector.operation.unwrap_or_default());
    selector
}

#[cfg(test)]
mod tests {
    use nave_crds::source::OciLayerOperation;

    use super::*;

    #[test]
    fn content_settings_are_compared() {
        let mut spec = OciRepositorySpec::default();
        let mut status = OciRepositoryStatus::default();
        assert!(is_made_of(&status, &spec));
        spec.layer_selector = Some(OciLayerSelector {
            media_type: String::new(),
            operation: Some(OciLayerOperation::Extract),
        });
        assert!(is_made_of(&status, &spec), "said or not, it is the default");
        spec.layer_selector = Some(OciLayerSelector {
            media_type: "x".into(),
            operation: None,
        });
        assert!(!is_made_of(&status, &spec));
        made_of(&mut status, &spec);
        assert!(is_made_of(&status, &spec));
        spec.ignore = Some(String::new());
        assert!(!is_made_of(&status, &spec));
    }
}
