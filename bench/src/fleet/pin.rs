//! A core for each process that is measured, so that neither takes the other's time.

use std::fs;

use anyhow::{Context, Result};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

/// The hub's core.
pub const HUB: usize = 0;
/// The simulator's core, and that of the control plane.
pub const OTHERS: usize = 1;

/// Holds this process to a core; threads that are started later inherit it. False on a machine with one core.
pub fn this(core: usize) -> Result<bool> {
    pin(Pid::from_raw(0), core)
}

/// Holds every thread that `process` has now to a core.
pub fn process(process: u32, core: usize) -> Result<bool> {
    let mut pinned = true;
    let threads = fs::read_dir(format!("/proc/{process}/task")).context("listing the threads of a process")?;
    for thread in threads {
        let name = thread.context("listing the threads of a process")?.file_name();
        if let Some(id) = name.to_str().and_then(|name| name.parse().ok()) {
            pinned &= pin(Pid::from_raw(id), core)?;
        }
    }
    Ok(pinned)
}

fn pin(thread: Pid, core: usize) -> Result<bool> {
    let there = fs::read_to_string("/proc/cpuinfo")
        .map(|text| text.lines().filter(|line| line.starts_with("processor")).count())
        .unwrap_or(1);
    if core >= there {
        return Ok(false);
    }
    let mut set = CpuSet::new();
    set.set(core).context("naming a core")?;
    match sched_setaffinity(thread, &set) {
        // The thread ended meanwhile.
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(true),
        Err(error) => Err(error).context("holding a thread to a core"),
    }
}
