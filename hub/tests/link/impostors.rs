//! Whoever has a token, a key or a cluster of their own, and what they cannot do with it to others.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use kube::Api;
use nave_bed::eventually;
use nave_crds::{HubState, conditions};
use nave_proto::{
    CloseCode, Digest,
    wire::{Checkpoint, Mode, StatusPayload},
};
use nave_quic::{JoinError, Joined};
use nave_runtime::Conditions;
use prost::Message;
use tokio::sync::Notify;

use crate::{
    fake_agent::{Disk, FakeAgent},
    stage::{DEADLINE, RunningHub, Stage},
};

async fn welcomed(disk: &Disk, mode: Mode, after: usize) -> Result<()> {
    disk.has(&format!("a welcome in mode {mode:?}"), |memory| {
        let later = memory.welcomes.iter().skip(after);
        later
            .filter(|welcome| welcome.mode == mode as i32)
            .count()
            .min(1)
            .checked_sub(1)
    })
    .await
    .map(drop)
}

fn welcomes(disk: &Disk) -> usize {
    disk.look(|memory| memory.welcomes.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_name_a_stolen_key_and_a_late_word_take_nothing_from_anybody() -> Result<()> {
    let stage = Stage::start("hub-impostors").await?;
    let hub = stage.hub("127.0.0.1:0").await?;
    let (disk, uid) = (Disk::default(), "spoke-uid-1");
    disk.join(&stage.token("t1", "eu-1", |_| ()).await?, uid).await?;
    let agent = FakeAgent::start(&disk, uid)?;
    stage.cluster_says("eu-1", "Ready", "True", "AgentConnected").await?;

    a_used_name_waits_apart(&stage, &disk).await?;
    // The real agent comes again, with a lower count of starts than the other one claimed.
    agent.stop();
    let agent = FakeAgent::start(&disk, uid)?;
    welcomed(&disk, Mode::Normal, 1).await?;
    stage.cluster_says("eu-1", "Ready", "True", "AgentConnected").await?;

    a_key_that_is_taken_back_while_its_agent_is_silent_is_refused(&stage).await?;
    let hub = a_forged_checkpoint_stops_its_cluster_alone(&stage, hub, &disk).await?;
    agent.stop();
    hub.stop().await
}

/// Somebody joins under the name of another cluster, and says that its agent has started very often.
async fn a_used_name_waits_apart(stage: &Stage, real: &Disk) -> Result<()> {
    let token = stage.token("again", "eu-1", |_| ()).await?;
    let (other, before) = (Disk::default(), stage.cluster("eu-1").await?.status.unwrap_or_default());
    ensure!(other.join(&token, "another-uid").await? == Joined::Pending);
    other.look(|memory| memory.boot_seq = u64::from(u32::MAX));
    let impostor = FakeAgent::start(&other, "another-uid")?;
    welcomed(&other, Mode::Pending, 0).await?;
    let status = eventually(DEADLINE, "the key that waits", || async {
        let status = stage.cluster("eu-1").await?.status.unwrap_or_default();
        let waits = status.pending_keys.len() == 1;
        waits.then_some(status).ok_or_else(|| anyhow!("none waits"))
    })
    .await?;
    ensure!(status.session == before.session, "{:?}", status.session);
    ensure!(status.facts == before.facts, "{:?}", status.facts);
    ensure!(real.look(|memory| memory.closes.is_empty()), "the real agent stays");
    impostor.stop();
    Ok(())
}

/// It was looked up before, and says who it is afterwards.
async fn a_key_that_is_taken_back_while_its_agent_is_silent_is_refused(stage: &Stage) -> Result<()> {
    let (disk, silence) = (Disk::default(), Arc::new(Notify::new()));
    let token = stage.token("t2", "eu-2", |_| ()).await?;
    disk.join(&token, "spoke-uid-2").await?;
    disk.look(|memory| memory.silence = Some(silence.clone()));
    let agent = FakeAgent::start(&disk, "spoke-uid-2")?;
    let identity = stage.cluster("eu-2").await?.spec.identity.unwrap_or_default();
    let revoked = serde_json::json!({"spec": {"identity": {"revokedKeys": [identity.keys[0]]}}});
    stage.patch_cluster("eu-2", revoked).await?;
    eventually(DEADLINE, "the hub has heard of it", || async {
        match disk.join(&token, "spoke-uid-2").await {
            Err(JoinError::Refused(close)) if close.code() == Some(CloseCode::KeyRevoked) => Ok(()),
            other => Err(anyhow!("{other:?}")),
        }
    })
    .await?;
    disk.look(|memory| memory.silence = None);
    silence.notify_one();
    let revoked = Some(CloseCode::KeyRevoked);
    disk.has("the refusal", |memory| {
        memory.closes.iter().any(|close| close.code() == revoked).then_some(())
    })
    .await?;
    ensure!(welcomes(&disk) == 0, "nobody welcomed it");
    agent.stop();
    Ok(())
}

/// Whoever has a key could otherwise make the hub believe that it lost its memory, and so stop the whole fleet.
async fn a_forged_checkpoint_stops_its_cluster_alone(
    stage: &Stage,
    hub: RunningHub,
    other: &Disk,
) -> Result<RunningHub> {
    let (disk, uid) = (Disk::default(), "spoke-uid-3");
    disk.join(&stage.token("t3", "eu-3", |_| ()).await?, uid).await?;
    disk.look(|memory| {
        memory.checkpoint = Some(Checkpoint {
            incarnation: i64::MAX.unsigned_abs(),
            seq: 7,
            nonce: vec![7; 16],
        });
    });
    let agent = FakeAgent::start(&disk, uid)?;
    welcomed(&disk, Mode::Quarantined, 0).await?;
    let status = stage.cluster_says("eu-3", "Quarantined", "True", "Contested").await?;
    let said = status.conditions.get_condition("Quarantined").context("it is said")?;
    ensure!(said.message.contains("never gave"), "{}", said.message);

    // Not even the end of the hub ends it, nor does an agent that shows nothing now.
    agent.stop();
    let (listen, before) = (hub.link.to_string(), (welcomes(&disk), welcomes(other)));
    hub.stop().await?;
    disk.look(|memory| memory.checkpoint = None);
    let hub = stage.hub(&listen).await?;
    let agent = FakeAgent::start(&disk, uid)?;
    welcomed(&disk, Mode::Quarantined, before.0).await?;
    welcomed(other, Mode::Normal, before.1).await?;
    let states: Api<HubState> = Api::namespaced(stage.client.clone(), "nave-system");
    let state = states.get("hub").await?.status.unwrap_or_default();
    ensure!(!state.conditions.is_true(conditions::BEHIND), "{state:?}");
    agent.stop();
    Ok(hub)
}

/// A cluster of its own lets nobody speak for another one, nor have what is that one's.
pub async fn others_are_out_of_reach(stage: &Stage, name: &str, key: &str, owner: &str, manifest: &[u8]) -> Result<()> {
    let disk = Disk::default();
    let token = stage
        .token("thief", "thief", |spec| spec.cluster.labels.clear())
        .await?;
    disk.join(&token, "thief-uid").await?;
    let agent = FakeAgent::start(&disk, "thief-uid")?;
    agent.handle.connected().await;
    let manifest = Digest::from_slice(manifest).context("it has 32 bytes")?;
    let refused = agent.handle.fetch_manifest(&manifest, |_| true).await.map(drop);
    ensure!(refused.is_err_and(|error| error.to_string().contains("not in the desired set")));
    let chunk = agent.handle.fetch_chunks(&manifest, &[manifest], |_, _| ()).await;
    ensure!(chunk.is_err(), "a chunk of a manifest that is another cluster's");
    let (status, was) = (
        StatusPayload {
            state: "ready".to_owned(),
            observed_manifest: manifest.to_vec(),
            ..StatusPayload::default()
        },
        disk.look(|memory| memory.in_sync),
    );
    let owner = nave_proto::wire::OwnerRef {
        uid: owner.to_owned(),
        ..Default::default()
    };
    agent
        .handle
        .update_status(|map| map.put(key, &owner, status.encode_to_vec().into(), None))?;
    disk.has("the report was taken", |memory| (memory.in_sync > was).then_some(()))
        .await?;
    // What the cluster itself said still counts, and nobody else is counted.
    stage
        .fleet_says(name, "one cluster, which failed", |status| {
            let clusters = &status["clusters"];
            clusters["selected"] == 1 && clusters["failed"] == 1 && clusters["ready"].as_i64().unwrap_or(0) == 0
        })
        .await?;
    agent.stop();
    Ok(())
}
