//! No process and no folder is left behind, however a test ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nave_bed::{Launch, eventually, scratch_dir};
use nix::sys::signal::Signal;

use crate::DEADLINE;
use crate::children::start_child;

/// In the child: starts a process that has a child of its own and takes no signal that asks, pauses it, says who they are, and
/// ends as the role says.
pub async fn child(role: &str) -> Result<()> {
    let folder = scratch_dir("kept")?;
    fs::write(folder.path().join("file"), "content")?;
    let script = r#"trap '' TERM INT HUP; sleep 1000 & echo "children $$ $!"; wait"#;
    let process = Launch::new("stubborn", "/bin/sh").args(["-c", script]).start()?;
    process.wait_log("children ", DEADLINE).await?;
    process.pause()?;
    let root = folder.path().parent().context("the folder has a parent")?;
    eprintln!("\n{}root {}\nready", process.log(), root.display());
    // Whoever started us looks first at what there is to lose.
    let go = PathBuf::from(std::env::var_os("BED_GO").context("BED_GO names a file")?);
    eventually(DEADLINE, "the word to go", || async {
        go.exists().then_some(()).context("no word")
    })
    .await?;
    match role {
        "returns" => {
            // Neither is dropped, as nothing is that stands in a static.
            std::mem::forget(process);
            std::mem::forget(folder);
            Ok(())
        }
        "exits" => std::process::exit(0),
        "aborts" => std::process::abort(),
        "panics" => panic!("on purpose"),
        "waits" => {
            tokio::time::sleep(DEADLINE * 10).await;
            bail!("nobody ended it")
        }
        role => bail!("there is no role {role:?}"),
    }
}

async fn check_leaves_nothing(role: &str, signal: Option<Signal>) -> Result<()> {
    let folder = scratch_dir("go")?;
    let go = folder.path().join("go");
    let child = start_child(role, &[("BED_GO", go.as_os_str())])?;
    child.wait_log("\nready", DEADLINE).await?;
    let (pids, root) = read_log(&child.log())?;
    fs::write(&go, "")?;
    if let Some(signal) = signal {
        // To the process alone: its group would include nobody else, but a terminal is not always there.
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(child.pid())?), signal)?;
    }
    child.wait_exit(DEADLINE).await?;
    eventually(
        Duration::from_secs(10),
        &format!("nothing to be left of a child that {role} ({signal:?})"),
        || async {
            let left: Vec<String> = pids
                .iter()
                .filter(|&&pid| is_alive(pid))
                .map(|&pid| stat(pid))
                .collect();
            let keepers = keepers_of(&root)?;
            if left.is_empty() && keepers.is_empty() && !root.exists() {
                Ok(())
            } else {
                bail!(
                    "processes {left:?}, keepers {keepers:?}, folder there: {}",
                    root.exists()
                )
            }
        },
    )
    .await
}

/// The two process ids and the scratch folder the child spoke of.
fn read_log(log: &str) -> Result<(Vec<u32>, PathBuf)> {
    let after = |word: &str| {
        log.lines()
            .find_map(|line| line.strip_prefix(word))
            .with_context(|| format!("no {word:?} in {log}"))
    };
    let pids = after("children ")?
        .split(' ')
        .map(str::parse)
        .collect::<Result<Vec<u32>, _>>()?;
    let root = PathBuf::from(after("root ")?);
    if pids.len() != 2 || !pids.iter().all(|&pid| is_alive(pid)) || !root.exists() || keepers_of(&root)?.len() != 1 {
        bail!("the child has not what it should lose: {log}");
    }
    Ok((pids, root))
}

/// A zombie is dead; whoever adopted it will see to it.
fn is_alive(pid: u32) -> bool {
    let stat = stat(pid);
    !stat.is_empty() && !stat.rsplit(')').next().unwrap_or_default().starts_with(" Z")
}

/// What the kernel says of a process; empty when there is none.
fn stat(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default()
}

/// The keeper scripts that watch over a scratch folder, by their command line.
fn keepers_of(root: &Path) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let last = format!("nave-bed-keeper\0{}\0", root.display());
        if command.ends_with(last.as_bytes()) && is_alive(pid) {
            found.push(pid);
        }
    }
    Ok(found)
}

#[tokio::test]
async fn a_test_that_ends_leaves_nothing() -> Result<()> {
    for role in ["returns", "exits", "panics", "aborts"] {
        check_leaves_nothing(role, None).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_test_that_is_ended_leaves_nothing() -> Result<()> {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        check_leaves_nothing("waits", Some(signal)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_process_is_gone_when_its_handle_is() -> Result<()> {
    let script = r#"sleep 1000 & echo "children $$ $!"; wait"#;
    let process = Launch::new("dropped", "/bin/sh").args(["-c", script]).start()?;
    process.wait_log("children ", DEADLINE).await?;
    let log = process.log();
    let pids: Vec<u32> = log.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert_eq!(pids.len(), 2, "{log}");
    assert!(pids.iter().all(|&pid| is_alive(pid)));
    drop(process);
    eventually(DEADLINE, "both to be gone", || async {
        if pids.iter().any(|&pid| is_alive(pid)) {
            bail!("one is there")
        } else {
            Ok(())
        }
    })
    .await
}

#[tokio::test]
async fn a_process_that_ends_early_says_why() -> Result<()> {
    let process = Launch::new("short", "/bin/sh")
        .args(["-c", "echo the reason >&2; exit 3"])
        .start()?;
    let error = process
        .wait_log("never", DEADLINE)
        .await
        .expect_err("it never says that");
    let text = format!("{error:#}");
    assert!(text.contains("exit status: 3") && text.contains("the reason"), "{text}");
    Ok(())
}
