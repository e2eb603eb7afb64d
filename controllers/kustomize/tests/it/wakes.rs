//! What wakes a Kustomization besides itself and its GitRepository. Intervals are an hour, so nothing else can.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use nave_bed::eventually;
use serde_json::{Value, json};

use crate::stage::{DEADLINE, Stage, config};

async fn value_becomes(stage: &Stage, name: &str, value: &str) -> Result<()> {
    eventually(DEADLINE, &format!("{name} says {value}"), || async {
        let found = stage.config(name).await?.context("it is there")?;
        ensure!(found["value"] == value, "{found:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_external_artifact_is_a_source_like_any_other() -> Result<()> {
    let stage = Stage::start("external").await?;
    let ns = stage.namespace.clone();
    let reference = json!({"sourceRef": {"kind": "ExternalArtifact", "name": "parts"}});
    stage.apply("app", reference).await?;
    let message = stage.failed("app", "ArtifactFailed").await?;
    assert!(
        message.contains("ExternalArtifact") && message.contains("parts"),
        "{message}"
    );
    for (revision, value) in [("1", "one"), ("2", "two")] {
        stage
            .publish_external("parts", revision, &[("app/a.yaml", config(&ns, "a", value))])
            .await?;
        value_becomes(&stage, "a", value).await?;
        stage.ready("app", revision).await?;
    }
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_artifact_of_a_registry_is_a_source_like_any_other() -> Result<()> {
    let stage = Stage::start("oci").await?;
    let ns = stage.namespace.clone();
    let reference = json!({"sourceRef": {"kind": "OCIRepository", "name": "parts"}});
    stage.apply("app", reference).await?;
    let message = stage.failed("app", "ArtifactFailed").await?;
    assert!(
        message.contains("OCIRepository") && message.contains("parts"),
        "{message}"
    );
    for (revision, value) in [("1", "one"), ("2", "two")] {
        stage
            .publish_oci("parts", revision, &[("app/a.yaml", config(&ns, "a", value))])
            .await?;
        value_becomes(&stage, "a", value).await?;
        stage.ready("app", revision).await?;
    }
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_artifact_of_a_bucket_is_a_source_like_any_other() -> Result<()> {
    let stage = Stage::start("bucket").await?;
    let ns = stage.namespace.clone();
    stage
        .publish_bucket("parts", "1", &[("app/a.yaml", config(&ns, "a", "one"))])
        .await?;
    // Both intervals are an hour: only the change of the Bucket wakes it.
    stage
        .apply("app", json!({"sourceRef": {"kind": "Bucket", "name": "parts"}}))
        .await?;
    stage.ready("app", "1").await?;
    stage
        .publish_bucket("parts", "2", &[("app/a.yaml", config(&ns, "a", "two"))])
        .await?;
    value_becomes(&stage, "a", "two").await?;
    stage.ready("app", "2").await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variables_are_followed_where_the_label_asks_for_it() -> Result<()> {
    let stage = Stage::start("variables").await?;
    let ns = stage.namespace.clone();
    let api: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &ns);
    let variables = |name: &str, labels: Value, value: &str| {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels},
            "data": {name: value}});
        let (api, name) = (api.clone(), name.to_owned());
        async move {
            let parameters = PatchParams::apply("test").force();
            api.patch(&name, &parameters, &Patch::Apply(&object)).await
        }
    };
    let watched = json!({"reconcile.fluxcd.io/watch": "Enabled"});
    variables("followed", watched.clone(), "1").await?;
    variables("plain", json!({}), "1").await?;
    stage
        .publish("1", &[("app/a.yaml", config(&ns, "a", "${followed}-${plain}"))])
        .await?;
    let from = json!([{"kind": "ConfigMap", "name": "followed"}, {"kind": "ConfigMap", "name": "plain"}]);
    stage
        .apply("app", json!({"postBuild": {"substituteFrom": from}}))
        .await?;
    stage.ready("app", "1").await?;
    value_becomes(&stage, "a", "1-1").await?;
    // Only the second change wakes; it brings the first one along.
    variables("plain", json!({}), "2").await?;
    variables("followed", watched, "2").await?;
    value_becomes(&stage, "a", "2-2").await?;
    // The status follows what was applied: two reconciles are waited for, and a third is one too many.
    eventually(DEADLINE, "one for the revision and one for the label", || async {
        let history = stage.status("app").await?.history;
        let total: i64 = history.iter().map(|entry| entry.total_reconciliations).sum();
        ensure!(total >= 2, "{history:?}");
        assert_eq!(total, 2, "one for the revision and one for the label: {history:?}");
        Ok(())
    })
    .await?;
    stage.stop().await
}
