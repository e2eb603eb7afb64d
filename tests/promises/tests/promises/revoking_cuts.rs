//! `nave hub token revoke --with-clusters` and `nave forget` cut live sessions, with words on both sides; the agents go on
//! with what they have. Revoking the token alone admits nobody else and leaves who is in.

use anyhow::Result;
use nave_bed::eventually;
use nave_demo::{
    Fleet, FleetOptions,
    fleet::{SPOKES, WORKSPACE},
};

use crate::support::{CHANGE, START, cluster_says, condition, connected, drift_is_corrected, with_some};

#[tokio::test(flavor = "multi_thread")]
async fn revoking_cuts() -> Result<()> {
    let options = FleetOptions {
        spokes: vec!["staging", "eu-1"],
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
    let [staging, eu, _] = SPOKES;
    for spoke in [staging, eu] {
        fleet.add(spoke).await?;
    }
    fleet.apply_fleet_objects().await?;
    fleet.wait_ready(None, START).await?;
    let before = connected(fleet, staging.name).await?;

    let said = nave(fleet, &["hub", "token", "revoke", staging.name]).await?;
    assert!(said.contains("--with-clusters"), "who is in is not named: {said}");
    let said = nave(fleet, &["hub", "token", "revoke", staging.name, "--with-clusters"]).await?;
    assert!(said.contains("staging"), "{said}");
    told(fleet, staging.name, "key revoked").await?;
    let after = cluster_says(fleet, staging.name, "Connected=False", |cluster| {
        condition(cluster, "Connected")["status"] == "False"
    })
    .await?;
    assert_eq!(before["metadata"]["uid"], after["metadata"]["uid"]);
    drift_is_corrected(&fleet.planes[staging.name].client()).await?;

    nave(fleet, &["forget", eu.name, "--yes"]).await?;
    told(fleet, eu.name, "was removed from the hub").await?;
    drift_is_corrected(&fleet.planes[eu.name].client()).await
}

/// Standard output and standard error of a command that must succeed.
async fn nave(fleet: &Fleet, arguments: &[&str]) -> Result<String> {
    let arguments: Vec<&str> = ["-n", WORKSPACE].iter().chain(arguments).copied().collect();
    let output = fleet.nave.output(&arguments).await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "nave {arguments:?}: {text}");
    Ok(text)
}

/// Both ends know why the session ended.
async fn told(fleet: &Fleet, name: &str, words: &str) -> Result<()> {
    eventually(CHANGE, &format!("{name} told {words:?}"), || async {
        for (who, log) in [("agent", fleet.agents[name].log()), ("hub", fleet.hub.log())] {
            anyhow::ensure!(log.contains(words), "not in the log of the {who}: {log}");
        }
        Ok(())
    })
    .await
}
