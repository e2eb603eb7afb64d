//! Somebody copies an agent's key. On another cluster the copy receives nothing and the real agent goes on undisturbed; on
//! the same cluster nobody can tell the two apart, so both are quarantined and keep what they have. Either way the Cluster
//! says so, with what to do about it, and doing that ends it.

use std::fs;

use anyhow::{Context, Result};
use kube::api::{ListParams, Patch, PatchParams};
use nave_demo::{
    Agent, Fleet, FleetOptions, Hub,
    fleet::{SPOKES, WORKSPACE},
};
use nave_promises::observe;
use serde_json::{Value, json};

use crate::support::{CHANGE, START, cluster_says, condition, drift_is_corrected, image_of, with_some};

const CHECKOUT: &str = "platform/apps/base/checkout/deployment.yaml";
const STAGING: &str = "staging";

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_identity_is_quarantined() -> Result<()> {
    let options = FleetOptions {
        spokes: vec![STAGING, "eu-1"],
        // A killed copy is noticed within seven seconds.
        hub_arguments: vec!["--link-heartbeat=1s".to_owned()],
        ..FleetOptions::default()
    };
    with_some(options, |mut fleet| async move {
        let result = promise(&mut fleet).await;
        (fleet, result)
    })
    .await
}

async fn promise(fleet: &mut Fleet) -> Result<()> {
    let [staging, ..] = SPOKES;
    let token = fleet.token(staging).await?;
    fleet.join(STAGING, &token).await?;
    fleet.apply_fleet_objects().await?;
    let only = |fleet: &mut Fleet| fleet.spokes.retain(|spoke| spoke.name == STAGING);
    only(fleet); // the other cluster never joins
    fleet.wait_ready(None, START).await?;
    let spoke = fleet.planes[STAGING].client();
    let uids = observe::workload_uids(&spoke).await?;

    // A copy on another cluster: told, given nothing, and in nobody's way.
    let mut copy = start_copy(fleet, "eu-1", "elsewhere", &token).await?;
    let cluster = quarantined(fleet).await?;
    let said = condition(&cluster, "Quarantined")["message"]
        .as_str()
        .unwrap_or_default();
    assert!(said.contains("now it comes from"), "{said}");
    for kind in ["Connected", "Ready"] {
        assert_eq!(condition(&cluster, kind)["status"], "True", "{:#}", cluster["status"]);
    }
    let commit = change(fleet, "2.7.1", "2.7.2").await?;
    fleet.wait_ready(Some(&commit), CHANGE).await?;
    let kustomizations: kube::Api<nave_crds::Kustomization> = kube::Api::all(fleet.planes["eu-1"].client());
    let found = kustomizations.list(&ListParams::default()).await?.items;
    assert!(found.is_empty(), "the copy was given something: {found:?}");
    copy.kill9();

    // A copy beside the real agent: both are quarantined, and what runs is left alone and kept right.
    let mut copy = start_copy(fleet, STAGING, "beside", &token).await?;
    let cluster = cluster_says(fleet, STAGING, "Quarantined=True and not Ready", |cluster| {
        condition(cluster, "Quarantined")["message"]
            .as_str()
            .is_some_and(|said| said.contains("two agents"))
            && condition(cluster, "Ready")["status"] == "False"
    })
    .await?;
    let said = condition(&cluster, "Quarantined")["message"]
        .as_str()
        .unwrap_or_default();
    assert!(said.contains("revokedKeys"), "it does not say what to do: {said}");
    change(fleet, "2.7.2", "2.7.3").await?;
    drift_is_corrected(&spoke).await?;
    assert!(
        image_of(&spoke, "checkout").await?.ends_with("2.7.2"),
        "items flow to a quarantined agent"
    );
    assert_eq!(observe::workload_uids(&spoke).await?, uids, "a workload was touched");

    // What the condition asks for.
    copy.kill9();
    let keys = cluster["spec"]["identity"]["keys"].clone();
    let clusters: kube::Api<nave_crds::Cluster> = kube::Api::namespaced(fleet.hub_plane.client(), WORKSPACE);
    let patch = Patch::Merge(json!({"spec": {"identity": {"keys": [], "revokedKeys": keys}}}));
    clusters.patch(STAGING, &PatchParams::default(), &patch).await?;
    let agent = fleet.agents.get_mut(STAGING).context("staging has an agent")?;
    agent.stop().await?;
    fs::remove_file(fleet.agent_folder(STAGING).join("state.json"))?;
    let fresh = Hub::token(&fleet.nave, WORKSPACE, "again", &["--cluster", STAGING]).await?;
    fleet.join(STAGING, &fresh).await?;
    let commit = change(fleet, "2.7.3", "2.7.4").await?;
    fleet.wait_ready(Some(&commit), CHANGE).await?;
    cluster_says(fleet, STAGING, "no Quarantined", |cluster| {
        condition(cluster, "Quarantined") == &Value::Null && condition(cluster, "Ready")["status"] == "True"
    })
    .await?;
    assert_eq!(
        observe::workload_uids(&spoke).await?,
        uids,
        "joining again re-created something"
    );
    Ok(())
}

/// An agent on `plane` with a copy of everything that makes the agent of staging itself.
async fn start_copy(fleet: &Fleet, plane: &'static str, name: &str, token: &str) -> Result<Agent> {
    let folder = fleet.agent_folder(name);
    fs::create_dir_all(&folder)?;
    fs::copy(
        fleet.agent_folder(STAGING).join("state.json"),
        folder.join("state.json"),
    )
    .context("copying the agent's state")?;
    // It reconciles nothing, or the two would undo each other's work on one cluster: leases prevent that elsewhere.
    Agent::start(&fleet.planes[plane], &folder, Some(token), &["--controllers=source"]).await
}

async fn quarantined(fleet: &Fleet) -> Result<Value> {
    cluster_says(fleet, STAGING, "Quarantined=True", |cluster| {
        condition(cluster, "Quarantined")["status"] == "True"
    })
    .await
}

async fn change(fleet: &Fleet, from: &str, to: &str) -> Result<String> {
    let image = |version: &str| format!("checkout:{version}");
    fleet
        .repository
        .replace(&format!("Checkout {to}"), CHECKOUT, &image(from), &image(to))
        .await
}
