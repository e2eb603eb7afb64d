//! `spec.ignore`: fields that others may change.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use nave_bed::eventually;
use serde_json::json;

use crate::stage::{DEADLINE, Stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_ignored_stays_as_others_made_it() -> Result<()> {
    let stage = Stage::start("ignored").await?;
    let ns = stage.namespace.clone();
    let manifest = |ours: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a, namespace: {ns}}}\ndata: {{ours: '{ours}', theirs: '1'}}\n"
        )
    };
    stage.publish("1", &[("app/a.yaml", manifest("1"))]).await?;
    let rules = json!([{"paths": ["/data/theirs"], "target": {"kind": "ConfigMap", "name": "a"}}]);
    stage.apply("app", json!({"interval": "1s", "ignore": rules})).await?;
    stage.ready("app", "1").await?;
    let api: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &ns);
    let both_changed = json!({"data": {"ours": "drift", "theirs": "drift"}});
    api.patch("a", &PatchParams::default(), &Patch::Merge(both_changed))
        .await?;
    let is = |ours: &'static str| {
        let stage = &stage;
        async move {
            let found = stage.config("a").await?.context("it is there")?;
            ensure!(found["ours"] == ours && found["theirs"] == "drift", "{found:?}");
            Ok(())
        }
    };
    eventually(DEADLINE, "only our field is corrected", || is("1")).await?;
    stage.publish("2", &[("app/a.yaml", manifest("2"))]).await?;
    eventually(DEADLINE, "a revision leaves it too", || is("2")).await?;

    let version = api.get("a").await?.metadata.resource_version;
    api.patch(
        "a",
        &PatchParams::default(),
        &Patch::Merge(json!({"data": {"theirs": "other"}})),
    )
    .await?;
    let changed = api.get("a").await?.metadata.resource_version;
    assert_ne!(version, changed);
    let before = stage.status("app").await?.history[0].total_reconciliations;
    eventually(DEADLINE, "two more rounds", || async {
        let now = stage.status("app").await?.history[0].total_reconciliations;
        ensure!(now >= before + 2, "{now}");
        Ok(())
    })
    .await?;
    assert_eq!(
        api.get("a").await?.metadata.resource_version,
        changed,
        "nothing was written"
    );

    stage
        .apply("app", json!({"ignore": [{"paths": ["data/theirs"]}]}))
        .await?;
    let message = stage.failed("app", "BuildFailed").await?;
    assert!(message.contains("spec.ignore[0].paths[0]"), "{message}");
    stage.stop().await
}
