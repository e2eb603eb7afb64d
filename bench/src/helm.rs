//! The chart engine and the helm controller beside the reference and beside the floor.
//!
//! ```text
//! charts ─► (a) cold: `nave template` and `helm template` in turn; wall time and peak memory
//!       ├► (b) warm: one thread here, one warm Go process that calls Helm's library
//!       └► (c) N HelmReleases of one chart in a registry: install, upgrade, floor and floor+ of the same run
//! ```
//! Before anything is measured, both render the charts, and the text has to be the same.

mod charts;
pub mod fleet;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nave_oracle::{Helm, template_here};
use serde_json::json;

use crate::{
    kustomize::{cold, median, mib, millis, times},
    table,
};
use charts::Charts;

/// Rounds of ours and theirs in turn.
const ROUNDS: usize = 7;
/// What every rendering is called.
const NAME: &str = "release-name";

/// Measures everything and prints it.
pub async fn run(runs: usize, releases: usize, only_engine: bool) -> Result<()> {
    let scratch = tempfile::Builder::new()
        .prefix("nave-bench-")
        .tempdir()
        .context("making a folder for the charts")?;
    engine(scratch.path(), runs)?;
    if only_engine {
        return Ok(());
    }
    fleet::run(scratch.path(), releases).await
}

fn engine(scratch: &Path, runs: usize) -> Result<()> {
    eprintln!("► writing charts");
    let charts = Charts::write(scratch)?;
    let mut helm = Helm::start()?;
    eprintln!("► comparing what both make of them");
    for chart in [&charts.small, &charts.large] {
        let words = ["template", NAME, &chart.to_string_lossy()].map(str::to_owned);
        let theirs = helm.command(&words)?.map_err(anyhow::Error::msg)?;
        let ours = template_here(NAME, chart, &[]).map_err(anyhow::Error::msg)?;
        ensure!(ours == theirs, "{}: both render different text", chart.display());
    }

    println!("\n(a) cold: `nave template` beside `helm template` of Helm 4.3.1");
    let (ours, theirs) = (nave_bed::binary("nave")?, nave_oracle::binary("helm")?);
    for (name, chart, faster) in [("small", &charts.small, 8.0), ("100 templates", &charts.large, 4.0)] {
        eprintln!("► cold, {name}: {runs} pairs");
        let line = |program: &Path| -> Vec<PathBuf> {
            vec![program.to_owned(), "template".into(), NAME.into(), chart.clone()]
        };
        let pair = cold::compare_lines(&line(&ours), &line(&theirs), runs)?;
        table::row(&format!("{name}: ours"), &millis(pair.ours), "");
        table::row(&format!("{name}: theirs"), &millis(pair.theirs), "");
        table::row(
            &format!("{name}: times faster (median of pairs)"),
            &times(pair.ratio),
            &format!(">= {faster:.0} x"),
        );
        table::row(
            &format!("{name}: peak memory, ours / theirs"),
            &format!("{} / {} MiB", mib(pair.our_peak), mib(pair.their_peak)),
            "<= 0.5 x",
        );
    }

    println!(
        "\n(b) warm: one thread beside a warm Go process with Helm's library; charts are read from the disk each time"
    );
    for (name, chart, count) in [("small", &charts.small, 100), ("100 templates", &charts.large, 10)] {
        eprintln!("► warm, {name}");
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let started = Instant::now();
            for _ in 0..count {
                template_here(NAME, chart, &[]).map_err(anyhow::Error::msg)?;
            }
            let our = started.elapsed() / u32::try_from(count)?;
            let their = Duration::from_nanos(helm.nanoseconds(chart, &json!({}), count)?);
            // The first round only brings everything into memory.
            if round > 0 {
                ours.push(our);
                theirs.push(their);
            }
        }
        let (ours, theirs) = (median(&mut ours), median(&mut theirs));
        table::row(&format!("{name}: ours per rendering"), &millis(ours), "");
        table::row(&format!("{name}: theirs per rendering"), &millis(theirs), "");
        let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
        table::row(&format!("{name}: times faster"), &times(ratio), ">= 4 x");
    }
    Ok(())
}
