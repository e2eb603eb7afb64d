//! What a hub that was killed remembers of its agents.

use anyhow::{Result, anyhow};
use k8s_openapi::api::core::v1::Event;
use kube::{Api, api::ListParams};
use nave_bed::eventually;
use nave_proto::wire::{EventMsg, OwnerRef, StatusPayload};
use nave_quic::AgentHandle;
use prost::Message;
use serde_json::json;

use crate::{
    fake_agent::{Disk, FakeAgent},
    stage::{DEADLINE, HubPorts, Stage},
};

const AGENTS: usize = 3;
const ROWS: usize = 20;
const SENT: &str = "nave_link_statuses_total";
const KEPT: &str = "nave_hub_state_rows";

fn say(handle: &AgentHandle, row: usize, state: &str) -> Result<()> {
    let owner = OwnerRef {
        uid: format!("uid-{row}"),
        ..OwnerRef::default()
    };
    let status = StatusPayload {
        state: state.to_owned(),
        ..StatusPayload::default()
    };
    let key = format!("FleetKustomization/platform/app-{row}");
    handle.update_status(|map| map.put(&key, &owner, status.encode_to_vec().into(), None))?;
    Ok(())
}

async fn measures(ports: HubPorts, series: &str, expected: f64) -> Result<()> {
    eventually(DEADLINE, &format!("{series} {expected}"), || async {
        let found = ports.metric(series).await?;
        (found == expected)
            .then_some(())
            .ok_or_else(|| anyhow!("it is {found}"))
    })
    .await
}

/// Waits until an agent has been welcomed once more than `before` and has told everything since.
async fn told_again(disk: &Disk, welcomes: usize, in_sync: usize) -> Result<()> {
    disk.has("another welcome, and everything told", |memory| {
        (memory.welcomes.len() > welcomes && memory.in_sync > in_sync).then_some(())
    })
    .await
}

/// Of what is not placed on the cluster it may tell nothing.
async fn an_event_becomes_history_and_nothing_in_the_api(
    stage: &Stage,
    ports: HubPorts,
    agent: &FakeAgent,
) -> Result<()> {
    let spec = json!({
        "placement": {"names": ["eu-0"]}, "delivery": "Source",
        "source": {"template": {"kind": "GitRepository", "spec": {"url": "https://example.com/x.git", "interval": "1h"}}},
        "template": {"spec": {"path": "./", "interval": "1h", "prune": true}},
    });
    stage.fleet("told", spec).await?;
    agent
        .disk
        .has("the item", |memory| (!memory.items.is_empty()).then_some(()))
        .await?;
    let event = |item: &str| EventMsg {
        kind: "Kustomization".to_owned(),
        reason: "ToldByASpoke".to_owned(),
        message: "line 3".to_owned(),
        item: format!("FleetKustomization/platform/{item}"),
        ..EventMsg::default()
    };
    agent.handle.event(event("told"));
    agent.handle.event(event("of-somebody-else"));
    measures(ports, "nave_link_events_total{outcome=\"recorded\"}", 1.0).await?;
    measures(ports, "nave_link_events_total{outcome=\"dropped\"}", 1.0).await?;
    let events: Api<Event> = Api::all(stage.client.clone());
    let events = events.list(&ListParams::default()).await?;
    let told = events
        .iter()
        .filter(|event| event.reason.as_deref() == Some("ToldByASpoke"));
    assert_eq!(told.count(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_agents_send_what_differs_and_after_a_lost_file_everything() -> Result<()> {
    let stage = Stage::start("hub-memory").await?;
    let ports = HubPorts::free()?;
    let hub = stage.hub_process(ports).await?;
    let mut agents = Vec::new();
    for number in 0..AGENTS {
        let name = format!("eu-{number}");
        let (disk, uid) = (Disk::default(), format!("uid-of-{name}"));
        disk.join(&stage.token(&format!("t{number}"), &name, |_| ()).await?, &uid)
            .await?;
        let agent = FakeAgent::start(&disk, &uid)?;
        for row in 0..ROWS {
            say(&agent.handle, row, "ready")?;
        }
        agents.push(agent);
    }
    let all = (AGENTS * ROWS) as f64;
    measures(ports, SENT, all).await?;
    measures(ports, KEPT, all).await?;

    // Killed; one agent has something new to tell meanwhile.
    let seen = |agent: &FakeAgent| agent.disk.look(|memory| (memory.welcomes.len(), memory.in_sync));
    let before: Vec<_> = agents.iter().map(seen).collect();
    hub.kill9();
    hub.wait_exit(DEADLINE).await?;
    say(&agents[0].handle, 7, "failed")?;
    let hub = stage.hub_process(ports).await?;
    for (agent, (welcomes, in_sync)) in agents.iter().zip(before) {
        told_again(&agent.disk, welcomes, in_sync).await?;
    }
    let roots: Vec<bool> = agents
        .iter()
        .map(|agent| {
            let welcomed = agent
                .disk
                .look(|memory| memory.welcomes.last().cloned())
                .unwrap_or_default();
            agent.handle.update_status(|map| map.root().to_vec()) == welcomed.status_root
        })
        .collect();
    assert_eq!(roots, [false, true, true], "what the hub knew when it welcomed them");
    assert_eq!(ports.metric(SENT).await?, 1.0, "one row of sixty differs");
    measures(ports, "nave_hub_state_writes_total{outcome=\"written\"}", 1.0).await?;

    an_event_becomes_history_and_nothing_in_the_api(&stage, ports, &agents[0]).await?;

    // Killed again, and what it remembered is damaged.
    let before: Vec<_> = agents.iter().map(seen).collect();
    hub.kill9();
    hub.wait_exit(DEADLINE).await?;
    let mut bytes = std::fs::read(stage.state_file())?;
    let half = bytes.len() / 2;
    bytes.iter_mut().skip(64).take(half).for_each(|byte| *byte ^= 0x5a);
    std::fs::write(stage.state_file(), bytes)?;
    let hub = stage.hub_process(ports).await?;
    for (agent, (welcomes, in_sync)) in agents.iter().zip(before) {
        told_again(&agent.disk, welcomes, in_sync).await?;
    }
    assert_eq!(ports.metric(SENT).await?, all, "everything is told once more");
    let log = hub.log();
    assert!(log.contains("is damaged and put aside"), "{log}");

    // A cluster that is removed leaves nothing behind.
    measures(ports, KEPT, all).await?;
    stage
        .api::<nave_crds::Cluster>()
        .delete("eu-2", &Default::default())
        .await?;
    measures(ports, KEPT, all - ROWS as f64).await?;
    Ok(())
}
