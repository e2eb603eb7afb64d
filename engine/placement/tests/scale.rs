//! A thousand clusters and twenty fleet objects: how long a plan of all takes, and what a small change touches.
//!
//! The time is printed and not judged, since machines differ; a release build is held to 50 ms:
//! `cargo test --release -p nave-placement --test scale -- --nocapture`.

mod support;

use std::{collections::BTreeMap, time::Instant};

use nave_placement::{Claims, Cluster, ClusterKey, FleetObject, Outcome, PlanSet, Planner};
use serde_json::json;
use support::*;

const CLUSTERS: usize = 1000;
const FLEETS: usize = 20;

fn clusters() -> Vec<Cluster> {
    let regions = ["eu", "us", "ap"];
    let make = |number: usize| {
        let env = if number.is_multiple_of(10) { "staging" } else { "prod" };
        let mut cluster = cluster(
            "platform",
            &format!("edge-{number:04}"),
            &[("env", env), ("region", regions[number % 3])],
        );
        cluster.access = vec![admin("platform")];
        cluster.variables.insert("store".to_owned(), number.to_string());
        cluster
    };
    (0..CLUSTERS).map(make).collect()
}

/// Half of them say something else to each cluster, and half have an override.
fn fleets() -> Vec<FleetObject> {
    let make = |number: usize| {
        fleet("platform", |fleet| {
            fleet.owner = owner("platform", &format!("app-{number:02}"));
            fleet.spoke_namespace = Some(format!("app-{number:02}"));
            let path = if number.is_multiple_of(2) {
                "./apps"
            } else {
                "./apps/${cluster.variables.store}"
            };
            fleet.template = json!({"spec": {"interval": "5m", "prune": true, "path": path}});
            if number % 4 < 2 {
                let merge = json!({"spec": {"interval": "1m"}});
                fleet.overrides = vec![override_for(json!({"env": "staging"}), merge, json!([]))];
            }
        })
    };
    (0..FLEETS).map(make).collect()
}

fn plan(fleet: &FleetObject, clusters: &[Cluster]) -> PlanSet {
    Planner::new(fleet)
        .expect("plannable")
        .plan(clusters, &Claims::default())
}

fn digests(plans: &PlanSet) -> BTreeMap<ClusterKey, String> {
    let digest = |outcome: &Outcome| match outcome {
        Outcome::Place(bundle) => bundle.digest(),
        other => panic!("everything is placed, not {other:?}"),
    };
    let plans = plans.plans.iter();
    plans
        .map(|plan| (plan.cluster.clone(), digest(&plan.outcome)))
        .collect()
}

#[test]
fn twenty_fleet_objects_are_planned_for_a_thousand_clusters() {
    let (clusters, fleets) = (clusters(), fleets());
    let mut best = None;
    for _ in 0..if cfg!(debug_assertions) { 1 } else { 5 } {
        let begun = Instant::now();
        let placed: usize = fleets.iter().map(|fleet| plan(fleet, &clusters).plans.len()).sum();
        let took = begun.elapsed();
        assert_eq!(placed, CLUSTERS * FLEETS);
        best = Some(best.map_or(took, |best| took.min(best)));
    }
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    println!("{CLUSTERS} clusters x {FLEETS} fleet objects: {best:?} ({build} build; <= 50 ms in a release build)");
}

#[test]
fn a_change_of_a_selector_touches_only_what_differs() {
    let clusters = clusters();
    let everywhere = fleets().remove(1);
    let mut less = everywhere.clone();
    less.placement = placement_of(&json!({"selector": {"env": "prod"}}));
    let (before, after) = (digests(&plan(&everywhere, &clusters)), digests(&plan(&less, &clusters)));
    assert_eq!((before.len(), after.len()), (CLUSTERS, CLUSTERS - CLUSTERS / 10));
    for (cluster, digest) in &after {
        assert_eq!(before.get(cluster), Some(digest), "{cluster} is given what it has");
    }
    let staging = |key: &ClusterKey| {
        let found = clusters
            .iter()
            .find(|cluster| cluster.key == *key)
            .expect("one of them");
        found.labels["env"] == "staging"
    };
    assert!(before.keys().filter(|key| !after.contains_key(*key)).all(staging));
}

#[test]
fn a_cluster_that_changes_changes_no_other() {
    let mut clusters = clusters();
    for fleet in fleets().into_iter().take(4) {
        let before = digests(&plan(&fleet, &clusters));
        clusters[17].labels.insert("env".to_owned(), "staging".to_owned());
        clusters[17]
            .variables
            .insert("store".to_owned(), "elsewhere".to_owned());
        let after = digests(&plan(&fleet, &clusters));
        let differ: Vec<&ClusterKey> = after.keys().filter(|key| before[*key] != after[*key]).collect();
        assert!(differ.iter().all(|key| **key == clusters[17].key), "{differ:?}");
        clusters[17].labels.insert("env".to_owned(), "prod".to_owned());
        clusters[17].variables.insert("store".to_owned(), "17".to_owned());
    }
}

/// What a whole plan comes to, by cluster, and the names without a cluster.
fn whole(fleet: &FleetObject, clusters: &[Cluster]) -> (BTreeMap<ClusterKey, String>, Vec<String>) {
    let set = plan(fleet, clusters);
    let plans = set.plans.iter();
    let plans = plans.map(|plan| (plan.cluster.clone(), format!("{:?} {:?}", plan.grant, plan.outcome)));
    (plans.collect(), set.unknown_names)
}

type Change = fn(&mut Vec<Cluster>);

#[test]
fn a_plan_of_what_changed_is_a_plan_of_everything() {
    let mut fleets = fleets();
    fleets.truncate(4);
    fleets[0].placement = placement_of(&json!({"selector": {"env": "prod"}}));
    fleets[1].placement.names = vec!["edge-0003".into(), "not-there".into(), "elsewhere/edge-0004".into()];
    fleets[2].placement.exclude.names = vec!["edge-0005".into()];
    let before: Vec<Cluster> = clusters().into_iter().take(40).collect();
    let changes: Vec<(&str, Change)> = vec![
        ("nothing", |_| ()),
        ("label", |all| {
            drop(all[7].labels.insert("env".into(), "staging".into()))
        }),
        ("variable", |all| {
            drop(all[8].variables.insert("store".into(), "x".into()))
        }),
        ("suspended", |all| all[9].suspend = true),
        ("not accepted", |all| all[10].accepted = false),
        ("no access", |all| all[11].access.clear()),
        ("gone", |all| drop(all.remove(3))),
        ("gone that nobody names", |all| drop(all.remove(12))),
        ("new and named", |all| {
            let mut new = all[0].clone();
            new.key = ClusterKey::new(new.key.namespace.as_str(), "not-there");
            all.push(new);
        }),
        ("of another workspace", |all| {
            let mut new = all[0].clone();
            new.key = ClusterKey::new("elsewhere", "edge-0004");
            all.push(new);
        }),
        ("several", |all| {
            all[1].labels.clear();
            all[2].variables.clear();
            all.remove(5);
        }),
    ];
    for (name, change) in changes {
        let mut after = before.clone();
        change(&mut after);
        let find = |all: &'_ [Cluster], key: &ClusterKey| all.iter().position(|one| one.key == *key);
        let keys: std::collections::BTreeSet<&ClusterKey> = before.iter().chain(&after).map(|one| &one.key).collect();
        let changed: Vec<(&ClusterKey, Option<&Cluster>)> = keys
            .into_iter()
            .filter(|key| {
                let of = |all: &[Cluster]| find(all, key).map(|at| format!("{:?}", all[at]));
                of(&before) != of(&after)
            })
            .map(|key| (key, find(&after, key).map(|at| &after[at])))
            .collect();
        assert!(changed.len() <= 3, "{name}: {changed:?}");
        for fleet in &fleets {
            let (mut plans, unknown) = whole(fleet, &before);
            let planner = Planner::new(fleet).expect("plannable");
            let some = planner.plan_changed(changed.iter().copied(), &unknown, &Claims::default());
            plans.retain(|key, _| changed.iter().all(|(one, _)| *one != key));
            for plan in &some.plans {
                plans.insert(plan.cluster.clone(), format!("{:?} {:?}", plan.grant, plan.outcome));
            }
            let expected = whole(fleet, &after);
            assert_eq!((plans, some.unknown_names), expected, "{name} of {}", fleet.owner);
            // And nobody else would have had to look.
            let looks = changed.iter().any(|(key, now)| {
                let then = find(&before, key).map(|at| &before[at]);
                then.into_iter()
                    .chain(*now)
                    .any(|one| fleet.placement.looks_at("platform", one))
            });
            assert!(looks || expected == whole(fleet, &before), "{name} of {}", fleet.owner);
        }
    }
}

#[test]
fn a_change_of_one_cluster_of_a_thousand_is_planned_alone() {
    let (clusters, fleets) = (clusters(), fleets());
    let planners: Vec<Planner<'_>> = fleets
        .iter()
        .map(|fleet| Planner::new(fleet).expect("plannable"))
        .collect();
    let one = &clusters[17];
    let begun = Instant::now();
    for planner in &planners {
        let set = planner.plan_changed([(&one.key, Some(one))], &[], &Claims::default());
        assert_eq!(set.plans.len(), 1);
        assert!(set.unknown_names.is_empty());
    }
    let took = begun.elapsed();
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    println!("1 of {CLUSTERS} clusters x {FLEETS} fleet objects: {took:?} ({build} build)");
}
