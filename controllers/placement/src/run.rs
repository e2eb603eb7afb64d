//! Starting and running the controller.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use nave_crds::{FleetHelmRelease, FleetKustomization, RetirementLog, labels};
use nave_placement::Planner;
use nave_runtime::{Tasks, Watched, controller, watch};

use crate::clusters::ClusterCache;
use crate::convert;
use crate::fleet::FleetReconciler;
use crate::hub_source;
use crate::kind::FleetKind;
use crate::knowledge::Knowledge;
use crate::kubeconfig_cluster::ClusterReconciler;
use crate::ports::Ports;
use crate::retirement;
use crate::triggers::{self, ClusterChanges};

/// What may be left as it is.
#[derive(Debug, Clone)]
pub struct Options {
    /// Fleet objects reconciled at once.
    pub concurrent: u16,
    /// Kubeconfig clusters probed at once; each may take as long as a connection attempt.
    pub concurrent_probes: u16,
    /// How often a kubeconfig cluster that works is probed.
    pub probe_interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            concurrent: 4,
            concurrent_probes: 16,
            probe_interval: Duration::from_secs(60),
        }
    }
}

/// The controller of fleet objects and of kubeconfig clusters.
pub struct PlacementController {
    ports: Ports,
    options: Options,
    knowledge: Knowledge,
    retired: Watched<RetirementLog>,
    secrets: Watched<Secret>,
}

impl PlacementController {
    /// Starts the watches that nobody else needs. Needs a running tokio runtime.
    pub fn new(ports: Ports, options: Options) -> Self {
        let retired = Watched::start(
            Api::all(ports.client.clone()),
            watcher::Config::default(),
            watch::without_managed_fields,
            &ports.tasks,
        );
        // Only Secrets whose owner let them go: the hub holds no other in memory.
        let consent = format!("{}=true", labels::FLEET_DISTRIBUTE);
        let secrets = Watched::start(
            Api::all(ports.client.clone()),
            watcher::Config::default().labels(&consent),
            watch::without_managed_fields,
            &ports.tasks,
        );
        Self {
            ports,
            options,
            knowledge: Knowledge::default(),
            retired,
            secrets,
        }
    }

    /// What is to become of items that agents have and the hub does not.
    pub fn knowledge(&self) -> Knowledge {
        self.knowledge.clone()
    }

    /// Runs until shutdown.
    pub async fn run(self) {
        let Self {
            ports,
            options,
            knowledge,
            retired,
            secrets,
        } = self;
        let ready = ports.fleets.ready().await
            && ports.clusters.ready().await
            && ports.git_repositories.ready().await
            && ports.external_artifacts.ready().await
            && ports.kustomizations.ready().await
            && ports.charts.fleets.ready().await
            && ports.charts.helm_releases.ready().await
            && ports.charts.helm_repositories.ready().await
            && ports.charts.oci_repositories.ready().await
            && ports.charts.helm_charts.ready().await
            && retired.ready().await
            && secrets.ready().await;
        if !ready {
            return; // shut down before everything was listed
        }
        for log in retired.store().state() {
            take_in_log(&knowledge, &retired, &log);
        }
        let clusters = Arc::new(ClusterCache::default());
        for cluster in ports.clusters.store().state() {
            clusters.update(&cluster);
        }
        let kustomizations = FleetReconciler::<FleetKustomization>::new(
            ports.clone(),
            knowledge.clone(),
            clusters.clone(),
            secrets.clone(),
        );
        let releases = FleetReconciler::<FleetHelmRelease>::new(
            ports.clone(),
            knowledge.clone(),
            clusters.clone(),
            secrets.clone(),
        );
        let (kustomizations, releases) = (Arc::new(kustomizations), Arc::new(releases));
        begin(&ports, &knowledge, &clusters, (&kustomizations, &releases));

        let tasks = &ports.tasks;
        let shutdown = tasks.shutdown_token().clone();
        let (log_knowledge, logs) = (knowledge.clone(), retired.clone());
        tasks.spawn("retirement-logs", async move {
            let mut changes = std::pin::pin!(logs.changes().take_until(shutdown.cancelled_owned()));
            while let Some(log) = changes.next().await {
                take_in_log(&log_knowledge, &logs, &log);
            }
        });
        follow_ends(&ports, &knowledge, &kustomizations, tasks);
        follow_ends(&ports, &knowledge, &releases, tasks);
        let changes = ClusterChanges::follow(&ports.clusters, clusters, tasks);
        let probes = Arc::new(ClusterReconciler::new(ports.clone(), options.probe_interval));
        tokio::join!(
            run_kind(&ports, &options, &secrets, &changes, kustomizations),
            run_kind(&ports, &options, &secrets, &changes, releases),
            controller::run(
                &ports.clusters,
                futures::stream::pending(),
                options.concurrent_probes,
                &ports.metrics,
                probes,
                tasks,
            ),
        );
    }
}

/// Reconciles fleet objects of one kind until shutdown.
async fn run_kind<K: FleetKind>(
    ports: &Ports,
    options: &Options,
    secrets: &Watched<Secret>,
    changes: &ClusterChanges,
    reconciler: Arc<FleetReconciler<K>>,
) {
    controller::run(
        K::fleets(ports),
        triggers::all::<K>(ports, secrets, changes),
        options.concurrent,
        &ports.metrics,
        reconciler,
        &ports.tasks,
    )
    .await;
}

/// Forgets fleet objects that are gone.
fn follow_ends<K: FleetKind>(
    ports: &Ports,
    knowledge: &Knowledge,
    reconciler: &Arc<FleetReconciler<K>>,
    tasks: &Tasks,
) {
    let (knowledge, reconciler) = (knowledge.clone(), reconciler.clone());
    let (fleets, desired) = (K::fleets(ports).clone(), ports.desired.clone());
    let shutdown = tasks.shutdown_token().clone();
    tasks.spawn("gone-fleet-objects", async move {
        let mut changes = std::pin::pin!(fleets.changes().take_until(shutdown.cancelled_owned()));
        while let Some(fleet) = changes.next().await {
            if is_gone(&fleets, fleet.as_ref()) {
                let uid = fleet.uid().unwrap_or_default();
                knowledge.gone(&uid);
                reconciler.forget(&uid);
                if knowledge.looked_at(&uid) {
                    desired.rebuilt();
                }
            }
        }
    });
}

/// Whether an object from the change stream is no longer there, or another life of it is.
fn is_gone<K: FleetKind>(watched: &Watched<K>, fleet: &K) -> bool {
    watched
        .get(&fleet.namespace().unwrap_or_default(), &fleet.name_any())
        .is_none_or(|now| now.uid() != fleet.uid())
}

fn take_in_log(knowledge: &Knowledge, watched: &Watched<RetirementLog>, log: &RetirementLog) {
    let (namespace, name) = watch::key(log);
    if name != RetirementLog::NAME {
        return;
    }
    let entries = watched
        .get(&namespace, &name)
        .map(|log| retirement::entries(&log))
        .unwrap_or_default();
    knowledge.set_retired(&namespace, entries);
}

/// The reconcilers of both kinds.
type Both<'a> = (
    &'a FleetReconciler<FleetKustomization>,
    &'a FleetReconciler<FleetHelmRelease>,
);

/// A fleet object of the start: how old it is, who it is, and what plans it.
struct Start<'a> {
    age: (Option<jiff::Timestamp>, Option<String>),
    plan: Box<dyn FnOnce() + Send + 'a>,
}

/// Gives objects to owners in the order of age, so that a restart does not change who owns what,
/// and notes what has to be planned before anything may be sent.
fn begin(ports: &Ports, knowledge: &Knowledge, clusters: &ClusterCache, (kustomizations, releases): Both<'_>) {
    let mut all = starts(ports, knowledge, clusters, kustomizations);
    all.extend(starts(ports, knowledge, clusters, releases));
    all.sort_by(|a, b| a.age.cmp(&b.age));
    knowledge.begin(all.iter().filter_map(|start| start.age.1.clone()));
    if all.is_empty() {
        ports.desired.rebuilt();
    }
    for start in all {
        (start.plan)();
    }
}

fn starts<'a, K: FleetKind>(
    ports: &'a Ports,
    knowledge: &'a Knowledge,
    clusters: &'a ClusterCache,
    reconciler: &'a FleetReconciler<K>,
) -> Vec<Start<'a>> {
    let fleets = K::fleets(ports).store().state();
    fleets
        .into_iter()
        .map(|fleet| Start {
            age: (fleet.meta().creation_timestamp.as_ref().map(|time| time.0), fleet.uid()),
            plan: Box::new(move || {
                let policy = convert::policy_of(fleet.parts().deletion.policy);
                knowledge.exists(&fleet.uid().unwrap_or_default(), policy);
                let referenced = hub_source::referenced_spec(ports, fleet.as_ref());
                // Whatever is wrong with it, its own reconcile says so.
                if let Ok(object) = convert::fleet_object(fleet.as_ref(), referenced)
                    && let Ok(planner) = Planner::new(&object)
                {
                    reconciler.plan_and_claim(&planner, &object, &clusters.snapshot());
                }
            }),
        })
        .collect()
}
