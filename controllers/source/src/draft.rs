//! A status being written. Pure: the time is an argument.

use jiff::Timestamp;
use nave_crds::{
    Artifact,
    conditions::{ARTIFACT_IN_STORAGE, ARTIFACT_OUTDATED, READY, RECONCILING, SOURCE_VERIFIED, STALLED},
    reasons,
};
use nave_runtime::{Conditions, Status};

use crate::{
    failure::{Failure, Retry},
    source::SourceStatus,
};

/// A status being written.
#[derive(Debug, Clone)]
pub(crate) struct Draft<S> {
    pub status: S,
    generation: i64,
    now: Timestamp,
    /// Reason and message of `ArtifactInStorage`, where they are not the usual ones.
    storage: Option<(String, String)>,
    /// What `SourceVerified` says holds for this reconcile.
    verified: bool,
}

impl<S: SourceStatus> Draft<S> {
    /// Begins with what is there.
    pub fn new(status: S, generation: i64, now: Timestamp) -> Self {
        Draft {
            status,
            generation,
            now,
            storage: None,
            verified: false,
        }
    }

    fn set(&mut self, kind: &str, status: Status, reason: &str, message: &str) {
        self.status
            .conditions_mut()
            .set(kind, status, reason, message, self.generation, self.now);
    }

    fn drop(&mut self, kinds: &[&str]) {
        for kind in kinds {
            self.status.conditions_mut().remove_condition(kind);
        }
    }

    /// A suspended object says nothing new, but that it was seen.
    pub fn suspended(&mut self) {
        if !self.status.conditions().is_empty() {
            self.status.set_observed_generation(self.generation);
        }
    }

    /// Work begins. Whether somebody should be told at once: when the spec is new, or a reconcile was asked for.
    pub fn begin(&mut self, requested: Option<&str>) -> bool {
        let observed = self.status.observed_generation();
        let fresh = observed != self.generation;
        let message = if fresh {
            format!("processing object: new generation {observed} -> {}", self.generation)
        } else {
            "reconciliation in progress".to_owned()
        };
        self.progressing(false, &message);
        fresh || requested.is_some_and(|requested| requested != self.status.last_handled())
    }

    /// Work goes on. With `drift` the object is not what it should be, and `Ready` becomes unknown.
    pub fn progressing(&mut self, drift: bool, message: &str) {
        self.set(RECONCILING, Status::True, reasons::PROGRESSING, message);
        if drift || self.status.conditions().is_unknown(READY) {
            self.set(READY, Status::Unknown, reasons::PROGRESSING, message);
        }
    }

    /// Whether the spec is another one than the one that was last handled to the end.
    pub fn is_new_generation(&self) -> bool {
        self.status.observed_generation() != self.generation
    }

    /// The stored file is gone.
    pub fn artifact_lost(&mut self) {
        self.status.set_artifact(None);
        self.drop(&[ARTIFACT_IN_STORAGE]);
    }

    /// The remote, or what is included, is ahead of what is stored.
    pub fn outdated(&mut self, reason: &str, message: &str) {
        if self.status.artifact().is_some() {
            self.set(ARTIFACT_OUTDATED, Status::True, reason, message);
        }
        self.progressing(true, &format!("building artifact: {message}"));
    }

    /// An artifact was stored.
    pub fn stored(&mut self, artifact: Artifact) {
        self.status.set_artifact(Some(artifact));
    }

    /// What `ArtifactInStorage` says, where it is not the usual.
    pub fn in_storage(&mut self, reason: &str, message: String) {
        self.storage = Some((reason.to_owned(), message));
    }

    /// `ArtifactInStorage` says what it said before.
    pub fn in_storage_as_before(&mut self) {
        self.storage = self
            .status
            .conditions()
            .get_condition(ARTIFACT_IN_STORAGE)
            .filter(|condition| condition.status == "True")
            .map(|condition| (condition.reason.clone(), condition.message.clone()));
    }

    /// The source was made by whom the spec says.
    pub fn verified(&mut self, message: &str) {
        self.set(SOURCE_VERIFIED, Status::True, reasons::SUCCEEDED, message);
        self.verified = true;
    }

    /// As it was found before, for the same revision and the same spec.
    pub fn still_verified(&mut self) {
        self.verified = true;
    }

    /// Whether it was found before, for the same spec.
    pub fn was_verified(&self) -> bool {
        !self.is_new_generation() && self.status.conditions().is_true(SOURCE_VERIFIED)
    }

    /// It is not by whom the spec says; what failed for that reason is said apart.
    pub fn unverified(&mut self, reason: &str, message: &str) {
        self.set(SOURCE_VERIFIED, Status::False, reason, message);
    }

    /// Everything is as the spec wants it.
    pub fn succeeded(&mut self) {
        self.drop(S::CONDITIONS.failures);
        self.drop(&[ARTIFACT_OUTDATED, RECONCILING, STALLED]);
        if !self.verified {
            self.drop(&[SOURCE_VERIFIED]);
        }
        if let Some(artifact) = self.status.artifact() {
            let (reason, message) = match self.storage.take() {
                Some(told) => told,
                None => (reasons::SUCCEEDED.to_owned(), (S::CONDITIONS.stored)(artifact)),
            };
            self.set(ARTIFACT_IN_STORAGE, Status::True, &reason, &message);
        }
        self.status.set_observed_generation(self.generation);
        S::CONDITIONS
            .summary
            .apply(self.status.conditions_mut(), self.generation, self.now);
    }

    /// Something failed; what was stored before stays.
    pub fn failed(&mut self, failure: &Failure) {
        self.drop((S::CONDITIONS.passed)(failure.condition));
        let unverified = failure.condition == SOURCE_VERIFIED;
        let status = if unverified { Status::False } else { Status::True };
        self.set(failure.condition, status, failure.reason, &failure.message);
        match failure.retry {
            Retry::Stalled => {
                self.set(STALLED, Status::True, failure.reason, &failure.message);
                self.status.set_observed_generation(self.generation);
            }
            Retry::Backoff | Retry::Waiting => {
                let message = self.status.conditions().get_condition(RECONCILING).map_or_else(
                    || "reconciliation in progress".to_owned(),
                    |condition| condition.message.clone(),
                );
                self.set(RECONCILING, Status::True, reasons::PROGRESSING_WITH_RETRY, &message);
            }
        }
        S::CONDITIONS
            .summary
            .apply(self.status.conditions_mut(), self.generation, self.now);
        // That it is not by whom it should be says more than that there is something new.
        if unverified {
            self.set(READY, Status::False, failure.reason, &failure.message);
        }
    }

    /// The request that this reconcile answers.
    pub fn handled(&mut self, requested: Option<&str>) {
        if let Some(requested) = requested {
            self.status.set_last_handled(requested);
        }
    }
}

/// Whether something that had failed before works again.
pub(crate) fn recovered<S: SourceStatus>(before: &S, after: &S) -> bool {
    S::CONDITIONS
        .failures
        .iter()
        .any(|kind| before.conditions().is_true(kind) && !after.conditions().is_true(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nave_crds::{conditions::FETCH_FAILED, reasons::source as source_reasons, source::GitRepositoryStatus};

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

    fn fresh() -> Draft<GitRepositoryStatus> {
        let status = GitRepositoryStatus {
            observed_generation: -1,
            ..Default::default()
        };
        Draft::new(status, 1, at(1))
    }

    fn ready() -> GitRepositoryStatus {
        let mut draft = fresh();
        draft.begin(None);
        draft.stored(artifact("a"));
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
        draft.stored(artifact("b"));
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
    fn what_is_not_verified_is_not_ready_and_keeps_the_artifact() {
        let mut draft = Draft::new(ready(), 1, at(500));
        draft.begin(None);
        draft.outdated(source_reasons::NEW_REVISION, "new upstream revision 'b'");
        let reason = source_reasons::INVALID_COMMIT_SIGNATURE;
        draft.failed(&Failure::new(Retry::Backoff, SOURCE_VERIFIED, reason, "not signed"));
        check(
            &draft.status,
            &[
                "ArtifactInStorage=True/Succeeded",
                "ArtifactOutdated=True/NewRevision",
                "Ready=False/InvalidCommitSignature",
                "Reconciling=True/ProgressingWithRetry",
                "SourceVerified=False/InvalidCommitSignature",
            ],
        );
        assert_eq!(draft.status.artifact.as_ref().unwrap().revision, "a");
        let mut next = Draft::new(draft.status, 1, at(600));
        assert!(!next.was_verified());
        next.begin(None);
        next.stored(artifact("b"));
        next.verified("verified");
        next.succeeded();
        let expected = [
            "ArtifactInStorage=True/Succeeded",
            "Ready=True/Succeeded",
            "SourceVerified=True/Succeeded",
        ];
        check(&next.status, &expected);
        let mut kept = Draft::new(next.status.clone(), 1, at(700));
        assert!(kept.was_verified());
        kept.still_verified();
        kept.succeeded();
        assert_eq!(kept.status, next.status);
        // Without `spec.verify` the condition goes.
        let mut without = Draft::new(next.status, 2, at(800));
        assert!(!without.was_verified());
        without.succeeded();
        check(&without.status, &expected[..2]);
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
}
