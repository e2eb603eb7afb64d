//! Many HelmReleases of one chart in a registry, by the protocol of Flux's published benchmark: everything is created at
//! once, and the clock stops when the last one is Ready at its generation.

use std::{
    collections::HashSet,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, pin_mut, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, ResourceExt,
    api::ListParams,
    runtime::{WatchStreamExt, watcher},
};
use nave_bed::{Plane, PlaneOptions, Registry, RegistryOptions};
use nave_crds::HelmRelease;
use nave_demo::{Agent, fleet};
use serde_json::{Value, json};

use super::charts::application;
use crate::{
    apps::{by_kind, namespace, per_app_millis, settle},
    floor::{self, Write},
    process, table,
};

/// Writers that create everything, as in the published protocol.
const WRITERS: usize = 12;
/// Far above any target: a run that takes longer is broken, not slow.
const GIVE_UP: Duration = Duration::from_secs(600);
/// User agent of our processes in the audit log.
const AGENT: &str = "nave-agent";
/// Where sources and HelmReleases live.
const HOME: &str = "flux-system";
const VERSIONS: [&str; 2] = ["1.0.0", "2.0.0"];

/// A registry with two versions of the chart.
pub struct Shelf {
    registry: Registry,
}

impl Shelf {
    /// Starts the registry and pushes both versions with Helm itself.
    pub async fn start(scratch: &Path) -> Result<Shelf> {
        let registry = Registry::start(RegistryOptions::default()).await?;
        for version in VERSIONS {
            let dir = scratch.join(format!("pushed-{version}"));
            application(&dir.join("app"), version)?;
            helm(scratch, &["package", "app", "-d", "."], &dir)?;
            let target = registry.oci_url("charts");
            let archive = format!("app-{version}.tgz");
            helm(scratch, &["push", &archive, &target, "--plain-http"], &dir)?;
        }
        Ok(Shelf { registry })
    }

    fn source(&self, version: &str) -> Value {
        json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository",
            "metadata": {"name": "app", "namespace": HOME},
            "spec": {
                "url": self.registry.oci_url("charts/app"), "insecure": true, "interval": "10m", "ref": {"tag": version},
                "layerSelector": {"mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "operation": "copy"},
            },
        })
    }

    /// Creates source, namespaces and HelmReleases with twelve writers and waits until all are Ready.
    pub async fn install(&self, client: &Client, releases: usize) -> Result<Duration> {
        let mut objects = vec![self.source(VERSIONS[0])];
        for number in 0..releases {
            objects.push(namespace(&name(number)));
            objects.push(release(number));
        }
        let started = Instant::now();
        let ready = wait_all(client, releases, VERSIONS[0]);
        let written = async {
            stream::iter(&objects)
                .map(|object| fleet::apply(client, object))
                .buffer_unordered(WRITERS)
                .try_collect::<Vec<()>>()
                .await
        };
        tokio::try_join!(ready, written)?;
        Ok(started.elapsed())
    }

    /// Moves the source on and waits until all are Ready with the new chart.
    pub async fn upgrade(&self, client: &Client, releases: usize) -> Result<Duration> {
        let started = Instant::now();
        fleet::apply(client, &self.source(VERSIONS[1])).await?;
        wait_all(client, releases, VERSIONS[1]).await?;
        Ok(started.elapsed())
    }
}

/// Runs the whole protocol and prints the table.
pub async fn run(scratch: &Path, releases: usize) -> Result<()> {
    eprintln!("► control plane, registry, agent");
    let plane = Plane::start(PlaneOptions {
        audit: true,
        audit_bodies: true,
        ..PlaneOptions::named("bench-helm")
    })
    .await?;
    let folder = tempfile::tempdir()?;
    let agent = Agent::start(&plane, folder.path(), None, &["--log-level=error"]).await?;
    let shelf = Shelf::start(scratch).await?;
    let client = plane.client();
    fleet::apply(&client, &namespace(HOME)).await?;
    let pid = || agent.pid().context("the agent runs");
    let mark = || -> Result<u64> {
        let path = plane.audit_log().context("the plane writes an audit log")?;
        Ok(std::fs::metadata(path)?.len())
    };

    eprintln!("► install");
    let (from, cpu) = (mark()?, process::cpu(pid()?)?);
    let install = shelf.install(&client, releases).await?;
    let install_cpu = process::cpu(pid()?)? - cpu;
    settle().await; // events that are still queued belong to the run
    let mut install_writes = floor::writes_of(&plane, AGENT, from)?;
    fill(&client, &mut install_writes, 1).await?;

    eprintln!("► upgrade");
    let (from, cpu) = (mark()?, process::cpu(pid()?)?);
    let upgrade = shelf.upgrade(&client, releases).await?;
    let upgrade_cpu = process::cpu(pid()?)? - cpu;
    settle().await;
    let mut upgrade_writes = floor::writes_of(&plane, AGENT, from)?;
    fill(&client, &mut upgrade_writes, 2).await?;
    let (resident, anonymous) = process::memory(pid()?)?;

    eprintln!("► floors");
    let floors = Plane::start(PlaneOptions::named("floor")).await?;
    prepare(&floors, &shelf, releases).await?;
    let objects: Vec<Write> = install_writes
        .iter()
        .filter(|write| is_of_chart(write))
        .cloned()
        .collect();
    ensure!(
        objects.len() >= releases * 4,
        "of {releases} releases only {} objects were written",
        objects.len()
    );
    let floor = floor::replay(&floors, &objects).await?;
    let plus = Plane::start(PlaneOptions::named("floor-plus")).await?;
    prepare(&plus, &shelf, releases).await?;
    let floor_plus = floor::replay(&plus, &install_writes).await?;
    let floor_plus_upgrade = floor::replay(&plus, &upgrade_writes).await?;

    println!(
        "\n(c) {releases} HelmReleases of one chart of 4 objects in a registry, {} cores",
        std::thread::available_parallelism()?
    );
    let per_release = |count: usize| format!("{:.1}", count as f64 / releases as f64);
    table::row("floor: the objects, 8 connections", &table::seconds(floor), "");
    table::row(
        "floor+: every write of the install, replayed",
        &table::seconds(floor_plus),
        "",
    );
    table::row(
        "install until all Ready",
        &table::seconds(install),
        "<= 6 s   (Flux: 32-39 s)",
    );
    table::row("  against floor+", &table::ratio(install, floor_plus), "<= 2 x");
    table::row("  write requests per release", &per_release(install_writes.len()), "");
    table::row(
        "    of them dry runs",
        &per_release(floor::dry_runs(&install_writes)),
        "",
    );
    table::row(
        "  our CPU per release",
        &per_app_millis(install_cpu, releases),
        "<= 20 ms   (Flux: 130 ms)",
    );
    table::row(
        "upgrade until all Ready",
        &table::seconds(upgrade),
        "<= 6 s   (Flux: 34-39 s)",
    );
    table::row("  against floor+", &table::ratio(upgrade, floor_plus_upgrade), "<= 2 x");
    table::row("  write requests per release", &per_release(upgrade_writes.len()), "");
    table::row(
        "    of them dry runs",
        &per_release(floor::dry_runs(&upgrade_writes)),
        "",
    );
    table::row(
        "  our CPU per release",
        &per_app_millis(upgrade_cpu, releases),
        "<= 20 ms   (Flux: 207 ms)",
    );
    table::row(
        "agent memory after it all",
        &format!("{resident:.1} MiB"),
        &format!("({anonymous:.1} anonymous)"),
    );
    println!("\nwrites of the install by kind:");
    for (what, count) in by_kind(&install_writes) {
        println!("  {count:6} {what}");
    }
    Ok(())
}

/// `helm` itself, with its settings below a folder.
fn helm(scratch: &Path, arguments: &[&str], dir: &Path) -> Result<()> {
    let home = scratch.join("helm");
    let output = Command::new(nave_oracle::binary("helm")?)
        .args(arguments)
        .current_dir(dir)
        .env("HELM_CACHE_HOME", home.join("cache"))
        .env("HELM_CONFIG_HOME", home.join("config"))
        .env("HELM_DATA_HOME", home.join("data"))
        .output()
        .context("starting helm")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "helm {arguments:?}: {error}");
    Ok(())
}

/// The audit log has no bodies of Secrets. Their names and sizes are those of the records that the run left.
async fn fill(client: &Client, writes: &mut [Write], version: u32) -> Result<()> {
    let api: Api<Secret> = Api::namespaced(client.clone(), HOME);
    let list = api
        .list(&ListParams::default().labels(&format!("owner=helm,version={version}")))
        .await?;
    let mut records = Vec::with_capacity(list.items.len());
    for mut secret in list.items {
        let name = secret.name_any();
        secret.metadata.resource_version = None;
        secret.metadata.uid = None;
        secret.metadata.managed_fields = None;
        secret.metadata.creation_timestamp = None;
        let mut body = serde_json::to_value(&secret)?;
        body["apiVersion"] = json!("v1");
        body["kind"] = json!("Secret");
        records.push((name, body.to_string().into_bytes()));
    }
    ensure!(!records.is_empty(), "the run left no records of version {version}");
    let mut next = 0;
    for write in writes {
        let path = write.uri.split('?').next().unwrap_or_default();
        if !write.body.is_empty() || !path.contains("/secrets") || write.method == "DELETE" {
            continue;
        }
        let named = records.iter().find(|(name, _)| path.ends_with(&format!("/{name}")));
        let (_, body) = match named {
            Some(found) => found,
            None => {
                next += 1;
                &records[(next - 1) % records.len()]
            }
        };
        write.body.clone_from(body);
    }
    Ok(())
}

/// Whether a write is of an object of the chart.
fn is_of_chart(write: &Write) -> bool {
    let kinds = ["/serviceaccounts/", "/services/", "/ingresses/", "/deployments/"];
    write.uri.contains("/namespaces/release-") && kinds.iter().any(|kind| write.uri.contains(kind))
}

/// What the run's own writers had made before ours wrote anything.
async fn prepare(plane: &Plane, shelf: &Shelf, releases: usize) -> Result<()> {
    let client = plane.client();
    fleet::install_crds(&client).await?;
    fleet::apply(&client, &namespace(HOME)).await?;
    fleet::apply(&client, &shelf.source(VERSIONS[0])).await?;
    for number in 0..releases {
        fleet::apply(&client, &namespace(&name(number))).await?;
        fleet::apply(&client, &release(number)).await?;
    }
    Ok(())
}

fn name(number: usize) -> String {
    format!("release-{number:04}")
}

fn release(number: usize) -> Value {
    json!({
        "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
        "metadata": {"name": name(number), "namespace": HOME},
        "spec": {
            "interval": "10m", "timeout": "5m", "targetNamespace": name(number), "releaseName": name(number),
            "chartRef": {"kind": "OCIRepository", "name": "app"},
            "values": {"host": format!("{}.example.com", name(number))},
        },
    })
}

/// Waits by watch until `count` HelmReleases are Ready at their generation with this version of the chart.
async fn wait_all(client: &Client, count: usize, version: &str) -> Result<()> {
    let api: Api<HelmRelease> = Api::namespaced(client.clone(), HOME);
    let objects = watcher(api, watcher::Config::default())
        .default_backoff()
        .applied_objects();
    pin_mut!(objects);
    let mut finished = HashSet::new();
    let all = async {
        while finished.len() < count {
            let Some(object) = objects.next().await else { break };
            if let Ok(object) = object
                && is_ready(&object, version)
            {
                finished.insert(object.name_any());
            }
        }
    };
    let in_time = tokio::time::timeout(GIVE_UP, all).await.is_ok();
    ensure!(
        in_time,
        "only {} of {count} were done after {GIVE_UP:?}",
        finished.len()
    );
    Ok(())
}

fn is_ready(object: &HelmRelease, version: &str) -> bool {
    object.status.as_ref().is_some_and(|status| {
        Some(status.observed_generation) == object.metadata.generation
            && status
                .history
                .first()
                .is_some_and(|newest| newest.chart_version.starts_with(version))
            && status
                .conditions
                .iter()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    })
}
