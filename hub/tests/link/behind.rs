//! A hub that was restored from a backup: what it shows, whom it refuses, and what ends that.

use anyhow::{Context, Result, bail, ensure};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use nave_bed::eventually;
use nave_crds::{HubState, annotations, conditions, fleet::Outlook};
use nave_proto::wire::{Mode, OwnerRef, StatusPayload};
use nave_quic::{JoinError, Joined};
use nave_runtime::Conditions;
use prost::Message;
use serde_json::json;

use crate::{
    fake_agent::{Disk, FakeAgent},
    stage::{DEADLINE, Stage},
};

const UID: &str = "spoke-uid-1";

fn states(stage: &Stage) -> Api<HubState> {
    Api::namespaced(stage.client.clone(), "nave-system")
}

/// Waits until the hub says what a confirmation leads to.
async fn outlook(stage: &Stage, what: &str, fits: impl Fn(&Outlook) -> bool) -> Result<Outlook> {
    eventually(DEADLINE, what, || async {
        let status = states(stage).get("hub").await?.status.unwrap_or_default();
        ensure!(status.conditions.is_true(conditions::BEHIND), "{status:?}");
        let outlook = status.outlook.context("it says nothing")?;
        ensure!(fits(&outlook), "{outlook:?}");
        Ok(outlook)
    })
    .await
}

async fn welcomed(disk: &Disk, mode: Mode, after: usize) -> Result<()> {
    disk.has(&format!("a welcome in mode {mode:?}"), |memory| {
        let mut later = memory.welcomes.iter().skip(after);
        later.find(|welcome| welcome.mode == mode as i32).map(drop)
    })
    .await
}

/// Says that an item of that name is there and well.
fn report(agent: &FakeAgent, name: &str, uid: &str) -> Result<()> {
    let status = StatusPayload {
        state: "ready".to_owned(),
        revision: "main@sha1:9".to_owned(),
        ..StatusPayload::default()
    };
    let (kind, key) = ("FleetKustomization", format!("FleetKustomization/platform/{name}"));
    let owner = OwnerRef {
        kind: kind.to_owned(),
        ns: "platform".to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
    };
    let put = agent
        .handle
        .update_status(|map| map.put(&key, &owner, status.encode_to_vec().into(), None));
    put.map(drop).map_err(Into::into)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_hub_admits_and_renews_nobody_until_somebody_has_seen_what_will_be() -> Result<()> {
    let stage = Stage::start("hub-behind").await?;
    let hub = stage.hub("127.0.0.1:0").await?;
    let listen = hub.link.to_string();
    let disk = Disk::default();
    disk.join(&stage.token("t1", "eu-1", |_| ()).await?, UID).await?;
    let agent = FakeAgent::start(&disk, UID)?;
    stage.cluster_says("eu-1", "Ready", "True", "AgentConnected").await?;
    let backup = states(&stage).get("hub").await?.spec;
    let spec = json!({
        "placement": {"names": ["eu-1"]}, "delivery": "Source",
        "source": {"template": {"kind": "GitRepository", "spec": {"url": "https://example.com/x.git", "interval": "1h"}}},
        "template": {"spec": {"path": "./", "interval": "1h", "prune": true}},
    });
    stage.fleet("apps", spec).await?;
    disk.has("the item and a checkpoint", |memory| {
        let seen = memory.checkpoint.as_ref()?.seq > 0;
        (seen && !memory.items.is_empty()).then_some(())
    })
    .await?;
    report(&agent, "lost", "a-uid-that-no-hub-knows")?;
    agent.stop();
    hub.stop().await?;

    // What the object was before the fleet object came.
    let mut old = states(&stage).get("hub").await?;
    old.spec = backup;
    states(&stage).replace("hub", &PostParams::default(), &old).await?;
    let hub = stage.hub(&listen).await?;
    let before = disk.look(|memory| memory.welcomes.len());
    let agent = FakeAgent::start(&disk, UID)?;
    welcomed(&disk, Mode::Behind, before).await?;
    report(&agent, "lost", "a-uid-that-no-hub-knows")?;
    let seen = outlook(&stage, "the orphan", |outlook| outlook.orphans == 1).await?;
    ensure!(seen.heard == 1 && seen.clusters.len() == 1, "{seen:?}");
    let items = seen.clusters[0].items.join(" ");
    ensure!(
        items.contains("FleetKustomization/platform/lost is not known"),
        "{items}"
    );

    // Nobody new, and nobody whose certificate is not one any more.
    let token = stage.token("t2", "eu-2", |_| ()).await?;
    let new = Disk::default();
    match new.join(&token, "spoke-uid-2").await {
        Err(JoinError::Refused(close)) => ensure!(close.reason.contains("restored"), "{close:?}"),
        other => bail!("a hub that is Behind answers {other:?}"),
    }
    let expired = Disk::default();
    let begun = disk.look(|memory| memory.begun.clone());
    expired.look(|memory| memory.identity = begun);
    let without_certificate = FakeAgent::start(&expired, UID)?;
    let why = expired
        .has("a refusal", |memory| memory.closes.first().cloned())
        .await?;
    ensure!(why.reason.contains("restored"), "{why:?}");
    ensure!(expired.look(|memory| memory.welcomes.is_empty()), "it is not let in");

    let confirm = states(&stage).get("hub").await?.spec.incarnation + 1;
    let patch = json!({"metadata": {"annotations": {annotations::FLEET_CONFIRM_INCARNATION: confirm.to_string()}}});
    states(&stage)
        .patch("hub", &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    let before = disk.look(|memory| memory.welcomes.len());
    welcomed(&disk, Mode::Normal, before).await?;
    ensure!(new.join(&token, "spoke-uid-2").await? == Joined::Admitted);
    let state = states(&stage).get("hub").await?.status.unwrap_or_default();
    ensure!(state.outlook.is_none(), "nothing is left to look at: {state:?}");
    without_certificate.stop();
    agent.stop();
    hub.stop().await
}
