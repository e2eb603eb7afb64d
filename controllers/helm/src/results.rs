//! What became of a step: told in the status, in events and in the counts of failures.

use nave_crds::{conditions, helm::ReleaseAction, reasons};
use nave_release::{Policy, Snapshot, Step, Stop};
use nave_runtime::Status;

use crate::{
    act::Failed,
    job::{Ended, Job, Ready},
    report::About,
    settings,
    status::{self, At},
    steps::state_error,
};

impl Job {
    /// Puts the result of a step into the status, and tells it. What ends the job is given back.
    #[allow(
        clippy::too_many_arguments,
        reason = "they are the parts of one result, used nowhere else"
    )]
    pub fn report(
        &mut self,
        step: &Step,
        result: Result<(), Failed>,
        tests: usize,
        is_stored: bool,
        history: &[Snapshot],
        ready: &Ready,
        logs: &str,
        at: At,
    ) -> Option<Ended> {
        use reasons::helm as reason;
        let spec = &self.object.spec;
        let newest = history.first();
        let (full, chart) = newest
            .map(|newest| (newest.full_name(), newest.chart()))
            .unwrap_or_default();
        let about = newest.map(About::snapshot).unwrap_or_default();
        let (condition, good, bad, what) = match step {
            Step::Install => (
                conditions::RELEASED,
                reason::INSTALL_SUCCEEDED,
                reason::INSTALL_FAILED,
                "install",
            ),
            Step::Upgrade { .. } => (
                conditions::RELEASED,
                reason::UPGRADE_SUCCEEDED,
                reason::UPGRADE_FAILED,
                "upgrade",
            ),
            Step::Test => (
                conditions::TEST_SUCCESS,
                reason::TEST_SUCCEEDED,
                reason::TEST_FAILED,
                "test",
            ),
            Step::Rollback(_) => (
                conditions::REMEDIATED,
                reason::ROLLBACK_SUCCEEDED,
                reason::ROLLBACK_FAILED,
                "rollback to previous release",
            ),
            Step::Uninstall => (
                conditions::REMEDIATED,
                reason::UNINSTALL_SUCCEEDED,
                reason::UNINSTALL_FAILED,
                "uninstall remediation for release",
            ),
            Step::Unlock => {
                if let Err(failed) = result {
                    return Some(state_error(&failed.message));
                }
                let (place, chart) = (&ready.place, &ready.chart.metadata.name);
                let message = format!(
                    "Unlocked Helm release {}/{} with chart {chart}",
                    place.namespace, place.name
                );
                self.reporter().info(reason::PENDING_RELEASE, &message, &about);
                let (kind, why) = (conditions::RELEASED, reason::PENDING_RELEASE);
                status::set(&mut self.status, kind, Status::False, why, message, at);
                return None;
            }
            Step::CheckDrift | Step::Done => return None,
        };
        let is_release = step.kind() == "release";
        let is_remediation = step.kind() == "remediate";
        match result {
            Ok(()) => {
                let message = match step {
                    Step::Test => {
                        let count = match tests {
                            0 => "no test hooks".to_owned(),
                            1 => "1 test hook completed successfully".to_owned(),
                            count => format!("{count} test hooks completed successfully"),
                        };
                        format!("Helm test succeeded for release {full} with chart {chart}: {count}")
                    }
                    _ if is_remediation => format!("Helm {what} {full} with chart {chart} succeeded"),
                    _ => format!("Helm {what} succeeded for release {full} with chart {chart}"),
                };
                self.reporter().info(good, &message, &about);
                status::set(&mut self.status, condition, Status::True, good, message, at);
                if is_release {
                    if settings::test(spec).enable {
                        let message = format!("Helm release {full} with chart {chart} is awaiting tests");
                        let (kind, why) = (conditions::TEST_SUCCESS, reason::AWAITING_TESTS);
                        status::set(&mut self.status, kind, Status::Unknown, why, message, at);
                    } else {
                        self.clear_failures();
                    }
                }
                if *step == Step::Test {
                    self.clear_failures();
                }
                None
            }
            Err(failed) => {
                let text = failed.message.trim();
                let release_about = if is_release { ready.about() } else { about.clone() };
                if failed.is_canceled() {
                    // Nothing failed, and no try is used up.
                    let (place, chart) = (&ready.place, &ready.chart.metadata);
                    let message = format!(
                        "Helm {what} of {}/{} with chart {}@{} was cut short: {text}",
                        place.namespace, place.name, chart.name, chart.version
                    );
                    let why = reason::HEALTH_CHECK_CANCELED;
                    self.reporter().info(why, &message, &release_about);
                    status::set(&mut self.status, condition, Status::False, why, message, at);
                    return None;
                }
                let message = match step {
                    Step::Test => format!("Helm test failed for release {full} with chart {chart}: {text}"),
                    _ if is_remediation => format!("Helm {what} {full} with chart {chart} failed: {text}"),
                    _ => format!(
                        "Helm {what} failed for release {}/{} with chart {}@{}: {text}",
                        ready.place.namespace,
                        ready.place.name,
                        ready.chart.metadata.name,
                        ready.chart.metadata.version
                    ),
                };
                self.reporter()
                    .warning(bad, &format!("{message}{logs}"), &release_about);
                self.status.failures += 1;
                status::set(&mut self.status, condition, Status::False, bad, message.clone(), at);
                let is_tested = newest.is_some_and(|newest| newest.tests.is_some());
                let counts = match step {
                    Step::Test => is_tested && !self.policy(false).ignores_tests(settings::test(spec).ignore_failures),
                    _ => is_release && is_stored,
                };
                if counts {
                    match self.status.last_attempted_release_action {
                        Some(ReleaseAction::Install) => self.status.install_failures += 1,
                        Some(ReleaseAction::Upgrade) => self.status.upgrade_failures += 1,
                        None => {}
                    }
                }
                // What left no trace in the storage is tried again as it is.
                let is_traceless = match step {
                    Step::Test => !is_tested,
                    _ => !is_stored,
                };
                let policy = self.policy(false);
                let retries = policy.active().is_some_and(|(active, _)| active.retry_on_failure);
                is_traceless.then(|| Ended::Failed {
                    reason: bad,
                    message,
                    after: retries.then(|| settings::retry_interval(spec, policy.last)),
                })
            }
        }
    }

    /// Everything that may be done in one job was done.
    pub fn enough(&mut self, policy: &Policy) -> Ended {
        match policy.active() {
            Some((remediation, _)) if remediation.retry_on_failure => {
                Ended::Retry(settings::retry_interval(&self.object.spec, policy.last))
            }
            _ if policy.may_retry() => Ended::Again,
            _ => self.exceeded(policy),
        }
    }

    pub fn after_remediation(&mut self) -> Ended {
        let policy = self.policy(false);
        match policy.may_retry() {
            true => Ended::Again,
            false => self.exceeded(&policy),
        }
    }

    pub fn stopped(&mut self, stop: Stop, policy: &Policy) -> Ended {
        match stop {
            Stop::RetriesExceeded => self.exceeded(policy),
            Stop::MissingRollbackTarget => Ended::Stalled {
                reason: reasons::helm::MISSING_ROLLBACK_TARGET,
                message: format!("Failed to perform remediation: {stop}"),
            },
        }
    }

    fn exceeded(&self, policy: &Policy) -> Ended {
        let (action, failures) = match self.status.last_attempted_release_action {
            Some(ReleaseAction::Upgrade) => ("upgrade", policy.counts.upgrade),
            _ => ("install", policy.counts.install),
        };
        Ended::Stalled {
            reason: reasons::helm::RETRIES_EXCEEDED,
            message: format!("Failed to {action} after {failures} attempt(s)"),
        }
    }
}
