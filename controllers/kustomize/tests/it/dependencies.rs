//! `dependsOn`: order, revisions, cycles.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kube::api::{Patch, PatchParams};
use nave_bed::eventually;
use serde_json::json;

use crate::stage::{DEADLINE, Setup, Stage, config};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dependents_follow_at_once_and_by_revision() -> Result<()> {
    let mut setup = Setup::default();
    // Nothing here may depend on looking again after a while.
    setup.options.requeue_dependency = Duration::from_secs(3600);
    let stage = Stage::start_with("chain", setup).await?;
    let ns = stage.namespace.clone();
    let names = ["one", "two", "three"];
    let files = |value: &str| {
        [
            ("one/a.yaml", config(&ns, "one", value)),
            ("two/a.yaml", config(&ns, "two", value)),
            ("three/a.yaml", config(&ns, "three", value)),
        ]
    };
    stage.apply("three", json!({"dependsOn": [{"name": "two"}]})).await?;
    stage.apply("two", json!({"dependsOn": [{"name": "one"}]})).await?;
    stage.apply("one", json!({})).await?;
    let started = Instant::now();
    for revision in ["1", "2"] {
        stage.publish(revision, &files(revision)).await?;
        for name in names {
            stage.ready(name, revision).await?;
            assert_eq!(stage.config(name).await?.context("it is there")?["value"], revision);
        }
    }
    assert!(started.elapsed() < DEADLINE, "{:?}", started.elapsed());

    // A dependency that fails holds its dependents back.
    stage
        .publish(
            "3",
            &[
                ("one/a.yaml", "a: [".into()),
                ("two/a.yaml", config(&ns, "two", "3")),
                ("three/a.yaml", config(&ns, "three", "3")),
            ],
        )
        .await?;
    stage.failed("one", "BuildFailed").await?;
    let message = stage.failed("two", "DependencyNotReady").await?;
    assert!(message.contains(&format!("dependency '{ns}/one'")), "{message}");
    assert_eq!(stage.config("two").await?.context("it stays")?["value"], "2");
    stage.publish("4", &files("4")).await?;
    stage.ready("three", "4").await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expressions_and_cycles() -> Result<()> {
    let stage = Stage::start("cycles").await?;
    let ns = stage.namespace.clone();
    stage
        .publish(
            "1",
            &[
                ("a/a.yaml", config(&ns, "a", "1")),
                ("b/a.yaml", config(&ns, "b", "1")),
                ("free/a.yaml", config(&ns, "free", "1")),
                ("bad/a.yaml", config(&ns, "bad", "1")),
            ],
        )
        .await?;
    stage.apply("a", json!({"dependsOn": [{"name": "b"}]})).await?;
    stage
        .apply("b", json!({"dependsOn": [{"name": "a"}], "retryInterval": "2s"}))
        .await?;
    eventually(DEADLINE, "the cycle is reported", || async {
        let message = stage.failed("b", "DependencyNotReady").await?;
        ensure!(message.contains(&format!("{ns}/b -> {ns}/a -> {ns}/b")), "{message}");
        Ok(())
    })
    .await?;
    stage.apply("free", json!({"dependsOn": [{"name": "a", "readyExpr": "dep.metadata.name == 'a' && self.metadata.name == 'free'"}]})).await?;
    stage.ready("free", "1").await?;
    stage
        .apply(
            "bad",
            json!({"dependsOn": [{"name": "a", "readyExpr": "dep.metadata.name =="}]}),
        )
        .await?;
    let message = stage.failed("bad", "InvalidCELExpression").await?;
    assert!(message.contains("spec.dependsOn[0].readyExpr"), "{message}");
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_reads_the_sources_and_dependencies_of_others() -> Result<()> {
    let stage = Stage::start_with(
        "shard",
        Setup {
            selector: "sharding.fluxcd.io/key=one",
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
                ("base/b.yaml", config(&ns, "b", "1")),
            ],
        )
        .await?;
    stage.apply("base", json!({})).await?; // of no shard: nobody reconciles it here
    stage.apply("app", json!({"dependsOn": [{"name": "base"}]})).await?;
    let label = json!({"metadata": {"labels": {"sharding.fluxcd.io/key": "one"}}});
    stage
        .kustomizations()
        .patch("app", &PatchParams::default(), &Patch::Merge(label))
        .await?;
    let message = stage.failed("app", "DependencyNotReady").await?;
    assert!(
        message.contains(&format!("{ns}/base")) && !message.contains("not found"),
        "{message}"
    );
    // The other shard reports.
    let status = json!({"status": {"observedGeneration": 1, "lastAppliedRevision": "main@sha1:1", "conditions": [
        {"type": "Ready", "status": "True", "reason": "ReconciliationSucceeded", "message": "", "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    stage
        .kustomizations()
        .patch_status("base", &PatchParams::default(), &Patch::Merge(status))
        .await?;
    stage
        .annotate("app", json!({"reconcile.fluxcd.io/requestedAt": "now"}))
        .await?;
    stage.ready("app", "1").await?;
    assert!(stage.config("b").await?.is_none());
    stage.stop().await
}
