//! Two processes that both say that they are the agent of one cluster.

use anyhow::{Context, Result, ensure};
use nave_proto::wire::Mode;
use nave_runtime::Conditions;

use crate::{
    fake_agent::{Disk, FakeAgent},
    stage::Stage,
};

const UID: &str = "spoke-uid-1";

async fn welcomed(disk: &Disk, mode: Mode, after: usize) -> Result<()> {
    disk.has(&format!("a welcome in mode {mode:?}"), |memory| {
        let mut later = memory.welcomes.iter().skip(after);
        later.find(|welcome| welcome.mode == mode as i32).map(drop)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn both_stay_in_quarantine_when_the_hub_ends_and_when_one_of_them_is_gone() -> Result<()> {
    let stage = Stage::start("hub-clones").await?;
    let hub = stage.hub("127.0.0.1:0").await?;
    let listen = hub.link.to_string();
    let disk = Disk::default();
    disk.join(&stage.token("t1", "eu-1", |_| ()).await?, UID).await?;
    let agent = FakeAgent::start(&disk, UID)?;
    welcomed(&disk, Mode::Normal, 0).await?;

    // The whole machine was copied: key, cluster and count of starts are the same.
    let copy = Disk::default();
    let identity = disk.look(|memory| memory.identity.clone());
    copy.look(|memory| (memory.identity, memory.is_copy) = (identity, true));
    let other = FakeAgent::start(&copy, UID)?;
    welcomed(&copy, Mode::Quarantined, 0).await?;
    welcomed(&disk, Mode::Quarantined, 1).await?;
    let status = stage.cluster_says("eu-1", "Quarantined", "True", "Contested").await?;
    let before = status
        .conditions
        .get_condition("Quarantined")
        .context("it is said")?
        .clone();

    // The copy is gone and the hub another: which of the two is the real one, nobody has said.
    other.stop();
    let welcomes = disk.look(|memory| memory.welcomes.len());
    hub.stop().await?;
    let hub = stage.hub(&listen).await?;
    welcomed(&disk, Mode::Quarantined, welcomes).await?;
    let status = stage.cluster("eu-1").await?.status.unwrap_or_default();
    let after = status
        .conditions
        .get_condition("Quarantined")
        .context("it is still said")?;
    ensure!(*after == before, "{after:?} instead of {before:?}");
    let later = disk.look(|memory| {
        memory
            .welcomes
            .iter()
            .skip(welcomes)
            .map(|one| one.mode)
            .collect::<Vec<_>>()
    });
    ensure!(later.iter().all(|mode| *mode == Mode::Quarantined as i32), "{later:?}");
    agent.stop();
    hub.stop().await
}
