//! The next step from where a release stands.

use crate::{
    digest::snapshot_digest,
    history::rollback_target,
    record::Release,
    snapshot::{Snapshot, previous},
    state::State,
};

/// How failures of an action are dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Remediation {
    /// Tries after the first; without end when negative.
    pub retries: i64,
    /// Whether failed tests are no failure.
    pub ignore_test_failures: bool,
    /// Whether the last failure is remedied too.
    pub remediate_last_failure: bool,
    /// Whether it is remedied by uninstalling, and not by rolling back.
    pub uninstall: bool,
    /// Whether there is no remedy but another try, for ever.
    pub retry_on_failure: bool,
}

impl Remediation {
    /// Whether no try is left after so many failures.
    pub fn is_exhausted(&self, failures: i64) -> bool {
        !self.retry_on_failure && self.retries >= 0 && failures > self.retries
    }
}

/// Failures since the last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Of installations.
    pub install: i64,
    /// Of upgrades.
    pub upgrade: i64,
}

/// What was tried last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LastAction {
    /// Nothing.
    #[default]
    None,
    /// Installing.
    Install,
    /// Upgrading.
    Upgrade,
}

/// What is done about changes that others made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Drift {
    /// They are not looked for.
    #[default]
    Ignored,
    /// They are looked for.
    Detected,
}

/// Everything beside the state that the next step depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// For installations.
    pub install: Remediation,
    /// For upgrades.
    pub upgrade: Remediation,
    /// Failures so far.
    pub counts: Counts,
    /// What was tried last.
    pub last: LastAction,
    /// A person asked for an action, whatever the state.
    pub forced: bool,
    /// Whether changes by others are looked for.
    pub drift: Drift,
}

impl Policy {
    /// The remediation of the last action, and how often that failed.
    pub fn active(&self) -> Option<(Remediation, i64)> {
        match self.last {
            LastAction::None => None,
            LastAction::Install => Some((self.install, self.counts.install)),
            LastAction::Upgrade => Some((self.upgrade, self.counts.upgrade)),
        }
    }

    /// Whether another try of the last action is left.
    pub fn may_retry(&self) -> bool {
        self.active()
            .is_none_or(|(remediation, failures)| !remediation.is_exhausted(failures))
    }

    /// Whether failed tests count for nothing, when they do by default.
    pub fn ignores_tests(&self, default: bool) -> bool {
        self.active()
            .map_or(default, |(remediation, _)| remediation.ignore_test_failures)
    }
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing: all is well.
    Done,
    /// Look for changes by others, and then nothing.
    CheckDrift,
    /// Mark what was never ended as failed.
    Unlock,
    /// Install.
    Install,
    /// Upgrade; with `adopt`, what was remembered is forgotten first.
    Upgrade {
        /// Somebody else made the release.
        adopt: bool,
    },
    /// Run the tests.
    Test,
    /// Remedy: roll back to this version.
    Rollback(i64),
    /// Remedy: uninstall.
    Uninstall,
}

impl Step {
    /// Steps of one kind are done once in a reconcile.
    pub fn kind(&self) -> &'static str {
        match self {
            Step::Done => "none",
            Step::CheckDrift => "drift",
            Step::Unlock => "unlock",
            Step::Install | Step::Upgrade { .. } => "release",
            Step::Test => "test",
            Step::Rollback(_) | Step::Uninstall => "remediate",
        }
    }
}

/// Why nothing more is done until something changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// All tries failed.
    #[error("exceeded maximum retries")]
    RetriesExceeded,
    /// There is no version to roll back to.
    #[error("missing target release for rollback: cannot remediate failed release")]
    MissingRollbackTarget,
}

/// The next step. `history` has the newest first; a roll-back goes only to a version that is stored as it was made.
///
/// # Errors
/// Nothing more can be done.
pub fn decide(state: &State, policy: &Policy, history: &[Snapshot], stored: &[Release]) -> Result<Step, Stop> {
    let upgrade = Step::Upgrade { adopt: false };
    match state {
        State::InSync if policy.forced => Ok(upgrade),
        State::InSync if policy.drift == Drift::Detected => Ok(Step::CheckDrift),
        State::InSync => Ok(Step::Done),
        State::Locked(_) => Ok(Step::Unlock),
        State::Absent(_) if policy.install.is_exhausted(policy.counts.install) && !policy.forced => {
            Err(Stop::RetriesExceeded)
        }
        State::Absent(_) => Ok(Step::Install),
        State::Unmanaged(_) => Ok(Step::Upgrade { adopt: true }),
        State::OutOfSync(_) if policy.upgrade.is_exhausted(policy.counts.upgrade) && !policy.forced => {
            Err(Stop::RetriesExceeded)
        }
        State::OutOfSync(_) => Ok(upgrade),
        State::Untested => Ok(Step::Test),
        State::Failed(_) => {
            let Some((remediation, failures)) = policy.active() else {
                return Ok(upgrade);
            };
            if remediation.retry_on_failure || failures <= 0 || policy.forced {
                return Ok(upgrade);
            }
            if remediation.is_exhausted(failures) && !remediation.remediate_last_failure {
                return Err(Stop::RetriesExceeded);
            }
            if policy.last == LastAction::Install || remediation.uninstall {
                return Ok(Step::Uninstall);
            }
            let Some(target) = previous(history, remediation.ignore_test_failures) else {
                return Err(Stop::MissingRollbackTarget);
            };
            let is_as_made = rollback_target(stored, target.version)
                .map(|release| target.is_of(release) && snapshot_digest(release, &target.oci_digest) == target.digest);
            Ok(match is_as_made {
                Some(true) => Step::Rollback(target.version),
                // Gone or changed by somebody: the wanted version is the only one that is known.
                Some(false) | None => upgrade,
            })
        }
    }
}
