//! `make demo ONCE=1` shows a commit arrive, says so by its exit code, and leaves no process behind; Ctrl-C ends it too.

use std::{fs, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use nave_bed::{binary, eventually};
use serde_json::Value;
use tokio::process::Command;

/// Four control planes, two roll-outs, and the programs may have to be built first.
const WITHIN: Duration = Duration::from_secs(400);

/// In the environment of the demo and of whatever it starts, whoever adopts that.
const MARK: &str = "NAVE_DEMO_MARK";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_ends_by_itself() -> Result<()> {
    let mark = format!("once-{}", std::process::id());
    let output = tokio::time::timeout(WITHIN, demo(&mark, &["--once", "--json"])?.output())
        .await
        .context("the demo did not end")??;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}\n{said}", output.status);
    let printed = String::from_utf8_lossy(&output.stdout);
    let times: Value = printed
        .lines()
        .rev()
        .find_map(|line| serde_json::from_str(line).ok())
        .with_context(|| format!("no line of JSON in {printed}"))?;
    for cluster in ["staging", "eu-1", "us-1"] {
        ensure!(times.to_string().contains(cluster), "{cluster} is missing in {times}");
    }
    nothing_is_left(&mark).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_demo_leaves_nothing() -> Result<()> {
    let mark = format!("interrupted-{}", std::process::id());
    let mut child = demo(&mark, &[])?.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    eventually(WITHIN, "the demo has started a control plane", || async {
        let running = marked(&mark)?;
        let is_plane = |line: &String| line.contains("controlplane") && line.contains(" up ");
        ensure!(running.iter().any(is_plane), "{running:?}");
        Ok(())
    })
    .await?;
    let pid = child.id().context("it runs")?;
    Command::new("kill").args(["-INT", &pid.to_string()]).status().await?;
    let status = tokio::time::timeout(WITHIN, child.wait())
        .await
        .context("it goes on")??;
    ensure!(status.code() == Some(130), "{status}");
    nothing_is_left(&mark).await
}

fn demo(mark: &str, arguments: &[&str]) -> Result<Command> {
    let program = tokio::task::block_in_place(|| binary("nave-demo"))?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env(MARK, mark)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    Ok(command)
}

async fn nothing_is_left(mark: &str) -> Result<()> {
    eventually(Duration::from_secs(60), "every process is gone", || async {
        let left = marked(mark)?;
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
    .await
}

/// The command lines of the processes that carry the mark. A zombie has no environment any more.
fn marked(mark: &str) -> Result<Vec<String>> {
    let wanted = format!("{MARK}={mark}");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let environment = fs::read(path.join("environ")).unwrap_or_default();
        if environment
            .split(|byte| *byte == 0)
            .any(|entry| entry == wanted.as_bytes())
        {
            let line = fs::read(path.join("cmdline")).unwrap_or_default();
            found.push(String::from_utf8_lossy(&line).replace('\0', " "));
        }
    }
    Ok(found)
}
