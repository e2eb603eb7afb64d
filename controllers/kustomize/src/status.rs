//! How a reconcile is reported in the object's status. Pure: time comes in as an argument.

use jiff::Timestamp;
use nave_crds::{
    conditions,
    kustomize::{KustomizationSpec, KustomizationStatus},
    reasons,
};
use nave_runtime::{Conditions, Status};

/// The generation that is reported on, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At {
    pub generation: i64,
    pub now: Timestamp,
}

/// Work on something new begins.
pub(crate) fn progressing(
    status: &mut KustomizationStatus,
    spec: &KustomizationSpec,
    message: &str,
    At { generation, now }: At,
) {
    let list = &mut status.conditions;
    let reason = reasons::PROGRESSING;
    list.set(
        conditions::READY,
        Status::Unknown,
        reason,
        "Reconciliation in progress",
        generation,
        now,
    );
    list.set(conditions::RECONCILING, Status::True, reason, message, generation, now);
    if is_waiting(spec) {
        list.set(conditions::HEALTHY, Status::Unknown, reason, message, generation, now);
    } else {
        list.remove_condition(conditions::HEALTHY);
    }
}

/// It did not work this time; another try follows. `progress` is what was being done, empty before anything was: as in Flux,
/// Reconciling goes on saying that, and is not there for what waits for its source or for others from the beginning.
pub(crate) fn failed(
    status: &mut KustomizationStatus,
    reason: &str,
    message: &str,
    progress: &str,
    At { generation, now }: At,
) {
    let list = &mut status.conditions;
    list.set(conditions::READY, Status::False, reason, message, generation, now);
    let before = list
        .get_condition(conditions::RECONCILING)
        .map(|found| found.message.clone());
    let progress = if progress.is_empty() {
        before
    } else {
        Some(progress.to_owned())
    };
    if let Some(progress) = progress {
        let reason = reasons::PROGRESSING_WITH_RETRY;
        list.set(
            conditions::RECONCILING,
            Status::True,
            reason,
            &progress,
            generation,
            now,
        );
    }
}

/// It will not work until somebody changes something.
pub(crate) fn stalled(status: &mut KustomizationStatus, reason: &str, message: &str, At { generation, now }: At) {
    let list = &mut status.conditions;
    list.set(conditions::READY, Status::False, reason, message, generation, now);
    list.set(conditions::STALLED, Status::True, reason, message, generation, now);
    status.observed_generation = generation;
}

/// How the wait for health ended.
pub(crate) fn health(
    status: &mut KustomizationStatus,
    spec: &KustomizationSpec,
    outcome: Result<&str, &str>,
    At { generation, now }: At,
) {
    if !is_waiting(spec) {
        status.conditions.remove_condition(conditions::HEALTHY);
        return;
    }
    let (value, reason, message) = match outcome {
        Ok(message) => (Status::True, reasons::SUCCEEDED, message),
        Err(message) => (Status::False, reasons::kustomize::HEALTH_CHECK_FAILED, message),
    };
    status
        .conditions
        .set(conditions::HEALTHY, value, reason, message, generation, now);
}

/// Everything is as the revision says.
pub(crate) fn succeeded(
    status: &mut KustomizationStatus,
    revision: &str,
    origin_revision: &str,
    At { generation, now }: At,
) {
    let list = &mut status.conditions;
    list.remove_condition(conditions::RECONCILING);
    list.remove_condition(conditions::STALLED);
    list.set(
        conditions::READY,
        Status::True,
        reasons::kustomize::RECONCILIATION_SUCCEEDED,
        format!("Applied revision: {revision}"),
        generation,
        now,
    );
    status.observed_generation = generation;
    revision.clone_into(&mut status.last_applied_revision);
    revision.clone_into(&mut status.last_attempted_revision);
    origin_revision.clone_into(&mut status.last_applied_origin_revision);
}

/// Whether health is waited for at all.
pub(crate) fn is_waiting(spec: &KustomizationSpec) -> bool {
    spec.wait || !spec.health_checks.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(generation: i64, second: i64) -> At {
        At {
            generation,
            now: Timestamp::from_second(second).expect("a valid time"),
        }
    }

    fn shown(status: &KustomizationStatus) -> Vec<String> {
        status
            .conditions
            .iter()
            .map(|c| format!("{}={}/{}: {}", c.type_, c.status, c.reason, c.message))
            .collect()
    }

    #[test]
    fn a_revision_from_begin_to_end() {
        let spec = KustomizationSpec {
            wait: true,
            ..KustomizationSpec::default()
        };
        let mut status = KustomizationStatus::default();
        progressing(&mut status, &spec, "working", at(1, 1));
        assert_eq!(
            shown(&status),
            [
                "Ready=Unknown/Progressing: Reconciliation in progress",
                "Reconciling=True/Progressing: working",
                "Healthy=Unknown/Progressing: working"
            ]
        );
        failed(&mut status, "BuildFailed", "no", "building", at(1, 2));
        assert_eq!(
            shown(&status)[..2],
            [
                "Ready=False/BuildFailed: no",
                "Reconciling=True/ProgressingWithRetry: building"
            ]
        );
        failed(&mut status, "ArtifactFailed", "gone", "", at(1, 2));
        assert_eq!(shown(&status)[1], "Reconciling=True/ProgressingWithRetry: building");
        assert_eq!(status.observed_generation, 0);
        health(&mut status, &spec, Ok("passed"), at(1, 3));
        succeeded(&mut status, "main@sha1:1", "", at(1, 3));
        assert_eq!(
            shown(&status),
            [
                "Ready=True/ReconciliationSucceeded: Applied revision: main@sha1:1",
                "Healthy=True/Succeeded: passed"
            ]
        );
        assert_eq!(
            (status.observed_generation, status.last_applied_revision.as_str()),
            (1, "main@sha1:1")
        );
    }

    #[test]
    fn what_never_began_is_not_reconciling() {
        let mut status = KustomizationStatus::default();
        failed(&mut status, "ArtifactFailed", "Source 'x' not found", "", at(1, 1));
        assert_eq!(shown(&status), ["Ready=False/ArtifactFailed: Source 'x' not found"]);
    }

    #[test]
    fn stalling_ends_reconciling_and_working_ends_stalling() {
        let spec = KustomizationSpec::default();
        let mut status = KustomizationStatus::default();
        progressing(&mut status, &spec, "working", at(1, 1));
        stalled(&mut status, "AccessDenied", "never", at(1, 2));
        assert_eq!(
            shown(&status),
            ["Ready=False/AccessDenied: never", "Stalled=True/AccessDenied: never"]
        );
        assert_eq!(status.observed_generation, 1);
        progressing(&mut status, &spec, "working", at(2, 3));
        assert_eq!(
            shown(&status),
            [
                "Ready=Unknown/Progressing: Reconciliation in progress",
                "Reconciling=True/Progressing: working"
            ]
        );
    }
}
