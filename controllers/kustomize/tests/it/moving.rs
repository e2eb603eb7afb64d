//! Objects that move from one Kustomization to another, Kustomizations that are renamed, and clusters that are exchanged.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{Api, Client, api::PostParams};
use nave_bed::{ApiFault, ApiProxy, Plane, PlaneOptions, TcpRelay, eventually};
use serde_json::{Value, json};

use crate::stage::{DEADLINE, Setup, Stage, config};

async fn uid(stage: &Stage, name: &str) -> Result<String> {
    let api: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &stage.namespace);
    api.get(name).await?.metadata.uid.context("a UID")
}

async fn owner(client: &Client, namespace: &str, name: &str) -> Result<String> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let labels = api.get(name).await?.metadata.labels.context("labels")?;
    labels
        .get("kustomize.toolkit.fluxcd.io/name")
        .cloned()
        .context("an owner")
}

async fn ids(stage: &Stage, name: &str) -> Result<Vec<String>> {
    let inventory = stage.status(name).await?.inventory.unwrap_or_default();
    Ok(inventory.entries.into_iter().map(|entry| entry.id).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_moves_is_not_deleted_on_the_way() -> Result<()> {
    // One at a time, so that the one it leaves may well come first.
    let mut setup = Setup::default();
    setup.options.concurrent = 1;
    let stage = Stage::start_with("move", setup).await?;
    let ns = stage.namespace.clone();
    let keeper = |revision: &str| {
        [
            ("one/k.yaml", config(&ns, "k1", revision)),
            ("two/k.yaml", config(&ns, "k2", revision)),
        ]
    };
    let with = |revision: &str, path: &'static str| {
        let mut files = keeper(revision).to_vec();
        files.push((path, config(&ns, "moving", "1")));
        files
    };
    stage.publish("1", &with("1", "one/m.yaml")).await?;
    stage.apply("one", json!({})).await?;
    stage.apply("two", json!({})).await?;
    stage.ready("one", "1").await?;
    stage.ready("two", "1").await?;
    let before = uid(&stage, "moving").await?;
    let entry = format!("{ns}_moving__ConfigMap");
    for (revision, path, to, from) in [("2", "two/m.yaml", "two", "one"), ("3", "one/m.yaml", "one", "two")] {
        stage.publish(revision, &with(revision, path)).await?;
        stage.ready(from, revision).await?;
        stage.ready(to, revision).await?;
        eventually(DEADLINE, "one inventory has it", || async {
            ensure!(!ids(&stage, from).await?.contains(&entry), "it is still in {from}");
            ensure!(ids(&stage, to).await?.contains(&entry), "it is not in {to}");
            Ok(())
        })
        .await?;
        assert_eq!(uid(&stage, "moving").await?, before, "it was re-created");
        assert_eq!(owner(&stage.client, &ns, "moving").await?, to);
    }
    // What nobody wants goes.
    stage.publish("4", &keeper("4")).await?;
    stage.ready("one", "4").await?;
    assert!(stage.config("moving").await?.is_none());
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_may_want_stays_while_that_cannot_be_found_out() -> Result<()> {
    let mut stage = Stage::idle("doubt").await?;
    let ns = stage.namespace.clone();
    let proxy = ApiProxy::start(stage.client.clone()).await?;
    stage.through = Some(proxy.client()?);
    stage.run(Setup::default());
    let vars: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "vars"}, "data": {"x": "1"}}))?;
    let configs: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &ns);
    configs.create(&PostParams::default(), &vars).await?;
    let with = |path: &'static str| {
        [
            ("one/k.yaml", config(&ns, "k1", "1")),
            ("two/k.yaml", config(&ns, "k2", "1")),
            (path, config(&ns, "moving", "1")),
        ]
    };
    stage.publish("1", &with("one/m.yaml")).await?;
    stage.apply("one", json!({})).await?;
    stage.ready("one", "1").await?;
    let before = uid(&stage, "moving").await?;
    proxy.set(vec![ApiFault {
        method: "GET",
        part: "/configmaps/vars",
        status: 500,
    }]);
    let reads =
        json!({"retryInterval": "1s", "postBuild": {"substituteFrom": [{"kind": "ConfigMap", "name": "vars"}]}});
    stage.apply("two", reads).await?;
    stage.failed("two", "BuildFailed").await?;
    stage.publish("2", &with("two/m.yaml")).await?;
    stage.ready("one", "2").await?;
    assert_eq!(uid(&stage, "moving").await?, before, "it is not pruned on that ground");
    proxy.set(Vec::new());
    stage.ready("two", "2").await?;
    let entry = format!("{ns}_moving__ConfigMap");
    eventually(DEADLINE, "the other has it", || async {
        ensure!(
            !ids(&stage, "one").await?.contains(&entry),
            "it is still in the first inventory"
        );
        Ok(())
    })
    .await?;
    assert_eq!(uid(&stage, "moving").await?, before, "it was re-created");
    assert_eq!(owner(&stage.client, &ns, "moving").await?, "two");
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renamed_kustomization_keeps_its_objects() -> Result<()> {
    let stage = Stage::start("rename").await?;
    let ns = stage.namespace.clone();
    stage.publish("1", &[("app/a.yaml", config(&ns, "a", "1"))]).await?;
    stage.apply("old", json!({"path": "./app"})).await?;
    stage.ready("old", "1").await?;
    let before = uid(&stage, "a").await?;
    // The new one cannot begin yet: the old one has to wait for it, whatever comes first.
    stage
        .apply(
            "new",
            json!({"path": "./app", "dependsOn": [{"name": "gate"}], "retryInterval": "1s"}),
        )
        .await?;
    stage.failed("new", "DependencyNotReady").await?;
    stage.delete("old").await?;
    let message = stage.failed("old", "PruneHeld").await?;
    assert!(message.contains(&format!("Kustomization {ns}/new")), "{message}");
    stage.apply("new", json!({"path": "./app"})).await?;
    stage.ready("new", "1").await?;
    stage.gone("old").await?;
    assert_eq!(uid(&stage, "a").await?, before, "it was re-created");
    assert_eq!(owner(&stage.client, &ns, "a").await?, "new");
    stage.delete("new").await?;
    stage.gone("new").await?;
    assert!(stage.config("a").await?.is_none());
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_that_is_left_is_cleaned() -> Result<()> {
    let stage = Stage::start("switch").await?;
    let ns = stage.namespace.clone();
    let other = Plane::start(PlaneOptions::named("kustomize-other")).await?;
    let client = other.client();
    let object: Namespace = serde_json::from_value(json!({"metadata": {"name": ns}}))?;
    Api::<Namespace>::all(client.clone())
        .create(&PostParams::default(), &object)
        .await?;
    let there = async || -> Result<Option<String>> {
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), &ns);
        Ok(api.get_opt("a").await?.and_then(|found| found.metadata.uid))
    };
    stage.publish("1", &[("app/a.yaml", config(&ns, "a", "1"))]).await?;
    stage.apply("app", json!({})).await?;
    stage.ready("app", "1").await?;
    assert!(stage.config("a").await?.is_some());

    // From here to there.
    stage.secret("k", &[("value", other.kubeconfig())]).await?;
    stage
        .apply("app", json!({"kubeConfig": {"secretRef": {"name": "k"}}}))
        .await?;
    stage.ready("app", "1").await?;
    let first = there().await?.context("it is there")?;
    assert!(stage.config("a").await?.is_none(), "it is not here any more");

    // The same cluster by another address: nothing is deleted.
    let address = other
        .url()
        .trim_start_matches("https://")
        .trim_end_matches('/')
        .parse()?;
    let relay = TcpRelay::start(address)?;
    let by_relay = other.kubeconfig().replace(
        other.url().trim_end_matches('/'),
        &format!("https://{}", relay.address()),
    );
    stage.secret("relay", &[("value", by_relay)]).await?;
    stage
        .apply("app", json!({"kubeConfig": {"secretRef": {"name": "relay"}}}))
        .await?;
    stage.ready("app", "1").await?;
    assert_eq!(there().await?, Some(first));

    // Back again while the old one is away: it says so, and cleans once it is there.
    relay.cut();
    stage.apply("app", json!({"retryInterval": "1s"})).await?;
    unset_kubeconfig(&stage).await?;
    let message = stage.failed("app", "PruneFailed").await?;
    assert!(message.contains("in the former cluster https://127.0.0.1"), "{message}");
    assert!(stage.config("a").await?.is_some(), "it is applied here all the same");
    relay.heal();
    stage.ready("app", "1").await?;
    assert_eq!(there().await?, None);
    let annotations = stage.kustomizations().get("app").await?.metadata.annotations;
    assert!(!annotations.unwrap_or_default().contains_key("nave.dev/target"));
    stage.stop().await
}

/// Server-side apply by the same manager takes a field away that is not given any more; this only waits for it.
async fn unset_kubeconfig(stage: &Stage) -> Result<()> {
    let spec: Value = serde_json::to_value(stage.kustomizations().get("app").await?.spec)?;
    ensure!(spec.get("kubeConfig").is_none_or(Value::is_null), "{spec}");
    Ok(())
}
