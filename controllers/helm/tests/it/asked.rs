//! What users of other controllers asked for: each was an issue somewhere.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use nave_bed::eventually;
use nave_runtime::Conditions;
use serde_json::json;

use crate::{
    charts::{config, deployment},
    stage::{DEADLINE, Stage},
};

/// A release that was given up ignored values that came later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_was_given_up_is_tried_again_with_new_values() -> Result<()> {
    let stage = Stage::start("given-up").await?;
    let after = "bed.nave.dev/ready-after: \"{{ .Values.after }}\"";
    stage
        .publish("1.0.0", &[("templates/web.yaml", deployment("web", after))])
        .await?;
    stage.set_config("more", "values.yaml", "after: 1h").await?;
    stage
        .apply(json!({"install": {"timeout": "1s"}, "valuesFrom": [{"kind": "ConfigMap", "name": "more"}]}))
        .await?;
    stage.condition("Stalled", "True", "RetriesExceeded").await?;
    stage.set_config("more", "values.yaml", "after: 0s").await?;
    let status = stage.ready("1.0.0").await?;
    assert!(status.conditions.get_condition("Stalled").is_none(), "{status:?}");
    assert_eq!((status.failures, status.install_failures), (0, 0));
    assert_eq!(stage.versions().await?, ["1:failed", "2:deployed"]);
    stage.stop().await
}

/// Text that stood for a secret in a message was written into the cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_that_drifted_are_put_right_and_told_nowhere() -> Result<()> {
    const ENCODED: &str = "cDRzc3cwcmQ=";
    let stage = Stage::start("masked").await?;
    let secret = format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\ndata:\n  password: {ENCODED}\n");
    let files = [
        ("templates/s.yaml", secret),
        ("templates/a.yaml", config("a", "p4ssw0rd", "")),
    ];
    stage.publish("1.0.0", &files).await?;
    stage.apply(json!({"driftDetection": {"mode": "enabled"}})).await?;
    stage.ready("1.0.0").await?;
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let configs: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let change = Patch::Merge(json!({"stringData": {"password": "h1jacked"}}));
    secrets.patch("s", &PatchParams::default(), &change).await?;
    let change = Patch::Merge(json!({"data": {"value": "other"}}));
    configs.patch("a", &PatchParams::default(), &change).await?;
    stage.request("look", &[]).await?;
    let found = serde_json::to_value(secrets.get("s").await?.data)?;
    assert_eq!(found, json!({"password": ENCODED}));
    assert_eq!(stage.value("a").await?.as_deref(), Some("p4ssw0rd"));
    stage.told("DriftCorrected").await?;
    let events = eventually(DEADLINE, "the events", || async {
        let events = stage.events().await?;
        let corrected = events.iter().find(|event| event.starts_with("DriftCorrected"));
        let corrected = corrected.context("nothing is corrected")?;
        ensure!(corrected.contains("data.password"), "{corrected}");
        Ok(events)
    })
    .await?;
    let told = format!("{events:?} {:?}", stage.status().await?);
    for text in ["p4ssw0rd", ENCODED, "h1jacked", "aDFqYWNrZWQ="] {
        assert!(!told.contains(text), "{text} is told: {told}");
    }
    stage.stop().await
}
