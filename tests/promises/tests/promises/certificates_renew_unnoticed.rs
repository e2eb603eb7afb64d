//! Certificates that last a minute are renewed again and again, each time for a new key: the cluster joins once, is
//! never shown as away, and what is committed after the first certificate ended arrives.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use nave_bed::eventually;
use nave_demo::{
    Fleet, FleetOptions,
    fleet::{self, SPOKES, WORKSPACE},
};
use nave_promises::observe;
use serde_json::Value;

use crate::support::{CHANGE, START, condition, connected, image_of, with_some};

const CHECKOUT: &str = "platform/apps/base/checkout/deployment.yaml";
/// As often as the certificate that the agent joined with is surely at its end: each lasts a minute, and is renewed 8 to
/// 32 s into it.
const KEYS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn certificates_renew_unnoticed() -> Result<()> {
    let options = FleetOptions {
        spokes: vec!["eu-1"],
        hub_arguments: vec!["--client-certificate-lifetime=1m".to_owned()],
        ..FleetOptions::default()
    };
    with_some(options, |mut fleet| async move {
        let result = promise(&mut fleet).await;
        (fleet, result)
    })
    .await
}

async fn promise(fleet: &mut Fleet) -> Result<()> {
    let [_, eu, _] = SPOKES;
    fleet.add(eu).await?;
    let first = connected(fleet, eu.name).await?;
    let since = condition(&first, "Connected")["lastTransitionTime"].clone();
    fleet.apply_fleet_objects().await?;
    fleet.wait_ready(None, START).await?;
    let spoke = fleet.planes[eu.name].client();
    let uids = observe::workload_uids(&spoke).await?;

    let client = fleet.hub_plane.client();
    let seen = std::sync::Mutex::new(BTreeSet::new());
    let last = eventually(START, "renewals", || async {
        let cluster = fleet::get(&client, "fleet.nave.dev/v1alpha1", "Cluster", WORKSPACE, eu.name).await?;
        let keys = cluster["spec"]["identity"]["keys"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let mut seen = seen.lock().ok().context("nothing panics while it holds the lock")?;
        seen.extend(keys.iter().filter_map(Value::as_str).map(str::to_owned));
        anyhow::ensure!(seen.len() >= KEYS, "{} keys so far: {keys:?}", seen.len());
        Ok(cluster)
    })
    .await?;
    let stated = condition(&last, "Connected");
    assert_eq!(stated["status"], "True", "{stated}");
    assert_eq!(stated["lastTransitionTime"], since, "it was shown as away in between");

    let commit = fleet
        .repository
        .replace("With another certificate", CHECKOUT, "checkout:2.7.1", "checkout:2.7.2")
        .await?;
    fleet.wait_ready(Some(&commit), CHANGE).await?;
    assert_eq!(
        image_of(&spoke, "checkout").await?,
        "registry.example.com/shop/checkout:2.7.2"
    );
    assert_eq!(observe::workload_uids(&spoke).await?, uids);

    let log = fleet.agents[eu.name].log();
    assert_eq!(log.matches("joined the hub").count(), 1, "it joined again:\n{log}");
    for line in log.lines().filter(|line| line.contains("not connected to the hub")) {
        assert!(
            line.contains("certificate renewed"),
            "a session was lost for another reason: {line}"
        );
    }
    Ok(())
}
