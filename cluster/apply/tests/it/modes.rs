//! Applying what can be applied, only looking, and noticing changes at once.

use anyhow::{Context, Result, ensure};
use nave_apply::{Action, Check, guarded, until_drift};
use nave_bed::eventually;
use serde_json::{Value, json};

use crate::world::{DEADLINE, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_need_a_failed_object_is_applied_all_the_same() -> Result<()> {
    let mut world = World::new("independent").await?;
    let mut user = world.deployment("user", 0, json!({}));
    user["spec"]["template"]["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "refused"}}]);
    let objects = vec![
        world.config("good", json!({"a": "1"})),
        world.deployment("plain", 0, json!({})),
        user,
        world.config("refused", json!({"no key!": "x"})),
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "Not_A_Namespace"}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "inside", "namespace": "Not_A_Namespace"}}),
        json!({"apiVersion": "example.com/v1", "kind": "Nothing", "metadata": {"name": "x", "namespace": world.namespace}}),
    ];
    let outcome = world.try_apply(objects.clone()).await?;
    assert!(outcome.changes.is_empty(), "{:?}", outcome.changes);
    world.independent = true;
    let outcome = world.try_apply(objects.clone()).await?;
    let applied: Vec<String> = outcome.changes.iter().map(|change| change.id.to_string()).collect();
    let ns = &world.namespace;
    assert_eq!(
        applied,
        [format!("ConfigMap/{ns}/good"), format!("Deployment/{ns}/plain")]
    );
    let message = outcome.error.context("five objects failed")?.to_string();
    for part in [
        "5 objects failed".to_owned(),
        "Namespace/Not_A_Namespace dry-run failed".to_owned(),
        "ConfigMap/Not_A_Namespace/inside was not applied: it needs Namespace/Not_A_Namespace, which failed".to_owned(),
        format!("ConfigMap/{ns}/refused dry-run failed"),
        format!("Deployment/{ns}/user was not applied: it needs ConfigMap/{ns}/refused, which failed"),
        format!("Nothing/{ns}/x cannot be addressed"),
    ] {
        assert!(message.contains(&part), "{part}: {message}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_names_fields_and_writes_nothing() -> Result<()> {
    let mut world = World::new("look").await?;
    let desired = vec![
        world.config("settings", json!({"a": "1"})),
        world.deployment("web", 1, json!({})),
    ];
    world.apply(desired.clone()).await?;
    world.report_only = true;
    world.check = Check::Full;
    let outcome = world.try_apply(desired.clone()).await?;
    ensure!(outcome.error.is_none() && outcome.changes.iter().all(|change| change.action == Action::Unchanged));
    world
        .patch("v1", "ConfigMap", "settings", "someone", json!({"data": {"a": "2"}}))
        .await?;
    world
        .patch(
            "apps/v1",
            "Deployment",
            "web",
            "someone",
            json!({"spec": {"replicas": 0, "template": {"spec": {"containers": [{"name": "app", "image": "example.com/app:2"}]}}}}),
        )
        .await?;
    let mut more = desired.clone();
    more.push(world.config("new", json!({})));
    let outcome = world.try_apply(more).await?;
    let found: Vec<(String, Vec<String>)> = outcome
        .changes
        .iter()
        .map(|change| (change.id.name.clone(), change.drift.clone()))
        .collect();
    let fields = |fields: &[&str]| fields.iter().map(|field| (*field).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        found,
        [
            ("new".to_owned(), fields(&["it does not exist"])),
            ("settings".to_owned(), fields(&["data.a"])),
            (
                "web".to_owned(),
                fields(&["spec.replicas", "spec.template.spec.containers[app].image"])
            ),
        ]
    );
    assert!(outcome.changes.iter().all(|change| change.action == Action::Drifted));
    let settings = world.get("v1", "ConfigMap", "settings").await?.context("it is there")?;
    assert_eq!(settings["data"]["a"], "2");
    assert!(world.get("v1", "ConfigMap", "new").await?.is_none());
    // What was only looked at is not taken for applied.
    world.report_only = false;
    world.check = Check::Known;
    let done = world.apply(desired).await?;
    assert_eq!(done, ["ConfigMap/settings configured", "Deployment/web configured"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_by_somebody_else_is_noticed_and_our_own_is_not() -> Result<()> {
    let mut world = World::new("guard").await?;
    let changes: [(&str, Value); 2] = [
        ("settings", json!({"data": {"a": "2"}})),
        ("other", json!({"data": {"new": "x"}})),
    ];
    for (name, patch) in changes {
        let desired = vec![
            world.config("settings", json!({"a": "1"})),
            world.config("other", json!({"a": "1"})),
        ];
        let outcome = world.try_apply(desired).await?;
        ensure!(outcome.error.is_none(), "{:?}", outcome.error);
        let items = guarded(&outcome.changes, &world.memory);
        assert_eq!(items.len(), 2);
        let task = tokio::spawn(until_drift(world.target.clone(), items));
        // The watch has caught up with what was written, and nothing was noticed.
        let resource = outcome.changes[0].resource.clone().context("it was applied")?;
        eventually(DEADLINE, "the watch knows both", || async {
            for name in ["settings", "other"] {
                let watch = world.target.watch(&resource, "");
                watch.known(&world.namespace, name).context("not yet")?;
            }
            Ok(())
        })
        .await?;
        ensure!(!task.is_finished(), "our own write was taken for drift");
        world.patch("v1", "ConfigMap", name, "someone", patch).await?;
        tokio::time::timeout(DEADLINE, task)
            .await
            .context("the change was not noticed")??;
    }
    let outcome = world.try_apply(vec![world.config("gone", json!({}))]).await?;
    let items = guarded(&outcome.changes, &world.memory);
    let task = tokio::spawn(until_drift(world.target.clone(), items));
    let resource = outcome.changes[0].resource.clone().context("it was applied")?;
    let mode = nave_targets::DeleteMode::default();
    world.target.delete(&resource, &world.namespace, "gone", &mode).await?;
    tokio::time::timeout(DEADLINE, task)
        .await
        .context("the deletion was not noticed")??;
    Ok(())
}
