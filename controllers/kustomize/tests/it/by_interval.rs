//! What others do to objects between two full checks is seen by interval, without asking for every object.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{core::v1::ConfigMap, networking::v1::NetworkPolicy};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use nave_bed::eventually;
use serde_json::{Value, json};

use crate::stage::{DEADLINE, Setup, Stage, config};

/// A reconciler whose checks by interval are all light ones.
async fn only_light_checks(test: &str) -> Result<Stage> {
    let mut setup = Setup::default();
    setup.options.full_check_every = u32::MAX;
    Stage::start_with(test, setup).await
}

/// Waits until the reconciler has checked by interval for a while, and the watches are current.
async fn at_rest(stage: &Stage, name: &str) -> Result<()> {
    let count = || {
        let shown = stage.metrics();
        let series = format!("gotk_reconcile_duration_seconds_count{{kind=\"Kustomization\",name=\"{name}\"");
        let line = shown.lines().find(|line| line.starts_with(&series));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let before = count();
    eventually(DEADLINE, "some checks by interval", || async {
        ensure!(count() >= before + 4, "not yet");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_was_left_alone_is_taken_up_again() -> Result<()> {
    let stage = only_light_checks("left-alone").await?;
    let ns = stage.namespace.clone();
    let once = config(&ns, "once", "1").replace(
        "metadata:\n",
        "metadata:\n  annotations: {kustomize.toolkit.fluxcd.io/ssa: IfNotPresent}\n",
    );
    let files = |version: &str| {
        [
            ("app/a.yaml", config(&ns, "a", version)),
            ("app/once.yaml", once.clone()),
        ]
    };
    stage.publish("1", &files("1")).await?;
    stage.apply("app", json!({"interval": "1s"})).await?;
    stage.ready("app", "1").await?;
    let api: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &ns);
    let alone = |value: Value| json!({"metadata": {"annotations": {"kustomize.toolkit.fluxcd.io/reconcile": value}}});
    // By somebody whose fields are not taken over.
    let parameters = PatchParams {
        field_manager: Some("dashboard".to_owned()),
        ..PatchParams::default()
    };
    api.patch("a", &parameters, &Patch::Merge(alone(json!("disabled"))))
        .await?;
    stage.publish("2", &files("2")).await?;
    stage.ready("app", "2").await?;
    assert_eq!(stage.config("a").await?.context("it is there")?["value"], "1");
    at_rest(&stage, "app").await?;

    api.patch("a", &parameters, &Patch::Merge(alone(Value::Null))).await?;
    eventually(DEADLINE, "it is applied again", || async {
        let data = stage.config("a").await?.context("it is there")?;
        ensure!(data["value"] == "2", "{data:?}");
        Ok(())
    })
    .await?;
    at_rest(&stage, "app").await?;
    api.delete("once", &DeleteParams::default()).await?;
    eventually(
        DEADLINE,
        "what is applied if it is not present is made again",
        || async { stage.config("once").await?.context("it is not there") },
    )
    .await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_of_somebody_else_is_made_when_it_is_gone_and_applied_when_it_may_be() -> Result<()> {
    let stage = only_light_checks("foreign").await?;
    let ns = stage.namespace.clone();
    let api: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &ns);
    let alone = json!({"kustomize.toolkit.fluxcd.io/reconcile": "disabled"});
    for (name, annotations) in [("once", json!({})), ("locked", alone)] {
        let theirs = json!({"metadata": {"name": name, "annotations": annotations}, "data": {"value": "theirs"}});
        api.create(&PostParams::default(), &serde_json::from_value(theirs)?)
            .await?;
    }
    let once = config(&ns, "once", "ours").replace(
        "metadata:\n",
        "metadata:\n  annotations: {kustomize.toolkit.fluxcd.io/ssa: IfNotPresent}\n",
    );
    let files = [("app/o.yaml", once), ("app/l.yaml", config(&ns, "locked", "ours"))];
    stage.publish("1", &files).await?;
    stage.apply("app", json!({"interval": "1s"})).await?;
    stage.ready("app", "1").await?;
    at_rest(&stage, "app").await?;
    for name in ["once", "locked"] {
        assert_eq!(
            stage.config(name).await?.context("it is there")?["value"],
            "theirs",
            "{name}"
        );
    }
    let unlock = json!({"metadata": {"annotations": {"kustomize.toolkit.fluxcd.io/reconcile": null}}});
    api.patch("locked", &PatchParams::default(), &Patch::Merge(unlock))
        .await?;
    eventually(DEADLINE, "it is applied", || async {
        let data = stage.config("locked").await?.context("it is there")?;
        ensure!(data["value"] == "ours", "{data:?}");
        Ok(())
    })
    .await?;
    at_rest(&stage, "app").await?;
    api.delete("once", &DeleteParams::default()).await?;
    eventually(DEADLINE, "it is made", || async {
        let data = stage.config("once").await?.context("it is not there")?;
        ensure!(data["value"] == "ours", "{data:?}");
        Ok(())
    })
    .await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_of_kubectl_goes_again() -> Result<()> {
    let stage = only_light_checks("kubectl-label").await?;
    let ns = stage.namespace.clone();
    // A kind with a generation, which labels do not change.
    let policy = format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: deny, namespace: {ns}}}\nspec: {{podSelector: {{}}}}\n"
    );
    stage.publish("1", &[("app/p.yaml", policy)]).await?;
    stage.apply("app", json!({"interval": "1s"})).await?;
    stage.ready("app", "1").await?;
    at_rest(&stage, "app").await?;
    let api: Api<NetworkPolicy> = Api::namespaced(stage.client.clone(), &ns);
    let label = |manager: &str| {
        let parameters = PatchParams {
            field_manager: Some(manager.to_owned()),
            ..PatchParams::default()
        };
        let patch = json!({"metadata": {"labels": {manager: "1"}}});
        let api = api.clone();
        async move { api.patch("deny", &parameters, &Patch::Merge(patch)).await }
    };
    label("operator").await?;
    label("kubectl-label").await?;
    eventually(DEADLINE, "the label is gone", || async {
        let labels = api.get("deny").await?.labels().clone();
        ensure!(!labels.contains_key("kubectl-label"), "{labels:?}");
        ensure!(labels.contains_key("operator"), "{labels:?}");
        Ok(())
    })
    .await?;
    stage.stop().await
}
