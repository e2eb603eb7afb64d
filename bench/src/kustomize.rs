//! The kustomize engine beside the reference, on trees that this benchmark writes itself.
//!
//! ```text
//! trees ─► (a) cold: one process per build, ours and the peer's in turn; wall time and peak memory
//!       ├► (b) warm: one thread here, one warm Go process that calls kustomize's library
//!       └► (c) the whole monorepo in one process: shared cache and threads here, one after another there
//! ```
//! Before anything is measured, both build the trees, and the text has to be the same.

pub mod cold;
mod peer;
mod trees;
mod warm;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::table;
use peer::Oracle;
use trees::Trees;

pub use cold::run_once_and_tell_peak;

/// Measures everything and prints it.
pub fn run(runs: usize, overlays: usize) -> Result<()> {
    let scratch = tempfile::Builder::new()
        .prefix("nave-bench-")
        .tempdir()
        .context("making a folder for the trees")?;
    eprintln!("► writing trees");
    let trees = Trees::write(scratch.path(), overlays)?;
    let oracle = Oracle::build()?;
    eprintln!("► comparing what both make of them");
    // Of the monorepo enough to meet every base.
    let compared: Vec<&Path> = [&trees.small, &trees.large]
        .into_iter()
        .chain(trees.monorepo.iter().take(40))
        .map(PathBuf::as_path)
        .collect();
    for (dir, theirs) in compared.iter().zip(oracle.build_all(&compared)?) {
        ensure!(
            warm::build_once(dir)? == theirs,
            "{}: both build different text",
            dir.display()
        );
    }

    let tool = peer::Tool::find(&oracle);
    let ours = nave_bed::binary("nave")?;
    println!("\n(a) cold: `nave build kustomization` beside {}", tool.describe());
    for (name, dir, faster) in [("small", &trees.small, 8.0), ("300 objects", &trees.large, 4.0)] {
        eprintln!("► cold, {name}: {runs} pairs");
        let pair = cold::compare(&ours, &tool, dir, runs)?;
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
        table::row(
            &format!("{name}: peak memory, ratio"),
            &times(pair.our_peak as f64 / pair.their_peak as f64),
            "<= 0.5 x",
        );
    }

    println!("\n(b) warm: one thread beside a warm Go process with {}", peer::LIBRARY);
    for (name, dir, count) in [("small", &trees.small, 50), ("300 objects", &trees.large, 10)] {
        eprintln!("► warm, {name}");
        let pair = warm::compare(&oracle, dir, count)?;
        table::row(&format!("{name}: ours per build"), &millis(pair.ours), "");
        table::row(&format!("{name}: theirs per build"), &millis(pair.theirs), "");
        table::row(&format!("{name}: times faster"), &times(pair.ratio()), ">= 4 x");
    }

    eprintln!("► the monorepo");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "\n(c) {} overlays over shared bases, {threads} threads beside the same library one after another",
        trees.monorepo.len()
    );
    let all = warm::monorepo(&oracle, &trees.monorepo, threads)?;
    table::row("ours", &table::seconds(all.ours), "");
    table::row("ours, one thread", &table::seconds(all.single), "");
    table::row("theirs", &table::seconds(all.theirs), "");
    let faster = |ours: Duration| times(all.theirs.as_secs_f64() / ours.as_secs_f64());
    table::row("times faster", &faster(all.ours), ">= 10 x");
    table::row("times faster, one thread", &faster(all.single), "");
    Ok(())
}

/// Milliseconds with two decimals.
pub fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// A ratio.
pub fn times(ratio: f64) -> String {
    format!("{ratio:.2} x")
}

/// MiB with one decimal.
pub fn mib(kib: u64) -> String {
    format!("{:.1}", kib as f64 / 1024.0)
}

/// The middle of some figures.
pub fn median<T: Copy + PartialOrd>(figures: &mut [T]) -> T {
    figures.sort_by(|a, b| a.partial_cmp(b).expect("times and ratios are numbers"));
    figures[figures.len() / 2]
}
