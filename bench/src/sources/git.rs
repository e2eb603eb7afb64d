//! A monorepo: the first artifact, the one after a commit, and polls that find nothing.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use nave_bed::{GitRepo, GitServer, GitServerOptions};
use nave_crds::GitRepository;
use nave_demo::fleet;
use serde_json::json;

use super::{HOME, Peak, Stage};
use crate::{apps::wait_for, process, table};

/// For how long polls are counted.
const POLLING: Duration = Duration::from_secs(30);
/// The floor is measured so often; the fastest counts.
const FLOORS: usize = 2;

/// Builds a monorepo of `files` manifests and prints the table.
pub async fn run(files: usize) -> Result<()> {
    let stage = Stage::start().await?;
    eprintln!("► a monorepo of {files} files");
    let server = GitServer::start(GitServerOptions::default()).await?;
    let repository = server.create_repo("mono").await?;
    let bytes = write(&repository, files)?;
    let first = repository.commit("first").await?;

    eprintln!("► floor: git clone and tar");
    let mut floor = Duration::MAX;
    for _ in 0..FLOORS {
        floor = floor.min(clone_and_tar(repository.url())?);
    }

    let client = stage.plane.client();
    let idle = process::memory(stage.pid)?;
    let peak = Peak::watch(stage.pid);
    eprintln!("► first artifact");
    let started = Instant::now();
    let object = json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
        "metadata": {"name": "mono", "namespace": HOME},
        "spec": {"url": repository.url(), "interval": "1h", "timeout": "10m", "ref": {"branch": "main"}},
    });
    fleet::apply(&client, &object).await?;
    wait(&client, &first).await?;
    let whole = started.elapsed();

    eprintln!("► after a commit");
    repository.write_files(&[("apps/3/3/manifest-33.yaml", "kind: Changed\n")])?;
    let second = repository.commit("second").await?;
    let cpu = process::cpu(stage.pid)?;
    let started = Instant::now();
    let asked = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "1"}}});
    patch(&client, &asked).await?;
    wait(&client, &second).await?;
    let changed = started.elapsed();
    let changed_cpu = process::cpu(stage.pid)? - cpu;
    let peak = peak.end();

    eprintln!("► polls");
    patch(&client, &json!({"spec": {"interval": "1s"}})).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    server.clear_requests();
    let cpu = process::cpu(stage.pid)?;
    tokio::time::sleep(POLLING).await;
    let polling = process::cpu(stage.pid)? - cpu;
    let polls = server
        .requests()
        .iter()
        .filter(|request| request.path.contains("info/refs"))
        .count();
    ensure!(polls > 0, "nothing was polled for {POLLING:?}");

    println!(
        "\na git monorepo of {files} files, {:.0} MiB, {} cores",
        bytes as f64 / f64::from(1 << 20),
        std::thread::available_parallelism()?
    );
    table::row("floor: git clone --depth 1, tar czf", &table::seconds(floor), "");
    table::row("first artifact", &table::seconds(whole), "");
    table::row("  against the floor", &table::ratio(whole, floor), "<= 1.3 x");
    table::row("artifact after a commit", &table::seconds(changed), "");
    table::row(
        "  against the floor",
        &table::ratio(changed, floor),
        "<= 0.4 x, aim 0.1 x",
    );
    table::row("  our CPU", &table::seconds(changed_cpu), "");
    table::row(
        "growth of anonymous memory, at most",
        &format!("{:.1} MiB", peak.1 - idle.1),
        "<= 64 MiB",
    );
    table::row(
        "growth of resident memory, packs mapped",
        &format!("{:.1} MiB", peak.0 - idle.0),
        "",
    );
    table::row(
        "a poll that finds nothing: our CPU",
        &format!("{:.2} ms", polling.as_secs_f64() * 1e3 / polls as f64),
        &format!("<= 5 ms (of {polls} polls)"),
    );
    Ok(())
}

/// Manifests of about a kilobyte, no two alike. How many bytes they have.
fn write(repository: &GitRepo, files: usize) -> Result<usize> {
    let mut bytes = 0;
    for number in 0..files {
        let path = format!("apps/{}/{}/manifest-{number}.yaml", number % 10, number / 10 % 100);
        let text = manifest(number);
        bytes += text.len();
        repository.write_files(&[(&path, &text)])?;
    }
    Ok(bytes)
}

fn manifest(number: usize) -> String {
    let mut text = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: app-{number}\n  namespace: team-{}\nspec:\n  \
         replicas: {}\n  selector:\n    matchLabels:\n      app: app-{number}\n  template:\n    metadata:\n      labels:\n        \
         app: app-{number}\n    spec:\n      containers:\n        - name: app\n          image: registry.example.com/app-{number}:1.{number}\n          \
         env:\n",
        number % 97,
        number % 7
    );
    let mut state = number as u64;
    for variable in 0..12 {
        // A linear congruential generator (Knuth's constants): text that does not compress away.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        text += &format!("            - name: VARIABLE_{variable}\n              value: \"{state:016x}\"\n");
    }
    text
}

fn clone_and_tar(url: &str) -> Result<Duration> {
    let folder = tempfile::tempdir()?;
    let started = Instant::now();
    command(folder.path(), &["git", "clone", "--quiet", "--depth", "1", url, "work"])?;
    command(
        folder.path(),
        &["tar", "czf", "work.tar.gz", "-C", "work", "--exclude", ".git", "."],
    )?;
    Ok(started.elapsed())
}

fn command(folder: &Path, line: &[&str]) -> Result<()> {
    let status = Command::new(line[0]).args(&line[1..]).current_dir(folder).status()?;
    ensure!(status.success(), "{} ended with {status}", line[0]);
    Ok(())
}

async fn patch(client: &Client, patch: &serde_json::Value) -> Result<()> {
    let api: Api<GitRepository> = Api::namespaced(client.clone(), HOME);
    api.patch("mono", &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

async fn wait(client: &Client, commit: &str) -> Result<()> {
    wait_for(Api::namespaced(client.clone(), HOME), 1, |object: &GitRepository| {
        object.status.as_ref().is_some_and(|status| {
            status
                .artifact
                .as_ref()
                .is_some_and(|artifact| artifact.revision.contains(commit))
                && status
                    .conditions
                    .iter()
                    .any(|condition| condition.type_ == "Ready" && condition.status == "True")
        })
    })
    .await
}
