//! What is particular in the status of a GitRepository: its conditions, and what its artifact was made of. Pure.

use nave_crds::{
    Artifact,
    conditions::{
        ARTIFACT_IN_STORAGE, ARTIFACT_OUTDATED, FETCH_FAILED, INCLUDE_UNAVAILABLE, RECONCILING, SOURCE_VERIFIED,
        STALLED, STORAGE_OPERATION_FAILED,
    },
    source::{GitRepositorySpec, GitRepositoryStatus},
};

use crate::{
    source::{ConditionRules, Rules},
    summary::Summary,
};

impl Rules for GitRepositoryStatus {
    const RULES: ConditionRules = ConditionRules {
        summary: Summary {
            order: &[
                STORAGE_OPERATION_FAILED,
                FETCH_FAILED,
                INCLUDE_UNAVAILABLE,
                ARTIFACT_OUTDATED,
                ARTIFACT_IN_STORAGE,
                SOURCE_VERIFIED,
                STALLED,
                RECONCILING,
            ],
            negative: &[
                STORAGE_OPERATION_FAILED,
                FETCH_FAILED,
                INCLUDE_UNAVAILABLE,
                ARTIFACT_OUTDATED,
                STALLED,
                RECONCILING,
            ],
        },
        failures: &[STORAGE_OPERATION_FAILED, FETCH_FAILED, INCLUDE_UNAVAILABLE],
        passed: |failed| match failed {
            INCLUDE_UNAVAILABLE => &[STORAGE_OPERATION_FAILED],
            FETCH_FAILED => &[STORAGE_OPERATION_FAILED, INCLUDE_UNAVAILABLE],
            _ => &[FETCH_FAILED, INCLUDE_UNAVAILABLE],
        },
        stored: |artifact| format!("stored artifact for revision '{}'", artifact.revision),
    };
}

/// Whether what the spec says about content, beside the revision, is what the artifact was made with.
pub(crate) fn is_made_of(status: &GitRepositoryStatus, spec: &GitRepositorySpec, included: &[Artifact]) -> bool {
    let same = |a: &Artifact, b: &Artifact| a.revision == b.revision && a.digest == b.digest;
    status.observed_ignore == spec.ignore
        && status.observed_recurse_submodules == spec.recurse_submodules
        && status.observed_sparse_checkout == spec.sparse_checkout
        && status.observed_include == spec.include
        && status.included_artifacts.len() == included.len()
        && status.included_artifacts.iter().zip(included).all(|(a, b)| same(a, b))
}

/// Notes what an artifact was made of.
pub(crate) fn made_of(status: &mut GitRepositoryStatus, spec: &GitRepositorySpec, included: Vec<Artifact>) {
    status.included_artifacts = included;
    status.observed_ignore = spec.ignore.clone();
    status.observed_recurse_submodules = spec.recurse_submodules;
    status.observed_sparse_checkout = spec.sparse_checkout.clone();
    status.observed_include = spec.include.clone();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_settings_are_compared() {
        let status = GitRepositoryStatus::default();
        let artifact = Artifact {
            path: "p".into(),
            url: "u".into(),
            revision: "r".into(),
            digest: "sha256:r".into(),
            last_update_time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH),
            size: Some(1),
            metadata: Default::default(),
        };
        let mut spec = GitRepositorySpec::default();
        assert!(is_made_of(&status, &spec, &[]));
        assert!(!is_made_of(&status, &spec, std::slice::from_ref(&artifact)));
        spec.ignore = Some(String::new());
        assert!(!is_made_of(&status, &spec, &[]));
        spec.ignore = None;
        spec.sparse_checkout = vec!["a".into()];
        assert!(!is_made_of(&status, &spec, &[]));
        let mut made = GitRepositoryStatus::default();
        made_of(&mut made, &spec, vec![artifact.clone()]);
        assert!(is_made_of(&made, &spec, &[artifact]));
    }
}
