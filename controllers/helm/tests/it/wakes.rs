//! What wakes a HelmRelease besides itself. Intervals are an hour, so that nothing else can.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use nave_bed::eventually;
use nave_crds::source::OCIRepository;
use nave_runtime::Conditions;
use nave_store::Owner;
use serde_json::{Value, json};

use crate::{
    charts::{archive, config, deployment},
    stage::{DEADLINE, Stage},
};

/// Makes a chart the artifact of the OCIRepository `charts`, looked at in this generation.
pub async fn push(stage: &Stage, tag: &str, version: &str, files: &[(&str, String)]) -> Result<String> {
    let owner = Owner::new("OCIRepository", &stage.namespace, "charts")?;
    let bytes = archive("shop", version, files)?;
    let name = format!("{tag}-{version}-{}.tar.gz", bytes.len());
    let stored = stage.store.put(&owner, &name, bytes).await?;
    let api: Api<OCIRepository> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let source = json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository", "metadata": {"name": "charts"},
        "spec": {"url": "oci://registry.example.com/charts/shop", "interval": "1h"}});
    let written = api
        .patch("charts", &PatchParams::apply("test").force(), &Patch::Apply(&source))
        .await?;
    let status = json!({"status": {"observedGeneration": written.metadata.generation, "artifact": {
        "path": stored.path, "url": stored.url, "digest": stored.digest.to_string(), "size": stored.size,
        "revision": format!("{tag}@{}", stored.digest), "lastUpdateTime": "2026-01-01T00:00:00Z"}}});
    api.patch_status("charts", &PatchParams::default(), &Patch::Merge(status))
        .await?;
    Ok(stored.digest.to_string())
}

fn with_digest(version: &str, digest: &str) -> Result<String> {
    let hex = digest.split_once(':').context("a digest")?.1;
    Ok(format!("{version}+{}", &hex[..12]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chart_of_a_registry_that_changes_is_released_at_once() -> Result<()> {
    let stage = Stage::start("oci").await?;
    stage
        .apply(json!({"chartRef": {"kind": "OCIRepository", "name": "charts"}}))
        .await?;
    let first = push(&stage, "latest", "1.0.0", &[("templates/a.yaml", config("a", "1", ""))]).await?;
    let status = stage.ready(&with_digest("1.0.0", &first)?).await?;
    assert_eq!(status.last_attempted_revision_digest, first);
    assert_eq!(status.history[0].oci_digest, first);
    // The same version was pushed again with other content.
    let second = push(&stage, "latest", "1.0.0", &[("templates/a.yaml", config("a", "2", ""))]).await?;
    ensure!(first != second, "the content is another one");
    stage.ready(&with_digest("1.0.0", &second)?).await?;
    assert_eq!(stage.value("a").await?.as_deref(), Some("2"));
    // A tag that says another version than the chart is refused, and the release stays.
    push(&stage, "3.0.0", "1.0.1", &[("templates/a.yaml", config("a", "3", ""))]).await?;
    let status = stage.condition("Ready", "False", "ChartMutateError").await?;
    let ready = status.conditions.get_condition("Ready").context("it is reported")?;
    assert!(
        ready.message.contains("does not match chart version 1.0.1"),
        "{}",
        ready.message
    );
    assert_eq!(stage.value("a").await?.as_deref(), Some("2"));
    stage.stop().await
}

async fn newest_values(stage: &Stage, wanted: &str) -> Result<()> {
    eventually(DEADLINE, &format!("{wanted} is released"), || async {
        let stored = stage.stored().await?;
        let newest = stored.last().context("nothing is stored")?;
        let found = nave_release::to_go_json(&newest.config);
        ensure!(found == wanted && newest.status().as_str() == "deployed", "{found}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_are_followed_though_no_label_asks_for_it() -> Result<()> {
    let stage = Stage::start("unlabelled").await?;
    stage
        .publish("1.0.0", &[("templates/a.yaml", config("a", "1", ""))])
        .await?;
    let maps: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let parameters = PatchParams::apply("test").force();
    let map = |text: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "plain"}, "data": {"values.yaml": text}});
    let secret = |text: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "plain"}, "stringData": {"values.yaml": text}});
    maps.patch("plain", &parameters, &Patch::Apply(&map("a: 1"))).await?;
    secrets
        .patch("plain", &parameters, &Patch::Apply(&secret("b: 1")))
        .await?;
    let from = json!([{"kind": "ConfigMap", "name": "plain"}, {"kind": "Secret", "name": "plain"}]);
    stage.apply(json!({"valuesFrom": from})).await?;
    stage.ready("1.0.0").await?;
    maps.patch("plain", &parameters, &Patch::Apply(&map("a: 2"))).await?;
    newest_values(&stage, r#"{"a":2,"b":1}"#).await?;
    secrets
        .patch("plain", &parameters, &Patch::Apply(&secret("b: 2")))
        .await?;
    newest_values(&stage, r#"{"a":2,"b":2}"#).await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_value_ends_the_wait_for_an_old_one() -> Result<()> {
    let stage = Stage::start("pre-value").await?;
    let slow = deployment("web", "bed.nave.dev/ready-after: \"{{ .Values.after }}\"");
    stage.publish("1.0.0", &[("templates/web.yaml", slow)]).await?;
    // The timeout is longer than the test would wait.
    stage
        .apply(json!({"timeout": "30m", "values": {"after": "1h"}}))
        .await?;
    eventually(DEADLINE, "the first version is being installed", || async {
        let versions = stage.versions().await?;
        ensure!(versions == ["1:pending-install"], "{versions:?}");
        Ok(())
    })
    .await?;
    stage
        .apply(json!({"timeout": "30m", "values": {"after": "0s"}}))
        .await?;
    stage.ready("1.0.0").await?;
    newest_values(&stage, r#"{"after":"0s"}"#).await?;
    stage.told("HealthCheckCanceled").await?;
    stage.stop().await
}

/// Waits until the Ready condition of a HelmRelease has this reason.
async fn becomes(stage: &Stage, name: &str, wanted: &str) -> Result<()> {
    eventually(DEADLINE, &format!("{name} is {wanted}"), || async {
        let status = stage.releases().get(name).await?.status.unwrap_or_default();
        let found = status.conditions.reason_of("Ready").unwrap_or_default();
        ensure!(found == wanted, "{found}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn releases_come_in_the_order_of_their_expressions() -> Result<()> {
    let stage = Stage::start("order").await?;
    stage
        .publish("1.0.0", &[("templates/a.yaml", config("{{ .Release.Name }}", "1", ""))])
        .await?;
    let waits = |on: &str, expression: &str| -> Value { json!({"dependsOn": [{"name": on, "readyExpr": expression}]}) };
    // Ready alone would let the third one begin with the second.
    let gate = "dep.status.history[0].version >= int(self.metadata.annotations['wants'])";
    stage.apply_named("third", waits("second", gate)).await?;
    let note = json!({"metadata": {"annotations": {"wants": "2"}}});
    let releases = stage.releases();
    releases
        .patch("third", &PatchParams::default(), &Patch::Merge(note))
        .await?;
    stage
        .apply_named("second", json!({"dependsOn": [{"name": "first"}]}))
        .await?;
    becomes(&stage, "second", "DependencyNotReady").await?;
    becomes(&stage, "third", "DependencyNotReady").await?;
    stage.apply_named("first", json!({})).await?;
    becomes(&stage, "second", "InstallSucceeded").await?;
    becomes(&stage, "third", "DependencyNotReady").await?;
    assert!(stage.config("third").await?.is_none(), "it has to wait for version 2");
    stage
        .apply_named(
            "second",
            json!({"dependsOn": [{"name": "first"}], "values": {"again": true}}),
        )
        .await?;
    becomes(&stage, "third", "InstallSucceeded").await?;
    // An expression that is none is said, and not tried again.
    stage.apply_named("fourth", waits("first", "dep.")).await?;
    becomes(&stage, "fourth", "InvalidCELExpression").await?;
    // Two that wait for each other are told so.
    stage
        .apply_named("left", json!({"dependsOn": [{"name": "right"}]}))
        .await?;
    stage
        .apply_named("right", json!({"dependsOn": [{"name": "left"}]}))
        .await?;
    let ns = &stage.namespace;
    let way = format!("dependencies wait for each other: {ns}/right -> {ns}/left -> {ns}/right");
    eventually(DEADLINE, "the cycle is named", || async {
        let status = stage.releases().get("right").await?.status.unwrap_or_default();
        let ready = status.conditions.get_condition("Ready").context("no condition")?;
        ensure!(ready.message == way, "{}", ready.message);
        Ok(())
    })
    .await?;
    stage.stop().await
}
