//! Releases that Helm itself made are taken over.

use std::path::Path;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, api::PostParams};
use nave_release::{decode, encode};
use serde_json::{Value, json};

use crate::{charts::config, stage::Stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_helm_made_is_upgraded_in_place() -> Result<()> {
    let stage = Stage::start("adoption").await?;
    // What Helm's own libraries stored after an installation and an upgrade of a chart with the ConfigMap `shop`.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../engine/release/tests/records.json");
    let steps: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let steps = steps.as_array().context("a list")?;
    let step = steps
        .iter()
        .find(|step| step["step"] == "upgrade")
        .context("it was recorded")?;
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let configs: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &stage.namespace);
    for record in step["records"].as_array().context("a list")? {
        let mut release = decode(record["release"].as_str().context("a text")?.as_bytes())?;
        release.namespace.clone_from(&stage.namespace);
        let secret = json!({"metadata": {"name": record["secret"], "labels": record["labels"]}, "type": record["type"],
            "stringData": {"release": encode(&release)}});
        secrets
            .create(&PostParams::default(), &serde_json::from_value(secret)?)
            .await?;
    }
    let owned = json!({"metadata": {"name": "shop", "labels": {"app.kubernetes.io/managed-by": "Helm"},
        "annotations": {"meta.helm.sh/release-name": "shop", "meta.helm.sh/release-namespace": stage.namespace}}});
    configs
        .create(&PostParams::default(), &serde_json::from_value(owned)?)
        .await?;

    stage
        .publish("2.0.0", &[("templates/a.yaml", config("a", "1", ""))])
        .await?;
    stage.apply(json!({})).await?;
    let status = stage.ready("2.0.0").await?;
    assert_eq!(stage.versions().await?, ["1:superseded", "2:superseded", "3:deployed"]);
    assert_eq!(status.history.len(), 1, "only what it made itself is remembered");
    let stored = stage.stored().await?;
    let first = |at: usize| stored[at].info.clone().map(|info| info.first_deployed);
    assert_eq!(first(2), first(0), "the release is as old as before");
    assert!(
        stage.config("shop").await?.is_none(),
        "what is not in the new chart is deleted"
    );
    assert_eq!(stage.value("a").await?.as_deref(), Some("1"));

    // Somebody changes the record: it is not ours any more, and is upgraded over.
    let name = "sh.helm.release.v1.shop.v3";
    let mut secret = secrets.get(name).await?;
    let mut release = decode(&secret.data.take().context("data")?["release"].0)?;
    release.config.insert("by".to_owned(), json!("hand"));
    secret.string_data = Some([("release".to_owned(), encode(&release))].into());
    secrets.replace(name, &PostParams::default(), &secret).await?;
    stage.request("look", &[]).await?;
    assert_eq!(
        stage.versions().await?,
        ["1:superseded", "2:superseded", "3:superseded", "4:deployed"]
    );
    stage.stop().await
}
