//! Creating, comparing, correcting and refusing.

use anyhow::{Context, Result};
use nave_apply::Check;
use nave_bed::eventually;
use serde_json::json;

use crate::world::{DEADLINE, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_as_desired_is_not_written_and_soon_not_even_asked_for() -> Result<()> {
    let mut world = World::new("noop").await?;
    let objects = |world: &World| {
        vec![
            world.deployment("web", 0, json!({})),
            world.config("settings", json!({"a": "1"})),
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "web", "namespace": world.namespace}}),
        ]
    };
    let desired = objects(&world);
    assert_eq!(
        world.apply(desired.clone()).await?,
        [
            "ServiceAccount/web created",
            "ConfigMap/settings created",
            "Deployment/web created"
        ]
    );
    let unchanged = [
        "ServiceAccount/web unchanged",
        "ConfigMap/settings unchanged",
        "Deployment/web unchanged",
    ];
    let Some(audit) = world
        .plane
        .audit_log()
        .is_some()
        .then(|| world.plane.audit())
        .transpose()?
    else {
        eprintln!("skipped: this cluster has no audit log");
        return Ok(());
    };
    let namespace = world.namespace.clone();
    let ours = |request: &nave_bed::Request| request.namespace == namespace && !request.user.starts_with("system:");
    let mark = audit.mark()?;
    world.check = Check::Full;
    assert_eq!(world.apply(desired.clone()).await?, unchanged);
    let writes = audit.since(mark)?.only(|request| ours(request)).writes();
    assert_eq!(writes.len(), 0, "{}", writes.summary());

    // The watches need a moment to see what was written.
    world.check = Check::Known;
    let world = tokio::sync::Mutex::new(world);
    eventually(DEADLINE, "a check without requests", || async {
        let mark = audit.mark()?;
        assert_eq!(world.lock().await.apply(desired.clone()).await?, unchanged);
        let requests = audit
            .since(mark)?
            .only(|request| ours(request) && request.verb != "watch" && !request.name.is_empty());
        anyhow::ensure!(
            requests
                .only(
                    |request| request.resource.starts_with("configmaps") && request.name == "settings"
                        || request.name == "web"
                )
                .is_empty(),
            "{}",
            requests.summary()
        );
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_is_corrected_also_when_the_watch_is_trusted() -> Result<()> {
    let mut world = World::new("drift").await?;
    let desired = vec![
        world.config("settings", json!({"a": "1"})),
        world.deployment("web", 0, json!({})),
    ];
    world.apply(desired.clone()).await?;
    world.apply(desired.clone()).await?;
    world
        .patch(
            "v1",
            "ConfigMap",
            "settings",
            "someone",
            json!({"data": {"a": "2", "b": "3"}}),
        )
        .await?;
    world
        .patch(
            "apps/v1",
            "Deployment",
            "web",
            "someone",
            json!({"spec": {"replicas": 2}}),
        )
        .await?;
    // A watch that has not heard of it yet says that nothing changed; a full check never does.
    world.check = Check::Full;
    assert_eq!(
        world.apply(desired.clone()).await?,
        ["ConfigMap/settings configured", "Deployment/web configured"]
    );
    let settings = world.get("v1", "ConfigMap", "settings").await?.context("it exists")?;
    assert_eq!(settings["data"], json!({"a": "1", "b": "3"}), "what others added stays");
    assert_eq!(
        world.get("apps/v1", "Deployment", "web").await?.context("it exists")?["spec"]["replicas"],
        0
    );

    world
        .patch("v1", "ConfigMap", "settings", "someone", json!({"data": {"a": "4"}}))
        .await?;
    world.check = Check::Known;
    let world = tokio::sync::Mutex::new(world);
    eventually(DEADLINE, "the drift is noticed by watch", || async {
        let mut world = world.lock().await;
        world.apply(desired.clone()).await?;
        let settings = world.get("v1", "ConfigMap", "settings").await?.context("it exists")?;
        anyhow::ensure!(settings["data"]["a"] == "1", "{settings}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_with_any_problem_writes_nothing_and_names_them_all() -> Result<()> {
    let mut world = World::new("problems").await?;
    let mut bad = world.deployment("bad", 1, json!({}));
    bad["spec"]["replicas"] = json!("many");
    let outcome = world
        .try_apply(vec![
            world.config("fine", json!({})),
            bad,
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "Bad_Name", "namespace": world.namespace}}),
            json!({"apiVersion": "example.com/v1", "kind": "Unknown", "metadata": {"name": "x", "namespace": world.namespace}}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "homeless"}}),
        ])
        .await?;
    assert!(outcome.changes.is_empty(), "{:?}", outcome.changes);
    let text = outcome.error.context("it has to fail")?.to_string();
    for part in [
        "4 objects failed",
        "Deployment/",
        "ConfigMap/problems",
        "Bad_Name dry-run failed",
        "Unknown/",
        "does not serve kind Unknown",
        "homeless has no namespace",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    assert!(world.get("v1", "ConfigMap", "fine").await?.is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_of_a_stage_is_created_only_when_all_others_pass() -> Result<()> {
    let mut world = World::new("first").await?;
    let account = |world: &World, name: &str| json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": world.namespace}});
    let mut bad = world.deployment("bad", 1, json!({}));
    bad["spec"]["replicas"] = json!("many");
    // The first would pass, another does not.
    let outcome = world
        .try_apply(vec![
            account(&world, "first"),
            world.config("second", json!({})),
            bad.clone(),
        ])
        .await?;
    let text = outcome.error.context("it has to fail")?.to_string();
    assert!(outcome.changes.is_empty() && text.contains("Deployment/"), "{text}");
    assert!(!text.contains("ServiceAccount/"), "{text}");
    // Neither passes, and both are named.
    let outcome = world.try_apply(vec![account(&world, "Bad_First"), bad]).await?;
    let text = outcome.error.context("it has to fail")?.to_string();
    for part in ["2 objects failed", "Bad_First dry-run failed", "Deployment/"] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    // Only the first does not pass.
    let objects = vec![account(&world, "Bad_First"), world.config("second", json!({}))];
    let outcome = world.try_apply(objects).await?;
    let text = outcome.error.context("it has to fail")?.to_string();
    assert!(
        outcome.changes.is_empty() && text.contains("Bad_First dry-run failed"),
        "{text}"
    );
    assert!(world.get("v1", "ServiceAccount", "first").await?.is_none());
    assert!(world.get("v1", "ConfigMap", "second").await?.is_none());

    // A new object is not read before its dry run, the first has none, and what exists is compared as ever.
    let Some(audit) = world
        .plane
        .audit_log()
        .is_some()
        .then(|| world.plane.audit())
        .transpose()?
    else {
        eprintln!("skipped: this cluster has no audit log");
        return Ok(());
    };
    let mark = audit.mark()?;
    let objects = |world: &World| {
        vec![
            account(world, "first"),
            world.config("second", json!({"a": "1"})),
            world.config("third", json!({})),
        ]
    };
    let desired = objects(&world);
    assert_eq!(
        world.apply(desired.clone()).await?,
        [
            "ServiceAccount/first created",
            "ConfigMap/second created",
            "ConfigMap/third created"
        ]
    );
    let namespace = world.namespace.clone();
    let requests = audit.since(mark)?.only(|request| {
        request.namespace == namespace && !request.user.starts_with("system:") && request.verb != "watch"
    });
    let count = |verb: &str, dry: bool| {
        let same = |request: &nave_bed::Request| request.verb == verb && request.uri.contains("dryRun") == dry;
        requests.only(|request| same(request)).len()
    };
    assert_eq!(
        (count("get", false), count("patch", true), count("patch", false)),
        (1, 2, 3),
        "{}",
        requests.summary()
    );
    // Another owner, who knows nothing of them.
    world.memory = nave_apply::Memory::new();
    world.inventory = nave_apply::Inventory::new();
    assert_eq!(
        world.apply(desired).await?,
        [
            "ServiceAccount/first unchanged",
            "ConfigMap/second unchanged",
            "ConfigMap/third unchanged"
        ]
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn immutable_fields_need_force_and_force_never_loses_an_object() -> Result<()> {
    let mut world = World::new("force").await?;
    world.apply(vec![world.deployment("web", 0, json!({}))]).await?;
    let before = world.get("apps/v1", "Deployment", "web").await?.context("it exists")?;
    let mut moved = world.deployment("web", 0, json!({}));
    moved["spec"]["selector"]["matchLabels"]["app"] = json!("other");
    moved["spec"]["template"]["metadata"]["labels"]["app"] = json!("other");
    let error = world
        .apply(vec![moved.clone()])
        .await
        .expect_err("the selector is immutable")
        .to_string();
    assert!(error.contains("immutable") && error.contains("spec.force"), "{error}");

    world.force = true;
    let mut invalid = moved.clone();
    invalid["spec"]["template"]["spec"]["containers"] = json!([]);
    world
        .apply(vec![invalid])
        .await
        .expect_err("no Deployment has no containers");
    let still = world
        .get("apps/v1", "Deployment", "web")
        .await?
        .context("it must not be deleted")?;
    assert_eq!(still["metadata"]["uid"], before["metadata"]["uid"]);

    world.permits = false;
    let other = world.config("other", json!({"a": "1"}));
    let outcome = world.try_apply(vec![moved.clone(), other]).await?;
    let error = outcome.error.context("nobody permits it")?;
    assert!(error.is_held(), "{error}");
    let text = error.to_string();
    assert!(text.contains("web of main@sha1:1 is not approved"), "{text}");
    assert!(
        outcome.changes.is_empty(),
        "of its stage nothing is written: {:?}",
        outcome.changes
    );
    let still = world.get("apps/v1", "Deployment", "web").await?;
    assert_eq!(
        still.context("it is not deleted")?["metadata"]["uid"],
        before["metadata"]["uid"]
    );

    world.permits = true;
    assert_eq!(world.apply(vec![moved.clone()]).await?, ["Deployment/web created"]);
    let after = world
        .get("apps/v1", "Deployment", "web")
        .await?
        .context("it was re-created")?;
    assert_ne!(after["metadata"]["uid"], before["metadata"]["uid"]);

    world.force = false;
    let mut back = world.deployment("web", 0, json!({}));
    back["metadata"]["annotations"] = json!({"kustomize.toolkit.fluxcd.io/force": "Enabled"});
    assert_eq!(world.apply(vec![back]).await?, ["Deployment/web created"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn annotations_leave_objects_alone() -> Result<()> {
    let mut world = World::new("skips").await?;
    let with = |world: &World, name: &str, annotations: serde_json::Value, value: &str| {
        let mut object = world.config(name, json!({"a": value}));
        object["metadata"]["annotations"] = annotations;
        object
    };
    let once = json!({"kustomize.toolkit.fluxcd.io/ssa": "IfNotPresent"});
    let ignored = json!({"kustomize.toolkit.fluxcd.io/ssa": "ignore"});
    let first = vec![
        with(&world, "once", once.clone(), "1"),
        with(&world, "never", ignored, "1"),
        world.config("live", json!({"a": "1"})),
    ];
    assert_eq!(
        world.apply(first).await?,
        [
            "ConfigMap/live created",
            "ConfigMap/never skipped",
            "ConfigMap/once created"
        ]
    );
    assert!(world.get("v1", "ConfigMap", "never").await?.is_none());
    world
        .patch(
            "v1",
            "ConfigMap",
            "live",
            "someone",
            json!({"metadata": {"annotations": {"kustomize.toolkit.fluxcd.io/reconcile": "disabled"}}}),
        )
        .await?;
    let second = vec![with(&world, "once", once, "2"), world.config("live", json!({"a": "2"}))];
    assert_eq!(
        world.apply(second).await?,
        ["ConfigMap/live skipped", "ConfigMap/once skipped"]
    );
    for name in ["once", "live"] {
        let object = world.get("v1", "ConfigMap", name).await?.context("it exists")?;
        assert_eq!(object["data"]["a"], "1", "{name}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_and_its_object_are_applied_together() -> Result<()> {
    let mut world = World::new("definitions").await?;
    let group = format!("{}.example.com", world.namespace);
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("widgets.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
    let widget = json!({"apiVersion": format!("{group}/v1"), "kind": "Widget", "metadata": {"name": "one", "namespace": world.namespace}, "spec": {"size": 1}});
    let other = format!("{}-inner", world.namespace);
    let inner = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}});
    let inside = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "inside", "namespace": other}});
    let changes = world.apply(vec![widget, inside, definition, inner]).await?;
    assert_eq!(changes.len(), 4);
    assert!(
        changes[0].starts_with("CustomResourceDefinition/") && changes[1].starts_with("Namespace/"),
        "{changes:?}"
    );
    assert!(changes.contains(&"Widget/one created".to_owned()), "{changes:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_kubectl_applied_is_taken_over_whole() -> Result<()> {
    let mut world = World::new("takeover").await?;
    let mut created = world.config("old", json!({"a": "1", "kubectl": "1"}));
    created["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": "{}"});
    let api: kube::Api<k8s_openapi::api::core::v1::ConfigMap> =
        kube::Api::namespaced(world.client.clone(), &world.namespace);
    let parameters = kube::api::PostParams {
        field_manager: Some("kubectl-client-side-apply".into()),
        ..Default::default()
    };
    api.create(&parameters, &serde_json::from_value(created)?).await?;
    assert_eq!(
        world.apply(vec![world.config("old", json!({"a": "1"}))]).await?,
        ["ConfigMap/old configured"]
    );
    let taken = world.get("v1", "ConfigMap", "old").await?.context("it exists")?;
    assert_eq!(taken["data"], json!({"a": "1"}));
    assert!(taken["metadata"].get("annotations").is_none(), "{taken}");
    Ok(())
}

/// Flux owns the empty metadata of a pod template that has none: what it does not get again, the API server takes away with
/// all that others have put there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_flux_applied_is_taken_over_without_a_write() -> Result<()> {
    let mut world = World::new("jobs").await?;
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once", "namespace": world.namespace},
        "spec": {"suspend": true, "template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "app", "image": "example.com/app:1"}]}}}});
    // With the owner's labels of this world, which come from a first apply and stay.
    world.apply(vec![world.config("owned", json!({}))]).await?;
    let owned = world.get("v1", "ConfigMap", "owned").await?.context("it exists")?;
    let mut sent = job.clone();
    sent["metadata"]["labels"] = owned["metadata"]["labels"].clone();
    sent["spec"]["template"]["metadata"] = json!({});
    sent["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({});
    let api: kube::Api<k8s_openapi::api::batch::v1::Job> =
        kube::Api::namespaced(world.client.clone(), &world.namespace);
    let flux = kube::api::PatchParams::apply("kustomize-controller").force();
    api.patch("once", &flux, &kube::api::Patch::Apply(&sent)).await?;
    assert_eq!(world.apply(vec![job]).await?, ["Job/once unchanged"]);
    let live = world.get("batch/v1", "Job", "once").await?.context("it exists")?;
    let labels = &live["spec"]["template"]["metadata"]["labels"];
    assert_eq!(labels["batch.kubernetes.io/job-name"], "once");
    Ok(())
}
