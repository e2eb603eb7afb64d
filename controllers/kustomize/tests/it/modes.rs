//! What the annotations under `nave.dev/` change.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use nave_bed::eventually;
use nave_runtime::Conditions;
use serde_json::{Value, json};

use crate::stage::{DEADLINE, Stage, config};

async fn change(stage: &Stage, name: &str, value: &str) -> Result<()> {
    let patch = json!({"data": {"value": value}});
    Api::<ConfigMap>::namespaced(stage.client.clone(), &stage.namespace)
        .patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_is_corrected_at_once_where_that_is_asked_for() -> Result<()> {
    let stage = Stage::start("instant").await?;
    let ns = stage.namespace.clone();
    stage.publish("1", &[("app/a.yaml", config(&ns, "a", "1"))]).await?;
    stage.apply("app", json!({})).await?; // its interval is an hour
    stage.annotate("app", json!({"nave.dev/drift": "Instant"})).await?;
    stage.ready("app", "1").await?;
    for value in ["2", "3"] {
        change(&stage, "a", value).await?;
        eventually(DEADLINE, "the drift is corrected", || async {
            let found = stage.config("a").await?.context("it is there")?;
            ensure!(found["value"] == "1", "{found:?}");
            Ok(())
        })
        .await?;
    }
    let api: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &ns);
    api.delete("a", &Default::default()).await?;
    eventually(DEADLINE, "what was deleted is there again", || async {
        stage.config("a").await?.context("it is gone")
    })
    .await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_is_only_reported_where_that_is_asked_for() -> Result<()> {
    let mut stage = Stage::start("detect").await?;
    let ns = stage.namespace.clone();
    stage.publish("1", &[("app/a.yaml", config(&ns, "a", "1"))]).await?;
    stage.apply("app", json!({})).await?;
    stage.annotate("app", json!({"nave.dev/drift": "Detect"})).await?;
    stage.ready("app", "1").await?;
    let drifted = async |stage: &Stage, wanted: Option<String>| {
        eventually(DEADLINE, &format!("drift: {wanted:?}"), || async {
            let status = stage.status("app").await?;
            let found = status
                .conditions
                .get_condition("Drifted")
                .map(|found| found.message.clone());
            ensure!(found == wanted, "{found:?}");
            ensure!(status.conditions.is_true("Ready"), "{:?}", status.conditions);
            Ok(())
        })
        .await
    };
    change(&stage, "a", "2").await?;
    let message = format!("ConfigMap/{ns}/a: data.value");
    drifted(&stage, Some(message.clone())).await?;
    eventually(DEADLINE, "the event", || async {
        let events = stage.events("app").await?;
        ensure!(events.contains(&format!("DriftDetected {message}")), "{events:?}");
        Ok(())
    })
    .await?;
    let metric = format!("nave_drifted_objects{{kind=\"Kustomization\",name=\"app\",namespace=\"{ns}\"}}");
    assert!(stage.metrics().contains(&format!("{metric} 1")), "{}", stage.metrics());
    // Neither a request nor a restart corrects it.
    stage
        .annotate("app", json!({"reconcile.fluxcd.io/requestedAt": "now"}))
        .await?;
    eventually(DEADLINE, "the request is handled", || async {
        ensure!(stage.status("app").await?.last_handled_reconcile_at == "now", "not yet");
        Ok(())
    })
    .await?;
    let before = stage.status("app").await?.history[0].total_reconciliations;
    stage.restart().await?;
    eventually(DEADLINE, "it was reconciled again", || async {
        let history = stage.status("app").await?.history;
        ensure!(history[0].total_reconciliations > before, "{history:?}");
        Ok(())
    })
    .await?;
    assert_eq!(stage.config("a").await?.context("it is there")?["value"], "2");
    drifted(&stage, Some(message)).await?;
    // Somebody puts it right.
    change(&stage, "a", "1").await?;
    drifted(&stage, None).await?;
    assert!(stage.metrics().contains(&format!("{metric} 0")), "{}", stage.metrics());
    // A new revision is applied, drift or not.
    change(&stage, "a", "2").await?;
    stage.publish("2", &[("app/a.yaml", config(&ns, "a", "new"))]).await?;
    stage.ready("app", "2").await?;
    assert_eq!(stage.config("a").await?.context("it is there")?["value"], "new");
    drifted(&stage, None).await?;
    // Without the annotation drift is corrected again.
    change(&stage, "a", "2").await?;
    stage.annotate("app", json!({"nave.dev/drift": Value::Null})).await?;
    eventually(DEADLINE, "the drift is corrected", || async {
        let found = stage.config("a").await?.context("it is there")?;
        ensure!(found["value"] == "new", "{found:?}");
        Ok(())
    })
    .await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_need_a_failed_object_is_applied() -> Result<()> {
    let stage = Stage::start("independent").await?;
    let ns = stage.namespace.clone();
    let bad = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: Bad_Name, namespace: NS}\n".replace("NS", &ns);
    let typo = "apiVersion: v1beta7\nkind: ConfigMap\nmetadata: {name: typo, namespace: NS}\n".replace("NS", &ns);
    let files = [
        ("app/a.yaml", config(&ns, "a", "1")),
        ("app/deep/bad.yaml", bad),
        ("app/deep/typo.yaml", typo),
    ];
    stage.publish("1", &files).await?;
    stage.apply("app", json!({})).await?;
    let message = stage.failed("app", "ReconciliationFailed").await?;
    for part in [
        format!("ServiceAccount/{ns}/Bad_Name (from app/deep/bad.yaml) dry-run failed"),
        format!("ConfigMap/{ns}/typo (from app/deep/typo.yaml) cannot be addressed"),
    ] {
        assert!(message.contains(&part), "{message}");
    }
    assert!(stage.config("a").await?.is_none());
    stage.annotate("app", json!({"nave.dev/apply": "Independent"})).await?;
    eventually(DEADLINE, "the good one is applied", || async {
        stage.config("a").await?.context("it is not there")
    })
    .await?;
    eventually(DEADLINE, "the inventory has what was applied", || async {
        let status = stage.status("app").await?;
        let ids: Vec<String> = status
            .inventory
            .into_iter()
            .flat_map(|inventory| inventory.entries)
            .map(|entry| entry.id)
            .collect();
        ensure!(ids == [format!("{ns}_a__ConfigMap")], "{ids:?}");
        Ok(())
    })
    .await?;
    stage.failed("app", "ReconciliationFailed").await?;

    stage.annotate("app", json!({"nave.dev/apply": "independent"})).await?;
    let message = stage.failed("app", "InvalidAnnotation").await?;
    assert!(message.contains("nave.dev/apply"), "{message}");
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guarded_deletions_wait_for_the_plan_to_be_confirmed() -> Result<()> {
    let stage = Stage::start("confirm").await?;
    let ns = stage.namespace.clone();
    let made = format!("{ns}-made");
    let namespace = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {made}}}\n");
    let files = [
        ("app/a.yaml", config(&ns, "a", "1")),
        ("app/b.yaml", config(&ns, "b", "1")),
        ("app/n.yaml", namespace),
    ];
    stage.publish("1", &files).await?;
    stage.apply("app", json!({})).await?;
    stage
        .annotate("app", json!({"nave.dev/prune-guard": "Confirm"}))
        .await?;
    stage.ready("app", "1").await?;
    stage.publish("2", &files[..1]).await?;
    let message = stage.failed("app", "PruneHeld").await?;
    assert!(message.contains(&format!("Namespace/{made}")), "{message}");
    assert!(stage.config("b").await?.is_none(), "what is not guarded is deleted");
    let namespaces: Api<Namespace> = Api::all(stage.client.clone());
    assert!(namespaces.get(&made).await?.metadata.deletion_timestamp.is_none());
    stage
        .annotate("app", json!({"nave.dev/confirm-prune": "another"}))
        .await?;
    stage.failed("app", "PruneHeld").await?;
    let plan = message.rsplit(' ').next().context("the plan is named")?;
    stage.annotate("app", json!({"nave.dev/confirm-prune": plan})).await?;
    stage.ready("app", "2").await?;
    eventually(DEADLINE, "the namespace goes", || async {
        let found = namespaces.get_opt(&made).await?;
        ensure!(
            found.is_none_or(|found| found.metadata.deletion_timestamp.is_some()),
            "it stays"
        );
        Ok(())
    })
    .await?;

    // The same when the Kustomization itself is deleted.
    let other = format!("{ns}-other");
    let namespace = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {other}}}\n");
    stage
        .publish("3", &[("app/a.yaml", config(&ns, "a", "3")), ("app/n.yaml", namespace)])
        .await?;
    stage.ready("app", "3").await?;
    stage.delete("app").await?;
    let message = eventually(DEADLINE, "the deletion is held", || async {
        let message = stage.failed("app", "PruneHeld").await?;
        ensure!(message.contains(&format!("Namespace/{other}")), "{message}");
        Ok(message)
    })
    .await?;
    assert!(namespaces.get(&other).await?.metadata.deletion_timestamp.is_none());
    let plan = message.rsplit(' ').next().context("the plan is named")?;
    stage.annotate("app", json!({"nave.dev/confirm-prune": plan})).await?;
    stage.gone("app").await?;
    assert!(stage.config("a").await?.is_none());
    stage.stop().await
}
