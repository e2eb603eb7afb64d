//! What a reconcile says in the status. Pure: the time is an argument.

use jiff::Timestamp;
use nave_crds::{
    Artifact,
    conditions::{
        ARTIFACT_IN_STORAGE, ARTIFACT_OUTDATED, FETCH_FAILED, INCLUDE_UNAVAILABLE, READY, RECONCILING, SOURCE_VERIFIED,
        STALLED, STORAGE_OPERATION_FAILED,
    },
    reasons,
    source::{GitRepositorySpec, GitRepositoryStatus},
};
use nave_runtime::{Conditions, Status};

use crate::{
    failure::{Failure, Retry},
    summary::Summary,
};

const SUMMARY: Summary = Summary {
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
};

/// Conditions whose end is worth an event.
const FAILURES: [&str; 3] = [STORAGE_OPERATION_FAILED, FETCH_FAILED, INCLUDE_UNAVAILABLE];

/// A status being written.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub status: GitRepositoryStatus,
    generation: i64,
    now: Timestamp,
}

impl Draft {
    /// Begins with what is there.
    pub fn new(status: GitRepositoryStatus, generation: i64, now: Timestamp) -> Self {
        Draft {
            status,
            generation,
            now,
        }
    }

    fn set(&mut self, kind: &str, status: Status, reason: &str, message: &str) {
        self.status
            .conditions
            .set(kind, status, reason, message, self.generation, self.now);
    }

    fn drop(&mut self, kinds: &[&str]) {
        for kind in kinds {
            self.status.conditions.remove_condition(kind);
        }
    }

    /// A suspended object says nothing new, but that it was seen.
    pub fn suspended(&mut self) {
        if !self.status.conditions.is_empty() {
            self.status.observed_generation = self.generation;
        }
    }

    /// Work begins. Whether somebody should be told at once: when the spec is new, or a reconcile was asked for.
    pub fn begin(&mut self, requested: Option<&str>) -> bool {
        let observed = self.status.observed_generation;
        let fresh = observed != self.generation;
        let message = if fresh {
            format!("processing object: new generation {observed} -> {}", self.generation)
        } else {
            "reconciliation in progress".to_owned()
        };
        self.progressing(false, &message);
        fresh || requested.is_some_and(|requested| requested != self.status.last_handled_reconcile_at)
    }

    /// Work goes on. With `drift` the object is not what it should be, and `Ready` becomes unknown.
    pub fn progressing(&mut self, drift: bool, message: &str) {
        self.set(RECONCILING, Status::True, reasons::PROGRESSING, message);
        if drift || self.status.conditions.is_unknown(READY) {
            self.set(READY, Status::Unknown, reasons::PROGRESSING, message);
        }
    }

    /// The stored file is gone.
    pub fn artifact_lost(&mut self) {
        self.status.artifact = None;
        self.drop(&[ARTIFACT_IN_STORAGE]);
    }

    /// The remote, or what is included, is ahead of what is stored.
    pub fn outdated(&mut self, reason: &str, message: &str) {
        if self.status.artifact.is_some() {
            self.set(ARTIFACT_OUTDATED, Status::True, reason, message);
        }
        self.progressing(true, &format!("building artifact: {message}"));
    }

    /// What the spec says about content, beside the revision, is no longer what the artifact was made with.
    pub fn is_made_of(&self, spec: &GitRepositorySpec, included: &[Artifact]) -> bool {
        let status = &self.status;
        let same = |a: &Artifact, b: &Artifact| a.revision == b.revision && a.digest == b.digest;
        status.observed_ignore == spec.ignore
            && status.observed_recurse_submodules == spec.recurse_submodules
            && status.observed_sparse_checkout == spec.sparse_checkout
            && status.observed_include == spec.include
            && status.included_artifacts.len() == included.len()
            && status.included_artifacts.iter().zip(included).all(|(a, b)| same(a, b))
    }

    /// An artifact was stored.
    pub fn stored(&mut self, spec: &GitRepositorySpec, artifact: Artifact, included: Vec<Artifact>) {
        let status = &mut self.status;
        status.artifact = Some(artifact);
        status.included_artifacts = included;
        status.observed_ignore = spec.ignore.clone();
        status.observed_recurse_submodules = spec.recurse_submodules;
        status.observed_sparse_checkout = spec.sparse_checkout.clone();
        status.observed_include = spec.include.clone();
    }

    /// Everything is as the spec wants it.
    pub fn succeeded(&mut self) {
        self.drop(&FAILURES);
        self.drop(&[ARTIFACT_OUTDATED, RECONCILING, STALLED, SOURCE_VERIFIED]);
        self.status.source_verification_mode = None;
        if let Some(artifact) = &self.status.artifact {
            let message = format!("stored artifact for revision '{}'", artifact.revision);
            self.set(ARTIFACT_IN_STORAGE, Status::True, reasons::SUCCEEDED, &message);
        }
        self.status.observed_generation = self.generation;
        SUMMARY.apply(&mut self.status.conditions, self.generation, self.now);
    }

    /// Something failed; what was stored before stays.
    pub fn failed(&mut self, failure: &Failure) {
        // What comes before the failing step has worked this time.
        let passed: &[&str] = match failure.condition {
            INCLUDE_UNAVAILABLE => &[STORAGE_OPERATION_FAILED],
            FETCH_FAILED => &[STORAGE_OPERATION_FAILED, INCLUDE_UNAVAILABLE],
            _ => &[FETCH_FAILED, INCLUDE_UNAVAILABLE],
        };
        self.drop(passed);
        self.set(failure.condition, Status::True, failure.reason, &failure.message);
        match failure.retry {
            Retry::Stalled => {
                self.set(STALLED, Status::True, failure.reason, &failure.message);
                self.status.observed_generation = self.generation;
            }
            Retry::Backoff | Retry::Waiting => {
                let message = self.status.conditions.get_condition(RECONCILING).map_or_else(
                    || "reconciliation in progress".to_owned(),
                    |condition| condition.message.clone(),
                );
                self.set(RECONCILING, Status::True, reasons::PROGRESSING_WITH_RETRY, &message);
            }
        }
        SUMMARY.apply(&mut self.status.conditions, self.generation, self.now);
    }

    /// The request that this reconcile answers.
    pub fn handled(&mut self, requested: Option<&str>) {
        if let Some(requested) = requested {
            requested.clone_into(&mut self.status.last_handled_reconcile_at);
        }
    }
}

/// Whether something that had failed before works again.
pub(crate) fn recovered(before: &GitRepositoryStatus, after: &GitRepositoryStatus) -> bool {
    FAILURES
        .iter()
        .any(|kind| before.conditions.is_true(kind) && !after.conditions.is_true(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nave_crds::reasons::source as source_reasons;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn artifact(revision: &str) -> Artifact {
        Artifact {
            path: "p".into(),
            url: "u".into(),
            revision: revision.into(),
            digest: format!("sha256:{revision}"),
            last_update_time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0)),
            size: Some(1),
            metadata: Default::default(),
        }
    }

    fn fresh() -> Draft {
        let status = GitRepositoryStatus {
            observed_generation: -1,
            ..Default::default()
        };
        Draft::new(status, 1, at(1))
    }

    fn ready() -> GitRepositoryStatus {
        let mut draft = fresh();
        draft.begin(None);
        draft.stored(&Default::default(), artifact("a"), Vec::new());
        draft.succeeded();
        draft.status
    }

    /// Conditions as `Type=Status/Reason`, sorted.
    #[track_caller]
    fn check(status: &GitRepositoryStatus, expected: &[&str]) {
        let mut found: Vec<String> = status
            .conditions
            .iter()
            .map(|condition| format!("{}={}/{}", condition.type_, condition.status, condition.reason))
            .collect();
        found.sort();
        assert_eq!(found, expected);
    }

    fn fetch_failure(retry: Retry) -> Failure {
        Failure::new(retry, FETCH_FAILED, source_reasons::GIT_OPERATION_FAILED, "no route")
    }

    #[test]
    fn a_first_success() {
        let mut draft = fresh();
        assert!(draft.begin(None));
        check(
            &draft.status,
            &["Ready=Unknown/Progressing", "Reconciling=True/Progressing"],
        );
        assert_eq!(
            draft.status.conditions[0].message,
            "processing object: new generation -1 -> 1"
        );
        let status = ready();
        check(&status, &["ArtifactInStorage=True/Succeeded", "Ready=True/Succeeded"]);
        assert_eq!(status.observed_generation, 1);
        let message = &status.conditions.get_condition(READY).unwrap().message;
        assert_eq!(message, "stored artifact for revision 'a'");
    }

    #[test]
    fn a_resync_of_an_unchanged_source_keeps_ready_and_writes_nothing() {
        let before = ready();
        let mut draft = Draft::new(before.clone(), 1, at(500));
        assert!(!draft.begin(None));
        assert!(draft.status.conditions.is_true(READY));
        draft.succeeded();
        assert_eq!(draft.status, before);
    }

    #[test]
    fn a_request_is_told_at_once_and_recorded() {
        let mut draft = Draft::new(ready(), 1, at(500));
        assert!(draft.begin(Some("now")));
        draft.succeeded();
        draft.handled(Some("now"));
        assert_eq!(draft.status.last_handled_reconcile_at, "now");
        let mut again = Draft::new(draft.status, 1, at(600));
        assert!(!again.begin(Some("now")));
    }

    #[test]
    fn a_new_revision_makes_ready_unknown_until_it_is_stored() {
        let mut draft = Draft::new(ready(), 1, at(500));
        draft.begin(None);
        draft.outdated(source_reasons::NEW_REVISION, "new upstream revision 'b'");
        check(
            &draft.status,
            &[
                "ArtifactInStorage=True/Succeeded",
                "ArtifactOutdated=True/NewRevision",
                "Ready=Unknown/Progressing",
                "Reconciling=True/Progressing",
            ],
        );
        draft.stored(&Default::default(), artifact("b"), Vec::new());
        draft.succeeded();
        check(
            &draft.status,
            &["ArtifactInStorage=True/Succeeded", "Ready=True/Succeeded"],
        );
    }

    #[test]
    fn a_failure_keeps_the_artifact_and_says_that_it_is_tried_again() {
        let mut draft = Draft::new(ready(), 2, at(500));
        draft.begin(None);
        draft.failed(&fetch_failure(Retry::Backoff));
        check(
            &draft.status,
            &[
                "ArtifactInStorage=True/Succeeded",
                "FetchFailed=True/GitOperationFailed",
                "Ready=False/GitOperationFailed",
                "Reconciling=True/ProgressingWithRetry",
            ],
        );
        assert_eq!(draft.status.observed_generation, 1);
        assert!(draft.status.artifact.is_some());
        let failed = draft.status.clone();
        let mut next = Draft::new(failed.clone(), 2, at(600));
        next.begin(None);
        next.succeeded();
        assert!(recovered(&failed, &next.status));
        assert!(!recovered(&next.status, &next.status));
    }

    #[test]
    fn what_stalls_is_not_tried_again_and_counts_as_observed() {
        let mut draft = Draft::new(ready(), 2, at(500));
        draft.begin(None);
        draft.failed(&fetch_failure(Retry::Stalled));
        check(
            &draft.status,
            &[
                "ArtifactInStorage=True/Succeeded",
                "FetchFailed=True/GitOperationFailed",
                "Ready=False/GitOperationFailed",
                "Stalled=True/GitOperationFailed",
            ],
        );
        assert_eq!(draft.status.observed_generation, 2);
    }

    #[test]
    fn a_lost_artifact_leaves_storage() {
        let mut draft = Draft::new(ready(), 1, at(500));
        draft.begin(None);
        draft.artifact_lost();
        draft.progressing(true, "building artifact");
        check(
            &draft.status,
            &["Ready=Unknown/Progressing", "Reconciling=True/Progressing"],
        );
        assert!(draft.status.artifact.is_none());
    }

    #[test]
    fn a_suspended_object_only_counts_as_seen() {
        let mut draft = Draft::new(ready(), 7, at(500));
        draft.suspended();
        draft.handled(Some("x"));
        let mut expected = ready();
        expected.observed_generation = 7;
        expected.last_handled_reconcile_at = "x".into();
        assert_eq!(draft.status, expected);
        let mut untouched = fresh();
        untouched.suspended();
        assert_eq!(untouched.status.observed_generation, -1);
    }

    #[test]
    fn content_settings_are_compared() {
        let draft = Draft::new(ready(), 1, at(1));
        let mut spec = GitRepositorySpec::default();
        assert!(draft.is_made_of(&spec, &[]));
        assert!(!draft.is_made_of(&spec, &[artifact("x")]));
        spec.ignore = Some(String::new());
        assert!(!draft.is_made_of(&spec, &[]));
        spec.ignore = None;
        spec.sparse_checkout = vec!["a".into()];
        assert!(!draft.is_made_of(&spec, &[]));
    }
}
