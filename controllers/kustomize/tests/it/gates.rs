//! Feature gates of Flux: each does what it says.

use anyhow::{Context, Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
};
use nave_bed::eventually;
use serde_json::json;

use crate::stage::{DEADLINE, Setup, Stage, config};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sources_are_read_directly_when_that_is_wanted() -> Result<()> {
    let mut setup = Setup::default();
    setup.options.gates.direct_source_fetch = true;
    let stage = Stage::start_with("direct", setup).await?;
    let ns = stage.namespace.clone();
    let audit = stage
        .plane
        .audit_log()
        .is_some()
        .then(|| stage.plane.audit())
        .transpose()?;
    let mark = audit.as_ref().map(|audit| audit.mark()).transpose()?;
    stage.publish("1", &[("app/a.yaml", config(&ns, "a", "1"))]).await?;
    stage.apply("app", json!({})).await?;
    stage.ready("app", "1").await?;
    if let (Some(audit), Some(mark)) = (&audit, mark) {
        let reads = audit.since(mark)?.only(|request| {
            request.namespace == ns && request.verb == "get" && request.resource.starts_with("gitrepositories")
        });
        assert!(!reads.is_empty(), "the source was not asked for");
    }
    stage
        .apply(
            "lost",
            json!({"sourceRef": {"kind": "GitRepository", "name": "nobody"}}),
        )
        .await?;
    let message = stage.failed("lost", "ArtifactFailed").await?;
    assert!(message.contains(&format!("GitRepository/{ns}/nobody")), "{message}");
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_something_newer_ends_is_reported() -> Result<()> {
    let mut setup = Setup::default();
    setup.options.gates.cancel_health_check_on_new_revision = true;
    let stage = Stage::start_with("cancel", setup).await?;
    let ns = stage.namespace.clone();
    stage.publish("1", &[("app/a.yaml", config(&ns, "a", "1"))]).await?;
    let check = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "missing", "namespace": ns});
    stage
        .apply("app", json!({"timeout": "30m", "healthChecks": [check]}))
        .await?;
    eventually(DEADLINE, "it waits", || async {
        ensure!(stage.config("a").await?.is_some(), "nothing is applied yet");
        Ok(())
    })
    .await?;
    stage
        .publish(
            "2",
            &[
                ("app/a.yaml", config(&ns, "a", "2")),
                ("app/m.yaml", config(&ns, "missing", "2")),
            ],
        )
        .await?;
    stage.ready("app", "2").await?;
    let events = eventually(DEADLINE, "the events are written", || async {
        let events = stage.events("app").await?;
        ensure!(
            events.iter().any(|event| event.contains("Health check passed")),
            "{events:?}"
        );
        Ok(events)
    })
    .await?;
    let wanted = format!(
        "HealthCheckCanceled Health checks canceled due to new reconciliation triggered by GitRepository/{ns}/source"
    );
    assert!(events.contains(&wanted), "{events:?}");
    // It is told before the object is Ready, and with the reason that it has then.
    assert!(
        events
            .iter()
            .any(|event| event.starts_with("Progressing Health check passed in ")),
        "{events:?}"
    );
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn managed_fields_follow_the_version_that_is_applied() -> Result<()> {
    let mut setup = Setup::default();
    setup.options.gates.migrate_api_version = true;
    let stage = Stage::start_with("migrate", setup).await?;
    let ns = stage.namespace.clone();
    let group = format!("{ns}.example.com");
    let version = |name: &str, storage: bool| {
        let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
        json!({"name": name, "served": true, "storage": storage, "schema": schema})
    };
    let definition: CustomResourceDefinition = serde_json::from_value(json!({
        "metadata": {"name": format!("widgets.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList"},
            "versions": [version("v1", false), version("v2", true)],
        }
    }))?;
    let definitions: Api<CustomResourceDefinition> = Api::all(stage.client.clone());
    definitions.create(&PostParams::default(), &definition).await?;
    let widget = |version: &str, size: u8| {
        format!(
            "apiVersion: {group}/{version}\nkind: Widget\nmetadata: {{name: w, namespace: {ns}}}\nspec: {{size: {size}}}\n"
        )
    };
    stage.publish("1", &[("app/w.yaml", widget("v1", 1))]).await?;
    stage.apply("app", json!({"retryInterval": "1s"})).await?;
    stage.ready("app", "1").await?;
    let gvk = GroupVersionKind::gvk(&group, "v1", "Widget");
    let api: Api<DynamicObject> = Api::namespaced_with(
        stage.client.clone(),
        &ns,
        &ApiResource::from_gvk_with_plural(&gvk, "widgets"),
    );
    let patch = json!({"metadata": {"labels": {"by": "somebody"}}});
    api.patch("w", &PatchParams::apply("somebody"), &Patch::Merge(patch))
        .await?;
    let versions = async || {
        let object = api.get("w").await?;
        let versions = object
            .managed_fields()
            .iter()
            .filter_map(|entry| entry.api_version.clone());
        anyhow::Ok(versions.collect::<Vec<_>>())
    };
    assert!(versions().await?.iter().all(|version| version.ends_with("/v1")));
    stage.publish("2", &[("app/w.yaml", widget("v2", 2))]).await?;
    stage.ready("app", "2").await?;
    let found = versions().await?;
    assert!(
        found.len() >= 2 && found.iter().all(|version| version.ends_with("/v2")),
        "{found:?}"
    );
    let object = api.get("w").await?;
    assert_eq!(object.labels().get("by").context("another's label stays")?, "somebody");
    stage.stop().await
}
