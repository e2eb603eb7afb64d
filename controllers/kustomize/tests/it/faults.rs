//! An API server that is not well, and input that it does not take. One Kustomization suffers, the others do not.

use anyhow::{Context, Result, ensure};
use k8s_openapi::{
    api::{
        admissionregistration::v1::ValidatingWebhookConfiguration,
        core::v1::{ConfigMap, Namespace, Secret},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use nave_bed::{ApiFault, ApiProxy, eventually};
use nave_crds::source::GitRepository;
use nave_runtime::Conditions;
use serde_json::json;

use crate::stage::{DEADLINE, Setup, Stage, config};

fn secret(namespace: &str, name: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: {namespace}}}\nstringData: {{a: b}}\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_refuses_delays_only_who_needs_it() -> Result<()> {
    let mut stage = Stage::idle("sick").await?;
    let ns = stage.namespace.clone();
    let proxy = ApiProxy::start(stage.client.clone()).await?;
    stage.through = Some(proxy.client()?);
    stage.run(Setup::default());
    let files = |revision: &str| {
        [
            ("app/a.yaml", config(&ns, "a", revision)),
            ("other/s.yaml", secret(&ns, &format!("s-{revision}"))),
        ]
    };
    stage.publish("1", &files("1")).await?;
    stage.apply("app", json!({"retryInterval": "1s"})).await?;
    stage.apply("other", json!({})).await?;
    stage.ready("app", "1").await?;
    stage.ready("other", "1").await?;
    for (revision, status) in [("2", 500), ("3", 429), ("4", 403)] {
        let met = proxy.met();
        proxy.set(vec![ApiFault {
            method: "PATCH",
            part: "/configmaps/",
            status,
        }]);
        stage.publish(revision, &files(revision)).await?;
        stage.ready("other", revision).await?;
        eventually(DEADLINE, "the fault was met", || async {
            ensure!(proxy.met() > met, "not yet");
            Ok(())
        })
        .await?;
        let known = stage.status("app").await?.inventory.context("an inventory")?.entries;
        assert_eq!(known.len(), 1, "nothing is lost from the inventory");
        proxy.set(Vec::new());
        stage.ready("app", revision).await?;
        assert_eq!(stage.config("a").await?.context("it is there")?["value"], revision);
    }
    // Every watch breaks: what happens afterwards is seen all the same.
    for revision in ["5", "6"] {
        proxy.close_streams();
        stage.publish(revision, &files(revision)).await?;
        stage.ready("app", revision).await?;
        stage.ready("other", revision).await?;
    }
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_that_could_not_be_written_is_written_soon() -> Result<()> {
    let mut stage = Stage::idle("unwritten").await?;
    let ns = stage.namespace.clone();
    let proxy = ApiProxy::start(stage.client.clone()).await?;
    stage.through = Some(proxy.client()?);
    stage.run(Setup::default());
    stage.publish("1", &[("good/a.yaml", config(&ns, "a", "1"))]).await?;
    proxy.set(vec![ApiFault {
        method: "PATCH",
        part: "/status",
        status: 403,
    }]);
    // Both would be looked at again in an hour, or never.
    stage.apply("good", json!({})).await?;
    stage.apply("stalled", json!({"ignore": [{"paths": ["spec"]}]})).await?;
    eventually(DEADLINE, "the faults were met", || async {
        ensure!(proxy.met() >= 4, "not yet");
        Ok(())
    })
    .await?;
    proxy.set(Vec::new());
    stage.ready("good", "1").await?;
    stage.failed("stalled", "BuildFailed").await?;
    assert!(stage.status("stalled").await?.conditions.is_true("Stalled"));
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kinds_that_cannot_be_asked_for_stall_nobody() -> Result<()> {
    let mut stage = Stage::idle("discovery").await?;
    let ns = stage.namespace.clone();
    let proxy = ApiProxy::start(stage.client.clone()).await?;
    stage.through = Some(proxy.client()?);
    let mut setup = Setup::default();
    setup.options.gates.direct_source_fetch = true;
    stage.run(setup);
    stage.publish("1", &[("app/a.yaml", config(&ns, "a", "1"))]).await?;
    proxy.set(vec![ApiFault {
        method: "GET",
        part: "/apis/source.toolkit.fluxcd.io",
        status: 500,
    }]);
    stage.apply("app", json!({"retryInterval": "2s"})).await?;
    let message = stage.failed("app", "ArtifactFailed").await?;
    assert!(message.contains("reading source"), "{message}");
    assert!(stage.status("app").await?.conditions.get_condition("Stalled").is_none());
    proxy.set(Vec::new());
    stage.ready("app", "1").await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_api_server_does_not_take_is_named() -> Result<()> {
    let stage = Stage::start("refused").await?;
    let ns = stage.namespace.clone();
    let hook = format!("reject-{ns}");
    let hooks: Api<ValidatingWebhookConfiguration> = Api::all(stage.client.clone());
    let rejecting = serde_json::from_value(json!({"metadata": {"name": hook}, "webhooks": [{
        "name": "reject.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail",
        "clientConfig": {"url": "https://127.0.0.1:1/"}, "timeoutSeconds": 1,
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": ns}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["secrets"]}]}]}))?;
    hooks.create(&PostParams::default(), &rejecting).await?;
    let stuck = format!("{ns}-stuck");
    let namespaces: Api<Namespace> = Api::all(stage.client.clone());
    let object = serde_json::from_value(json!({"metadata": {"name": stuck, "finalizers": ["example.com/never"]}}))?;
    namespaces.create(&PostParams::default(), &object).await?;
    namespaces.delete(&stuck, &DeleteParams::default()).await?;
    let huge = config(&ns, "huge", &"x".repeat(2 << 20));
    let files = [
        ("hook/s.yaml", secret(&ns, "rejected")),
        ("huge/h.yaml", huge),
        ("stuck/c.yaml", config(&stuck, "late", "1")),
        ("good/g.yaml", config(&ns, "good", "1")),
    ];
    stage.publish("1", &files).await?;
    for name in ["hook", "huge", "stuck", "good"] {
        stage.apply(name, json!({"retryInterval": "1s"})).await?;
    }
    stage.ready("good", "1").await?;
    for (name, parts) in [
        (
            "hook",
            [format!("Secret/{ns}/rejected"), "reject.example.com".to_owned()],
        ),
        ("huge", [format!("ConfigMap/{ns}/huge"), "oo l".to_owned()]), // "too large", "Too long"
        ("stuck", [format!("ConfigMap/{stuck}/late"), "terminated".to_owned()]),
    ] {
        let message = eventually(DEADLINE, &format!("{name} is refused"), || async {
            stage.failed(name, "ReconciliationFailed").await
        })
        .await?;
        for part in &parts {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
    // Each heals once its cause is gone.
    hooks.delete(&hook, &DeleteParams::default()).await?;
    stage.ready("hook", "1").await?;
    assert!(
        Api::<Secret>::namespaced(stage.client.clone(), &ns)
            .get_opt("rejected")
            .await?
            .is_some()
    );
    let release = json!({"metadata": {"finalizers": null}});
    namespaces
        .patch(&stuck, &PatchParams::default(), &Patch::Merge(release))
        .await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_vanishes_deletes_nothing() -> Result<()> {
    let stage = Stage::start("vanish").await?;
    let ns = stage.namespace.clone();
    stage.publish("1", &[("app/a.yaml", config(&ns, "a", "1"))]).await?;
    stage
        .apply("app", json!({"interval": "2s", "retryInterval": "1s"}))
        .await?;
    stage.ready("app", "1").await?;
    let sources: Api<GitRepository> = Api::namespaced(stage.client.clone(), &ns);
    sources.delete("source", &DeleteParams::default()).await?;
    let message = eventually(DEADLINE, "the missing source is named", || async {
        stage.failed("app", "ArtifactFailed").await
    })
    .await?;
    assert!(message.contains(&format!("GitRepository/{ns}/source")), "{message}");
    let api: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &ns);
    assert!(api.get_opt("a").await?.is_some());
    assert_eq!(
        stage.status("app").await?.inventory.context("it stays")?.entries.len(),
        1
    );
    stage.publish("2", &[("app/a.yaml", config(&ns, "a", "2"))]).await?;
    stage.ready("app", "2").await?;
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_that_another_manager_took_is_taken_back_and_its_own_are_left() -> Result<()> {
    let stage = Stage::start("managers").await?;
    let ns = stage.namespace.clone();
    stage.publish("1", &[("app/a.yaml", config(&ns, "a", "ours"))]).await?;
    stage.apply("app", json!({})).await?;
    stage.ready("app", "1").await?;
    let api: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &ns);
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
        "data": {"value": "theirs", "extra": "theirs"}});
    let parameters = PatchParams::apply("somebody-else");
    // Without force the API server names us as the one who has the field.
    let conflict = api
        .patch("a", &parameters, &Patch::Apply(&theirs))
        .await
        .unwrap_err()
        .to_string();
    assert!(conflict.contains("kustomize-controller"), "{conflict}");
    api.patch("a", &parameters.force(), &Patch::Apply(&theirs)).await?;
    stage
        .annotate("app", json!({"reconcile.fluxcd.io/requestedAt": "now"}))
        .await?;
    eventually(DEADLINE, "the field is ours again", || async {
        let data = stage.config("a").await?.context("it is there")?;
        ensure!(data["value"] == "ours", "{data:?}");
        ensure!(data["extra"] == "theirs", "{data:?}");
        Ok(())
    })
    .await?;
    eventually(DEADLINE, "the change is told", || async {
        let events = stage.events("app").await?;
        ensure!(
            events
                .iter()
                .any(|event| event.contains(&format!("ConfigMap/{ns}/a configured"))),
            "{events:?}"
        );
        Ok(())
    })
    .await?;
    stage.ready("app", "1").await?;
    stage.stop().await
}

/// A definition with one object of its kind, in whatever order.
fn widget(group: &str, namespace: &str) -> String {
    format!(
        "apiVersion: {group}/v1\nkind: Widget\nmetadata: {{name: one, namespace: {namespace}}}\nspec: {{size: 1}}\n---\n\
         apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: widgets.{group}}}\nspec:\n  \
         group: {group}\n  scope: Namespaced\n  names: {{kind: Widget, plural: widgets}}\n  versions:\n  - name: v1\n    served: true\n    \
         storage: true\n    schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_and_what_it_defines_come_and_go_in_one_build() -> Result<()> {
    let stage = Stage::start("definitions").await?;
    let ns = stage.namespace.clone();
    let group = format!("{ns}.example.com");
    stage.publish("1", &[("app/all.yaml", widget(&group, &ns))]).await?;
    stage.apply("app", json!({"wait": true})).await?;
    let status = stage.ready("app", "1").await?;
    let ids: Vec<String> = status
        .inventory
        .context("an inventory")?
        .entries
        .into_iter()
        .map(|entry| entry.id)
        .collect();
    assert_eq!(
        ids,
        [
            format!("_widgets.{group}_apiextensions.k8s.io_CustomResourceDefinition"),
            format!("{ns}_one_{group}_Widget")
        ]
    );
    stage.delete("app").await?;
    stage.gone("app").await?;
    let definitions: Api<CustomResourceDefinition> = Api::all(stage.client.clone());
    eventually(DEADLINE, "the definition is gone", || async {
        let found = definitions.get_opt(&format!("widgets.{group}")).await?;
        ensure!(found.is_none(), "it is still there");
        Ok(())
    })
    .await?;
    stage.stop().await
}
