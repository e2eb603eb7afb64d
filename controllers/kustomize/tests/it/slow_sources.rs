//! Artifacts that take long to come: it is said, and nobody else waits.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use nave_bed::eventually;
use nave_crds::source::OCIRepository;
use nave_runtime::Conditions;
use serde_json::json;
use tokio::net::TcpListener;

use crate::stage::{DEADLINE, Stage, config};

/// An OCIRepository `hanging` whose artifact is at a server that takes connections and stays silent.
async fn hanging_source(stage: &Stage, revision: &str) -> Result<TcpListener> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/ocirepository/n/hanging/a.tar.gz", listener.local_addr()?);
    stage.publish_oci("hanging", "0", &[]).await?;
    let api: Api<OCIRepository> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let status = json!({"status": {"artifact": {"path": "ocirepository/n/hanging/a.tar.gz", "url": url,
        "digest": format!("sha256:{}", "0".repeat(64)), "revision": format!("main@sha1:{revision}"),
        "lastUpdateTime": "2026-01-01T00:00:00Z", "size": 1}}});
    api.patch_status("hanging", &PatchParams::default(), &Patch::Merge(status))
        .await?;
    Ok(listener)
}

fn of_hanging() -> serde_json::Value {
    json!({"sourceRef": {"kind": "OCIRepository", "name": "hanging"}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_hangs_is_told_of() -> Result<()> {
    let stage = Stage::start("hanging").await?;
    let ns = stage.namespace.clone();
    stage
        .publish_oci("hanging", "1", &[("app/a.yaml", config(&ns, "a", "1"))])
        .await?;
    stage.apply("app", of_hanging()).await?;
    stage.ready("app", "1").await?;
    let server = hanging_source(&stage, "2").await?;
    eventually(DEADLINE, "the download is told of", || async {
        let status = stage.status("app").await?;
        let ready = status.conditions.get_condition("Ready").context("no Ready condition")?;
        let wanted = "Fetching manifests for revision main@sha1:2 with a timeout of 1m0s";
        ensure!(
            ready.status == "Unknown" && ready.message == "Reconciliation in progress",
            "{ready:?}"
        );
        let reconciling = status.conditions.get_condition("Reconciling").context("at work")?;
        ensure!(
            reconciling.status == "True" && reconciling.message == wanted,
            "{reconciling:?}"
        );
        ensure!(status.last_attempted_revision == "main@sha1:1", "{status:?}");
        Ok(())
    })
    .await?;
    drop(server);
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_hangs_delays_no_other_prune_for_long() -> Result<()> {
    let stage = Stage::start("prune-delay").await?;
    let ns = stage.namespace.clone();
    let server = hanging_source(&stage, "1").await?;
    stage.apply("stuck", of_hanging()).await?;
    let both = [
        ("app/a.yaml", config(&ns, "a", "1")),
        ("app/b.yaml", config(&ns, "b", "1")),
    ];
    stage.publish("1", &both).await?;
    stage.apply("app", json!({"timeout": "30s"})).await?;
    stage.ready("app", "1").await?;
    let began = Instant::now();
    stage.publish("2", &[("app/a.yaml", config(&ns, "a", "2"))]).await?;
    let status = stage.ready("app", "2").await?;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(25), "{took:?}");
    // Whether the other one wants it is not known: it stays for now, and known.
    assert!(stage.config("b").await?.is_some());
    assert_eq!(status.inventory.context("an inventory")?.entries.len(), 2);
    drop(server);
    stage.stop().await
}
