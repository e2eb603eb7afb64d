//! Statuses as tables.

use super::*;
use nave_crds::fleet::{Deletion, DeletionBudget, FleetKustomizationSpec, Rollout};
use nave_crds::meta::Time;
use nave_placement::ClusterKey;

/// A row written as `<cluster>:<standing>`.
fn row(text: &str) -> Row {
    let (cluster, standing) = text.split_once(':').expect("cluster:standing");
    let says = |state, current| ClusterStatus {
        cluster: ClusterKey::new("platform", cluster),
        current,
        revision: "main@sha1:1".into(),
        state,
        object: "Kustomization/platform/apps".into(),
        reason: "Because".into(),
        message: format!("{cluster} says so"),
    };
    let placed = |status, connected: bool| Standing::Placed {
        status,
        away: (!connected).then(Away::agent),
    };
    let standing = match standing {
        "ready" => placed(Some(says(ClusterState::Ready, true)), true),
        "old" => placed(Some(says(ClusterState::Ready, false)), true),
        "progressing" => placed(Some(says(ClusterState::Progressing, true)), true),
        "failed" => placed(Some(says(ClusterState::Failed, true)), true),
        "held" => placed(Some(says(ClusterState::Held, true)), true),
        "suspended" => placed(Some(says(ClusterState::Suspended, true)), true),
        "away" => placed(Some(says(ClusterState::Ready, true)), false),
        "silent" => placed(None, true),
        "denied" => Standing::Denied {
            reason: "Denied",
            message: "no".into(),
        },
        other => panic!("{other}"),
    };
    Row {
        cluster: cluster.into(),
        standing,
    }
}

fn folded(
    spec: &FleetKustomizationSpec,
    rows: &[&str],
    unknown: &[&str],
    problem: Option<Problem>,
) -> FleetKustomizationStatus {
    let old = FleetKustomizationStatus {
        current_revision: "main@sha1:0".into(),
        ..FleetKustomizationStatus::default()
    };
    let target = Target {
        revision: "main@sha1:1".into(),
        digest: "sha256:m".into(),
        change_id: "sha256:c".into(),
    };
    let rows: Vec<Row> = rows.iter().map(|text| row(text)).collect();
    let unknown: Vec<String> = unknown.iter().map(|name| name.to_string()).collect();
    fold(
        &old,
        &Input {
            spec: spec.into(),
            generation: 7,
            requested_at: Some("then"),
            rows: &rows,
            unknown_names: &unknown,
            target: Some(&target),
            problem: problem.as_ref(),
            plan: None,
            deletions: &[],
            now: Timestamp::UNIX_EPOCH,
        },
    )
}

fn check(rows: &[&str], ready: &str, counts: &str) {
    let status = folded(&FleetKustomizationSpec::default(), rows, &[], None);
    let condition = status.conditions.get_condition("Ready").expect("Ready");
    assert_eq!(
        format!("{} {}: {}", condition.status, condition.reason, condition.message),
        ready,
        "{rows:?}"
    );
    let found = status.clusters.expect("counts");
    assert_eq!(
        format!(
            "{} selected {} updated {} ready {} failed {} unknown {} held {} denied",
            found.selected, found.updated, found.ready, found.failed, found.unknown, found.held, found.denied
        ),
        counts,
        "{rows:?}"
    );
}

#[test]
fn ready_says_the_worst_first() {
    check(
        &["a:ready", "b:ready"],
        "True AllReady: 2 of 2 clusters ready at main@sha1:1",
        "2 selected 2 updated 2 ready 0 failed 0 unknown 0 held 0 denied",
    );
    check(
        &["a:ready", "b:old", "c:progressing"],
        "Unknown ClustersProgressing: 1 of 3 clusters ready at main@sha1:1",
        "3 selected 2 updated 1 ready 0 failed 0 unknown 0 held 0 denied",
    );
    check(
        &["a:ready", "b:away", "c:silent", "d:held"],
        "Unknown ClustersProgressing: 1 of 4 clusters ready at main@sha1:1, 2 not heard of, 1 held",
        "4 selected 3 updated 1 ready 0 failed 2 unknown 1 held 0 denied",
    );
    check(
        &["c:failed", "b:failed", "a:ready"],
        "False ClustersFailed: 2 of 3 clusters failed: b: b says so",
        "3 selected 3 updated 1 ready 2 failed 0 unknown 0 held 0 denied",
    );
    check(
        &["a:failed", "b:denied"],
        "False ClustersDenied: 1 of 2 clusters refused: b: no",
        "2 selected 1 updated 0 ready 1 failed 0 unknown 0 held 1 denied",
    );
    check(
        &[],
        "False NoClusters: spec.placement selects no cluster",
        "0 selected 0 updated 0 ready 0 failed 0 unknown 0 held 0 denied",
    );
}

#[test]
fn a_problem_of_the_whole_object_comes_before_everything() {
    let problem = Problem {
        reason: "SourceNotReady",
        message: "no artifact".into(),
    };
    let status = folded(&FleetKustomizationSpec::default(), &["a:ready"], &[], Some(problem));
    assert_eq!(status.conditions.reason_of("Ready"), Some("SourceNotReady"));
    assert_eq!(status.current_revision, "main@sha1:0");
}

#[test]
fn names_of_no_cluster_are_told() {
    let status = folded(&FleetKustomizationSpec::default(), &["a:ready"], &["typo"], None);
    let ready = status.conditions.get_condition("Ready").expect("Ready");
    assert_eq!(ready.message, "spec.placement.names has no such cluster: typo");
}

#[test]
fn the_current_revision_moves_when_every_cluster_has_it() {
    let spec = FleetKustomizationSpec::default();
    assert_eq!(
        folded(&spec, &["a:ready", "b:old"], &[], None).current_revision,
        "main@sha1:0"
    );
    let status = folded(&spec, &["a:ready"], &[], None);
    assert_eq!(status.current_revision, "main@sha1:1");
    assert_eq!(status.target_digest, "sha256:m");
    assert_eq!(status.last_handled_reconcile_at, "then");
    assert_eq!(status.observed_generation, 7);
    assert!(status.conditions.is_false("Progressing"));
}

#[test]
fn the_list_of_unhealthy_clusters_is_sorted_and_bounded() {
    let rows: Vec<String> = (0..25)
        .rev()
        .map(|index| format!("c-{index:02}:{}", if index % 2 == 0 { "failed" } else { "away" }))
        .collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let status = folded(&FleetKustomizationSpec::default(), &rows, &[], None);
    let names: Vec<&str> = status.unhealthy.iter().map(|one| one.cluster.as_str()).collect();
    assert_eq!(
        names,
        [
            "c-00", "c-01", "c-02", "c-03", "c-04", "c-05", "c-06", "c-07", "c-08", "c-09"
        ]
    );
    assert_eq!(status.unhealthy[0].object, "Kustomization/platform/apps");
    assert_eq!(status.unhealthy[0].reason, "Because");
    assert_eq!(status.unhealthy[1].reason, "SessionClosed");
}

#[test]
fn fields_that_are_not_enforced_are_named() {
    let mut spec = FleetKustomizationSpec::default();
    let status = folded(&spec, &["a:ready"], &[], None);
    assert!(status.conditions.get_condition("Held").is_none());
    spec.rollout = Some(Rollout {
        rollback: true,
        ..Rollout::default()
    });
    spec.deletion = Deletion {
        budget: Some(DeletionBudget::default()), // the hub's brake reads it
        ..Deletion::default()
    };
    let status = folded(&spec, &["a:ready"], &[], None);
    let held = status.conditions.get_condition("Held").expect("Held");
    assert_eq!(
        held.message,
        "this version does not enforce spec.rollout.rollback: every cluster gets a change at once"
    );
    assert!(status.conditions.is_true("Ready"), "it is told, but nothing is wrong");
}

#[test]
fn deletions_that_wait_are_shown_and_said() {
    let spec = FleetKustomizationSpec::default();
    let plan = PlanStatus {
        digest: "sha256:p".into(),
        deletes: 12,
        cascades: 1,
        clusters: 3,
        created: Some(Time(Timestamp::UNIX_EPOCH)),
    };
    let with = |plan| {
        let input = Input {
            spec: (&spec).into(),
            generation: 7,
            requested_at: None,
            rows: &[row("a:held")],
            unknown_names: &[],
            target: None,
            problem: None,
            plan,
            deletions: &[],
            now: Timestamp::UNIX_EPOCH,
        };
        fold(&folded(&spec, &["a:ready"], &[], None), &input)
    };
    let status = with(Some(&plan));
    assert_eq!(status.plan.as_ref(), Some(&plan));
    let held = status.conditions.get_condition("Held").expect("Held");
    assert_eq!((held.status.as_str(), held.reason.as_str()), ("True", "DeletionsHeld"));
    assert_eq!(
        held.message,
        "12 deletions (1 takes others along) on 3 clusters wait for spec.deletion.approvedPlan to be sha256:p"
    );
    // A cluster may wait for another reason, such as a hub that is behind.
    let status = with(None);
    assert_eq!(status.plan, None);
    assert_eq!(status.conditions.reason_of("Held"), Some("ClustersProgressing"));
}

#[test]
fn what_changes_deleted_is_kept_where_a_budget_counts_it() {
    let spent = [ChangeDeletions {
        change: "main@sha1:1".into(),
        objects: 7,
        clusters: 2,
        last: None,
    }];
    let check = |budget: Option<DeletionBudget>, wanted: &[ChangeDeletions]| {
        let mut spec = FleetKustomizationSpec::default();
        spec.deletion.budget = budget;
        let input = Input {
            spec: (&spec).into(),
            generation: 1,
            requested_at: None,
            rows: &[],
            unknown_names: &[],
            target: None,
            problem: None,
            plan: None,
            deletions: &spent,
            now: Timestamp::UNIX_EPOCH,
        };
        assert_eq!(fold(&FleetKustomizationStatus::default(), &input).deletions, wanted);
    };
    check(Some(DeletionBudget::default()), &spent);
    check(None, &[]);
}

#[test]
fn a_suspended_fleet_object_is_neither_ready_nor_failed() {
    let spec = FleetKustomizationSpec {
        suspend: true,
        ..FleetKustomizationSpec::default()
    };
    let status = folded(&spec, &["a:suspended", "b:suspended"], &[], None);
    assert_eq!(status.conditions.reason_of("Ready"), Some("Suspended"));
    assert!(status.conditions.is_false("Progressing"));
}

#[test]
fn nothing_changes_when_nothing_changed() {
    let spec = FleetKustomizationSpec::default();
    let once = folded(&spec, &["a:ready"], &[], None);
    let rows = [row("a:ready")];
    let target = Target {
        revision: "main@sha1:1".into(),
        digest: "sha256:m".into(),
        change_id: "sha256:c".into(),
    };
    let again = fold(
        &once,
        &Input {
            spec: (&spec).into(),
            generation: 7,
            requested_at: Some("then"),
            rows: &rows,
            unknown_names: &[],
            target: Some(&target),
            problem: None,
            plan: None,
            deletions: &[],
            now: Timestamp::from_second(99).expect("a time"),
        },
    );
    assert_eq!(again, once);
}
