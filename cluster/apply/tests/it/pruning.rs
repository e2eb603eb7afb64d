//! Deleting what left the set, and nothing else.

use std::{collections::HashSet, time::Duration};

use anyhow::{Context, Result};
use nave_apply::{Inventory, prune, wait_gone};
use nave_runtime::ports::{Action, AllowAll, ApplyPolicy, OwnerRef};
use serde_json::json;

use crate::world::{DEADLINE, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_left_the_set_is_deleted_and_awaited() -> Result<()> {
    let mut world = World::new("prune").await?;
    let kept = world.config("kept", json!({}));
    world
        .apply(vec![
            kept.clone(),
            world.config("gone", json!({})),
            world.deployment("web", 1, json!({})),
        ])
        .await?;
    let outcome = world.apply_and_prune(vec![kept]).await?;
    let deleted: Vec<String> = outcome
        .deleted
        .iter()
        .map(|id| format!("{}/{}", id.kind, id.name))
        .collect();
    assert_eq!(deleted, ["Deployment/web", "ConfigMap/gone"]);
    wait_gone(&world.target, &outcome, DEADLINE).await?;
    assert!(world.get("v1", "ConfigMap", "gone").await?.is_none());
    assert!(world.get("v1", "ConfigMap", "kept").await?.is_some());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_marked_or_belongs_to_another_stays() -> Result<()> {
    let mut world = World::new("kept").await?;
    let mut marked = world.config("marked", json!({}));
    marked["metadata"]["annotations"] = json!({"kustomize.toolkit.fluxcd.io/prune": "disabled"});
    world
        .apply(vec![
            marked,
            world.config("moved", json!({})),
            world.config("foreign", json!({})),
        ])
        .await?;
    let labels = json!({"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": "another"}}});
    world.patch("v1", "ConfigMap", "moved", "someone", labels).await?;
    let without = json!({"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": null}}});
    world.patch("v1", "ConfigMap", "foreign", "someone", without).await?;
    let outcome = world.apply_and_prune(vec![]).await?;
    assert!(outcome.deleted.is_empty() && outcome.failed.is_empty(), "{outcome:?}");
    assert_eq!(outcome.skipped.len(), 3, "{outcome:?}");
    for name in ["marked", "moved", "foreign"] {
        assert!(world.get("v1", "ConfigMap", name).await?.is_some(), "{name}");
    }
    Ok(())
}

struct Protects(&'static str);

impl ApplyPolicy for Protects {
    fn check(&self, _: &OwnerRef, action: Action, _: &str, _: &str, _: &str, name: &str) -> Result<(), String> {
        if action == Action::Delete && name == self.0 {
            return Err("it is protected here".to_owned());
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_and_unknown_deletions_stay_in_the_inventory() -> Result<()> {
    let mut world = World::new("refused").await?;
    world
        .apply(vec![world.config("a", json!({})), world.config("b", json!({}))])
        .await?;
    let mut stale = world.inventory.stale(&Inventory::new());
    stale.push(nave_crds::kustomize::ResourceRef {
        id: "nonsense".into(),
        v: "v1".into(),
    });
    stale.push(nave_crds::kustomize::ResourceRef {
        id: format!("{}_x_gone.example.com_Gone", world.namespace),
        v: "v1".into(),
    });
    let outcome = prune(&world.target, &stale, &world.owner, &Protects("a"), &HashSet::new(), 4).await;
    assert_eq!(outcome.deleted.len(), 1, "{outcome:?}");
    let failed: Vec<&str> = outcome.failed.iter().map(|(entry, _)| entry.id.as_str()).collect();
    assert_eq!(failed, ["nonsense", &format!("{}_a__ConfigMap", world.namespace)]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_was_applied_just_now_is_never_pruned() -> Result<()> {
    let mut world = World::new("uids").await?;
    world.apply(vec![world.config("same", json!({}))]).await?;
    let live = world.get("v1", "ConfigMap", "same").await?.context("it exists")?;
    let uid = live["metadata"]["uid"].as_str().context("it has a UID")?.to_owned();
    let stale = world.inventory.stale(&Inventory::new());
    let outcome = prune(&world.target, &stale, &world.owner, &AllowAll, &HashSet::from([uid]), 4).await;
    assert_eq!(outcome.skipped.len(), 1, "{outcome:?}");
    assert!(world.get("v1", "ConfigMap", "same").await?.is_some());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_that_hangs_is_a_timeout() -> Result<()> {
    let mut world = World::new("hangs").await?;
    world.apply(vec![world.config("stuck", json!({}))]).await?;
    world
        .patch(
            "v1",
            "ConfigMap",
            "stuck",
            "someone",
            json!({"metadata": {"finalizers": ["example.com/stuck"]}}),
        )
        .await?;
    let outcome = world.apply_and_prune(vec![]).await?;
    let error = wait_gone(&world.target, &outcome, Duration::from_millis(500))
        .await
        .expect_err("a finalizer holds it");
    assert!(error.to_string().contains("ConfigMap/"), "{error}");
    world
        .patch(
            "v1",
            "ConfigMap",
            "stuck",
            "someone",
            json!({"metadata": {"finalizers": null}}),
        )
        .await?;
    wait_gone(&world.target, &outcome, DEADLINE).await?;
    Ok(())
}
