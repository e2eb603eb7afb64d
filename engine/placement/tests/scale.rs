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
