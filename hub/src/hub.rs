//! The running hub: what is started, in which order, and how it ends.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use nave_crds::managers;
use nave_identity::ServerCertificates;
use nave_placement_controller::PlacementController;
use nave_proto::hub::Config;
use nave_quic::{EgressBudget, HubListener, ListenerOptions, ResetKey, TcpDoor, idle_timeout};
use nave_runtime::{
    Metrics, Tasks, definitions,
    hints::Hints,
    leader::{Election, Leadership},
    serve::{self, Ready, bindable},
};
use rand::RngCore;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    active_pod::ActivePod,
    args::Arguments,
    artifacts::ManifestCache,
    artifacts_port::{self, SourceArtifacts},
    authority::HubAuthority,
    brake::{Brake, Ledger, Outbox},
    cluster_status::ClusterStatuses,
    desired::Desired,
    hub_state::Checkpoints,
    identities::Identities,
    join::Joins,
    link_certificate::LinkCertificate,
    live::{self, LiveDoor},
    memory::{Limits, Memory},
    metrics::HubMetrics,
    permits::HubPermits,
    ports::{Ports, state_file},
    probe::Probe,
    renew::Renewals,
    rotation::Rotation,
    sessions::{self, RECONNECT_WINDOW, Sessions, Shared},
    traffic::TrafficBook,
    view::View,
};

/// The Lease that the active hub holds.
pub const LEASE: &str = "nave-hub-leader";
/// The version that agents with `version: auto` should run.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// How often the condition Behind and an operator's confirmation are looked at while it matters.
const BEHIND_REPORT: Duration = Duration::from_secs(2);
/// How long sources, sessions and requests in hand may take to end.
const FINISH: Duration = Duration::from_secs(10);
/// How long giving back the Lease may take.
const RELEASE: Duration = Duration::from_secs(5);

/// A hub that works.
pub struct Hub {
    link_addr: SocketAddr,
    hint_addr: Option<SocketAddr>,
    live_addr: Option<SocketAddr>,
    addresses: Vec<String>,
    tasks: Tasks,
    lease: Option<Lease>,
}

/// The Lease, given back last: another hub must not begin while this one is still ending.
struct Lease {
    release: CancellationToken,
    keeper: AbortOnDropHandle<()>,
}

impl Hub {
    /// Starts everything. With leader election this waits until this process leads. None when shutdown came first.
    ///
    /// # Errors
    /// An address is taken, the API server refuses, the authority is damaged.
    pub async fn start(arguments: &Arguments, client: Client, tasks: Tasks) -> Result<Option<Self>> {
        let (metrics, ready) = (Metrics::new(), Ready::default());
        serve::metrics(&arguments.metrics_addr, metrics.clone(), &tasks).await?;
        serve::health(&arguments.health_addr, ready.clone(), &tasks).await?;
        if arguments.install_crds {
            ensure_namespace(&client, &arguments.namespace).await?;
            definitions::install(client.clone(), &nave_crds::all(), managers::HUB).await?;
        }
        let live = LiveDoor::open(arguments, &client, &tasks).await?;
        let mut lease = None;
        if arguments.enable_leader_election {
            // A standby is ready, or it would hold up every roll-out; the Services go by the label of the active pod.
            ready.set(true);
            if let Some(pod) = ActivePod::of_environment(&client, &arguments.namespace)
                && let Err(error) = pod.stand_by().await
            {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "taking the label of the active hub off this pod"
                );
            }
            let election = Election::new(&arguments.namespace, LEASE, &identity());
            let Some(leadership) = election.acquire(client.clone(), tasks.shutdown_token()).await else {
                return Ok(None);
            };
            lease = Some(Lease::keep(leadership, &tasks));
        }
        let hub = Self::lead(arguments, client, tasks, metrics, ready, live).await?;
        Ok(hub.map(|hub| Hub { lease, ..hub }))
    }

    async fn lead(
        arguments: &Arguments,
        client: Client,
        tasks: Tasks,
        metrics: Metrics,
        ready: Ready,
        live: Option<LiveDoor>,
    ) -> Result<Option<Self>> {
        let authority = HubAuthority::ensure(&client, &arguments.namespace).await?;
        let authority = Arc::new(authority.issuing_for(arguments.client_certificate_lifetime));
        let checkpoints = Arc::new(Checkpoints::ensure(&client, &arguments.namespace, *authority.digest_key()).await?);
        let hints = Hints::new();
        let hint_addr = match arguments.hint_addr.as_str() {
            "" => None,
            address => Some(hints.serve(address, &tasks).await?),
        };
        let Some(ports) = Ports::build(arguments, client.clone(), metrics.clone(), hints, &tasks).await? else {
            return Ok(None);
        };
        let token = || tasks.shutdown_token().clone();

        let hub_metrics = HubMetrics::new(&metrics);
        let desired = Desired::new(checkpoints.clone(), *authority.digest_key(), hub_metrics.clone());
        let metered_heartbeat = Duration::from_millis(u64::from(metered_heartbeat_ms(arguments)));
        let statuses = ClusterStatuses::new(client.clone(), ports.clusters.clone(), VERSION, metered_heartbeat);
        let (memory, kept) = Memory::open(state_file(arguments), Limits::default(), hub_metrics.clone()).await;
        let traffic = TrafficBook::open(
            memory.clone(),
            hub_metrics.clone(),
            arguments.link_traffic_series,
            |cluster| ports.clusters.get(&cluster.namespace, &cluster.name).is_some(),
        )
        .await;
        let ledger = Arc::new(Ledger::default());
        let view = View::new(desired.clone(), statuses.clone(), memory.clone(), ledger.clone());
        view.restore(kept, |cluster| {
            let object = ports.clusters.get(&cluster.namespace, &cluster.name)?;
            object.metadata.uid.clone()
        });
        let manifests = Arc::new(ManifestCache::default());
        let placement = PlacementController::new(
            nave_placement_controller::Ports {
                client: client.clone(),
                fleets: ports.fleets.clone(),
                clusters: ports.clusters.clone(),
                git_repositories: ports.git_repositories.clone(),
                external_artifacts: ports.external_artifacts.clone(),
                kustomizations: ports.kustomizations.clone(),
                charts: ports.charts.clone(),
                desired: desired.clone(),
                statuses: view.clone(),
                artifacts: Arc::new(SourceArtifacts {
                    git_repositories: ports.git_repositories.clone(),
                    external_artifacts: ports.external_artifacts.clone(),
                    helm_charts: ports.charts.helm_charts.clone(),
                    oci_repositories: ports.charts.oci_repositories.clone(),
                    reader: ports.reader.clone(),
                    manifests: manifests.clone(),
                }),
                probe: Arc::new(Probe::new(client.clone(), ports.targets.clone())),
                events: ports.events.clone(),
                metrics: metrics.clone(),
                tasks: tasks.clone(),
            },
            nave_placement_controller::Options {
                concurrent: arguments.reconciling.concurrent,
                ..nave_placement_controller::Options::default()
            },
        );

        let brake = Arc::new(Brake {
            ledger,
            fleets: ports.fleets.clone(),
            releases: ports.charts.fleets.clone(),
            clusters: ports.clusters.clone(),
            checkpoints: checkpoints.clone(),
            view: view.clone(),
            metrics: hub_metrics.clone(),
            outbox: Outbox::default(),
            gathering: tokio::sync::Notify::new(),
            restored: Mutex::default(),
        });
        let identities = Arc::new(Identities::new(authority.client_authorities()));
        identities.load(&ports.clusters, &ports.tokens);
        let sessions = Sessions::new(Shared {
            identities: identities.clone(),
            joins: Joins::new(client.clone(), authority.clone(), ports.events.clone()),
            renewals: Renewals::new(client.clone(), authority.clone()),
            desired: desired.clone(),
            view: view.clone(),
            brake: brake.clone(),
            statuses: statuses.clone(),
            manifests: manifests.clone(),
            checkpoints: checkpoints.clone(),
            knowledge: placement.knowledge(),
            clusters: ports.clusters.clone(),
            events: ports.events.clone(),
            metrics: hub_metrics.clone(),
            max_agents: arguments.max_agents,
            memory: memory.clone(),
            traffic: traffic.clone(),
            egress: arguments.link_egress_budget.0.map(EgressBudget::new),
            authority: authority.clone(),
        });

        let from_secret = LinkCertificate::new(&client, &arguments.namespace, &arguments.link_certificate_secret);
        if let Some(secret) = &from_secret {
            secret.load(&authority).await?;
        }
        let certificates = ServerCertificates::new(&authority.server_identity(Timestamp::now())?)?;
        let listener = listen(arguments, certificates.clone(), &authority)?;
        let link_addr = listener.local_addr().context("reading the address of the link")?;
        let addresses = advertised(arguments, link_addr);
        let rotation = Rotation {
            client: client.clone(),
            namespace: arguments.namespace.clone(),
            after: arguments.root_rotation,
            authority: authority.clone(),
            certificates: certificates.clone(),
            identities: identities.clone(),
            sessions: sessions.clone(),
            addresses: addresses.clone(),
            hub_uid: checkpoints.hub_uid().to_owned(),
        };
        rotation.publish().await?;
        let root = authority.pin();
        let authority_of_live = authority.clone();

        let (clusters, tokens) = (ports.clusters.clone(), ports.tokens.clone());
        let until = token();
        tasks.spawn(
            "identities",
            async move { identities.follow(clusters, tokens, until).await },
        );
        tasks.spawn("desired", desired.clone().run(token()));
        tasks.spawn("cluster-status", statuses.run(token()));
        let history = memory.clone();
        let last = traffic.clone();
        tasks.spawn("memory", memory.run(token(), move || last.write()));
        tasks.spawn("traffic", traffic.run(token()));
        tasks.spawn("profiles", sessions.clone().follow_profiles(token()));
        tasks.spawn("view", view.clone().follow(token()));
        tasks.spawn("manifests", artifacts_port::collect(manifests, desired, token()));
        tasks.spawn("session-ends", sessions.clone().follow_identities(token()));
        tasks.spawn("agent-versions", sessions.clone().follow_versions(token()));
        tasks.spawn("brake", sessions.clone().follow_brake(token()));
        tasks.spawn("orphans", sessions.clone().judge_orphans(token()));
        tasks.spawn(
            "behind",
            report_behind(
                checkpoints.clone(),
                sessions.clone(),
                hub_metrics.clone(),
                tasks.clone(),
            ),
        );
        if let Some(secret) = from_secret {
            let follow = secret.follow(authority.clone(), certificates.clone(), token());
            tasks.spawn("link-certificate", follow);
        }
        tasks.spawn(
            "server-certificate",
            keep_certificate(authority, certificates, tasks.clone()),
        );
        tasks.spawn("root-rotation", rotation.follow(token()));
        tasks.spawn("referenced-sources", ports.referenced.clone().follow(token()));
        tasks.spawn(
            "fleet-metrics",
            fleet_metrics(
                ports.fleets.clone(),
                ports.charts.fleets.clone(),
                hub_metrics.clone(),
                tasks.clone(),
            ),
        );
        let (source, options, triggers) = (ports.source(), ports.source_options(arguments), ports.source_triggers());
        tasks.spawn("source", nave_source_controller::run(source, options, triggers));
        let permits = Arc::new(HubPermits(brake));
        let (helm, options) = (ports.helm(permits.clone()), ports.helm_options(arguments));
        tasks.spawn("helm", nave_helm_controller::run(helm, options));
        let (kustomize, options) = (ports.kustomize(permits), ports.kustomize_options(arguments));
        tasks.spawn("kustomize", nave_kustomize_controller::run(kustomize, options));
        tasks.spawn("placement", placement.run());
        let config = Config {
            hub_uid: checkpoints.hub_uid().to_owned(),
            heartbeat_ms: heartbeat_ms(arguments),
            metered_heartbeat_ms: metered_heartbeat_ms(arguments),
            reconnect_window_ms: u32::try_from(RECONNECT_WINDOW.as_millis()).expect("a few seconds fit"),
            features: sessions::FEATURES,
            ..Config::default()
        };
        let live_addr = live.as_ref().map(LiveDoor::address);
        if let Some(door) = live {
            let (sessions, metrics) = (sessions.clone(), hub_metrics.clone());
            door.lead(
                live::Active::new(client.clone(), sessions, history, metrics, tasks.clone()),
                &authority_of_live,
                &tasks,
            );
        }
        tasks.spawn("link", sessions::accept(sessions, listener, config, token()));

        if let Some(pod) = ActivePod::of_environment(&client, &arguments.namespace) {
            tasks.spawn("active-pod", pod.lead(token()));
        }
        ready.set(true);
        tracing::info!(link = %link_addr, addresses = addresses.join(","), %root, hub = checkpoints.hub_uid(), "hub is up");
        Ok(Some(Hub {
            link_addr,
            hint_addr,
            live_addr,
            addresses,
            tasks,
            lease: None,
        }))
    }

    /// Where agents are accepted.
    pub fn link_addr(&self) -> SocketAddr {
        self.link_addr
    }

    /// Where hints are taken.
    pub fn hint_addr(&self) -> Option<SocketAddr> {
        self.hint_addr
    }

    /// Where the API server asks for live reads.
    pub fn live_addr(&self) -> Option<SocketAddr> {
        self.live_addr
    }

    /// The addresses that tokens carry.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Waits for shutdown, and then for everything to end. False when something was still running at the deadline.
    pub async fn finish(self) -> bool {
        self.tasks.shutdown_token().cancelled().await;
        let ended = self.tasks.finish(FINISH).await;
        if let Some(Lease { release, keeper }) = self.lease {
            release.cancel();
            // Without an answer of the API server others take it when it has run out.
            let _ = tokio::time::timeout(RELEASE, keeper).await;
        }
        ended
    }
}

impl Lease {
    fn keep(leadership: Leadership, tasks: &Tasks) -> Self {
        let (release, shutdown) = (CancellationToken::new(), tasks.shutdown_token().clone());
        let lost = release.clone();
        tasks.spawn("lease", async move {
            tokio::select! {
                _ = lost.cancelled() => shutdown.cancel(),
                _ = shutdown.cancelled() => {}
            }
        });
        let keeper = tokio::spawn(leadership.keep(release.clone()));
        Lease {
            release,
            keeper: AbortOnDropHandle::new(keeper),
        }
    }
}

fn listen(arguments: &Arguments, certificates: ServerCertificates, authority: &HubAuthority) -> Result<HubListener> {
    let address: SocketAddr = bindable(&arguments.listen)
        .parse()
        .with_context(|| format!("--listen {:?} is not an IP address with a port", arguments.listen))?;
    let tcp =
        match arguments.listen_tcp.as_str() {
            "" => TcpDoor::SamePort,
            "off" => TcpDoor::Closed,
            elsewhere => TcpDoor::At(bindable(elsewhere).parse().with_context(|| {
                format!("--listen-tcp {elsewhere:?} is neither an IP address with a port nor `off`")
            })?),
        };
    let options = ListenerOptions {
        tcp,
        // The slowest of all; sessions with a quicker heartbeat notice silence by themselves.
        idle_timeout: idle_timeout(metered_heartbeat_ms(arguments)),
        reset_key: Some(ResetKey(*authority.reset_key())),
        ..ListenerOptions::default()
    };
    Ok(HubListener::bind(address, certificates, options)?)
}

/// A quarter of the heartbeats is a quarter of what a link at rest costs; not rarer than agents take.
fn metered_heartbeat_ms(arguments: &Arguments) -> u32 {
    heartbeat_ms(arguments).saturating_mul(4).min(600_000)
}

fn heartbeat_ms(arguments: &Arguments) -> u32 {
    u32::try_from(arguments.link_heartbeat.as_millis()).expect("the flag takes at most ten minutes")
}

/// What agents are told to dial: what was given, else the listening address, where nobody in particular means this
/// machine alone.
fn advertised(arguments: &Arguments, link: SocketAddr) -> Vec<String> {
    let given: Vec<String> = arguments
        .advertise
        .iter()
        .map(|address| address.trim().to_owned())
        .filter(|address| !address.is_empty())
        .collect();
    if !given.is_empty() {
        return given;
    }
    let host = if link.ip().is_unspecified() {
        "127.0.0.1".to_owned()
    } else {
        link.ip().to_string()
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    tracing::warn!(
        host,
        "--advertise is not set; only agents that reach this address can join"
    );
    vec![format!("{host}:{}", link.port())]
}

/// Host name and a random part: two processes of one pod name are two.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "nave-hub".to_owned());
    format!("{host}_{:016x}", rand::rng().next_u64())
}

async fn ensure_namespace(client: &Client, name: &str) -> Result<()> {
    let api: Api<Namespace> = Api::all(client.clone());
    if api
        .get_opt(name)
        .await
        .with_context(|| format!("reading namespace {name}"))?
        .is_some()
    {
        return Ok(());
    }
    let namespace = Namespace {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    match api.create(&PostParams::default(), &namespace).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        other => other.map(drop).with_context(|| format!("creating namespace {name}")),
    }
}

/// Writes the condition Behind when it turns, and takes an operator's confirmation.
async fn report_behind(checkpoints: Arc<Checkpoints>, sessions: Arc<Sessions>, metrics: HubMetrics, tasks: Tasks) {
    let shutdown = tasks.shutdown_token();
    let mut behind = checkpoints.behind();
    loop {
        let is_behind = behind.borrow_and_update().is_some();
        metrics.behind.set(i64::from(is_behind));
        if is_behind {
            // Those that were welcomed before anybody knew.
            sessions.end_normal("this hub was restored from a backup and waits for an operator");
            match checkpoints.report(sessions.outlook(), Timestamp::now()).await {
                Ok(true) => sessions.end_behind("an operator confirmed this hub's state"),
                Ok(false) => {}
                Err(error) => tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "reporting that the hub is behind"
                ),
            }
        }
        tokio::select! {
            _ = shutdown.cancelled() => return,
            _ = tokio::time::sleep(BEHIND_REPORT), if is_behind => {}
            _ = behind.changed() => {}
        }
    }
}

async fn keep_certificate(authority: Arc<HubAuthority>, certificates: ServerCertificates, tasks: Tasks) {
    if let Err(error) = authority.keep_server_certificate(certificates, &tasks).await {
        // Agents that connect later would be refused by their own check; a restart may help and hiding it does not.
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the server certificate cannot be renewed; shutting down"
        );
        tasks.shutdown_token().cancel();
    }
}

/// Counts fleet objects by readiness now and then.
async fn fleet_metrics(
    kustomizations: nave_runtime::Watched<nave_crds::FleetKustomization>,
    releases: nave_runtime::Watched<nave_crds::FleetHelmRelease>,
    metrics: HubMetrics,
    tasks: Tasks,
) {
    use nave_crds::fleet::{FleetKustomizationStatus, FleetResource};
    use nave_runtime::Conditions;
    let word = |status: Option<&FleetKustomizationStatus>| {
        let ready = status.and_then(|status| status.conditions.get_condition("Ready"));
        ready.map_or("Unknown".to_owned(), |ready| ready.status.clone())
    };
    loop {
        let mut counts = [("True", "ready", 0), ("False", "failed", 0), ("Unknown", "unknown", 0)];
        let mut words: Vec<String> = Vec::new();
        words.extend(
            kustomizations
                .store()
                .state()
                .iter()
                .map(|one| word(one.fleet_status())),
        );
        words.extend(releases.store().state().iter().map(|one| word(one.fleet_status())));
        for word in words {
            if let Some(count) = counts.iter_mut().find(|(status, ..)| *status == word) {
                count.2 += 1;
            }
        }
        for (_, label, count) in counts {
            metrics.fleet_objects.with_label_values(&[label]).set(count);
        }
        tokio::select! {
            _ = tasks.shutdown_token().cancelled() => return,
            _ = tokio::time::sleep(Duration::from_secs(10)) => {}
        }
    }
}
