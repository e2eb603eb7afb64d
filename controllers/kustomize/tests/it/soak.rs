//! `make soak S=apply`: a reconciler in a process of its own is killed at random moments between publishing a revision and its
//! being applied. No object is lost from the inventory, none is orphaned, and nothing is deleted that was not asked for.

use std::{collections::BTreeSet, process::Stdio, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Config,
    api::{ListParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::watcher,
};
use nave_artifact::Limits;
use nave_bed::eventually;
use nave_kustomize_controller::{Options, Ports, StoreOrHttp, run};
use nave_runtime::{
    EventRecorder, Metrics, Tasks, Watched,
    ports::{AllowAll, PermitItself},
    watch::without_managed_fields,
};
use nave_targets::{KubeconfigPolicy, Targets};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;
use tokio::process::{Child, Command};

use crate::stage::{DEADLINE, Stage, config};

/// Set for the process that is killed; it does nothing as a test.
const NAMESPACE: &str = "NAVE_SOAK_NAMESPACE";
const KUBECONFIG: &str = "NAVE_SOAK_KUBECONFIG";
/// Names that come and go.
const NAMES: usize = 24;
/// The kill comes within this time of the revision.
const WINDOW_MILLIS: u64 = 900;

fn number(variable: &str, default: u64) -> Result<u64> {
    match std::env::var(variable) {
        Ok(text) => text.parse().with_context(|| format!("{variable}={text} is no number")),
        Err(_) => Ok(default),
    }
}

/// The reconciler that is killed: this test binary again, with only this test in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soak_child() -> Result<()> {
    let (Ok(namespace), Ok(kubeconfig)) = (std::env::var(NAMESPACE), std::env::var(KUBECONFIG)) else {
        return Ok(()); // it is not asked for
    };
    nave_net::install_crypto_provider();
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(config)?;
    let tasks = Tasks::new(Default::default());
    fn watched<K>(client: &Client, namespace: &str, tasks: &Tasks) -> Watched<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + serde::de::DeserializeOwned
            + std::fmt::Debug
            + Send
            + Sync
            + 'static,
    {
        Watched::start(
            Api::namespaced(client.clone(), namespace),
            watcher::Config::default(),
            without_managed_fields::<K>,
            tasks,
        )
    }
    let ports = Ports {
        client: client.clone(),
        targets: Arc::new(Targets::new(client.clone(), KubeconfigPolicy::default())),
        artifacts: Arc::new(StoreOrHttp::new(None, reqwest::Client::new(), 3, Limits::default())),
        events: EventRecorder::new(client.clone(), "kustomize-controller", "soak".into(), None, &tasks),
        metrics: Metrics::new(),
        kustomizations: watched(&client, &namespace, &tasks),
        git_repositories: watched(&client, &namespace, &tasks),
        oci_repositories: None,
        buckets: None,
        external_artifacts: watched(&client, &namespace, &tasks),
        key_services: nave_kms::KeyServices::with_client(reqwest::Client::new()),
        permits: Arc::new(PermitItself),
        policy: Arc::new(AllowAll),
        remote_bases: None,
        tasks: tasks.clone(),
    };
    run(ports, Options::default()).await;
    Ok(())
}

fn spawn(stage: &Stage) -> Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(["--exact", "soak::soak_child", "--nocapture"])
        .env(NAMESPACE, &stage.namespace)
        .env(KUBECONFIG, stage.plane.kubeconfig_path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .context("starting the reconciler")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soak_apply() -> Result<()> {
    let (seed, rounds) = (number("SEED", 1)?, number("ROUNDS", 20)?);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let stage = Stage::idle_at("soak", &address).await?;
    let routes = stage.store.routes();
    let server = tokio::spawn(async move { axum::serve(listener, routes).await });
    let ns = stage.namespace.clone();
    let api: Api<ConfigMap> = Api::namespaced(stage.client.clone(), &ns);
    let bystander = serde_json::from_value(json!({"metadata": {"name": "bystander"}, "data": {"a": "1"}}))?;
    let bystander = api.create(&PostParams::default(), &bystander).await?;
    stage
        .publish("0", &[("app/object-0.yaml", config(&ns, "object-0", "0"))])
        .await?;
    stage.apply("app", json!({"retryInterval": "1s"})).await?;
    let mut child = spawn(&stage)?;
    stage.ready("app", "0").await?;
    for round in 1..=rounds {
        let mut random = StdRng::seed_from_u64(seed.wrapping_add(round));
        let wanted: BTreeSet<String> = (0..NAMES)
            .filter(|number| *number == 0 || random.random_bool(0.5))
            .map(|number| format!("object-{number}"))
            .collect();
        let files: Vec<(String, String)> = wanted
            .iter()
            .map(|name| (format!("app/{name}.yaml"), config(&ns, name, &round.to_string())))
            .collect();
        let files: Vec<(&str, String)> = files.iter().map(|(path, text)| (path.as_str(), text.clone())).collect();
        let revision = format!("{seed}-{round}");
        stage.publish(&revision, &files).await?;
        let kills = random.random_range(1..=3);
        for _ in 0..kills {
            // The fault itself, not the proof: when it comes is what the seed decides.
            tokio::time::sleep(Duration::from_millis(random.random_range(0..WINDOW_MILLIS))).await;
            child.kill().await?; // SIGKILL
            let owned = owned(&api).await?;
            let known = inventory(&stage).await?;
            ensure!(
                owned.is_subset(&known),
                "seed {seed}, round {round}: {:?} exist and are in no inventory",
                owned.difference(&known).collect::<Vec<_>>()
            );
            child = spawn(&stage)?;
        }
        stage
            .ready("app", &revision)
            .await
            .with_context(|| format!("seed {seed}, round {round}"))?;
        eventually(DEADLINE, "objects and inventory are those of the revision", || async {
            let (owned, known) = (owned(&api).await?, inventory(&stage).await?);
            ensure!(
                owned == wanted && known == wanted,
                "seed {seed}, round {round}: wanted {wanted:?}, there are {owned:?}, known are {known:?}"
            );
            Ok(())
        })
        .await?;
        let after = api.get("bystander").await?.metadata;
        ensure!(
            after.uid == bystander.metadata.uid && after.resource_version == bystander.metadata.resource_version,
            "seed {seed}, round {round}: an object of nobody was touched"
        );
    }
    println!("{rounds} rounds from seed {seed}");
    child.kill().await?;
    server.abort();
    stage.stop().await
}

/// Objects that carry the owner's label.
async fn owned(api: &Api<ConfigMap>) -> Result<BTreeSet<String>> {
    let list = api
        .list(&ListParams::default().labels("kustomize.toolkit.fluxcd.io/name=app"))
        .await?;
    Ok(list.items.into_iter().filter_map(|item| item.metadata.name).collect())
}

/// Names in the inventory.
async fn inventory(stage: &Stage) -> Result<BTreeSet<String>> {
    let inventory = stage.status("app").await?.inventory.unwrap_or_default();
    Ok(inventory
        .entries
        .into_iter()
        .filter_map(|entry| entry.id.split('_').nth(1).map(str::to_owned))
        .collect())
}
