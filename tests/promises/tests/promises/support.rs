//! What several promises need: one fleet at a time, and waiting for its objects.

use std::{future::Future, time::Duration};

use anyhow::Result;
use nave_bed::eventually;
use nave_demo::{Fleet, FleetOptions};
use serde_json::Value;
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

/// A condition of an object.
pub fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == kind)
        .unwrap_or(&Value::Null)
}
