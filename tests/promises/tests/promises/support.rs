//! What several promises need: one fleet at a time, and waiting for its objects.

use std::{future::Future, time::Duration};

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use nave_bed::eventually;
use nave_demo::{
    Fleet, FleetOptions,
    fleet::{self, WORKSPACE},
};
use nave_promises::observe;
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// Four control planes, a hub and two agents want a machine for themselves: promises with a whole fleet take turns.
static ONE_FLEET: Mutex<()> = Mutex::const_new(());

/// How long a fleet may take to become healthy for the first time on a busy machine.
pub const START: Duration = Duration::from_secs(240);
/// How long one change may take.
pub const CHANGE: Duration = Duration::from_secs(90);

/// Runs `promise` with a whole, healthy fleet.
pub async fn with_fleet<F>(promise: impl FnOnce(Fleet) -> F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    let _turn = ONE_FLEET.lock().await;
    let fleet = Fleet::start_whole(&FleetOptions::default(), &|step| eprintln!("fleet: {step}")).await?;
    if no_workloads(&fleet) {
        return Ok(());
    }
    if let Err(error) = fleet.wait_ready(None, START).await {
        explain(&fleet);
        return Err(error);
    }
    promise(fleet).await
}

/// Runs `promise` with a hub and the clusters that `options` name, none of them joined yet. What is said of it is
/// explained by the logs.
pub async fn with_some<F>(options: FleetOptions, promise: impl FnOnce(Fleet) -> F) -> Result<()>
where
    F: Future<Output = (Fleet, Result<()>)>,
{
    let _turn = ONE_FLEET.lock().await;
    let fleet = Fleet::start(&options, &|step| eprintln!("fleet: {step}")).await?;
    if no_workloads(&fleet) {
        return Ok(());
    }
    let (fleet, result) = promise(fleet).await;
    if result.is_err() {
        explain(&fleet);
    }
    result
}

/// Runs `promise` with a hub and its planes, and no cluster joined yet.
pub async fn with_hub<F>(promise: impl FnOnce(Fleet) -> F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    let _turn = ONE_FLEET.lock().await;
    let fleet = Fleet::start(
        &FleetOptions {
            audit: true,
            ..FleetOptions::default()
        },
        &|step| eprintln!("fleet: {step}"),
    )
    .await?;
    if no_workloads(&fleet) {
        return Ok(());
    }
    promise(fleet).await
}

/// Prints the ends of the logs of everything that runs.
pub fn explain(fleet: &Fleet) {
    eprintln!("--- hub\n{}", tail(&fleet.hub.log()));
    for (name, agent) in &fleet.agents {
        eprintln!("--- agent {name}\n{}", tail(&agent.log()));
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// Says so where pods cannot run.
fn no_workloads(fleet: &Fleet) -> bool {
    fleet.hub_plane.skip(
        "this promise",
        fleet.hub_plane.has_workloads(),
        "its planes run no pods",
    )
}

/// Waits until the Ready condition of a fleet object satisfies `wanted(status, reason, message)`.
pub async fn ready_condition(fleet: &Fleet, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    eventually(CHANGE, what, || async {
        let object = fleet.fleet_kustomization(name).await?;
        anyhow::ensure!(wanted(&object), "{:#}", object["status"]);
        Ok(object)
    })
    .await
}

/// Waits until a Cluster satisfies `wanted`.
pub async fn cluster_says(fleet: &Fleet, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    let client = fleet.hub_plane.client();
    eventually(CHANGE, &format!("{what} on Cluster {name}"), || async {
        let cluster = fleet::get(&client, "fleet.nave.dev/v1alpha1", "Cluster", WORKSPACE, name).await?;
        anyhow::ensure!(wanted(&cluster), "{:#}", cluster["status"]);
        Ok(cluster)
    })
    .await
}

/// Waits until the agent of a cluster is connected.
pub async fn connected(fleet: &Fleet, name: &str) -> Result<Value> {
    cluster_says(fleet, name, "Connected=True", |cluster| {
        condition(cluster, "Connected")["status"] == "True"
    })
    .await
}

/// Scales a Deployment by hand, as another field manager, asks for a reconcile on the spoke itself, and waits until the
/// agent has put the Deployment right.
pub async fn drift_is_corrected(spoke: &Client) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(spoke.clone(), "shop");
    let wanted = deployments.get("storefront").await?.spec.replicas;
    deployments
        .patch(
            "storefront",
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"replicas": 7}})),
        )
        .await?;
    let kustomizations: Api<nave_crds::Kustomization> = Api::namespaced(spoke.clone(), "flux-system");
    kustomizations
        .patch(
            "apps",
            &PatchParams::default(),
            &Patch::Merge(json!({"metadata": {"annotations": {
                "reconcile.fluxcd.io/requestedAt": format!("{:?}", std::time::SystemTime::now())
            }}})),
        )
        .await?;
    eventually(CHANGE, "drift corrected on the spoke", || async {
        let replicas = deployments.get("storefront").await?.spec.replicas;
        anyhow::ensure!(replicas == wanted, "replicas {replicas:?}");
        Ok(())
    })
    .await
}

/// The image that a Deployment of the shop runs.
pub async fn image_of(spoke: &Client, name: &str) -> Result<String> {
    let deployment = observe::deployment(spoke, "shop", name).await?;
    let deployment = deployment.with_context(|| format!("Deployment shop/{name} is not there"))?;
    Ok(observe::image(&deployment).unwrap_or_default().to_owned())
}

/// A condition of an object.
pub fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == kind)
        .unwrap_or(&Value::Null)
}
