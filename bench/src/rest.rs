//! What many Kustomizations cost while nothing changes: every one is looked at once in an interval, and so is its source.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::{
    apps::{request, settle},
    mttp::Mttp,
    process, table,
};

/// Every so many checks of a Kustomization compare by dry run; those between believe the watches.
const FULL_CHECK_EVERY: u32 = 6;
/// The interval that the bound is for.
const MINUTES: u32 = 10;

/// Installs `apps` apps with an interval of so many minutes and measures the agent for one interval, so that each is looked
/// at once in it, whenever that is.
pub async fn run(apps: usize, minutes: u32) -> Result<()> {
    let window = Duration::from_secs(60 * u64::from(minutes.max(1)));
    let bench = Mttp::start(apps, &format!("{}m", minutes.max(1))).await?;
    let (client, pid) = (bench.client(), bench.pid().context("the agent runs")?);
    eprintln!("► {apps} apps");
    bench.install().await?;
    // All were installed together and come again together: from the middle of an interval to the middle of the next one each
    // comes once, whatever its jitter.
    eprintln!("► at rest for {}s, after half as long", window.as_secs());
    tokio::time::sleep(window / 2).await;
    let (before, began) = (process::cpu(pid)?, Instant::now());
    tokio::time::sleep(window).await;
    let (light, took) = (process::cpu(pid)? - before, began.elapsed());
    eprintln!("► a full check of all");
    let before = process::cpu(pid)?;
    request(&client, apps).await?;
    settle().await;
    let full = process::cpu(pid)? - before;

    println!(
        "\n{apps} Kustomizations and as many OCIRepositories at rest, every one with an interval of {} min, {} cores",
        minutes.max(1),
        std::thread::available_parallelism()?
    );
    table::row("our CPU in one interval", &table::seconds(light), "");
    table::row("  of a core", &share(light, took), "");
    table::row("our CPU for a full check of all", &table::seconds(full), "");
    let both = light + full / FULL_CHECK_EVERY;
    let bound = if minutes == MINUTES && apps == 1000 {
        "<= 0.5 % with 1,000 and 10 min"
    } else {
        "(the bound is for 1,000 and 10 min)"
    };
    table::row(
        "of a core, every sixth check being a full one",
        &share(both, took),
        bound,
    );
    let (resident, anonymous) = process::memory(pid)?;
    table::row(
        "agent memory",
        &format!("{resident:.1} MiB"),
        &format!("({anonymous:.1} anonymous)"),
    );
    Ok(())
}

fn share(used: Duration, of: Duration) -> String {
    format!("{:.2} %", 100.0 * used.as_secs_f64() / of.as_secs_f64())
}
