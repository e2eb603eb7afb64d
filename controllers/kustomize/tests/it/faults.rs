//! An API server that is not well, and input that it does not take. One Kustomization suffers, the others do not.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    admissionregistration::v1::ValidatingWebhookConfiguration,
    core::v1::{ConfigMap, Namespace, Secret},
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use nave_bed::eventually;
use nave_crds::source::GitRepository;
use serde_json::json;

use crate::{
    proxy::{Fault, Proxy},
    stage::{DEADLINE, Setup, Stage, config},
};

fn secret(namespace: &str, name: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: {namespace}}}\nstringData: {{a: b}}\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_refuses_delays_only_who_needs_it() -> Result<()> {
    let mut stage = Stage::idle("sick").await?;
    let ns = stage.namespace.clone();
    let proxy = Proxy::start(stage.client.clone()).await?;
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
        proxy.set(vec![Fault {
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
