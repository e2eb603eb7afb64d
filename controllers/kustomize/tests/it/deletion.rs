//! Deleting a Kustomization, and who may delete.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, Result, ensure};
use futures::future::BoxFuture;
use k8s_openapi::api::{
    core::v1::{ConfigMap, Event, ServiceAccount},
    rbac::v1::RoleBinding,
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use nave_bed::eventually;
use nave_runtime::ports::{Permit, PrunePermits, PrunePlan};
use serde_json::{Value, json};

use crate::stage::{DEADLINE, Setup, Stage, config};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_decide_what_stays() -> Result<()> {
    let stage = Stage::start("policies").await?;
    let ns = stage.namespace.clone();
    let cases: [(&str, Value, bool); 5] = [
        ("mirror", json!({}), false),
        ("unpruned", json!({"prune": false}), true),
        ("orphan", json!({"deletionPolicy": "Orphan"}), true),
        ("delete", json!({"deletionPolicy": "Delete", "prune": false}), false),
        ("wait", json!({"deletionPolicy": "WaitForTermination"}), false),
    ];
    let files: Vec<(String, String)> = cases
        .iter()
        .map(|(name, _, _)| (format!("{name}/a.yaml"), config(&ns, name, "1")))
        .collect();
    let files: Vec<(&str, String)> = files.iter().map(|(path, text)| (path.as_str(), text.clone())).collect();
    stage.publish("1", &files).await?;
    for (name, spec, _) in &cases {
        stage.apply(name, spec.clone()).await?;
    }
    for (name, _, _) in &cases {
        stage.ready(name, "1").await?;
        stage.delete(name).await?;
    }
    for (name, _, stays) in &cases {
        stage.gone(name).await?;
        assert_eq!(stage.config(name).await?.is_some(), *stays, "{name}");
    }
    stage.apply("mirror", json!({})).await?;
    stage.ready("mirror", "1").await?;
    stage.apply("mirror", json!({"suspend": true})).await?;
    stage.delete("mirror").await?;
    stage.gone("mirror").await?;
    assert!(
        stage.config("mirror").await?.is_some(),
        "a suspended one leaves everything"
    );
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_account_it_goes_and_leaves_what_it_applied() -> Result<()> {
    let stage = Stage::start("no-account").await?;
    let ns = stage.namespace.clone();
    let accounts: Api<ServiceAccount> = Api::namespaced(stage.client.clone(), &ns);
    let account = serde_json::from_value(json!({"metadata": {"name": "deployer"}}))?;
    accounts.create(&PostParams::default(), &account).await?;
    let bindings: Api<RoleBinding> = Api::namespaced(stage.client.clone(), &ns);
    let binding = serde_json::from_value(json!({"metadata": {"name": "deployer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": ns}]}))?;
    bindings.create(&PostParams::default(), &binding).await?;
    stage.publish("1", &[("app/a.yaml", config(&ns, "a", "1"))]).await?;
    stage.apply("app", json!({"serviceAccountName": "deployer"})).await?;
    stage.ready("app", "1").await?;
    accounts.delete("deployer", &DeleteParams::default()).await?;
    stage.delete("app").await?;
    stage.gone("app").await?;
    assert!(stage.config("a").await?.is_some());
    eventually(DEADLINE, "it is told", || async {
        let events = stage.events("app").await?;
        let told = format!("ServiceAccount {ns}/deployer does not exist any more");
        ensure!(events.iter().any(|event| event.contains(&told)), "{events:?}");
        Ok(())
    })
    .await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_the_end_of_objects_holds_no_worker() -> Result<()> {
    let mut setup = Setup::default();
    setup.options.concurrent = 1;
    let stage = Stage::start_with("no-worker", setup).await?;
    let ns = stage.namespace.clone();
    let held = config(&ns, "held", "1").replace("metadata:\n", "metadata:\n  finalizers: [example.com/held]\n");
    stage
        .publish("1", &[("app/h.yaml", held), ("other/o.yaml", config(&ns, "o", "1"))])
        .await?;
    stage
        .apply("app", json!({"deletionPolicy": "WaitForTermination", "timeout": "10m"}))
        .await?;
    stage.ready("app", "1").await?;
    stage.delete("app").await?;
    let configs: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &ns);
    eventually(DEADLINE, "the object is being deleted", || async {
        let held = configs.get("held").await?;
        ensure!(held.metadata.deletion_timestamp.is_some(), "not yet");
        Ok(())
    })
    .await?;
    stage.apply("other", json!({})).await?;
    stage.ready("other", "1").await?;
    assert!(stage.kustomizations().get_opt("app").await?.is_some());
    let release = json!({"metadata": {"finalizers": null}});
    configs
        .patch("held", &PatchParams::default(), &Patch::Merge(release))
        .await?;
    stage.gone("app").await?;
    // What was told is told of the revision that was applied last.
    let events: Api<Event> = Api::namespaced(stage.client.clone(), &ns);
    eventually(DEADLINE, "the deletion is told", || async {
        let events = events.list(&ListParams::default()).await?;
        let told = format!("ConfigMap/{ns}/held deleted");
        let event = events
            .items
            .into_iter()
            .find(|event| event.message.as_deref() == Some(&told));
        let annotations = event.context("not yet")?.metadata.annotations.unwrap_or_default();
        let revision = annotations.get("kustomize.toolkit.fluxcd.io/revision");
        ensure!(
            revision.is_some_and(|revision| revision == "main@sha1:1"),
            "{annotations:?}"
        );
        Ok(())
    })
    .await?;
    // Nor do its measures come back.
    eventually(DEADLINE, "its series are gone", || async {
        let shown = stage.metrics();
        let mut left = shown.lines().filter(|line| line.contains("name=\"app\""));
        ensure!(left.next().is_none(), "{shown}");
        Ok(())
    })
    .await?;
    stage.stop().await
}

/// Permits nothing until it is told to.
#[derive(Default)]
struct Brake(AtomicBool);

impl PrunePermits for Brake {
    fn permit<'a>(&'a self, plan: &'a PrunePlan) -> BoxFuture<'a, Permit> {
        let permit = if self.0.load(Ordering::SeqCst) {
            Permit::Granted
        } else {
            Permit::Held {
                reason: format!("plan {} is not approved", plan.digest),
            }
        };
        Box::pin(std::future::ready(permit))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_deleted_without_a_permit() -> Result<()> {
    let brake = Arc::new(Brake::default());
    let stage = Stage::start_with(
        "brake",
        Setup {
            permits: brake.clone(),
            ..Setup::default()
        },
    )
    .await?;
    let ns = stage.namespace.clone();
    stage
        .publish(
            "1",
            &[
                ("app/a.yaml", config(&ns, "a", "1")),
                ("app/b.yaml", config(&ns, "b", "1")),
            ],
        )
        .await?;
    stage.apply("app", json!({"retryInterval": "2s"})).await?;
    stage.ready("app", "1").await?;
    stage.publish("2", &[("app/a.yaml", config(&ns, "a", "2"))]).await?;
    let message = stage.failed("app", "PruneHeld").await?;
    assert!(message.contains("is not approved"), "{message}");
    assert_eq!(stage.config("a").await?.context("it is applied")?["value"], "2");
    assert!(stage.config("b").await?.is_some());
    assert_eq!(
        stage
            .status("app")
            .await?
            .inventory
            .context("an inventory")?
            .entries
            .len(),
        2
    );

    stage.delete("app").await?;
    eventually(DEADLINE, "the deletion is held", || async {
        let message = stage.failed("app", "PruneHeld").await?;
        ensure!(message.starts_with("2 deletions wait for a permit"), "{message}");
        Ok(())
    })
    .await?;
    assert!(stage.config("a").await?.is_some());
    brake.0.store(true, Ordering::SeqCst);
    stage.gone("app").await?;
    assert!(stage.config("a").await?.is_none() && stage.config("b").await?.is_none());
    stage.stop().await
}
