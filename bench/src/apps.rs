//! The protocol of Flux's own published benchmark, over one git repository: an app is four objects in a namespace of
//! its own, everything is created at once, and the clock stops when the last Kustomization is Ready at its generation.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, pin_mut, stream};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    runtime::{WatchStreamExt, watcher},
};
use nave_bed::{GitRepo, GitServer, GitServerOptions, Plane, PlaneOptions};
use nave_crds::Kustomization;
use nave_demo::{Agent, fleet};
use serde_json::{Value, json};

use crate::{
    floor::{self, Write},
    process, table,
};

/// Writers that create everything, as in the published protocol.
pub const WRITERS: usize = 12;
/// Far above any target: a run that takes longer is broken, not slow.
const GIVE_UP: Duration = Duration::from_secs(600);
/// User agent of our processes in the audit log.
pub const AGENT: &str = "nave-agent";

/// A plane, a git server and an agent with nothing to do yet.
pub struct Bench {
    /// The cluster.
    pub plane: Plane,
    /// The agent on it.
    pub agent: Agent,
    _server: GitServer,
    work: GitRepo,
    url: String,
    apps: usize,
    _folder: tempfile::TempDir,
}

impl Bench {
    /// Starts everything and commits `apps` apps.
    pub async fn start(apps: usize) -> Result<Self> {
        eprintln!("► control plane, git server, agent");
        let plane = Plane::start(PlaneOptions {
            audit: true,
            audit_bodies: true,
            ..PlaneOptions::named("bench")
        })
        .await?;
        let folder = tempfile::tempdir()?;
        let agent = Agent::start(&plane, folder.path(), None, &["--log-level=error"]).await?;
        let server = GitServer::start(GitServerOptions {
            hint_url: Some(agent.hint_url.clone()),
            ..GitServerOptions::default()
        })
        .await?;
        let work = server.create_repo("apps").await?;
        let url = work.url().to_owned();
        let bench = Bench {
            plane,
            agent,
            _server: server,
            work,
            url,
            apps,
            _folder: folder,
        };
        bench.commit("1.0.0").await?;
        fleet::apply(&bench.plane.client(), &namespace("flux-system")).await?;
        Ok(bench)
    }

    async fn commit(&self, version: &str) -> Result<String> {
        let files: Vec<(String, String)> = (0..self.apps)
            .map(|app| (format!("apps/{}/app.yaml", name(app)), manifest(app, version)))
            .collect();
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect();
        self.work.write_files(&files)?;
        self.work.commit(version).await
    }

    /// Creates source, Kustomizations and namespaces with twelve writers and waits until all are Ready.
    pub async fn install(&self, interval: &str) -> Result<Duration> {
        let client = self.plane.client();
        let mut objects = vec![json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {"name": "apps", "namespace": "flux-system"},
            "spec": {"url": self.url, "interval": "10m", "ref": {"branch": "main"}},
        })];
        for app in 0..self.apps {
            objects.push(namespace(&name(app)));
            objects.push(json!({
                "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
                "metadata": {"name": name(app), "namespace": "flux-system"},
                "spec": {
                    "interval": interval, "path": format!("./apps/{}", name(app)), "prune": true, "wait": true,
                    "sourceRef": {"kind": "GitRepository", "name": "apps"}, "targetNamespace": name(app), "timeout": "5m",
                },
            }));
        }
        let started = Instant::now();
        let ready = wait_all(&client, self.apps, |object| is_ready(object, ""));
        let written = async {
            stream::iter(&objects)
                .map(|object| create(&client, object))
                .buffer_unordered(WRITERS)
                .try_collect::<Vec<()>>()
                .await
        };
        tokio::try_join!(ready, written)?;
        Ok(started.elapsed())
    }

    async fn upgrade(&self) -> Result<Duration> {
        let started = Instant::now();
        let commit = self.commit("2.0.0").await?;
        wait_all(&self.plane.client(), self.apps, |object| is_ready(object, &commit)).await?;
        Ok(started.elapsed())
    }

    fn mark(&self) -> Result<u64> {
        Ok(std::fs::metadata(self.plane.audit_log().context("the plane writes an audit log")?)?.len())
    }

    fn cpu(&self) -> Result<Duration> {
        process::cpu(self.agent.pid().context("the agent runs")?)
    }
}

/// Runs the whole protocol and prints the table.
pub async fn run(apps: usize) -> Result<()> {
    let bench = Bench::start(apps).await?;

    eprintln!("► install");
    let (mark, cpu) = (bench.mark()?, bench.cpu()?);
    let install = bench.install("10m").await?;
    let install_cpu = bench.cpu()? - cpu;
    settle().await; // events that are still queued belong to the run
    let install_writes = floor::writes_of(&bench.plane, AGENT, mark)?;

    eprintln!("► upgrade");
    let (mark, cpu) = (bench.mark()?, bench.cpu()?);
    let upgrade = bench.upgrade().await?;
    let upgrade_cpu = bench.cpu()? - cpu;
    settle().await;
    let upgrade_writes = floor::writes_of(&bench.plane, AGENT, mark)?;

    eprintln!("► no-op by request");
    let cpu = bench.cpu()?;
    let requested = request(&bench.plane.client(), apps).await?;
    let requested_cpu = bench.cpu()? - cpu;

    eprintln!("► no-op by interval");
    let pid = bench.agent.pid().context("the agent runs")?;
    let by_interval = interval_cost(&bench.plane.client(), pid, apps).await?;

    eprintln!("► floors");
    let floors = Plane::start(PlaneOptions::named("floor")).await?;
    fleet::install_crds(&floors.client()).await?;
    let floor = bare_floor(&floors, apps).await?;
    let floor_plane = Plane::start(PlaneOptions::named("floor-plus")).await?;
    fleet::install_crds(&floor_plane.client()).await?;
    prepare(&floor_plane, apps, &bench.url).await?;
    let floor_plus = floor::replay(&floor_plane, &install_writes).await?;
    let floor_plus_upgrade = floor::replay(&floor_plane, &upgrade_writes).await?;

    println!(
        "\n{apps} apps of 4 objects, one git repository, {} cores",
        std::thread::available_parallelism()?
    );
    let per_app = |count: usize| format!("{:.1}", count as f64 / apps as f64);
    table::row("floor: the objects, 8 connections", &table::seconds(floor), "");
    table::row(
        "floor+: every write of the install, replayed",
        &table::seconds(floor_plus),
        "",
    );
    table::row("install until all Ready", &table::seconds(install), "<= 4 s");
    table::row("  against floor+", &table::ratio(install, floor_plus), "<= 2 x");
    table::row("  write requests per app", &per_app(install_writes.len()), "<= 14");
    table::row("    of them dry runs", &per_app(floor::dry_runs(&install_writes)), "");
    table::row("  our CPU per app", &per_app_millis(install_cpu, apps), "<= 10 ms");
    table::row("upgrade until all Ready", &table::seconds(upgrade), "<= 4 s");
    table::row("  against floor+", &table::ratio(upgrade, floor_plus_upgrade), "<= 2 x");
    table::row("  write requests per app", &per_app(upgrade_writes.len()), "<= 14");
    table::row("    of them dry runs", &per_app(floor::dry_runs(&upgrade_writes)), "");
    table::row("  our CPU per app", &per_app_millis(upgrade_cpu, apps), "<= 10 ms");
    table::row(
        "no-op of all by requestedAt",
        &table::seconds(requested),
        "<= 4 s   (Flux: 17 s)",
    );
    table::row("  our CPU", &table::seconds(requested_cpu), "<= 1 s   (Flux: 9.4 s)");
    table::row(
        "no-op of all by interval: our CPU",
        &table::seconds(by_interval),
        "<= 0.2 s",
    );
    let (resident, anonymous) = process::memory(bench.agent.pid().context("the agent runs")?)?;
    table::row(
        "agent memory after it all",
        &format!("{resident:.1} MiB"),
        &format!("<= 48 MiB ({anonymous:.1} anonymous)"),
    );
    println!("\nwrites of the install by kind:");
    for (what, count) in by_kind(&install_writes) {
        println!("  {count:6} {what}");
    }
    Ok(())
}

/// Asks for every Kustomization by annotation and waits until each says that it handled it.
pub async fn request(client: &Client, apps: usize) -> Result<Duration> {
    let api: Api<Kustomization> = Api::namespaced(client.clone(), "flux-system");
    let stamp = jiff::Timestamp::now().to_string();
    let patch = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": stamp}}});
    let started = Instant::now();
    let handled = wait_all(client, apps, |object| {
        is_ready(object, "")
            && object
                .status
                .as_ref()
                .is_some_and(|status| status.last_handled_reconcile_at == stamp)
    });
    let asked = async {
        stream::iter(0..apps)
            .map(|app| {
                let (api, patch) = (&api, &patch);
                async move {
                    api.patch(&name(app), &PatchParams::default(), &Patch::Merge(patch))
                        .await
                        .map(drop)
                        .map_err(anyhow::Error::from)
                }
            })
            .buffer_unordered(WRITERS)
            .try_collect::<Vec<()>>()
            .await
    };
    tokio::try_join!(handled, asked)?;
    Ok(started.elapsed())
}

/// One round by interval: every Kustomization has the same interval, so a window of that length holds one no-op each.
/// What the process uses anyway is measured with a long interval and taken off.
pub async fn interval_cost(client: &Client, pid: u32, apps: usize) -> Result<Duration> {
    const WINDOW: Duration = Duration::from_secs(20);
    settle().await;
    let quiet = cpu_over(pid, WINDOW).await?;
    let api: Api<Kustomization> = Api::namespaced(client.clone(), "flux-system");
    for app in 0..apps {
        api.patch(
            &name(app),
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"interval": "20s"}})),
        )
        .await?;
    }
    wait_all(client, apps, |object| is_ready(object, "")).await?;
    settle().await;
    // The first rounds after the change of spec may still check fully; the third is at rest.
    tokio::time::sleep(2 * WINDOW).await;
    let busy = cpu_over(pid, WINDOW).await?;
    Ok(busy.saturating_sub(quiet))
}

async fn cpu_over(pid: u32, window: Duration) -> Result<Duration> {
    let before = process::cpu(pid)?;
    tokio::time::sleep(window).await;
    Ok(process::cpu(pid)? - before)
}

/// Queued events are written within this time.
pub async fn settle() {
    tokio::time::sleep(Duration::from_secs(2)).await;
}

/// The floor: namespaces first, then the objects, by eight connections.
pub async fn bare_floor(plane: &Plane, apps: usize) -> Result<Duration> {
    let namespaces: Vec<Write> = (0..apps)
        .map(|app| Write::apply(&format!("/api/v1/namespaces/{}", name(app)), &namespace(&name(app))))
        .collect();
    floor::replay(plane, &namespaces).await?;
    let mut writes = Vec::new();
    for app in 0..apps {
        for object in objects(app, "1.0.0") {
            let path = match object["kind"].as_str().unwrap_or_default() {
                "ServiceAccount" => "api/v1/namespaces/NS/serviceaccounts",
                "Service" => "api/v1/namespaces/NS/services",
                "Ingress" => "apis/networking.k8s.io/v1/namespaces/NS/ingresses",
                _ => "apis/apps/v1/namespaces/NS/deployments",
            };
            writes.push(Write::apply(
                &format!("/{}/app", path.replace("NS", &name(app))),
                &object,
            ));
        }
    }
    floor::replay(plane, &writes).await
}

/// What the run's own writers had made before ours wrote anything.
async fn prepare(plane: &Plane, apps: usize, url: &str) -> Result<()> {
    let client = plane.client();
    fleet::apply(&client, &namespace("flux-system")).await?;
    fleet::apply(
        &client,
        &json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {"name": "apps", "namespace": "flux-system"}, "spec": {"url": url, "interval": "10m"},
        }),
    )
    .await?;
    for app in 0..apps {
        fleet::apply(&client, &namespace(&name(app))).await?;
        fleet::apply(
            &client,
            &json!({
                "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
                "metadata": {"name": name(app), "namespace": "flux-system"},
                "spec": {"interval": "10m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "apps"}},
            }),
        )
        .await?;
    }
    Ok(())
}

async fn create(client: &Client, object: &Value) -> Result<()> {
    fleet::apply(client, object).await
}

/// Waits by watch until `count` Kustomizations satisfy `done`.
pub async fn wait_all(client: &Client, count: usize, done: impl Fn(&Kustomization) -> bool) -> Result<()> {
    wait_for(Api::namespaced(client.clone(), "flux-system"), count, done).await
}

/// Waits by watch until `count` objects of any kind satisfy `done`.
pub async fn wait_for<K>(api: Api<K>, count: usize, done: impl Fn(&K) -> bool) -> Result<()>
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let objects = watcher(api, watcher::Config::default())
        .default_backoff()
        .applied_objects();
    pin_mut!(objects);
    let mut finished = HashSet::new();
    let all = async {
        while finished.len() < count {
            let Some(object) = objects.next().await else { break };
            if let Ok(object) = object
                && done(&object)
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

pub fn is_ready(object: &Kustomization, commit: &str) -> bool {
    object.status.as_ref().is_some_and(|status| {
        Some(status.observed_generation) == object.metadata.generation
            && status.last_applied_revision.contains(commit)
            && status
                .conditions
                .iter()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    })
}

/// How many writes there are of each kind.
pub fn by_kind(writes: &[Write]) -> Vec<(String, usize)> {
    let mut counts = std::collections::BTreeMap::new();
    for write in writes {
        let (path, query) = write.uri.split_once('?').unwrap_or((&write.uri, ""));
        let parts: Vec<&str> = path.split('/').collect();
        let resource = parts
            .iter()
            .position(|part| *part == "namespaces")
            .and_then(|at| parts.get(at + 2))
            .unwrap_or(&"?");
        let status = if path.ends_with("/status") { "/status" } else { "" };
        let dry = if query.contains("dryRun") { " (dry run)" } else { "" };
        *counts
            .entry(format!("{} {resource}{status}{dry}", write.method))
            .or_insert(0) += 1;
    }
    counts.into_iter().collect()
}

/// A share of a time, in milliseconds.
pub fn per_app_millis(total: Duration, apps: usize) -> String {
    format!("{:.1} ms", total.as_secs_f64() * 1000.0 / apps as f64)
}

pub fn name(app: usize) -> String {
    format!("app-{app:04}")
}

/// A namespace of this name.
pub fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

fn manifest(app: usize, version: &str) -> String {
    objects(app, version)
        .iter()
        .map(|object| format!("---\n{object:#}\n"))
        .collect()
}

/// The four objects of one app; the Deployment is scaled to zero.
fn objects(app: usize, version: &str) -> [Value; 4] {
    let metadata = json!({"name": "app", "namespace": name(app), "labels": {"app": "app", "version": version}});
    let metadata_of = || metadata.clone();
    [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata_of()}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata_of(), "spec": {
            "selector": {"app": "app"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}}),
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata_of(), "spec": {
            "rules": [{"host": format!("{}.example.com", name(app)), "http": {"paths": [{
                "path": "/", "pathType": "Prefix",
                "backend": {"service": {"name": "app", "port": {"name": "http"}}}}]}}]}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata_of(), "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": "app"}},
            "template": {"metadata": {"labels": {"app": "app"}}, "spec": {
                "serviceAccountName": "app",
                "containers": [{"name": "app", "image": format!("registry.example.com/app:{version}")}]}}}}),
    ]
}
