//! Acting as an account: its rights and nobody else's.

use std::sync::Arc;

use anyhow::{Context, Result};
use k8s_openapi::api::{
    core::v1::ServiceAccount,
    rbac::v1::{Role, RoleBinding},
};
use kube::{Api, api::PostParams};
use nave_apply::{Change, judge, wait};
use nave_health::HealthExpressions;
use serde_json::{Value, json};

use crate::world::{DEADLINE, World};

async fn account(world: &World, name: &str, rules: Value) -> Result<()> {
    let post = PostParams::default();
    Api::<ServiceAccount>::namespaced(world.client.clone(), &world.namespace)
        .create(&post, &serde_json::from_value(json!({"metadata": {"name": name}}))?)
        .await?;
    Api::<Role>::namespaced(world.client.clone(), &world.namespace)
        .create(
            &post,
            &serde_json::from_value(json!({"metadata": {"name": name}, "rules": rules}))?,
        )
        .await?;
    let binding = json!({"metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": world.namespace}]});
    Api::<RoleBinding>::namespaced(world.client.clone(), &world.namespace)
        .create(&post, &serde_json::from_value(binding)?)
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_without_rights_is_denied_and_one_with_rights_is_not() -> Result<()> {
    let mut world = World::new("tenant").await?;
    account(&world, "weak", json!([])).await?;
    account(
        &world,
        "able",
        json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "patch", "create", "delete"]}]),
    )
    .await?;
    let objects = vec![world.config("c", json!({"a": "1"}))];
    world.act_as("weak")?;
    let error = world
        .apply(objects.clone())
        .await
        .expect_err("it has no rights")
        .to_string();
    let user = format!("system:serviceaccount:{}:weak", world.namespace);
    assert!(error.contains(&user) && error.contains("Forbidden"), "{error}");
    assert!(world.get("v1", "ConfigMap", "c").await?.is_none());
    world.act_as("able")?;
    assert_eq!(world.apply(objects.clone()).await?, ["ConfigMap/c created"]);
    assert_eq!(world.apply(objects).await?, ["ConfigMap/c unchanged"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_may_only_read_can_wait_all_the_same() -> Result<()> {
    let mut world = World::new("asks").await?;
    if world.plane.skip(
        "an_account_that_may_only_read_can_wait_all_the_same",
        world.plane.has_workloads(),
        "pods must run",
    ) {
        return Ok(());
    }
    account(
        &world,
        "reader",
        json!([{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "patch", "create"]}]),
    )
    .await?;
    world.act_as("reader")?;
    let outcome = world.try_apply(vec![world.deployment("web", 1, json!({}))]).await?;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    let items: Vec<_> = outcome.changes.iter().filter_map(Change::wait_item).collect();
    assert_eq!(items.len(), 1);
    wait(
        &world.target,
        items,
        judge(Arc::new(HealthExpressions::default())),
        DEADLINE,
        true,
    )
    .await?;
    let live = world.get("apps/v1", "Deployment", "web").await?.context("it exists")?;
    assert_eq!(live["status"]["readyReplicas"], 1);
    Ok(())
}
