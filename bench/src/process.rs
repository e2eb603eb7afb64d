//! What a process has used, from the kernel's own accounting.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

/// User and system time of process `pid` so far.
pub fn cpu(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} is gone"))?;
    // The name in parentheses may hold spaces; the fields that count come after it.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| -> Result<u64> {
        fields
            .get(index)
            .and_then(|field| field.parse().ok())
            .context("/proc/PID/stat has too few fields")
    };
    // Linux fixes USER_HZ at 100 for what it shows to processes.
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}

/// The most resident memory that process `pid` ever had, in MiB.
pub fn peak(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid} is gone"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: f64 = line
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .context("/proc/PID/status has no VmHWM")?;
    Ok(kib / 1024.0)
}

/// Resident memory of process `pid` in MiB: all of it, and its anonymous part.
pub fn memory(pid: u32) -> Result<(f64, f64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid} is gone"))?;
    let kib = |name: &str| -> f64 {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|number| number.parse().ok())
            .unwrap_or(0.0)
    };
    Ok((kib("VmRSS:") / 1024.0, kib("RssAnon:") / 1024.0))
}
