//! Many Kustomizations whose clusters are reached by kubeconfig secrets: all on one control plane, then spread over many.

use std::{
    collections::HashSet,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use nave_bed::{Plane, PlaneOptions, Registry, RegistryOptions};
use nave_demo::{Agent, fleet};
use serde_json::{Value, json};

use crate::{
    apps::{WRITERS, is_ready, name, namespace, per_app_millis, wait_all},
    mttp::push,
    process, table,
};

const HOME: &str = "flux-system";
const CONCURRENT: &str = "--concurrent=20";

/// What one round saw.
struct Round {
    install: Duration,
    cpu: Duration,
    /// Connections to each control plane, the highest.
    connections: usize,
}

/// Runs both rounds and prints the table.
pub async fn run(apps: usize, clusters: usize) -> Result<()> {
    let one = round(apps, 1).await?;
    let many = round(apps, clusters).await?;
    println!(
        "\n{apps} waiting Kustomizations of 4 objects by kubeconfig, {} cores for all control planes together",
        std::thread::available_parallelism()?
    );
    for (what, round) in [
        ("one control plane".to_owned(), &one),
        (format!("{clusters} control planes"), &many),
    ] {
        table::row(&format!("on {what}: all Ready"), &table::seconds(round.install), "");
        table::row("  our CPU per app", &per_app_millis(round.cpu, apps), "");
        table::row(
            "  connections to a control plane, at most",
            &round.connections.to_string(),
            "one pool, HTTP/1.1",
        );
    }
    table::row("many against one", &table::ratio(many.install, one.install), "<= 1.5 x");
    Ok(())
}

async fn round(apps: usize, clusters: usize) -> Result<Round> {
    eprintln!("► management plane, {clusters} remote planes, registry, agent");
    let home = Plane::start(PlaneOptions::named("home")).await?;
    let remote = Plane::start_many(
        (0..clusters)
            .map(|number| PlaneOptions::named(format!("remote-{number}")))
            .collect(),
    )
    .await?;
    let registry = Registry::start(RegistryOptions::default()).await?;
    push(&registry, "apps", "1.0.0").await?;
    let folder = tempfile::tempdir()?;
    let agent = Agent::start(&home, folder.path(), None, &["--log-level=error", CONCURRENT]).await?;
    let pid = agent.pid().context("the agent runs")?;
    let client = home.client();
    let mut objects = vec![json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository",
        "metadata": {"name": "apps", "namespace": HOME},
        "spec": {"url": registry.oci_url("apps"), "insecure": true, "interval": "10m", "ref": {"tag": "1.0.0"}},
    })];
    fleet::apply(&client, &namespace(HOME)).await?;
    for (number, plane) in remote.iter().enumerate() {
        objects.push(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("cluster-{number}"), "namespace": HOME},
            "stringData": {"value": plane.kubeconfig()},
        }));
    }
    write_all(&client, &objects).await?;
    for app in 0..apps {
        fleet::apply(&remote[app % clusters].client(), &namespace(&name(app))).await?;
    }
    let kustomizations: Vec<Value> = (0..apps)
        .map(|app| {
            json!({
                "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
                "metadata": {"name": name(app), "namespace": HOME},
                "spec": {
                    "interval": "10m", "path": "./", "prune": true, "wait": true, "timeout": "10m",
                    "sourceRef": {"kind": "OCIRepository", "name": "apps"}, "targetNamespace": name(app),
                    "kubeConfig": {"secretRef": {"name": format!("cluster-{}", app % clusters)}},
                },
            })
        })
        .collect();
    eprintln!("► {apps} Kustomizations");
    let cpu = process::cpu(pid)?;
    let started = Instant::now();
    let ready = wait_all(&client, apps, |object| is_ready(object, "1.0.0"));
    tokio::try_join!(ready, write_all(&client, &kustomizations))?;
    let install = started.elapsed();
    let cpu = process::cpu(pid)? - cpu;
    let mut connections = 0;
    for plane in &remote {
        let port = plane
            .url()
            .rsplit(':')
            .next()
            .and_then(|port| port.trim_end_matches('/').parse().ok());
        connections = connections.max(connections_to(pid, port.context("a plane's URL has a port")?)?);
    }
    Ok(Round {
        install,
        cpu,
        connections,
    })
}

async fn write_all(client: &Client, objects: &[Value]) -> Result<()> {
    stream::iter(objects)
        .map(|object| fleet::apply(client, object))
        .buffer_unordered(WRITERS)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(())
}

/// How many established connections process `pid` has to a port, from the kernel's tables.
fn connections_to(pid: u32, port: u16) -> Result<usize> {
    let mut sockets = HashSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // Files come and go while they are listed.
        if let Ok(target) = fs::read_link(entry?.path())
            && let Some(inode) = target.to_string_lossy().strip_prefix("socket:[")
        {
            sockets.insert(inode.trim_end_matches(']').to_owned());
        }
    }
    let mut count = 0;
    for table in ["tcp", "tcp6"] {
        for line in fs::read_to_string(format!("/proc/{pid}/net/{table}"))?.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, _, remote, state, .., inode] = fields.get(..10).unwrap_or_default() else {
                continue;
            };
            let to = remote
                .rsplit(':')
                .next()
                .and_then(|port| u16::from_str_radix(port, 16).ok());
            // 01 is ESTABLISHED.
            count += usize::from(to == Some(port) && *state == "01" && sockets.contains(*inode));
        }
    }
    Ok(count)
}
