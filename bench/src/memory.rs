//! Resident memory of an agent in a release build, at rest.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::{apps::Bench, process, table};

/// Long enough for first lists, leases and allocator to come to rest.
const REST: Duration = Duration::from_secs(20);

/// Idle, then with `apps` Kustomizations of four objects each.
pub async fn run(apps: usize) -> Result<()> {
    let bench = Bench::start(apps).await?;
    let pid = bench.agent.pid().context("the agent runs")?;
    tokio::time::sleep(REST).await;
    let idle = process::memory(pid)?;
    eprintln!("► {apps} Kustomizations");
    bench.install("10m").await?;
    tokio::time::sleep(REST).await;
    let busy = process::memory(pid)?;
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
    Ok(())
}
