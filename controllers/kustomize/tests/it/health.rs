//! Waiting for health without holding anybody up.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use nave_runtime::Conditions;
use serde_json::json;

use crate::stage::{Setup, Stage, config, deployment};

async fn stage(test: &'static str, setup: Setup) -> Result<Option<Stage>> {
    let stage = Stage::start_with(test, setup).await?;
    if stage.plane.skip(
        test,
        stage.plane.obeys_annotations(),
        "pods must run and obey the test bed's annotations",
    ) {
        stage.stop().await?;
        return Ok(None);
    }
    Ok(Some(stage))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ready_means_healthy_when_it_waits() -> Result<()> {
    let Some(stage) = stage("wait", Setup::default()).await? else {
        return Ok(());
    };
    let ns = stage.namespace.clone();
    stage
        .publish(
            "1",
            &[
                ("all/d.yaml", deployment(&ns, "all", "bed.nave.dev/ready-after: 2s")),
                ("named/d.yaml", deployment(&ns, "named", "bed.nave.dev/ready-after: 1s")),
                (
                    "named/never.yaml",
                    deployment(&ns, "never", "bed.nave.dev/fail: CrashLoopBackOff"),
                ),
            ],
        )
        .await?;
    stage.apply("all", json!({"wait": true})).await?;
    stage.apply("named", json!({"healthChecks": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "named", "namespace": ns}]})).await?;
    for name in ["all", "named"] {
        let status = stage.ready(name, "1").await?;
        assert!(status.conditions.is_true("Healthy"), "{status:?}");
        assert_eq!(status.conditions.reason_of("Healthy"), Some("Succeeded"));
    }
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_holds_no_worker_and_the_next_revision_ends_it() -> Result<()> {
    let mut setup = Setup::default();
    setup.options.concurrent = 1;
    let Some(stage) = stage("starve", setup).await? else {
        return Ok(());
    };
    let ns = stage.namespace.clone();
    let files = |stuck: &str, value: &str| {
        vec![
            ("stuck/d.yaml", deployment(&ns, "stuck", stuck)),
            ("free/a.yaml", config(&ns, "free", value)),
        ]
    };
    stage
        .publish("1", &files("bed.nave.dev/fail: CrashLoopBackOff", "1"))
        .await?;
    stage.apply("stuck", json!({"wait": true, "timeout": "10m"})).await?;
    stage.apply("free", json!({})).await?;
    stage.ready("free", "1").await?;
    assert!(stage.status("stuck").await?.conditions.is_unknown("Ready"));
    stage.publish("2", &files("", "2")).await?;
    stage.ready("free", "2").await?;
    stage.ready("stuck", "2").await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_is_named_and_expressions_are_heard() -> Result<()> {
    let Some(stage) = stage("unhealthy", Setup::default()).await? else {
        return Ok(());
    };
    let ns = stage.namespace.clone();
    let job = format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: fails, namespace: {ns}}}\nspec:\n  backoffLimit: 0\n  template:\n    metadata:\n      \
         annotations: {{bed.nave.dev/fail: Error}}\n    spec:\n      restartPolicy: Never\n      containers: [{{name: app, image: 'example.com/app:1'}}]\n"
    );
    stage
        .publish(
            "1",
            &[("job/j.yaml", job), ("expr/c.yaml", config(&ns, "judged", "bad"))],
        )
        .await?;
    stage.apply("job", json!({"wait": true})).await?;
    let message = stage.failed("job", "HealthCheckFailed").await?;
    assert!(
        message.contains("failed early due to stalled resources") && message.contains(&format!("Job/{ns}/fails")),
        "{message}"
    );
    let status = stage.status("job").await?;
    assert!(status.conditions.is_false("Healthy"));
    assert_eq!(status.conditions.reason_of("Reconciling"), Some("ProgressingWithRetry"));
    assert!(status.last_applied_revision.is_empty());

    let rules = json!([{"apiVersion": "v1", "kind": "ConfigMap", "current": "data.value == 'good'", "failed": "data.value == 'bad'"}]);
    stage
        .apply("expr", json!({"wait": true, "healthCheckExprs": rules}))
        .await?;
    let message = stage.failed("expr", "HealthCheckFailed").await?;
    assert!(message.contains(&format!("ConfigMap/{ns}/judged")), "{message}");
    stage
        .publish("2", &[("expr/c.yaml", config(&ns, "judged", "good"))])
        .await?;
    stage.ready("expr", "2").await?;
    let broken = json!([{"apiVersion": "v1", "kind": "ConfigMap", "current": "data.value =="}]);
    stage
        .apply("expr", json!({"wait": true, "healthCheckExprs": broken}))
        .await?;
    let message = stage.failed("expr", "InvalidCELExpression").await?;
    assert!(message.contains("spec.healthCheckExprs[0].current"), "{message}");
    assert!(stage.status("expr").await?.conditions.is_true("Stalled"));
    tokio::time::timeout(Duration::from_secs(60), stage.stop()).await?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_becomes_healthy_after_all_is_ready_at_once() -> Result<()> {
    let stage = Stage::start("recovery").await?;
    let ns = stage.namespace.clone();
    let api: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &ns);
    let gate = |value: &str| json!({"metadata": {"name": "gate"}, "data": {"value": value}});
    api.create(&PostParams::default(), &serde_json::from_value(gate("bad"))?)
        .await?;
    stage.publish("1", &[("app/a.yaml", config(&ns, "a", "1"))]).await?;
    let rules = json!([{"apiVersion": "v1", "kind": "ConfigMap", "current": "data.value == 'good'", "failed": "data.value == 'bad'"}]);
    let checks = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "gate"}]);
    // It would be tried again in an hour.
    stage
        .apply("app", json!({"healthChecks": checks, "healthCheckExprs": rules}))
        .await?;
    stage.failed("app", "HealthCheckFailed").await?;
    api.patch("gate", &PatchParams::default(), &Patch::Merge(gate("good")))
        .await?;
    let status = stage.ready("app", "1").await?;
    assert!(status.conditions.is_true("Healthy"), "{status:?}");
    stage.stop().await
}

/// Jobs may be gone before anybody looks: that they were there and are gone means that they have ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_are_deleted_after_their_end_are_done() -> Result<()> {
    let Some(stage) = stage("vanishing", Setup::default()).await? else {
        return Ok(());
    };
    let ns = stage.namespace.clone();
    let job = |name: &str| {
        format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}, namespace: {ns}}}\nspec:\n  ttlSecondsAfterFinished: 0\n  \
             template:\n    metadata:\n      annotations: {{bed.nave.dev/complete-after: 0s}}\n    spec:\n      restartPolicy: Never\n      \
             containers: [{{name: app, image: 'example.com/app:1'}}]\n"
        )
    };
    stage
        .publish("1", &[("all/j.yaml", job("one")), ("named/j.yaml", job("two"))])
        .await?;
    stage.apply("all", json!({"wait": true})).await?;
    let check = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "two"});
    stage.apply("named", json!({"healthChecks": [check]})).await?;
    for name in ["all", "named"] {
        let status = stage.ready(name, "1").await?;
        assert!(status.conditions.is_true("Healthy"), "{status:?}");
    }
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_does_not_wait_for_itself() -> Result<()> {
    let stage = Stage::start("itself").await?;
    let ns = stage.namespace.clone();
    stage.publish("1", &[("app/a.yaml", config(&ns, "a", "1"))]).await?;
    // Without a namespace its own is meant.
    let itself = json!({"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "name": "app"});
    stage
        .apply("app", json!({"healthChecks": [itself], "timeout": "10m"}))
        .await?;
    stage.ready("app", "1").await?;
    stage.stop().await
}
