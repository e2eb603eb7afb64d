//! Where a release stands, and what follows.

use nave_release::{
    ChartMetadata, ChartRecord, Counts, Desired, Drift, LastAction, Policy, Release, Remediation, Snapshot, State,
    Status, Step, Stop, TestRun, decide, determine, previous, truncate,
};
use serde_json::{Map, Value, json};

fn release(version: i64, status: Status) -> Release {
    let mut release = Release {
        name: "shop".into(),
        namespace: "market".into(),
        version,
        chart: Some(ChartRecord {
            metadata: Some(ChartMetadata {
                name: "shop".into(),
                version: "1.0.0".into(),
                ..ChartMetadata::default()
            }),
            ..ChartRecord::default()
        }),
        ..Release::default()
    };
    release.set_status(status, "");
    release
}

fn snapshot(version: i64, status: Status) -> Snapshot {
    Snapshot::of(&release(version, status), "", "install")
}

fn tested(mut snapshot: Snapshot, phase: &str) -> Snapshot {
    snapshot.tests = Some(vec![TestRun {
        name: "check".into(),
        started: Default::default(),
        completed: Default::default(),
        phase: phase.into(),
    }]);
    snapshot
}

fn wanted(values: &Map<String, Value>) -> Desired<'_> {
    Desired {
        chart_name: "shop",
        chart_version: "1.0.0",
        values,
        settings_changed: false,
        tests: None,
    }
}

#[track_caller]
fn check_state(stored: &[Release], history: &[Snapshot], desired: Desired<'_>, wanted: &str) {
    let found = format!("{:?}", determine(stored, history, desired));
    assert!(found.starts_with(wanted), "{found}, wanted {wanted}");
}

#[test]
fn states() {
    let none = Map::new();
    let desired = wanted(&none);
    let deployed = || vec![release(1, Status::Deployed)];
    let known = || vec![snapshot(1, Status::Deployed)];
    check_state(&[], &[], desired, "Ok(Absent(\"no release");
    check_state(&[], &known(), desired, "Ok(Absent(\"no release");
    for pending in [Status::PendingInstall, Status::PendingUpgrade, Status::PendingRollback] {
        check_state(
            &[release(1, pending)],
            &[],
            desired,
            "Ok(Locked(\"release with status 'pending-",
        );
    }
    check_state(&deployed(), &[], desired, "Ok(Unmanaged(\"found existing");
    check_state(
        &[release(1, Status::Uninstalled)],
        &[],
        desired,
        "Ok(Absent(\"found uninstalled",
    );
    check_state(
        &[release(1, Status::Uninstalled)],
        &[snapshot(1, Status::Uninstalled)],
        desired,
        "Ok(Absent(\"found uninstalled",
    );
    // Somebody upgraded, or changed the record.
    check_state(
        &[release(1, Status::Superseded), release(2, Status::Deployed)],
        &known(),
        desired,
        "Ok(Unmanaged(\"release not observed",
    );
    let mut changed = release(1, Status::Deployed);
    changed.manifest = "a: b".into();
    check_state(&[changed], &known(), desired, "Ok(Unmanaged(\"release digest");
    check_state(
        &[release(1, Status::Failed)],
        &[snapshot(1, Status::Failed)],
        desired,
        "Ok(Failed",
    );
    check_state(
        &deployed(),
        &known(),
        Desired {
            chart_version: "2.0.0",
            ..desired
        },
        "Ok(OutOfSync(\"release chart",
    );
    let more = json!({"a": 1}).as_object().cloned().unwrap_or_default();
    check_state(&deployed(), &known(), wanted(&more), "Ok(OutOfSync(\"release config");
    check_state(
        &deployed(),
        &known(),
        Desired {
            settings_changed: true,
            ..desired
        },
        "Ok(OutOfSync(\"post-renderers",
    );
    check_state(&deployed(), &known(), desired, "Ok(InSync");
    let testing = |failures_count| Desired {
        tests: Some(failures_count),
        ..desired
    };
    check_state(&deployed(), &known(), testing(true), "Ok(Untested");
    let failed = || vec![tested(snapshot(1, Status::Deployed), "Failed")];
    check_state(&deployed(), &failed(), testing(true), "Ok(Failed(\"release has test");
    check_state(&deployed(), &failed(), testing(false), "Ok(InSync");
    let passed = [tested(snapshot(1, Status::Deployed), "Succeeded")];
    check_state(&deployed(), &passed, testing(true), "Ok(InSync");
    check_state(
        &[release(1, Status::Superseded)],
        &[snapshot(1, Status::Superseded)],
        desired,
        "Err(UnknownState(\"superseded",
    );
}

fn policy(last: LastAction, retries: i64, failures: i64) -> Policy {
    let remediation = Remediation {
        retries,
        remediate_last_failure: false,
        ..Remediation::default()
    };
    Policy {
        install: remediation,
        upgrade: Remediation {
            remediate_last_failure: retries > 0,
            ..remediation
        },
        counts: Counts {
            install: failures,
            upgrade: failures,
        },
        last,
        ..Policy::default()
    }
}

#[test]
fn steps() {
    let text = String::new;
    let upgrade = Step::Upgrade { adopt: false };
    let history = [
        snapshot(3, Status::Failed),
        tested(snapshot(2, Status::Superseded), "Failed"),
        snapshot(1, Status::Superseded),
    ];
    let stored = [
        release(1, Status::Superseded),
        release(2, Status::Superseded),
        release(3, Status::Failed),
    ];
    let check = |state: State, policy: Policy, wanted: Result<Step, Stop>| {
        assert_eq!(
            decide(&state, &policy, &history, &stored),
            wanted,
            "{state:?} {policy:?}"
        );
    };
    let forced = |policy: Policy| Policy { forced: true, ..policy };
    let quiet = policy(LastAction::None, 0, 0);
    check(State::InSync, quiet, Ok(Step::Done));
    check(
        State::InSync,
        Policy {
            drift: Drift::Detected,
            ..quiet
        },
        Ok(Step::CheckDrift),
    );
    check(State::InSync, forced(quiet), Ok(upgrade.clone()));
    check(State::Locked(text()), quiet, Ok(Step::Unlock));
    check(State::Unmanaged(text()), quiet, Ok(Step::Upgrade { adopt: true }));
    check(State::Untested, quiet, Ok(Step::Test));
    check(State::Absent(text()), quiet, Ok(Step::Install));

    // Installing: retries, the last failure, and force.
    let install = |retries, failures| policy(LastAction::Install, retries, failures);
    check(State::Absent(text()), install(0, 1), Err(Stop::RetriesExceeded));
    check(State::Absent(text()), forced(install(0, 1)), Ok(Step::Install));
    check(State::Absent(text()), install(1, 1), Ok(Step::Install));
    check(State::Absent(text()), install(-1, 99), Ok(Step::Install));
    check(State::Failed(text()), install(1, 1), Ok(Step::Uninstall));
    check(State::Failed(text()), install(0, 1), Err(Stop::RetriesExceeded));
    check(State::Failed(text()), forced(install(0, 1)), Ok(upgrade.clone()));
    let mut last_too = install(0, 1);
    last_too.install.remediate_last_failure = true;
    check(State::Failed(text()), last_too, Ok(Step::Uninstall));

    // Upgrading: version 2 failed its tests, so 1 is the one to go back to.
    let upgrading = |retries, failures| policy(LastAction::Upgrade, retries, failures);
    check(State::OutOfSync(text()), upgrading(0, 0), Ok(upgrade.clone()));
    check(State::OutOfSync(text()), upgrading(0, 1), Err(Stop::RetriesExceeded));
    check(State::OutOfSync(text()), forced(upgrading(0, 1)), Ok(upgrade.clone()));
    check(State::Failed(text()), quiet, Ok(upgrade.clone()));
    check(State::Failed(text()), upgrading(1, 0), Ok(upgrade.clone()));
    check(State::Failed(text()), upgrading(0, 1), Err(Stop::RetriesExceeded));
    check(State::Failed(text()), upgrading(1, 1), Ok(Step::Rollback(1)));
    check(State::Failed(text()), upgrading(1, 2), Ok(Step::Rollback(1)));
    let mut tests_ignored = upgrading(1, 1);
    tests_ignored.upgrade.ignore_test_failures = true;
    check(State::Failed(text()), tests_ignored, Ok(Step::Rollback(2)));
    let mut uninstall = upgrading(1, 1);
    uninstall.upgrade.uninstall = true;
    check(State::Failed(text()), uninstall, Ok(Step::Uninstall));
    let mut retry = upgrading(0, 9);
    retry.upgrade.retry_on_failure = true;
    check(State::Failed(text()), retry, Ok(upgrade.clone()));
    check(State::OutOfSync(text()), retry, Ok(upgrade.clone()));
    assert!(retry.may_retry() && !upgrading(0, 1).may_retry() && quiet.may_retry());

    // The version to go back to is gone, changed, or was never there.
    let failed = State::Failed(text());
    let without = [release(3, Status::Failed)];
    assert_eq!(
        decide(&failed, &upgrading(1, 1), &history, &without),
        Ok(upgrade.clone())
    );
    let mut changed = stored.clone();
    changed[0].manifest = "a: b".into();
    assert_eq!(decide(&failed, &upgrading(1, 1), &history, &changed), Ok(upgrade));
    let only = [snapshot(1, Status::Failed)];
    assert_eq!(
        decide(&failed, &upgrading(1, 1), &only, &[release(1, Status::Failed)]),
        Err(Stop::MissingRollbackTarget)
    );
}

#[test]
fn histories_are_cut_behind_the_last_good_version() {
    let versions = |history: &[Snapshot]| history.iter().map(|one| one.version).collect::<Vec<_>>();
    let history = vec![
        snapshot(3, Status::Superseded),
        snapshot(5, Status::Deployed),
        snapshot(4, Status::Failed),
        snapshot(2, Status::Superseded),
    ];
    let mut cut = history.clone();
    truncate(&mut cut, false);
    assert_eq!(versions(&cut), [5, 4, 3]);
    assert_eq!(previous(&cut, false).map(|one| one.version), Some(3));
    let mut bad: Vec<Snapshot> = (1..=7).map(|version| snapshot(version, Status::Failed)).collect();
    truncate(&mut bad, false);
    assert_eq!(versions(&bad), [7, 6, 5, 4, 3]);
    assert_eq!(previous(&bad, true), None);
    let mut untrusted = vec![
        snapshot(3, Status::Deployed),
        tested(snapshot(2, Status::Superseded), "Failed"),
        snapshot(1, Status::Superseded),
    ];
    assert_eq!(previous(&untrusted, true).map(|one| one.version), Some(2));
    truncate(&mut untrusted, false);
    assert_eq!(versions(&untrusted), [3, 2, 1]);
}
