//! How a job is reported in the object's status. Pure: time comes in as an argument.

use std::collections::BTreeMap;

use jiff::Timestamp;
use nave_crds::{
    conditions,
    helm::{HelmReleaseStatus, ReleaseSnapshot, Test, TestHookStatus},
    meta::Time,
};
use nave_release::{GoTime, Snapshot, TestRun};
use nave_runtime::{Condition, Conditions, Status};

/// The generation that is reported on, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At {
    pub generation: i64,
    pub now: Timestamp,
}

/// Sets one condition.
pub(crate) fn set(
    status: &mut HelmReleaseStatus,
    kind: &str,
    value: Status,
    reason: &str,
    message: impl Into<String>,
    at: At,
) {
    status
        .conditions
        .set(kind, value, reason, message, at.generation, at.now);
}

/// The newest of what is known about release, tests and remediation becomes the Ready condition. A release that was
/// remedied is never ready.
pub(crate) fn summarize(status: &mut HelmReleaseStatus, test: &Test, at: At) {
    if !test.enable {
        status.conditions.remove_condition(conditions::TEST_SUCCESS);
    }
    let counts_tests = test.enable && !test.ignore_failures;
    let rank = |condition: &Condition| match condition.type_.as_str() {
        conditions::REMEDIATED => Some(2),
        conditions::TEST_SUCCESS if counts_tests => Some(1),
        conditions::RELEASED => Some(0),
        _ => None,
    };
    let newest = status
        .conditions
        .iter()
        .filter_map(|condition| Some((condition.observed_generation, rank(condition)?, condition)))
        .max_by_key(|(generation, rank, _)| (*generation, *rank));
    let Some((_, _, newest)) = newest else { return };
    let value = match (newest.type_.as_str(), newest.status.as_str()) {
        (conditions::REMEDIATED, _) | (_, "False") => Status::False,
        (_, "True") => Status::True,
        _ => Status::Unknown,
    };
    let (reason, message) = (newest.reason.clone(), newest.message.clone());
    if value == Status::True {
        status.conditions.remove_condition(conditions::STALLED);
    }
    set(status, conditions::READY, value, &reason, message, at);
}

/// The release is as it should be although it was remedied, or although something else could not be released.
pub(crate) fn wanted_is_deployed(status: &mut HelmReleaseStatus, reason: &str, message: &str, at: At) {
    let is_remedied = status.conditions.is_true(conditions::REMEDIATED);
    if is_remedied || !status.conditions.is_true(conditions::RELEASED) {
        status.conditions.remove_condition(conditions::REMEDIATED);
        set(status, conditions::RELEASED, Status::True, reason, message, at);
    }
}

/// The history as it is decided on.
pub(crate) fn history_of(status: &HelmReleaseStatus) -> Vec<Snapshot> {
    let time = |time: &Time| GoTime::from(time.0);
    status
        .history
        .iter()
        .map(|entry| Snapshot {
            digest: entry.digest.clone(),
            name: entry.name.clone(),
            namespace: entry.namespace.clone(),
            version: entry.version,
            status: entry.status.clone(),
            action: entry.action.clone(),
            chart_name: entry.chart_name.clone(),
            chart_version: entry.chart_version.clone(),
            app_version: entry.app_version.clone(),
            config_digest: entry.config_digest.clone(),
            first_deployed: time(&entry.first_deployed),
            last_deployed: time(&entry.last_deployed),
            deleted: entry.deleted.as_ref().map(time).unwrap_or_default(),
            tests: entry.test_hooks.as_ref().map(|tests| {
                tests
                    .iter()
                    .map(|(name, test)| TestRun {
                        name: name.clone(),
                        started: test.last_started.as_ref().map(time).unwrap_or_default(),
                        completed: test.last_completed.as_ref().map(time).unwrap_or_default(),
                        phase: test.phase.clone(),
                    })
                    .collect()
            }),
            oci_digest: entry.oci_digest.clone(),
        })
        .collect()
}

/// The history as it is written.
pub(crate) fn set_history(status: &mut HelmReleaseStatus, history: &[Snapshot]) {
    let time = |time: &GoTime| {
        time.timestamp()
            .map(|time| Time(nave_runtime::conditions::whole_seconds(time)))
    };
    let some_time = |known: &GoTime| time(known).unwrap_or(Time(Timestamp::UNIX_EPOCH));
    status.history = history
        .iter()
        .map(|snapshot| ReleaseSnapshot {
            api_version: "v2".to_owned(),
            digest: snapshot.digest.clone(),
            name: snapshot.name.clone(),
            namespace: snapshot.namespace.clone(),
            version: snapshot.version,
            status: snapshot.status.clone(),
            action: snapshot.action.clone(),
            chart_name: snapshot.chart_name.clone(),
            chart_version: snapshot.chart_version.clone(),
            app_version: snapshot.app_version.clone(),
            config_digest: snapshot.config_digest.clone(),
            first_deployed: some_time(&snapshot.first_deployed),
            last_deployed: some_time(&snapshot.last_deployed),
            deleted: time(&snapshot.deleted),
            test_hooks: snapshot.tests.as_ref().map(|tests| {
                let entry = |test: &TestRun| {
                    let entry = TestHookStatus {
                        last_started: time(&test.started),
                        last_completed: time(&test.completed),
                        phase: test.phase.clone(),
                    };
                    (test.name.clone(), entry)
                };
                tests.iter().map(entry).collect::<BTreeMap<_, _>>()
            }),
            oci_digest: snapshot.oci_digest.clone(),
        })
        .collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(generation: i64) -> At {
        At {
            generation,
            now: Timestamp::UNIX_EPOCH,
        }
    }

    fn ready(status: &HelmReleaseStatus) -> String {
        let ready = status.conditions.get_condition("Ready").expect("it was summarised");
        format!("{}/{}", ready.status, ready.reason)
    }

    #[test]
    fn the_newest_condition_is_the_summary() {
        let tests = Test {
            enable: true,
            ..Test::default()
        };
        let mut status = HelmReleaseStatus::default();
        summarize(&mut status, &tests, at(1));
        assert!(status.conditions.is_empty(), "nothing is known");
        set(&mut status, "Released", Status::True, "InstallSucceeded", "", at(1));
        summarize(&mut status, &tests, at(1));
        assert_eq!(ready(&status), "True/InstallSucceeded");
        set(&mut status, "TestSuccess", Status::Unknown, "AwaitingTests", "", at(1));
        summarize(&mut status, &tests, at(1));
        assert_eq!(ready(&status), "Unknown/AwaitingTests");
        set(&mut status, "TestSuccess", Status::False, "TestFailed", "", at(1));
        summarize(&mut status, &tests, at(1));
        assert_eq!(ready(&status), "False/TestFailed");
        let ignoring = Test {
            ignore_failures: true,
            ..tests.clone()
        };
        summarize(&mut status, &ignoring, at(1));
        assert_eq!(ready(&status), "True/InstallSucceeded");
        set(&mut status, "Remediated", Status::True, "RollbackSucceeded", "", at(1));
        summarize(&mut status, &tests, at(1));
        assert_eq!(ready(&status), "False/RollbackSucceeded");
        set(&mut status, "Released", Status::True, "UpgradeSucceeded", "", at(2));
        summarize(&mut status, &Test::default(), at(2));
        assert_eq!(ready(&status), "True/UpgradeSucceeded");
        assert!(status.conditions.get_condition("TestSuccess").is_none());
        wanted_is_deployed(&mut status, "UpgradeSucceeded", "", at(2));
        assert!(status.conditions.get_condition("Remediated").is_none());
        set(&mut status, "Released", Status::False, "UpgradeFailed", "", at(3));
        wanted_is_deployed(&mut status, "InstallSucceeded", "", at(3));
        summarize(&mut status, &Test::default(), at(3));
        assert_eq!(ready(&status), "True/InstallSucceeded");
    }

    #[test]
    fn histories_survive_being_written() {
        let mut status = HelmReleaseStatus::default();
        let now: Timestamp = "2026-01-02T03:04:05.678Z".parse().expect("a time");
        let mut snapshot = Snapshot::of(&nave_release::Release::default(), "sha256:1", "install");
        snapshot.first_deployed = now.into();
        snapshot.last_deployed = now.into();
        snapshot.tests = Some(vec![TestRun {
            name: "check".into(),
            started: now.into(),
            completed: GoTime::default(),
            phase: "Running".into(),
        }]);
        set_history(&mut status, &[snapshot.clone()]);
        let again = history_of(&status);
        assert_eq!(
            (again[0].digest.as_str(), again[0].oci_digest.as_str()),
            (snapshot.digest.as_str(), "sha256:1")
        );
        let test = &again[0].tests.as_ref().expect("they were kept")[0];
        assert_eq!((test.name.as_str(), test.phase.as_str()), ("check", "Running"));
        assert!(test.completed.is_zero() && again[0].deleted.is_zero());
    }
}
