//! An apply that waits between two stages, or for an object to go before it is re-created, holds no worker.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use nave_bed::eventually;
use nave_runtime::Conditions;
use serde_json::json;

use crate::stage::{DEADLINE, Setup, Stage, config};

async fn with_one_worker(test: &str) -> Result<Stage> {
    let mut setup = Setup::default();
    setup.options.concurrent = 1;
    Stage::start_with(test, setup).await
}

/// Waits until the status says that the apply goes on.
async fn is_applying(stage: &Stage, name: &str) -> Result<()> {
    eventually(DEADLINE, &format!("{name} is being applied"), || async {
        let status = stage.status(name).await?;
        let of = |name: &str| {
            status
                .conditions
                .get_condition(name)
                .with_context(|| format!("no {name} condition"))
        };
        let (ready, doing) = (of("Ready")?, of("Reconciling")?);
        ensure!(
            ready.status == "Unknown" && doing.message.starts_with("Detecting drift"),
            "{ready:?}, {doing:?}"
        );
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_that_does_not_become_ready_delays_no_other_and_ends_with_the_next_revision() -> Result<()> {
    let stage = with_one_worker("stuck-stage").await?;
    let ns = stage.namespace.clone();
    let stuck = format!("{ns}-stuck");
    let namespaces: Api<Namespace> = Api::all(stage.client.clone());
    let object = serde_json::from_value(json!({"metadata": {"name": stuck, "finalizers": ["example.com/never"]}}))?;
    namespaces.create(&PostParams::default(), &object).await?;
    namespaces.delete(&stuck, &DeleteParams::default()).await?;
    let first = [
        (
            "app/n.yaml",
            format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {stuck}}}\n"),
        ),
        ("app/c.yaml", config(&ns, "after", "1")),
        ("other/o.yaml", config(&ns, "o", "1")),
    ];
    stage.publish("1", &first).await?;
    stage.apply("app", json!({"timeout": "10m"})).await?;
    is_applying(&stage, "app").await?;
    stage.apply("other", json!({})).await?;
    stage.ready("other", "1").await?;
    is_applying(&stage, "app").await?;
    assert!(stage.config("after").await?.is_none(), "its stage has not come");

    let second = [
        ("app/c.yaml", config(&ns, "after", "2")),
        ("other/o.yaml", config(&ns, "o", "1")),
    ];
    stage.publish("2", &second).await?;
    stage.ready("app", "2").await?;
    assert_eq!(stage.config("after").await?.context("it is there")?["value"], "2");
    let told = stage.events("app").await?;
    let of_first = format!("Namespace/{stuck} configured");
    assert!(told.iter().any(|event| event.ends_with(&of_first)), "{told:?}");
    let release = json!({"metadata": {"finalizers": null}});
    namespaces
        .patch(&stuck, &PatchParams::default(), &Patch::Merge(release))
        .await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_does_not_go_delays_no_other_and_is_created_anew_once_it_has() -> Result<()> {
    let stage = with_one_worker("stuck-object").await?;
    let ns = stage.namespace.clone();
    let held = |value: &str| {
        let meta = "metadata:\n  finalizers: [example.com/held]\n";
        config(&ns, "held", value).replace("metadata:\n", meta) + "immutable: true\n"
    };
    let after = format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: after, namespace: {ns}}}\n");
    let other = || ("other/o.yaml", config(&ns, "o", "1"));
    stage.publish("1", &[("app/h.yaml", held("1")), other()]).await?;
    stage.apply("app", json!({"force": true, "timeout": "10m"})).await?;
    stage.ready("app", "1").await?;
    stage
        .publish("2", &[("app/h.yaml", held("2")), ("app/s.yaml", after), other()])
        .await?;
    is_applying(&stage, "app").await?;
    stage.apply("other", json!({})).await?;
    stage.ready("other", "2").await?;
    is_applying(&stage, "app").await?;
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &ns);
    assert!(secrets.get_opt("after").await?.is_none(), "it comes after what goes");

    let configs: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &ns);
    let old = configs.get("held").await?;
    assert!(old.metadata.deletion_timestamp.is_some());
    let release = json!({"metadata": {"finalizers": null}});
    configs
        .patch("held", &PatchParams::default(), &Patch::Merge(release))
        .await?;
    let status = stage.ready("app", "2").await?;
    assert_eq!(stage.config("held").await?.context("it is there again")?["value"], "2");
    assert!(secrets.get_opt("after").await?.is_some());
    assert_eq!(status.inventory.context("an inventory")?.entries.len(), 2);
    let told = stage.events("app").await?;
    let both = format!("ConfigMap/{ns}/held created\nSecret/{ns}/after created");
    assert!(told.iter().any(|event| event.ends_with(&both)), "{told:?}");
    stage.stop().await
}
