//! Where a release stands, from its storage and from what was remembered of it.

use serde_json::{Map, Value};

use crate::{
    digest::{config_digest, snapshot_digest},
    history::last,
    record::{Release, Status},
    snapshot::Snapshot,
};

/// What a release should be.
#[derive(Debug, Clone, Copy)]
pub struct Desired<'a> {
    /// Name of the chart.
    pub chart_name: &'a str,
    /// Version of the chart.
    pub chart_version: &'a str,
    /// The user's values.
    pub values: &'a Map<String, Value>,
    /// Whether settings beside chart and values differ from those of the last release: post-renderers, common metadata.
    pub settings_changed: bool,
    /// Whether tests run, and whether a failed one is a failure.
    pub tests: Option<bool>,
}

/// Where a release stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is not installed.
    Absent(String),
    /// An action has begun and was never ended.
    Locked(String),
    /// It is there, and somebody else made or changed it.
    Unmanaged(String),
    /// The last action failed, or a test did.
    Failed(String),
    /// It is there and should be another one.
    OutOfSync(String),
    /// It is as it should be, and was not tested.
    Untested,
    /// It is as it should be.
    InSync,
}

/// Where a release stands cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unable to determine state for release with status '{0}'")]
pub struct UnknownState(pub String);

/// Compares what is stored with what was remembered (newest first) and with what should be.
///
/// # Errors
/// The status of the release is one that nothing can be made of.
pub fn determine(stored: &[Release], history: &[Snapshot], desired: Desired<'_>) -> Result<State, UnknownState> {
    let Some(release) = last(stored) else {
        return Ok(State::Absent("no release in storage for object".to_owned()));
    };
    let status = release.status();
    if status.is_pending() {
        return Ok(State::Locked(format!("release with status '{status}'")));
    }
    let uninstalled = || Ok(State::Absent("found uninstalled release in storage".to_owned()));
    let Some(current) = history.first() else {
        if status == Status::Uninstalled {
            return uninstalled();
        }
        return Ok(State::Unmanaged("found existing release in storage".to_owned()));
    };
    if !current.is_of(release) {
        return Ok(State::Unmanaged(
            "release not observed to be made for object".to_owned(),
        ));
    }
    if snapshot_digest(release, &current.oci_digest) != current.digest {
        return Ok(State::Unmanaged("release digest verification error".to_owned()));
    }
    match status {
        Status::Failed => Ok(State::Failed(String::new())),
        Status::Uninstalled => uninstalled(),
        Status::Deployed => Ok(of_deployed(release, current, desired)),
        // Uninstalling never ends in this status unless it failed midway; it is tried again by installing over it.
        Status::Uninstalling => Ok(State::Failed("uninstalling was never ended".to_owned())),
        other => Err(UnknownState(other.as_str().to_owned())),
    }
}

fn of_deployed(release: &Release, current: &Snapshot, desired: Desired<'_>) -> State {
    if release.chart_name() != desired.chart_name || release.chart_version() != desired.chart_version {
        return State::OutOfSync("release chart changed".to_owned());
    }
    if current.config_digest != config_digest(desired.values) {
        return State::OutOfSync("release config values changed".to_owned());
    }
    if desired.settings_changed {
        return State::OutOfSync("post-renderers or common metadata changed".to_owned());
    }
    if let Some(failures_count) = desired.tests {
        if current.tests.is_none() {
            return State::Untested;
        }
        if failures_count && current.has_failed_test() {
            return State::Failed("release has test in failed phase".to_owned());
        }
    }
    State::InSync
}
