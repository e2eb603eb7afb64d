//! How objects are applied, taken over and waited for, where the spec says something else than the default.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use nave_bed::eventually;
use nave_runtime::Conditions;
use serde_json::{Value, json};

use crate::{
    charts::{config, deployment},
    stage::{DEADLINE, Stage},
};

fn pair(first: &str, second: &str) -> String {
    let lines = format!("data:\n  value: \"{first}\"\n{second}");
    config("a", "x", "").replace("data:\n  value: \"x\"\n", &lines)
}

/// `<manager>:<operation>` of everybody who wrote an object.
async fn managers(stage: &Stage, name: &str) -> Result<Vec<String>> {
    let found = stage.config(name).await?.context("it is there")?;
    let entries = found.metadata.managed_fields.unwrap_or_default();
    let mut list: Vec<String> = entries
        .into_iter()
        .map(|entry| {
            format!(
                "{}:{}",
                entry.manager.unwrap_or_default(),
                entry.operation.unwrap_or_default()
            )
        })
        .collect();
    list.sort();
    Ok(list)
}

async fn by_hand(stage: &Stage, change: Value) -> Result<ConfigMap> {
    let api: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let parameters = PatchParams {
        field_manager: Some("hand".to_owned()),
        ..PatchParams::default()
    };
    Ok(api.patch("a", &parameters, &Patch::Merge(change)).await?)
}

async fn applied(stage: &Stage) -> Result<Vec<String>> {
    let stored = stage.stored().await?;
    stored
        .iter()
        .map(|release| {
            Ok(serde_json::to_value(release.apply_method)?
                .as_str()
                .unwrap_or("none")
                .to_owned())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_side_release_merges_three_versions_until_the_server_takes_over() -> Result<()> {
    let stage = Stage::start("client-side").await?;
    stage
        .publish("1.0.0", &[("templates/a.yaml", pair("1", "  gone: \"1\"\n"))])
        .await?;
    stage.apply(json!({"install": {"serverSideApply": false}})).await?;
    stage.ready("1.0.0").await?;
    assert_eq!(managers(&stage, "a").await?, ["helm-controller:Update"]);
    let uid = by_hand(&stage, json!({"data": {"mine": "kept", "value": "overwritten"}}))
        .await?
        .metadata
        .uid;

    // Nothing is said about upgrades: they go on as before.
    stage
        .publish("2.0.0", &[("templates/a.yaml", pair("2", "  new: \"1\"\n"))])
        .await?;
    stage.ready("2.0.0").await?;
    let found = stage.config("a").await?.context("it is there")?;
    let data = found.data.context("it has data")?;
    assert_eq!(
        serde_json::to_value(&data)?,
        json!({"mine": "kept", "new": "1", "value": "2"})
    );
    assert_eq!(found.metadata.uid, uid);
    assert_eq!(applied(&stage).await?, ["csa", "csa"]);

    // The server takes over: what the merges wrote is owned by the apply, so that it goes with the chart.
    stage
        .apply(json!({"install": {"serverSideApply": false}, "upgrade": {"serverSideApply": "enabled"}}))
        .await?;
    stage.publish("3.0.0", &[("templates/a.yaml", pair("3", ""))]).await?;
    stage.ready("3.0.0").await?;
    let data = stage
        .config("a")
        .await?
        .context("it is there")?
        .data
        .context("it has data")?;
    assert_eq!(serde_json::to_value(&data)?, json!({"mine": "kept", "value": "3"}));
    assert_eq!(managers(&stage, "a").await?, ["hand:Update", "helm-controller:Apply"]);
    assert_eq!(applied(&stage).await?.last().map(String::as_str), Some("ssa"));
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_force_an_object_becomes_the_manifest() -> Result<()> {
    let stage = Stage::start("force").await?;
    stage.publish("1.0.0", &[("templates/a.yaml", pair("1", ""))]).await?;
    let spec = json!({"install": {"serverSideApply": false}, "upgrade": {"force": true}});
    stage.apply(spec).await?;
    stage.ready("1.0.0").await?;
    let uid = by_hand(&stage, json!({"data": {"mine": "lost"}})).await?.metadata.uid;
    stage.publish("2.0.0", &[("templates/a.yaml", pair("2", ""))]).await?;
    stage.ready("2.0.0").await?;
    let found = stage.config("a").await?.context("it is there")?;
    assert_eq!(serde_json::to_value(found.data)?, json!({"value": "2"}));
    assert_eq!(found.metadata.uid, uid, "it is replaced and not made anew");
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_belongs_to_nobody_is_taken_over_unless_that_is_forbidden() -> Result<()> {
    let stage = Stage::start("ownership").await?;
    let api: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let theirs = serde_json::from_value(json!({"metadata": {"name": "a"}, "data": {"value": "theirs", "more": "1"}}))?;
    let uid = api.create(&PostParams::default(), &theirs).await?.metadata.uid;
    stage
        .publish("1.0.0", &[("templates/a.yaml", config("a", "1", ""))])
        .await?;
    for method in [true, false] {
        let install = json!({"serverSideApply": method, "disableTakeOwnership": true});
        stage.apply(json!({"install": install})).await?;
        let status = stage.condition("Released", "False", "InstallFailed").await?;
        let released = status.conditions.get_condition("Released").context("it was tried")?;
        assert!(
            released.message.contains("cannot be imported into the current release")
                && released.message.contains("app.kubernetes.io/managed-by"),
            "{}",
            released.message
        );
        assert_eq!(stage.value("a").await?.as_deref(), Some("theirs"));
    }
    stage.apply(json!({"install": {"serverSideApply": false}})).await?;
    stage.ready("1.0.0").await?;
    let found = stage.config("a").await?.context("it is there")?;
    assert_eq!(serde_json::to_value(found.data)?, json!({"more": "1", "value": "1"}));
    assert_eq!(found.metadata.uid, uid);
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_whose_history_was_kept_is_used_again_where_that_is_asked_for() -> Result<()> {
    let stage = Stage::start("replace").await?;
    stage
        .publish("1.0.0", &[("templates/a.yaml", config("a", "1", ""))])
        .await?;
    let keep = json!({"uninstall": {"keepHistory": true}});
    stage.apply(keep.clone()).await?;
    stage.ready("1.0.0").await?;
    stage.delete().await?;
    assert_eq!(stage.versions().await?, ["1:uninstalled"]);
    assert_eq!(stage.value("a").await?, None);

    stage.apply(keep).await?;
    let status = stage.condition("Released", "False", "InstallFailed").await?;
    let released = status.conditions.get_condition("Released").context("it was tried")?;
    assert!(
        released.message.contains("cannot reuse a name that is still in use"),
        "{}",
        released.message
    );
    assert_eq!(stage.versions().await?, ["1:uninstalled"]);
    stage.apply(json!({"install": {"replace": true}})).await?;
    stage.ready("1.0.0").await?;
    assert_eq!(stage.versions().await?, ["1:superseded", "2:deployed"]);
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_helm_3_waits_for_is_waited_for() -> Result<()> {
    let stage = Stage::start("legacy").await?;
    let balanced =
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: out\nspec:\n  type: LoadBalancer\n  ports: [{port: 80}]\n";
    let files = [
        ("templates/web.yaml", deployment("web", "")),
        ("templates/out.yaml", balanced.to_owned()),
    ];
    stage.publish("1.0.0", &files).await?;
    let legacy = json!({"waitStrategy": {"name": "legacy"}, "install": {"timeout": "2s"}});
    stage.apply(legacy.clone()).await?;
    let status = stage.condition("Released", "False", "InstallFailed").await?;
    let released = status.conditions.get_condition("Released").context("it was tried")?;
    assert!(
        released
            .message
            .contains("Service does not have load balancer ingress IP address"),
        "{}",
        released.message
    );
    stage
        .publish("1.0.1", &[("templates/web.yaml", deployment("web", ""))])
        .await?;
    stage.apply(json!({"waitStrategy": {"name": "legacy"}})).await?;
    stage.ready("1.0.1").await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uninstalling_deletes_as_it_is_told() -> Result<()> {
    let stage = Stage::start("propagation").await?;
    stage
        .publish("1.0.0", &[("templates/web.yaml", deployment("web", ""))])
        .await?;
    stage
        .apply(json!({"uninstall": {"deletionPropagation": "orphan"}}))
        .await?;
    stage.ready("1.0.0").await?;
    let sets: Api<k8s_openapi::api::apps::v1::ReplicaSet> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let before = eventually(DEADLINE, "the Deployment has a ReplicaSet", || async {
        let list = sets.list(&Default::default()).await?;
        list.items
            .first()
            .and_then(|set| set.metadata.uid.clone())
            .context("none")
    })
    .await?;
    stage.delete().await?;
    let list = sets.list(&Default::default()).await?;
    let left = list.items.first().context("it is an orphan now")?;
    assert_eq!(left.metadata.uid.as_ref(), Some(&before));
    eventually(DEADLINE, "nobody owns it", || async {
        let found = sets.list(&Default::default()).await?;
        let owners = found
            .items
            .first()
            .and_then(|set| set.metadata.owner_references.clone());
        ensure!(owners.unwrap_or_default().is_empty(), "it is owned");
        Ok(())
    })
    .await?;
    sets.delete_collection(&DeleteParams::default(), &Default::default())
        .await?;
    stage.stop().await
}
