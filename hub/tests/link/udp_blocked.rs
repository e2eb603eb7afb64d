//! A network that swallows UDP still has its cluster connected, and is left for the better carrier when it opens.

use std::time::Duration;

use anyhow::{Result, ensure};
use nave_bed::eventually;
use nave_quic::{DialOptions, RaceOptions};
use nave_runtime::Conditions;

use crate::{
    fake_agent::{Disk, FakeAgent},
    relay::Relay,
    stage::{DEADLINE, Stage},
};

const UID: &str = "7e6e5c1c-0000-4000-8000-000000000009";

#[tokio::test(flavor = "multi_thread")]
async fn where_udp_is_blocked_clusters_are_connected_all_the_same() -> Result<()> {
    let stage = Stage::start("hub-udp-blocked").await?;
    let hub = stage.hub("127.0.0.1:0").await?;
    let relay = Relay::to(hub.link).await;
    relay.swallow_udp(true);
    let mut token = stage.token("t1", "eu-1", |_| ()).await?;
    token.addresses = vec![relay.address.clone()];
    let dial = DialOptions {
        connect_timeout: Duration::from_secs(4),
        race: RaceOptions {
            first_probe: Duration::from_millis(500),
            longest_probe: Duration::from_secs(1),
            ..RaceOptions::default()
        },
        ..DialOptions::default()
    };
    let disk = Disk::default();
    let start = tokio::time::Instant::now();
    disk.join_over(&token, UID, dial.clone()).await?;
    let agent = FakeAgent::start_over(&disk, UID, dial)?;
    agent.handle.connected().await;
    println!(
        "joined and connected after {:?} without UDP (promised: 3 s)",
        start.elapsed()
    );
    let status = stage.cluster_says("eu-1", "Connected", "True", "SessionOpen").await?;
    ensure!(status.transport == "tcp", "the status says {:?}", status.transport);
    let since = |status: &nave_crds::fleet::ClusterStatus| {
        let condition = status.conditions.get_condition("Connected");
        condition.map(|condition| condition.last_transition_time.clone())
    };
    let before = since(&status);

    relay.swallow_udp(false);
    let status = eventually(DEADLINE, "the cluster is connected over QUIC", || async {
        let status = stage.cluster("eu-1").await?.status.unwrap_or_default();
        ensure!(status.transport == "quic", "its transport is {:?}", status.transport);
        Ok(status)
    })
    .await?;
    ensure!(
        since(&status) == before,
        "moving to the better carrier looked like an outage"
    );
    let welcomes = disk.look(|memory| memory.welcomes.len());
    ensure!(welcomes == 2, "{welcomes} sessions instead of one for each carrier");
    agent.stop();
    hub.stop().await
}
