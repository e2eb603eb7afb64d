//! Objects on the wire look as Flux's own types write them.

use nave_crds::fleet::{ClusterMode, Delivery, FleetDeletionPolicy};
use nave_crds::{Cluster, FleetKustomization, GitRepository, JoinToken, Kustomization};
use serde_json::{Value, json};

/// Reads an object and writes it back.
fn again<T: serde::de::DeserializeOwned + serde::Serialize>(object: &Value) -> Value {
    let typed: T = serde_json::from_value(object.clone()).expect("readable");
    serde_json::to_value(typed).expect("writable")
}

#[test]
fn a_kustomization_survives_reading_and_writing() {
    let object = json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": "apps", "namespace": "flux-system"},
        "spec": {
            "interval": "10m0s",
            "path": "./apps",
            "prune": true,
            "wait": true,
            "deletionPolicy": "WaitForTermination",
            "sourceRef": {"kind": "GitRepository", "name": "fleet"},
            "dependsOn": [{"name": "infra"}],
            "postBuild": {"substitute": {"a": "b"}, "substituteFrom": [{"kind": "Secret", "name": "s", "optional": true}]},
            "kubeConfig": {"secretRef": {"name": "prod"}},
            "buildMetadata": ["originAnnotations"],
        },
        "status": {
            "observedGeneration": -1,
            "inventory": {"entries": []},
            "lastAppliedRevision": "main@sha1:0",
            "history": [{
                "digest": "sha256:0", "firstReconciled": "2026-01-01T00:00:00Z", "lastReconciled": "2026-01-01T00:00:00Z",
                "lastReconciledDuration": "1.5s", "lastReconciledStatus": "ReconciliationSucceeded", "totalReconciliations": 3
            }]
        },
    });
    assert_eq!(again::<Kustomization>(&object), object);
}

#[test]
fn empty_fields_are_left_out_as_omitempty_does() {
    let object = json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": "apps"},
        "spec": {
            "interval": "1m0s", "prune": false, "sourceRef": {"kind": "GitRepository", "name": "x"},
            "path": "", "wait": false, "force": false, "suspend": false, "patches": [], "serviceAccountName": ""
        },
        "status": {"observedGeneration": 0, "conditions": []},
    });
    let written = again::<Kustomization>(&object);
    assert_eq!(
        written["spec"],
        json!({"interval": "1m0s", "prune": false, "sourceRef": {"kind": "GitRepository", "name": "x"}})
    );
    assert_eq!(written["status"], json!({}));
}

/// Flux's schemas do not require `spec`; such an object must not hide the others of its kind.
#[test]
fn an_object_without_spec_can_be_read() {
    let object = json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
        "metadata": {"name": "x"}, "status": {"observedGeneration": -1},
    });
    let typed: GitRepository = serde_json::from_value(object).expect("readable");
    assert_eq!(typed.spec, Default::default());
    let object = json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": {"name": "x"},
    });
    let typed: Kustomization = serde_json::from_value(object).expect("readable");
    assert_eq!(typed.spec.source_ref.name, "");
}

#[test]
fn go_writes_an_empty_inventory_as_null() {
    let object = json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": {"name": "x"},
        "status": {"inventory": {"entries": null}},
    });
    let typed: Kustomization = serde_json::from_value(object).expect("readable");
    let inventory = typed.status.expect("status").inventory.expect("inventory");
    assert!(inventory.entries.is_empty());
}

#[test]
fn fleet_objects_have_the_defaults_of_their_schema() {
    let cluster: Cluster = serde_json::from_value(json!({
        "apiVersion": "fleet.nave.dev/v1alpha1", "kind": "Cluster",
        "metadata": {"name": "eu-1", "namespace": "platform"}, "spec": {},
    }))
    .expect("readable");
    assert_eq!(cluster.spec.mode, ClusterMode::Agent);
    assert!(cluster.spec.accepted);

    let fleet: FleetKustomization = serde_json::from_value(json!({
        "apiVersion": "fleet.nave.dev/v1alpha1", "kind": "FleetKustomization",
        "metadata": {"name": "apps", "namespace": "platform"},
        "spec": {"source": {"ref": {"kind": "GitRepository", "name": "x"}}, "template": {"spec": {}}},
    }))
    .expect("readable");
    assert_eq!(fleet.spec.delivery, Delivery::Artifact);
    assert_eq!(fleet.spec.deletion.policy, FleetDeletionPolicy::Prune);
    assert!(fleet.spec.placement.selector.is_none());

    let token: JoinToken = serde_json::from_value(json!({
        "apiVersion": "fleet.nave.dev/v1alpha1", "kind": "JoinToken", "metadata": {"name": "t"},
        "spec": {"hash": "sha256:00", "expiresAt": "2026-01-01T00:00:00Z", "cluster": {"name": "eu-1"}},
    }))
    .expect("readable");
    assert_eq!(token.spec.uses, 1);
    assert_eq!(token.spec.effective_approval(), nave_crds::fleet::Approval::Automatic);
}

/// The sketch of the design, whole: no field may be dropped.
#[test]
fn a_fleet_kustomization_with_every_field_survives() {
    let object = json!({
        "apiVersion": "fleet.nave.dev/v1alpha1", "kind": "FleetKustomization",
        "metadata": {"name": "apps", "namespace": "team-a"},
        "spec": {
            "suspend": true,
            "spokeNamespace": "team-a",
            "placement": {"selector": {"matchLabels": {"env": "prod"}}, "names": ["eu-1"], "exclude": {"selector": {}, "names": ["x"]}},
            "source": {"template": {"kind": "GitRepository", "spec": {"url": "https://x"}}, "include": ["apps/**"]},
            "delivery": "Source",
            "template": {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}, "spec": {"path": "./x"}},
            "overrides": [{"selector": {}, "names": ["a"], "merge": {"spec": {"path": null}},
                "patches": [{"op": "add", "path": "/spec/wait", "value": true}]}],
            "secrets": [{"name": "s", "optional": true}],
            "deletion": {"policy": "Orphan", "budget": {"objects": 50, "clusters": 2},
                "approvedPlan": "sha256:0000000000000000000000000000000000000000000000000000000000000000"},
            "rollout": {
                "waves": [{"name": "w", "selector": {}, "percent": 10, "maxUnavailable": "25%", "soak": "10m0s",
                    "gates": [{"cel": "true"}], "hold": true}],
                "windows": [{"schedule": "0 8 * * 1-5", "duration": "8h0m0s", "timeZone": "Europe/Berlin"}],
                "rollback": true
            }
        },
        "status": {
            "observedGeneration": 3, "targetRevision": "a", "currentRevision": "b", "targetDigest": "c", "changeID": "d",
            "clusters": {"selected": 1, "updated": 1, "ready": 1, "failed": 0, "unknown": 0, "held": 0, "denied": 0},
            "waves": [{"name": "w", "state": "Done", "total": 1, "updated": 1, "ready": 1, "since": "2026-01-01T00:00:00Z"}],
            "unhealthy": [{"cluster": "eu-1", "object": "Kustomization/a/b", "reason": "r", "message": "m"}],
            "plan": {"digest": "sha256:1", "deletes": 1, "cascades": 0, "clusters": 1, "created": "2026-01-01T00:00:00Z"}
        },
    });
    assert_eq!(again::<FleetKustomization>(&object), object);
}
