//! The API server takes our definitions and enforces their rules.

use anyhow::Result;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::stage::{namespace, plane};

fn api(client: &Client, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("fleet.nave.dev", "v1alpha1", kind));
    Api::namespaced_with(client.clone(), namespace, &resource)
}

/// Creates an object by dry run; `want` is part of the refusal, or empty.
async fn check(namespace: &str, kind: &str, name: &str, spec: Value, want: &str) {
    let object: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "fleet.nave.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec,
    }))
    .expect("an object");
    let parameters = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let client = plane().await.client();
    let answer = api(&client, kind, namespace).create(&parameters, &object).await;
    match answer {
        Ok(_) => assert!(want.is_empty(), "{kind} {spec} was taken, expected: {want}"),
        Err(error) => {
            assert!(
                !want.is_empty() && error.to_string().contains(want),
                "{kind} {spec}: {error}\nexpected: {want}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_the_fleet_kinds_are_enforced() -> Result<()> {
    let client = plane().await.client();
    let ns = &namespace(&client, "rules").await?;
    let hash = format!("sha256:{}", "0".repeat(64));

    check(ns, "Cluster", "eu-1", json!({}), "").await;
    check(ns, "Cluster", "dots.are.no", json!({}), "must be a DNS label").await;
    check(
        ns,
        "Cluster",
        "x",
        json!({"mode": "KubeConfig"}),
        "kubeConfig must be set",
    )
    .await;
    let kubeconfig = json!({"secretRef": {"name": "k"}});
    check(
        ns,
        "Cluster",
        "x",
        json!({"mode": "KubeConfig", "kubeConfig": kubeconfig}),
        "",
    )
    .await;
    check(
        ns,
        "Cluster",
        "x",
        json!({"kubeConfig": kubeconfig}),
        "kubeConfig must be set",
    )
    .await;
    check(
        ns,
        "Cluster",
        "x",
        json!({"variables": {"a-b": "x"}}),
        "names of variables",
    )
    .await;
    check(
        ns,
        "Cluster",
        "x",
        json!({"access": [{"workspace": "a", "admin": true}]}),
        "",
    )
    .await;
    check(
        ns,
        "Cluster",
        "x",
        json!({"access": [{"workspace": "a"}]}),
        "either admin is true or",
    )
    .await;
    let both = json!({"workspace": "a", "admin": true, "serviceAccountName": "x", "namespaces": ["a"]});
    check(ns, "Cluster", "x", json!({"access": [both]}), "either admin is true or").await;
    let tenant = json!({"workspace": "a", "serviceAccountName": "x", "namespaces": ["a"]});
    check(ns, "Cluster", "x", json!({"access": [tenant]}), "").await;
    check(ns, "Cluster", "x", json!({"access": [tenant, tenant]}), "Duplicate").await;

    let token = |cluster: Value, uses: i64| json!({"hash": hash, "expiresAt": "2026-01-01T00:00:00Z", "uses": uses, "cluster": cluster});
    check(ns, "JoinToken", "t", token(json!({"name": "eu-1"}), 1), "").await;
    check(ns, "JoinToken", "t", token(json!({"name": "eu-1"}), 2), "has one use").await;
    check(ns, "JoinToken", "t", token(json!({"namePrefix": "edge-"}), 20), "").await;
    check(ns, "JoinToken", "t", token(json!({}), 1), "either name or namePrefix").await;
    check(
        ns,
        "JoinToken",
        "t",
        json!({"hash": "x", "expiresAt": "2026-01-01T00:00:00Z", "cluster": {"name": "a"}}),
        "spec.hash",
    )
    .await;

    let fleet = |source: Value, more: Value| {
        let mut spec = json!({"source": source, "template": {"spec": {"anything": {"goes": ["here"]}}}});
        for (key, value) in more.as_object().expect("an object") {
            spec[key] = value.clone();
        }
        spec
    };
    let reference = json!({"ref": {"kind": "GitRepository", "name": "x"}});
    let template = json!({"template": {"kind": "GitRepository", "spec": {"url": "x"}}});
    check(ns, "FleetKustomization", "f", fleet(reference.clone(), json!({})), "").await;
    check(ns, "FleetKustomization", "f", fleet(template, json!({})), "").await;
    check(
        ns,
        "FleetKustomization",
        "f",
        fleet(json!({}), json!({})),
        "exactly one of source.template",
    )
    .await;
    let overrides = |one: Value| json!({"overrides": [one]});
    check(
        ns,
        "FleetKustomization",
        "f",
        fleet(reference.clone(), overrides(json!({"merge": {"a": 1}}))),
        "needs a selector or names",
    )
    .await;
    check(
        ns,
        "FleetKustomization",
        "f",
        fleet(reference.clone(), overrides(json!({"selector": {}}))),
        "needs merge or patches",
    )
    .await;
    let patch = json!({"selector": {}, "patches": [{"op": "add", "path": "/spec/x", "value": {"any": ["thing"]}}]});
    check(
        ns,
        "FleetKustomization",
        "f",
        fleet(reference.clone(), overrides(patch)),
        "",
    )
    .await;
    check(
        ns,
        "FleetKustomization",
        &"x".repeat(64),
        fleet(reference, json!({})),
        "must be a DNS label",
    )
    .await;
    check(ns, "RetirementLog", "mine", json!({"entries": []}), "is named retired").await;
    check(ns, "HubState", "hub", json!({"hubUID": "u", "incarnation": 1, "checkpoints": [{"incarnation": 1, "seq": 1, "nonce": "0011223344556677"}]}), "").await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_change_does_not_change() -> Result<()> {
    let client = plane().await.client();
    let ns = namespace(&client, "fixed").await?;
    let apply = async |kind: &str, spec: Value| {
        let object =
            json!({"apiVersion": "fleet.nave.dev/v1alpha1", "kind": kind, "metadata": {"name": "x"}, "spec": spec});
        let parameters = PatchParams::apply("person").force();
        let answer = api(&client, kind, &ns)
            .patch("x", &parameters, &Patch::Apply(&object))
            .await;
        answer.map(|_| ()).map_err(|error| error.to_string())
    };
    let refused = |answer: Result<(), String>, want: &str| {
        let error = answer.expect_err(want);
        assert!(error.contains(want), "{error}\nexpected: {want}");
    };
    apply("Cluster", json!({"mode": "Agent"})).await.expect("a cluster");
    refused(
        apply(
            "Cluster",
            json!({"mode": "KubeConfig", "kubeConfig": {"secretRef": {"name": "k"}}}),
        )
        .await,
        "mode cannot be changed",
    );
    let token = |change: Value| {
        let mut spec = json!({"hash": format!("sha256:{}", "0".repeat(64)), "expiresAt": "2026-01-01T00:00:00Z",
            "cluster": {"name": "eu-1", "labels": {"env": "staging"}}});
        for (key, value) in change.as_object().expect("an object") {
            spec[key] = value.clone();
        }
        spec
    };
    apply("JoinToken", token(json!({}))).await.expect("a token");
    for change in [
        json!({"hash": format!("sha256:{}", "1".repeat(64))}),
        json!({"expiresAt": "2027-01-01T00:00:00Z"}),
        json!({"approval": "Automatic"}),
        json!({"clusterUID": "u"}),
        json!({"cluster": {"name": "eu-1", "labels": {"env": "prod"}}}),
    ] {
        refused(
            apply("JoinToken", token(change)).await,
            "cannot be changed, only revoked",
        );
    }
    apply("JoinToken", token(json!({"revoked": true})))
        .await
        .expect("it can be revoked");
    refused(
        apply("JoinToken", token(json!({"revoked": false}))).await,
        "stays revoked",
    );
    refused(apply("JoinToken", token(json!({}))).await, "stays revoked");
    Ok(())
}
