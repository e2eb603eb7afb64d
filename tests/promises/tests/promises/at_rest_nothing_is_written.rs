//! A fleet at rest writes nothing to any API server but leases, while sources are polled, kubeconfigs are probed and
//! heartbeats go over the link.
//!
//! A Kustomization whose interval is over counts its reconciles in `status.history`, as Flux's does: that is its own rest,
//! ten minutes here, and not the fleet's.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use nave_bed::{AuditLog, Mark, Requests, eventually};
use nave_demo::{Fleet, FleetOptions, fleet::WORKSPACE};
use serde_json::json;

use crate::support::{START, with_some};

/// Whose certificate is in the kubeconfig of a plane.
const ADMIN: &str = "bed-admin";
/// Longer than what the hub gathers before it writes down small changes.
const SETTLED: Duration = Duration::from_secs(35);
/// Longer than everything that the hub and the link do by themselves: probes, sweeps, gathered counts, heartbeats.
const WATCHED: Duration = Duration::from_secs(70);

#[tokio::test(flavor = "multi_thread")]
async fn at_rest_nothing_is_written() -> Result<()> {
    let options = FleetOptions {
        audit: true,
        // One with an agent, and one that the hub reaches itself.
        spokes: vec!["eu-1", "us-1"],
        hub_arguments: vec!["--link-heartbeat=1s".to_owned()],
    };
    with_some(options, |mut fleet| async move {
        let result = promise(&mut fleet).await;
        (fleet, result)
    })
    .await
}

async fn promise(fleet: &mut Fleet) -> Result<()> {
    for spoke in fleet.spokes.clone() {
        fleet.add(spoke).await?;
    }
    fleet.apply_fleet_objects().await?;
    // Polled several times while the fleet settles, and while it is watched.
    let sources: Api<nave_crds::GitRepository> = Api::namespaced(fleet.hub_plane.client(), WORKSPACE);
    let patch = Patch::Merge(json!({"spec": {"interval": "10s"}}));
    sources.patch("platform", &PatchParams::default(), &patch).await?;
    fleet.wait_ready(None, START).await?;

    let logs = logs(fleet)?;
    // What is counted is what we look for: each of them wrote while the fleet came up.
    for (name, log) in &logs {
        let writes = ours(log, Mark::default())?;
        ensure!(
            !writes.is_empty(),
            "no write of ours in the audit log of {name}: the filter is wrong"
        );
    }
    settled(&logs).await?;

    let marks: Vec<Mark> = logs.iter().map(|(_, log)| log.mark()).collect::<Result<_>>()?;
    let polls = fleet.repository.server.requests().len();
    // The time is what is watched: nothing may happen in it.
    tokio::time::sleep(WATCHED).await;
    for ((name, log), mark) in logs.iter().zip(marks) {
        let writes = ours(log, mark)?;
        assert!(writes.is_empty(), "written at rest to {name}:\n{}", writes.summary());
    }
    assert!(
        fleet.repository.server.requests().len() > polls,
        "the source was not polled, so this was no rest but sleep"
    );
    Ok(())
}

fn logs(fleet: &Fleet) -> Result<Vec<(String, AuditLog)>> {
    let planes = fleet.planes.iter().map(|(name, plane)| ((*name).to_owned(), plane));
    std::iter::once(("hub".to_owned(), &fleet.hub_plane))
        .chain(planes)
        .map(|(name, plane)| Ok((name, plane.audit()?)))
        .collect()
}

/// Waits until nothing was written for a while: conditions and counts of the roll-out are written down by then.
async fn settled(logs: &[(String, AuditLog)]) -> Result<()> {
    let mut quiet = (0, Instant::now());
    let quiet = std::sync::Mutex::new(&mut quiet);
    eventually(START, "the fleet to settle", || async {
        let mut writes = 0;
        for (_, log) in logs {
            writes += ours(log, Mark::default())?.len();
        }
        let mut quiet = quiet.lock().ok().context("nothing panics while it holds the lock")?;
        if quiet.0 != writes {
            **quiet = (writes, Instant::now());
        }
        ensure!(
            quiet.1.elapsed() >= SETTLED,
            "{writes} writes, the last one {:?} ago",
            quiet.1.elapsed()
        );
        Ok(())
    })
    .await
}

/// Writes of hub and agents but for leases. Both work with the planes' own kubeconfig, and this test itself only reads once
/// the fleet stands.
fn ours(log: &AuditLog, mark: Mark) -> Result<Requests> {
    Ok(log.since(mark)?.writes().only(|request| {
        let nave = request.agent.starts_with("nave-hub/") || request.agent.starts_with("nave-agent/");
        (nave || request.user == ADMIN) && request.resource != "leases.coordination.k8s.io"
    }))
}
