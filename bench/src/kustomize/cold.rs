//! Whole processes: start, build, print, end.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};

use super::{median, peer::Tool};

/// Medians of many pairs.
pub struct Pair {
    pub ours: Duration,
    pub theirs: Duration,
    /// How many times faster ours was than theirs right beside it.
    pub ratio: f64,
    /// In KiB.
    pub our_peak: u64,
    pub their_peak: u64,
}

/// Peak memory is asked for so many times; it hardly moves.
const PEAKS: usize = 5;

/// Runs both in turn, ours first and theirs first alternately.
pub fn compare(nave: &Path, tool: &Tool, dir: &Path, runs: usize) -> Result<Pair> {
    let ours: Vec<PathBuf> = vec![nave.to_owned(), "build".into(), "kustomization".into(), dir.to_owned()];
    compare_lines(&ours, &tool.command(dir), runs)
}

/// The same for any two commands.
pub fn compare_lines(ours: &[PathBuf], theirs: &[PathBuf], runs: usize) -> Result<Pair> {
    let (mut our_times, mut their_times, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    // The first pair only brings both programs and the files into memory.
    for run in 0..=runs.max(1) {
        let (our, their) = if run % 2 == 0 {
            let our = time(ours)?;
            (our, time(theirs)?)
        } else {
            let their = time(theirs)?;
            (time(ours)?, their)
        };
        if run > 0 {
            our_times.push(our);
            their_times.push(their);
            ratios.push(their.as_secs_f64() / our.as_secs_f64());
        }
    }
    Ok(Pair {
        ours: median(&mut our_times),
        theirs: median(&mut their_times),
        ratio: median(&mut ratios),
        our_peak: peak(ours)?,
        their_peak: peak(theirs)?,
    })
}

fn command(line: &[PathBuf]) -> Command {
    let mut command = Command::new(&line[0]);
    command.args(&line[1..]).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn time(line: &[PathBuf]) -> Result<Duration> {
    let started = Instant::now();
    let status = command(line)
        .status()
        .with_context(|| format!("starting {}", line[0].display()))?;
    let elapsed = started.elapsed();
    ensure!(status.success(), "{} failed with {status}", line[0].display());
    Ok(elapsed)
}

/// Peak resident memory in KiB. The kernel tells a process only of all its children together, so each run has a parent of its
/// own: this program, started again.
fn peak(line: &[PathBuf]) -> Result<u64> {
    let mut peaks = Vec::new();
    for _ in 0..PEAKS {
        let output = Command::new(std::env::current_exe()?).arg("peak").args(line).output()?;
        ensure!(
            output.status.success(),
            "measuring memory: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        peaks.push(String::from_utf8(output.stdout)?.trim().parse()?);
    }
    Ok(median(&mut peaks))
}

/// The other end of [`peak`]: runs a command, prints the largest resident memory that a child of this process had.
pub fn run_once_and_tell_peak(line: &[PathBuf]) -> Result<()> {
    ensure!(!line.is_empty(), "there is no command to run");
    time(line)?;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("asking for the memory of children")?;
    println!("{}", usage.max_rss());
    Ok(())
}
