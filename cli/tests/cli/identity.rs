//! Who a cluster is, and who the hub is: approval, release, rotation, confirmation, backup; against a real API server,
//! with what a hub writes written by the test.

use std::{os::unix::fs::PermissionsExt, time::Duration};

use kube::{Client, ResourceExt, api::DeleteParams};
use nave_bed::{Plane, PlaneOptions, eventually};
use serde_json::{Value, json};

use super::support::{
    Files, Outcome, RUNTIME, api, clusters, condition, install_definitions, namespace, nave, on, put, shared,
};

fn key(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

fn cluster(namespace: &str, name: &str, accepted: bool, keys: &[String], pending: &[String]) -> Value {
    let pending: Vec<Value> = pending
        .iter()
        .map(|key| json!({"fingerprint": key, "time": "2026-11-21T07:00:00Z", "reason": "the name is another key's"}))
        .collect();
    json!({
        "apiVersion": "fleet.nave.dev/v1alpha1", "kind": "Cluster",
        "metadata": {"name": name, "namespace": namespace, "labels": {"env": "prod"}},
        "spec": {"mode": "Agent", "accepted": accepted, "identity": {"keys": keys, "clusterUID": "uid-1"}},
        "status": {"pendingKeys": pending, "session": {"instanceID": "process-1", "bootSeq": 3}},
    })
}

fn info(namespace: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "nave-hub-info", "namespace": namespace}, "data": data})
}

fn state(namespace: &str) -> Value {
    json!({
        "apiVersion": "fleet.nave.dev/v1alpha1", "kind": "HubState", "metadata": {"name": "hub", "namespace": namespace},
        "spec": {"hubUID": "h", "incarnation": 2, "checkpoints": [{"incarnation": 2, "seq": 7, "nonce": "ab".repeat(16)}]},
    })
}

#[test]
fn a_key_that_waits_is_approved() {
    RUNTIME.block_on(async {
        let plane = shared().await;
        let client = plane.client();
        namespace(&client, "approve").await;
        let spec = |name: &'static str| {
            let clusters = clusters(&client, "approve");
            async move { clusters.get(name).await.expect("a cluster").data["spec"].clone() }
        };
        put(&client, "clusters", cluster("approve", "new", false, &[key('a')], &[])).await;
        let told = on(plane, "approve new -n approve").await;
        assert!(told.stderr.contains(&key('a')), "{}", told.stderr);
        told.ok();
        assert_eq!(
            (&spec("new").await["accepted"], &spec("new").await["identity"]["keys"]),
            (&json!(true), &json!([key('a')]))
        );
        let error = on(plane, "approve new -n approve").await.fails(1);
        assert!(
            error.contains("Cluster approve/new has no key that waits for approval"),
            "{error}"
        );

        put(
            &client,
            "clusters",
            cluster("approve", "again", true, &[key('a')], &[key('b'), key('c')]),
        )
        .await;
        let error = on(plane, "approve again -n approve").await.fails(1);
        assert!(
            error.contains("several keys wait") && error.contains(&key('c')) && error.contains("hint: "),
            "{error}"
        );
        on(plane, "approve again -n approve --key bb").await.ok();
        assert_eq!(spec("again").await["identity"]["keys"], json!([key('a'), key('b')]));
        on(plane, "approve again -n approve --key sha256:cc --replace")
            .await
            .ok();
        let identity = spec("again").await["identity"].clone();
        assert_eq!(
            identity,
            json!({"keys": [key('c')], "revokedKeys": [key('a'), key('b')]})
        );
    });
}

#[test]
fn deletions_that_wait_are_approved() {
    RUNTIME.block_on(async {
        let plane = shared().await;
        let client = plane.client();
        namespace(&client, "approve-plan").await;
        let digest = |letter: char| key(letter);
        let fleet = |plan: Value| {
            json!({
                "apiVersion": "fleet.nave.dev/v1alpha1", "kind": "FleetKustomization",
                "metadata": {"name": "apps", "namespace": "approve-plan"},
                "spec": {"source": {"ref": {"kind": "GitRepository", "name": "x"}}, "template": {"spec": {}},
                    "deletion": {"budget": {"objects": 1}}},
                "status": {"plan": plan},
            })
        };
        let held = json!({"digest": digest('a'), "deletes": 4, "cascades": 0, "clusters": 2});
        put(&client, "fleetkustomizations", fleet(held)).await;
        let line = "approve fleetkustomization/apps -n approve-plan";
        let other = on(plane, &format!("{line} --plan sha256:bb")).await.fails(1);
        assert!(
            other.contains("holds another plan by now") && other.contains("hint: "),
            "{other}"
        );
        let shown = on(plane, "describe fleet apps -n approve-plan").await.ok();
        assert!(
            shown.contains("nave approve fleetkustomization/apps -n approve-plan --plan sha256:aaaa"),
            "{shown}"
        );
        let told = on(plane, line).await;
        assert!(told.stderr.contains("4 deletions on 2 clusters"), "{}", told.stderr);
        told.ok();
        let fleets = api(
            &client,
            "fleet.nave.dev/v1alpha1",
            "FleetKustomization",
            "fleetkustomizations",
            "approve-plan",
        );
        let spec = fleets.get("apps").await.expect("a fleet object").data["spec"].clone();
        assert_eq!(
            spec["deletion"],
            json!({"policy": "Prune", "budget": {"objects": 1}, "approvedPlan": digest('a')})
        );
        assert!(
            on(plane, "approve eu-1 -n approve-plan --plan aa")
                .await
                .fails(1)
                .contains("--plan is of fleet objects")
        );
    });
}

#[test]
fn a_quarantined_cluster_is_released_with_a_token_of_its_own() {
    RUNTIME.block_on(async {
        let plane = shared().await;
        let client = plane.client();
        namespace(&client, "release").await;
        put(&client, "clusters", cluster("release", "eu-1", true, &[key('a')], &[])).await;
        let data = json!({"addresses": "hub.example.com:9443", "rootPin": key('7'), "hubUID": "h"});
        put(&client, "configmaps", info("release", data)).await;
        let line = "release eu-1 -n release --hub-namespace release";
        assert!(on(plane, line).await.fails(1).contains("say yes beforehand with --yes"));
        let printed = on(plane, &format!("{line} --yes")).await.ok();
        let token: nave_identity::JoinToken = printed.trim_end().parse().expect("one line, a token");
        let (_, name) = token.id.split_once('/').expect("namespace and name");
        let tokens = api(&client, "fleet.nave.dev/v1alpha1", "JoinToken", "jointokens", "release");
        let spec = tokens.get(name).await.expect("a JoinToken").data["spec"].clone();
        assert_eq!(
            (&spec["clusterUID"], &spec["cluster"]["name"]),
            (&json!("uid-1"), &json!("eu-1"))
        );
        assert_eq!(spec["cluster"]["labels"], json!({"env": "prod"}));
        let found = clusters(&client, "release").get("eu-1").await.expect("a cluster");
        assert_eq!(found.data["spec"]["identity"]["revokedKeys"], json!([key('a')]));
        assert_eq!(
            found.data["spec"]["identity"].get("keys").cloned().unwrap_or(json!([])),
            json!([])
        );
    });
}

/// Runs a line while `hub` does what a hub would.
async fn while_a_hub(plane: &Plane, line: &str, hub: impl Future<Output = ()>) -> Outcome {
    let (outcome, ()) = tokio::join!(on(plane, line), hub);
    outcome
}

/// Waits until HubState has an annotation.
async fn annotated(client: &Client, namespace: &str, annotation: &str) -> String {
    let states = api(client, "fleet.nave.dev/v1alpha1", "HubState", "hubstates", namespace);
    eventually(Duration::from_secs(60), annotation, || async {
        let found = states.get("hub").await?.annotations().get(annotation).cloned();
        found.ok_or_else(|| anyhow::anyhow!("it is not there"))
    })
    .await
    .expect("the command writes it")
}

#[test]
fn the_hub_is_asked_to_rotate_and_told_to_go_on() {
    RUNTIME.block_on(async {
        let plane = shared().await;
        let client = plane.client();
        namespace(&client, "rotate").await;
        put(&client, "hubstates", state("rotate")).await;
        let data = |pin: char, wish: &str| json!({"addresses": "a:1", "rootPin": key(pin), "rotatedFor": wish});
        put(&client, "configmaps", info("rotate", data('1', ""))).await;
        let line = "hub ca rotate --hub-namespace rotate --yes";
        let hub = async {
            let wish = annotated(&client, "rotate", "fleet.nave.dev/rotate-roots").await;
            put(&client, "configmaps", info("rotate", data('2', &wish))).await;
        };
        let told = while_a_hub(plane, line, hub).await;
        assert!(
            told.stderr.contains(&format!("the hub shows {}", key('2'))),
            "{}",
            told.stderr
        );
        told.ok();
        let error = on(plane, &format!("{line} --timeout 2s")).await.fails(1);
        assert!(error.contains("nave-hub-info said nothing within 2s"), "{error}");

        let line = "hub confirm --hub-namespace rotate --yes";
        let told = on(plane, line).await;
        assert!(told.stderr.contains("there is nothing to confirm"), "{}", told.stderr);
        told.ok();
        let message = "agent p/eu-1 has seen 2/9; to go on: annotate with fleet.nave.dev/confirm-incarnation=3";
        let mut behind = state("rotate");
        behind["status"] = json!({"conditions": [condition("Behind", "True", "AgentsSawMore", message)]});
        put(&client, "hubstates", behind.clone()).await;
        let hub = async {
            let confirmed = annotated(&client, "rotate", "fleet.nave.dev/confirm-incarnation").await;
            assert_eq!(confirmed, "3");
            behind["status"] = json!({"conditions": [condition("Behind", "False", "Confirmed", "")]});
            put(&client, "hubstates", behind.clone()).await;
        };
        let told = while_a_hub(plane, line, hub).await;
        assert!(
            told.stderr.contains("goes on as incarnation 3") && told.stderr.contains(message),
            "{}",
            told.stderr
        );
        told.ok();
    });
}

#[test]
fn a_hub_is_saved_and_made_again() {
    RUNTIME.block_on(async {
        let plane = Plane::start(PlaneOptions::named("cli-backup")).await.expect("a plane");
        let client = plane.client();
        install_definitions(&client).await;
        namespace(&client, "nave-system").await;
        namespace(&client, "platform").await;
        let secret = |namespace: &str, name: &str, text: &str| {
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "stringData": {"value": text}})
        };
        let files = Files::new(&[]);
        let file = files.path("hub.json");
        let backup = ["hub", "backup", "--out", file.as_str()];
        let run = async |line: &[&str]| nave(Some(plane.kubeconfig_path()), line).await;
        let error = run(&backup).await.fails(1);
        assert!(error.contains("Secret \"nave-hub-authority\" not found"), "{error}");

        put(&client, "secrets", secret("nave-system", "nave-hub-authority", "the keys")).await;
        put(&client, "hubstates", state("nave-system")).await;
        put(&client, "clusters", cluster("platform", "eu-1", true, &[key('a')], &[key('b')])).await;
        let by_kubeconfig = json!({
            "apiVersion": "fleet.nave.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "us-1", "namespace": "platform"},
            "spec": {"mode": "KubeConfig", "kubeConfig": {"secretRef": {"name": "us-1"}}},
        });
        put(&client, "secrets", secret("platform", "us-1", "a kubeconfig")).await;
        put(&client, "clusters", by_kubeconfig).await;
        let token = json!({
            "apiVersion": "fleet.nave.dev/v1alpha1", "kind": "JoinToken", "metadata": {"name": "t", "namespace": "platform"},
            "spec": {"hash": key('9'), "expiresAt": "2027-01-01T00:00:00Z", "uses": 1, "cluster": {"name": "eu-1"}},
            "status": {"used": [{"cluster": "eu-1", "keyFingerprint": key('a'), "time": "2026-11-21T07:00:00Z"}]},
        });
        put(&client, "jointokens", token).await;
        run(&backup).await.ok();
        let mode = std::fs::metadata(&file).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "it holds private keys");
        assert!(run(&backup).await.fails(1).contains("creating "), "nothing is overwritten");

        let restore = ["hub", "restore", file.as_str(), "--yes"];
        let error = run(&restore).await.fails(1);
        assert!(error.contains("6 of 6 objects exist already") && error.contains("--overwrite"), "{error}");
        let fleet = |kind: &str, plural: &str, namespace: &str| api(&client, "fleet.nave.dev/v1alpha1", kind, plural, namespace);
        let all = [
            (api(&client, "v1", "Secret", "secrets", "nave-system"), "nave-hub-authority"),
            (fleet("HubState", "hubstates", "nave-system"), "hub"),
            (api(&client, "v1", "Secret", "secrets", "platform"), "us-1"),
            (fleet("Cluster", "clusters", "platform"), "eu-1"),
            (fleet("Cluster", "clusters", "platform"), "us-1"),
            (fleet("JoinToken", "jointokens", "platform"), "t"),
        ];
        let mut before = Vec::new();
        for (api, name) in &all {
            before.push(api.get(name).await.expect("it was made").data);
            api.delete(name, &DeleteParams::default()).await.expect("deleted");
        }
        // One is left, and is another's.
        put(&client, "clusters", cluster("platform", "eu-1", true, &[key('f')], &[])).await;
        assert!(run(&restore).await.fails(1).contains("1 of 6 objects exist already: Cluster platform/eu-1"));
        run(&["hub", "restore", file.as_str(), "--yes", "--overwrite"]).await.ok();
        for ((api, name), before) in all.iter().zip(before) {
            let after = api.get(name).await.expect("it was restored").data;
            assert_eq!(after, before, "{name}");
        }

        // Not beside a hub that runs.
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "nave-hub", "namespace": "nave-system"},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": {
                "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "hub", "image": "hub"}]}}},
        });
        put(&client, "deployments", deployment).await;
        let error = run(&["hub", "restore", file.as_str(), "--yes", "--overwrite"]).await.fails(1);
        assert!(error.contains("the hub in nave-system namespace runs") && error.contains("--replicas 0"), "{error}");
    });
}
