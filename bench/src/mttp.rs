//! The protocol of Flux's own published benchmark: an app is four objects from an OCI artifact, in a namespace of its
//! own, with an OCIRepository and a Kustomization that waits; everything is created at once by twelve writers, and the
//! clock stops when the last Kustomization is Ready at its generation.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use nave_artifact::{File, FileTree, pack};
use nave_bed::{Plane, PlaneOptions, Registry, RegistryOptions};
use nave_demo::{Agent, fleet};
use nave_oci::{Access, Registries, Remote, Repository, flux_artifact};
use serde_json::{Value, json};

use crate::{
    apps::{
        AGENT, WRITERS, bare_floor, by_kind, interval_cost, is_ready, name, namespace, per_app_millis, request, settle,
        wait_all,
    },
    floor::{self, Write},
    process, table,
};

/// Everything of Flux is in here, as by default.
const HOME: &str = "flux-system";
/// For one request to the registry.
const PUSH: Duration = Duration::from_secs(60);
/// Reconciles at once, as in the published protocol.
const CONCURRENT: &str = "--concurrent=20";

/// A plane, a registry with the app in two versions, and an agent with nothing to do yet.
pub struct Mttp {
    plane: Plane,
    agent: Agent,
    registry: Registry,
    apps: usize,
    /// Of Kustomizations and sources.
    interval: String,
    _folder: tempfile::TempDir,
}

/// Runs the protocol with `apps` apps and prints the table.
pub async fn run(apps: usize) -> Result<()> {
    let bench = Mttp::start(apps, "10m").await?;
    let client = bench.plane.client();
    let pid = bench.agent.pid().context("the agent runs")?;
    let idle = process::memory(pid)?;

    eprintln!("► install of {apps}");
    let (mark, cpu) = (bench.mark()?, process::cpu(pid)?);
    let install = bench.install().await?;
    let install_cpu = process::cpu(pid)? - cpu;
    settle().await; // events that are still queued belong to the run
    let install_writes = floor::writes_of(&bench.plane, AGENT, mark)?;

    eprintln!("► upgrade");
    let (mark, cpu) = (bench.mark()?, process::cpu(pid)?);
    let upgrade = bench.upgrade("2.0.0").await?;
    let upgrade_cpu = process::cpu(pid)? - cpu;
    settle().await;
    let upgrade_writes = floor::writes_of(&bench.plane, AGENT, mark)?;

    eprintln!("► no-op by request");
    let cpu = process::cpu(pid)?;
    let requested = request(&client, apps).await?;
    let requested_cpu = process::cpu(pid)? - cpu;

    eprintln!("► no-op by interval");
    let (mark, by_interval) = (bench.mark()?, interval_cost(&client, pid, apps).await?);
    // The change of the interval is a spec of its own, whose status and finished event are written.
    let interval_writes = floor::writes_of(&bench.plane, AGENT, mark)?;
    let objects = interval_writes.iter().filter(|write| is_of_an_app(write)).count();

    eprintln!("► floors");
    let floors = Plane::start(PlaneOptions::named("floor")).await?;
    fleet::install_crds(&floors.client()).await?;
    let floor = bare_floor(&floors, apps).await?;
    drop(floors);
    let floor_plane = Plane::start(PlaneOptions::named("floor-plus")).await?;
    fleet::install_crds(&floor_plane.client()).await?;
    // What the run's own writers had made before ours wrote anything.
    let before = bench.objects("1.0.0");
    write_all(&floor_plane.client(), &before[..1]).await?;
    write_all(&floor_plane.client(), &before[1..]).await?;
    let floor_plus = floor::replay(&floor_plane, &install_writes).await?;
    let floor_plus_upgrade = floor::replay(&floor_plane, &upgrade_writes).await?;

    println!(
        "\n{apps} apps of 4 objects, an OCIRepository and a waiting Kustomization each, {} cores",
        std::thread::available_parallelism()?
    );
    let bound = match apps {
        ..=100 => "<= 4 s    (Flux: 18.5-28 s)",
        101..=500 => "<= 25 s   (Flux: 105 s)",
        _ => "<= 50 s   (Flux: 253 s)",
    };
    let per_app = |count: usize| format!("{:.1}", count as f64 / apps as f64);
    table::row("floor: the objects, 8 connections", &table::seconds(floor), "");
    table::row(
        "floor+: every write of the install, replayed",
        &table::seconds(floor_plus),
        "",
    );
    table::row("install until all Ready", &table::seconds(install), bound);
    table::row("  against floor+", &table::ratio(install, floor_plus), "<= 2 x");
    table::row("  write requests per app", &per_app(install_writes.len()), "<= 14");
    table::row("    of them dry runs", &per_app(floor::dry_runs(&install_writes)), "");
    table::row(
        "  our CPU per app",
        &per_app_millis(install_cpu, apps),
        "<= 10 ms  (Flux: 96-113 ms)",
    );
    table::row(
        "floor+: every write of the upgrade, replayed",
        &table::seconds(floor_plus_upgrade),
        "",
    );
    table::row("upgrade until all Ready", &table::seconds(upgrade), bound);
    table::row("  against floor+", &table::ratio(upgrade, floor_plus_upgrade), "<= 2 x");
    table::row("  write requests per app", &per_app(upgrade_writes.len()), "<= 14");
    table::row("    of them dry runs", &per_app(floor::dry_runs(&upgrade_writes)), "");
    table::row("  our CPU per app", &per_app_millis(upgrade_cpu, apps), "<= 10 ms");
    table::row(
        "no-op of all by requestedAt",
        &table::seconds(requested),
        "<= 30 s for 1,000 (Flux: 17 s for 100)",
    );
    table::row(
        "  our CPU",
        &table::seconds(requested_cpu),
        "<= 8 s for 1,000 (Flux: 9.5 s for 100)",
    );
    table::row(
        "no-op of all by interval: our CPU",
        &table::seconds(by_interval),
        "<= 1 s for 1,000",
    );
    table::row("  writes to objects of apps meanwhile", &objects.to_string(), "0");
    let (resident, anonymous) = process::memory(pid)?;
    table::row(
        "agent memory: idle",
        &mib(idle.0),
        &format!("({:.1} anonymous)", idle.1),
    );
    table::row(
        "agent memory: after it all",
        &mib(resident),
        &format!("({anonymous:.1} anonymous)"),
    );
    table::row("agent memory: peak", &mib(process::peak(pid)?), "<= 96 MiB with 1,000");
    println!("\nwrites of the install by kind:");
    for (what, count) in by_kind(&install_writes) {
        println!("  {count:6} {what}");
    }
    Ok(())
}

impl Mttp {
    /// Starts everything.
    pub async fn start(apps: usize, interval: &str) -> Result<Self> {
        eprintln!("► control plane, registry, agent");
        let plane = Plane::start(PlaneOptions {
            audit: true,
            audit_bodies: true,
            ..PlaneOptions::named("bench")
        })
        .await?;
        let registry = Registry::start(RegistryOptions::default()).await?;
        for version in ["1.0.0", "2.0.0"] {
            push(&registry, "apps", version).await?;
        }
        let folder = tempfile::tempdir()?;
        let agent = Agent::start(&plane, folder.path(), None, &["--log-level=error", CONCURRENT]).await?;
        fleet::apply(&plane.client(), &namespace(HOME)).await?;
        Ok(Mttp {
            plane,
            agent,
            registry,
            apps,
            interval: interval.to_owned(),
            _folder: folder,
        })
    }

    /// Creates everything at once and waits until all is Ready.
    pub async fn install(&self) -> Result<Duration> {
        let client = self.plane.client();
        let objects = self.objects("1.0.0");
        let started = Instant::now();
        let ready = wait_all(&client, self.apps, |object| is_ready(object, "1.0.0"));
        tokio::try_join!(ready, write_all(&client, &objects[1..]))?;
        Ok(started.elapsed())
    }

    /// Names another tag in every source and waits until all is Ready with it.
    async fn upgrade(&self, version: &str) -> Result<Duration> {
        let client = self.plane.client();
        let gvk = GroupVersionKind::gvk("source.toolkit.fluxcd.io", "v1", "OCIRepository");
        let resource = ApiResource::from_gvk_with_plural(&gvk, "ocirepositories");
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), HOME, &resource);
        let patch = json!({"spec": {"ref": {"tag": version}}});
        let started = Instant::now();
        let ready = wait_all(&client, self.apps, |object| is_ready(object, version));
        let written = async {
            stream::iter(0..self.apps)
                .map(|app| {
                    let (api, patch) = (&api, &patch);
                    async move {
                        let parameters = PatchParams::default();
                        api.patch(&name(app), &parameters, &Patch::Merge(patch)).await?;
                        anyhow::Ok(())
                    }
                })
                .buffer_unordered(WRITERS)
                .try_collect::<Vec<()>>()
                .await
        };
        tokio::try_join!(ready, written)?;
        Ok(started.elapsed())
    }

    /// The namespace of Flux, then namespaces, sources and Kustomizations of all apps.
    fn objects(&self, version: &str) -> Vec<Value> {
        let mut objects = vec![namespace(HOME)];
        for app in 0..self.apps {
            let metadata = json!({"name": name(app), "namespace": HOME});
            objects.push(namespace(&name(app)));
            objects.push(json!({
                "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository", "metadata": metadata,
                "spec": {
                    "url": self.registry.oci_url("apps"), "insecure": true, "interval": self.interval,
                    "ref": {"tag": version},
                },
            }));
            objects.push(json!({
                "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": metadata,
                "spec": {
                    "interval": self.interval, "path": "./", "prune": true, "wait": true, "timeout": "5m",
                    "sourceRef": {"kind": "OCIRepository", "name": name(app)}, "targetNamespace": name(app),
                },
            }));
        }
        objects
    }

    /// A client for the plane.
    pub fn client(&self) -> Client {
        self.plane.client()
    }

    /// The process id of the agent.
    pub fn pid(&self) -> Option<u32> {
        self.agent.pid()
    }

    fn mark(&self) -> Result<u64> {
        Ok(std::fs::metadata(self.plane.audit_log().context("the plane writes an audit log")?)?.len())
    }
}

async fn write_all(client: &Client, objects: &[Value]) -> Result<()> {
    stream::iter(objects)
        .map(|object| fleet::apply(client, object))
        .buffer_unordered(WRITERS)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(())
}

/// Pushes the app's manifest as a Flux artifact.
pub async fn push(registry: &Registry, name: &str, version: &str) -> Result<()> {
    let repository = Repository::from_url(&registry.oci_url(name))?;
    let access = Access {
        insecure: true,
        ..Access::default()
    };
    let remote: Remote = Registries::default().open(&repository, access)?;
    let mut tree = FileTree::new();
    tree.insert("app.yaml", File::plain(manifest(version).into_bytes()))?;
    let annotations = BTreeMap::from([
        (
            "org.opencontainers.image.source".to_owned(),
            "https://git.example.com/apps".to_owned(),
        ),
        (
            "org.opencontainers.image.revision".to_owned(),
            format!("{version}@sha1:{:040}", 1),
        ),
    ]);
    remote
        .push_artifact(version, flux_artifact(pack(&tree).into(), annotations), PUSH)
        .await?;
    Ok(())
}

/// The four objects; their namespace is that of the Kustomization. The Deployment is scaled to zero.
fn manifest(version: &str) -> String {
    let metadata = json!({"name": "app", "labels": {"app": "app", "version": version}});
    let backend = json!({"service": {"name": "app", "port": {"name": "http"}}});
    let path = json!({"path": "/", "pathType": "Prefix", "backend": backend});
    let container = json!({"name": "app", "image": format!("registry.example.com/app:{version}")});
    let pod = json!({"serviceAccountName": "app", "containers": [container]});
    let template = json!({"metadata": {"labels": {"app": "app"}}, "spec": pod});
    let objects = [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {
            "selector": {"app": "app"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}}),
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": {
            "rules": [{"host": "app.example.com", "http": {"paths": [path]}}]}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": "app"}}, "template": template}}),
    ];
    objects.iter().map(|object| format!("---\n{object:#}\n")).collect()
}

/// Whether a write goes to an object of an app, and not to those of Flux or to events.
fn is_of_an_app(write: &Write) -> bool {
    let path = write.uri.split('?').next().unwrap_or_default();
    path.contains("/namespaces/app-") && !path.contains("/events")
}

fn mib(size: f64) -> String {
    format!("{size:.1} MiB")
}
