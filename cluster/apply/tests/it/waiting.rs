//! Waiting for health by watch.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use nave_apply::{Change, WaitError, judge, wait};
use nave_health::{HealthExpressions, Status};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::world::{DEADLINE, World};

async fn wait_for(world: &mut World, objects: Vec<Value>, limit: Duration) -> Result<Result<(), WaitError>> {
    let outcome = world.try_apply(objects).await?;
    if let Some(error) = outcome.error {
        return Err(error.into());
    }
    let items = outcome.changes.iter().filter_map(Change::wait_item).collect();
    Ok(wait(
        &world.target,
        items,
        judge(Arc::new(HealthExpressions::default())),
        limit,
        true,
    )
    .await)
}

fn skipped(world: &World, test: &str) -> bool {
    world.plane.skip(
        test,
        world.plane.obeys_annotations(),
        "pods must run and obey the test bed's annotations",
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_is_awaited_until_its_pods_are_ready() -> Result<()> {
    let mut world = World::new("ready").await?;
    if skipped(&world, "a_deployment_is_awaited_until_its_pods_are_ready") {
        return Ok(());
    }
    let delayed = world.deployment("slow", 2, json!({"bed.nave.dev/ready-after": "2s"}));
    let started = Instant::now();
    let objects = vec![delayed, world.config("c", json!({}))];
    wait_for(&mut world, objects, DEADLINE).await??;
    assert!(
        started.elapsed() > Duration::from_millis(1500),
        "{:?}",
        started.elapsed()
    );
    let live = world.get("apps/v1", "Deployment", "slow").await?.context("it exists")?;
    assert_eq!(live["status"]["readyReplicas"], 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_fails_ends_the_wait_at_once() -> Result<()> {
    let mut world = World::new("fails").await?;
    if skipped(&world, "a_job_that_fails_ends_the_wait_at_once") {
        return Ok(());
    }
    let job = |name: &str, annotations: Value| {
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": world.namespace},
            "spec": {"backoffLimit": 0, "template": {"metadata": {"annotations": annotations},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "app", "image": "example.com/app:1"}]}}}})
    };
    let (good, bad) = (
        job("good", json!({})),
        job("bad", json!({"bed.nave.dev/fail": "Error"})),
    );
    wait_for(&mut world, vec![good], DEADLINE).await??;
    let error = wait_for(&mut world, vec![bad], DEADLINE)
        .await?
        .expect_err("the Job fails");
    assert_eq!(error.unhealthy()[0].health.status, Status::Failed, "{error}");
    assert!(
        error
            .to_string()
            .contains("failed early due to stalled resources: [Job/"),
        "{error}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_loop_is_a_failed_pod_and_a_timeout_for_its_deployment() -> Result<()> {
    let mut world = World::new("crash").await?;
    if skipped(&world, "a_crash_loop_is_a_failed_pod_and_a_timeout_for_its_deployment") {
        return Ok(());
    }
    let looping = json!({"bed.nave.dev/fail": "CrashLoopBackOff"});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "looping", "namespace": world.namespace, "annotations": looping},
        "spec": {"containers": [{"name": "app", "image": "example.com/app:1"}]}});
    let error = wait_for(&mut world, vec![pod], DEADLINE)
        .await?
        .expect_err("the pod crashes");
    assert!(error.to_string().contains("CrashLoop"), "{error}");
    let deployment = world.deployment("looping", 1, looping);
    let error = wait_for(&mut world, vec![deployment], Duration::from_secs(2))
        .await?
        .expect_err("it never becomes ready");
    assert!(
        error
            .to_string()
            .starts_with("timeout after 2s waiting for: [Deployment/"),
        "{error}"
    );
    Ok(())
}
