//! Short ways to write fleet objects and clusters.

#![allow(dead_code)] // each test file uses its own part

use nave_placement::{
    Access, Bundle, Claims, Cluster, ClusterKey, ClusterSelector, Delivery, Denial, FleetObject, KubeConfigKey, Mode,
    Outcome, Override, OwnerKey, Placement, Planner, Policy, Selector, Source,
};
use serde_json::{Map, Value, json};

pub fn owner(workspace: &str, name: &str) -> OwnerKey {
    OwnerKey {
        kind: "FleetKustomization".into(),
        namespace: workspace.into(),
        name: name.into(),
        uid: format!("uid-{name}"),
    }
}

/// A fleet object `apps` that selects every cluster.
pub fn fleet(workspace: &str, change: impl FnOnce(&mut FleetObject)) -> FleetObject {
    let mut fleet = FleetObject {
        owner: owner(workspace, "apps"),
        suspend: false,
        requested_at: None,
        spoke_namespace: None,
        placement: placement_of(&json!({"selector": {}})),
        source: Source::Template {
            kind: "GitRepository".into(),
            spec: map(json!({"url": "https://git/fleet", "interval": "1m"})),
        },
        include: vec![],
        delivery: Delivery::Artifact,
        template: json!({"spec": {"interval": "5m", "prune": true, "path": "./apps"}}),
        overrides: vec![],
        secrets: vec![],
        policy: Policy::Prune,
    };
    change(&mut fleet);
    fleet
}

pub fn cluster(workspace: &str, name: &str, labels: &[(&str, &str)]) -> Cluster {
    let mut cluster = Cluster::new(ClusterKey::new(workspace, name));
    cluster.labels = labels
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect();
    cluster
}

pub fn tenant(workspace: &str, account: &str, namespaces: &[&str]) -> Access {
    Access {
        workspace: workspace.into(),
        admin: false,
        service_account: account.into(),
        namespaces: namespaces.iter().map(|name| name.to_string()).collect(),
    }
}

pub fn admin(workspace: &str) -> Access {
    Access {
        workspace: workspace.into(),
        admin: true,
        ..Access::default()
    }
}

pub fn kubeconfig(secret: &str, key: &str) -> Mode {
    Mode::KubeConfig(KubeConfigKey {
        secret: secret.into(),
        key: key.into(),
    })
}

pub fn map(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

/// A selector of labels that have to be equal.
fn selector(labels: &Value) -> Selector {
    let labels = labels.as_object().expect("labels");
    Selector::new(
        labels
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str().expect("text"))),
        [],
    )
    .expect("valid")
}

/// `{selector: labels, names: […], exclude: labels, excludeNames: […]}`.
pub fn placement_of(value: &Value) -> Placement {
    let names = |key: &str| {
        value[key]
            .as_array()
            .into_iter()
            .flatten()
            .map(|name| name.as_str().expect("text").to_owned())
            .collect()
    };
    Placement {
        selector: value.get("selector").map(selector),
        names: names("names"),
        exclude: ClusterSelector {
            selector: value.get("exclude").map(selector),
            names: names("excludeNames"),
        },
    }
}

pub fn override_for(labels: Value, merge: Value, patches: Value) -> Override {
    Override {
        clusters: ClusterSelector {
            selector: Some(selector(&labels)),
            names: vec![],
        },
        merge: Some(merge).filter(|merge| !merge.is_null()),
        patches: patches.as_array().expect("a list").clone(),
    }
}

/// The outcome on the only cluster.
pub fn outcome(fleet: &FleetObject, cluster: &Cluster) -> Outcome {
    let set = Planner::new(fleet)
        .expect("plannable")
        .plan([cluster], &Claims::default());
    let mut plans = set.plans;
    assert_eq!(plans.len(), 1, "the cluster is selected");
    plans.remove(0).outcome
}

pub fn placed(fleet: &FleetObject, cluster: &Cluster) -> Bundle {
    match outcome(fleet, cluster) {
        Outcome::Place(bundle) => *bundle,
        other => panic!("not placed: {other:?}"),
    }
}

pub fn denied(fleet: &FleetObject, cluster: &Cluster) -> Denial {
    match outcome(fleet, cluster) {
        Outcome::Denied(denial) => denial,
        other => panic!("not denied: {other:?}"),
    }
}

/// A fleet object `apps` that places a chart of a HelmRepository on every cluster.
pub fn fleet_release(workspace: &str, change: impl FnOnce(&mut FleetObject)) -> FleetObject {
    fleet(workspace, |fleet| {
        fleet.owner.kind = "FleetHelmRelease".into();
        fleet.source = Source::Template {
            kind: "HelmRepository".into(),
            spec: map(json!({"url": "https://charts.example.com", "interval": "1m"})),
        };
        fleet.template = json!({"spec": {
            "interval": "5m",
            "chart": {"spec": {"chart": "web", "version": "1.x"}},
            "values": {"host": "${cluster.name}.example.com", "replicas": 1},
        }});
        change(fleet);
    })
}
