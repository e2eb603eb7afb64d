//! Resident memory of an agent in a release build, at rest.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::{apps::Bench, helm::fleet::Shelf, process, table};

/// Long enough for first lists, leases and allocator to come to rest.
const REST: Duration = Duration::from_secs(20);

/// Idle, then with `apps` Kustomizations of four objects each, then with as many HelmReleases beside them.
pub async fn run(apps: usize) -> Result<()> {
    let bench = Bench::start(apps).await?;
    let pid = bench.agent.pid().context("the agent runs")?;
    tokio::time::sleep(REST).await;
    let idle = process::memory(pid)?;
    eprintln!("► {apps} Kustomizations");
    bench.install("10m").await?;
    tokio::time::sleep(REST).await;
    let busy = process::memory(pid)?;
    eprintln!("► {apps} HelmReleases");
    let scratch = tempfile::tempdir()?;
    let shelf = Shelf::start(scratch.path()).await?;
    shelf.install(&bench.plane.client(), apps).await?;
    let peak = process::memory(pid)?;
    tokio::time::sleep(REST).await;
    let full = process::memory(pid)?;
    println!("\nresident memory of one agent (anonymous part in parentheses)");
    table::row(
        "idle",
        &format!("{:.1} MiB", idle.0),
        &format!("<= 32 MiB ({:.1})", idle.1),
    );
    table::row(
        &format!("with {apps} Kustomizations"),
        &format!("{:.1} MiB", busy.0),
        &format!("<= 48 MiB ({:.1})", busy.1),
    );
    for (name, memory) in [
        (format!("with {apps} HelmReleases beside them, just Ready"), peak),
        ("  and at rest".to_owned(), full),
    ] {
        table::row(
            &name,
            &format!("{:.1} MiB", memory.0),
            &format!("<= 64 MiB ({:.1})   (Flux: 505)", memory.1),
        );
    }
    Ok(())
}
