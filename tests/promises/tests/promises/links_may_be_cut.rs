//! The way between an agent and its hub is cut for longer than either waits, and both live on: drift is corrected
//! meanwhile, the hub says that the cluster is away, a commit waits and arrives after, and nothing is re-created.

use anyhow::{Context, Result};
use nave_bed::{UdpRelay, eventually};
use nave_demo::{Fleet, FleetOptions, fleet::SPOKES};
use nave_identity::JoinToken;
use nave_promises::observe;

use crate::support::{CHANGE, START, cluster_says, condition, connected, drift_is_corrected, image_of, with_some};

const CHECKOUT: &str = "platform/apps/base/checkout/deployment.yaml";
const OLD: &str = "registry.example.com/shop/checkout:2.7.1";
const NEW: &str = "registry.example.com/shop/checkout:2.7.2";

#[tokio::test(flavor = "multi_thread")]
async fn links_may_be_cut() -> Result<()> {
    let options = FleetOptions {
        audit: true,
        spokes: vec!["eu-1"],
        // Both ends notice a silent link within seven seconds.
        hub_arguments: vec!["--link-heartbeat=1s".to_owned()],
    };
    with_some(options, |mut fleet| async move {
        let result = promise(&mut fleet).await;
        (fleet, result)
    })
    .await
}

async fn promise(fleet: &mut Fleet) -> Result<()> {
    let [_, eu, _] = SPOKES;
    let relay = UdpRelay::start(fleet.hub.link.parse()?)?;
    // The same token, with the relay where the hub is.
    let mut token: JoinToken = fleet.token(eu).await?.parse()?;
    token.addresses = vec![relay.address().to_string()];
    fleet.join(eu.name, &token.to_text()).await?;
    fleet.apply_fleet_objects().await?;
    fleet.wait_ready(None, START).await?;
    let spoke = fleet.planes[eu.name].client();
    let audit = fleet.planes[eu.name].audit()?;
    let (before, mark) = (observe::workload_uids(&spoke).await?, audit.mark()?);

    relay.cut();
    let agent_log = fleet.agents[eu.name].log().len();
    let commit = fleet
        .repository
        .replace("While the link is cut", CHECKOUT, "checkout:2.7.1", "checkout:2.7.2")
        .await?;
    drift_is_corrected(&spoke).await?;
    cluster_says(fleet, eu.name, "Connected=False", |cluster| {
        condition(cluster, "Connected")["status"] == "False"
    })
    .await?;
    eventually(CHANGE, "the agent noticed that the link is cut", || async {
        let log = fleet.agents[eu.name].log();
        anyhow::ensure!(
            log[agent_log..].contains("not connected to the hub"),
            "{}",
            &log[agent_log..]
        );
        Ok(())
    })
    .await?;
    drift_is_corrected(&spoke)
        .await
        .context("after the link was given up")?;
    assert_eq!(image_of(&spoke, "checkout").await?, OLD, "it came through a cut link");

    relay.heal();
    connected(fleet, eu.name).await?;
    fleet.wait_ready(Some(&commit), CHANGE).await?;
    assert_eq!(image_of(&spoke, "checkout").await?, NEW);
    assert_eq!(
        observe::workload_uids(&spoke).await?,
        before,
        "something was re-created"
    );
    let recreated = audit.since(mark)?.writes().only(|request| {
        let workload =
            ["deployments.apps", "services", "configmaps", "namespaces"].contains(&request.resource.as_str());
        workload && request.agent.starts_with("nave-agent/") && ["create", "delete"].contains(&request.verb.as_str())
    });
    assert!(recreated.is_empty(), "{}", recreated.summary());
    Ok(())
}
