//! Values from elsewhere, dependencies, and changes of the rendered text.

use anyhow::{Result, ensure};
use kube::api::{Patch, PatchParams};
use nave_bed::eventually;
use serde_json::json;

use crate::{
    charts::config,
    stage::{DEADLINE, Stage},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_a_watched_config_map_are_a_new_version_when_they_change() -> Result<()> {
    let stage = Stage::start("values").await?;
    stage
        .publish("1.0.0", &[("templates/a.yaml", config("a", "1", ""))])
        .await?;
    stage
        .apply(json!({"valuesFrom": [{"kind": "ConfigMap", "name": "more"}], "values": {"own": true}}))
        .await?;
    let status = stage.condition("Ready", "False", "ValuesError").await?;
    ensure!(
        format!("{status:?}").contains("could not resolve ConfigMap chart values reference"),
        "{status:?}"
    );
    stage.set_config("more", "values.yaml", "a: {b: 1}\nown: false").await?;
    stage.ready("1.0.0").await?;
    stage.set_config("more", "values.yaml", "a: {b: 2}").await?;
    eventually(DEADLINE, "the new values are released", || async {
        let stored = stage.stored().await?;
        let newest = stored.last().map(|release| nave_release::to_go_json(&release.config));
        ensure!(newest.as_deref() == Some(r#"{"a":{"b":2},"own":true}"#), "{newest:?}");
        ensure!(
            stage.versions().await? == ["1:superseded", "2:deployed"],
            "{:?}",
            stage.versions().await?
        );
        Ok(())
    })
    .await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_rendered_is_patched_and_labelled() -> Result<()> {
    let stage = Stage::start("render").await?;
    stage
        .publish("1.0.0", &[("templates/a.yaml", config("a", "1", ""))])
        .await?;
    let patch = "- op: replace\n  path: /data/value\n  value: patched";
    stage
        .apply(
            json!({"postRenderers": [{"kustomize": {"patches": [{"patch": patch, "target": {"kind": "ConfigMap"}}]}}]}),
        )
        .await?;
    stage.ready("1.0.0").await?;
    assert_eq!(stage.value("a").await?.as_deref(), Some("patched"));
    stage
        .apply(json!({"commonMetadata": {"labels": {"team": "green"}}}))
        .await?;
    eventually(DEADLINE, "the new settings are released", || async {
        ensure!(stage.value("a").await?.as_deref() == Some("1"), "it is still patched");
        let labels = stage
            .config("a")
            .await?
            .and_then(|found| found.metadata.labels)
            .unwrap_or_default();
        ensure!(labels.get("team").map(String::as_str) == Some("green"), "{labels:?}");
        ensure!(
            stage.versions().await? == ["1:superseded", "2:deployed"],
            "{:?}",
            stage.versions().await?
        );
        Ok(())
    })
    .await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_waits_for_its_dependencies() -> Result<()> {
    let stage = Stage::start("depends").await?;
    stage
        .publish("1.0.0", &[("templates/a.yaml", config("a", "1", ""))])
        .await?;
    stage.apply(json!({"dependsOn": [{"name": "base"}]})).await?;
    stage.condition("Ready", "False", "DependencyNotReady").await?;
    let base = json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "metadata": {"name": "base"},
        "spec": {"interval": "1h", "targetNamespace": stage.namespace, "chartRef": {"kind": "ExternalArtifact", "name": "source"},
            "install": {"disableTakeOwnership": true}}});
    stage
        .releases()
        .patch("base", &PatchParams::apply("test"), &Patch::Apply(&base))
        .await?;
    stage.ready("1.0.0").await?;
    stage.stop().await
}
