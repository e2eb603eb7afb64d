//! Starting and running the controller.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use nave_crds::{FleetKustomization, RetirementLog, labels};
use nave_placement::Planner;
use nave_runtime::{Watched, controller, watch};

use crate::clusters::ClusterCache;
use crate::convert;
use crate::fleet::FleetReconciler;
use crate::hub_source;
use crate::knowledge::Knowledge;
use crate::kubeconfig_cluster::ClusterReconciler;
use crate::ports::Ports;
use crate::{retirement, triggers};

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
        let reconciler = Arc::new(FleetReconciler::new(
            ports.clone(),
            knowledge.clone(),
            clusters.clone(),
            secrets.clone(),
        ));
        begin(&ports, &knowledge, &reconciler, &clusters);

        let tasks = &ports.tasks;
        let shutdown = tasks.shutdown_token().clone();
        let (log_knowledge, logs) = (knowledge.clone(), retired.clone());
        let until = shutdown.clone();
        tasks.spawn("retirement-logs", async move {
            let mut changes = std::pin::pin!(logs.changes().take_until(until.cancelled_owned()));
            while let Some(log) = changes.next().await {
                take_in_log(&log_knowledge, &logs, &log);
            }
        });
        let (gone, fleets, desired) = (
            (knowledge.clone(), reconciler.clone()),
            ports.fleets.clone(),
            ports.desired.clone(),
        );
        tasks.spawn("gone-fleet-objects", async move {
            let mut changes = std::pin::pin!(fleets.changes().take_until(shutdown.cancelled_owned()));
            while let Some(fleet) = changes.next().await {
                if is_gone(&fleets, &fleet) {
                    let uid = fleet.uid().unwrap_or_default();
                    gone.0.gone(&uid);
                    gone.1.forget(&uid);
                    if gone.0.looked_at(&uid) {
                        desired.rebuilt();
                    }
                }
            }
        });
        let probes = Arc::new(ClusterReconciler::new(ports.clone(), options.probe_interval));
        tokio::join!(
            controller::run(
                &ports.fleets,
                triggers::all(&ports, &secrets, clusters),
                options.concurrent,
                &ports.metrics,
                reconciler,
                tasks,
            ),
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

/// Whether an object from the change stream is no longer there, or another life of it is.
fn is_gone(watched: &Watched<FleetKustomization>, fleet: &FleetKustomization) -> bool {
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

/// Gives objects to owners in the order of age, so that a restart does not change who owns what,
/// and notes what has to be planned before anything may be sent.
fn begin(ports: &Ports, knowledge: &Knowledge, reconciler: &FleetReconciler, clusters: &ClusterCache) {
    let mut fleets = ports.fleets.store().state();
    fleets.sort_by_key(|fleet| {
        let created = fleet.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (created, fleet.uid())
    });
    knowledge.begin(fleets.iter().filter_map(|fleet| fleet.uid()));
    let snapshot = clusters.snapshot();
    for fleet in &fleets {
        let policy = convert::policy_of(fleet.spec.deletion.policy);
        knowledge.exists(&fleet.uid().unwrap_or_default(), policy);
        let referenced = hub_source::referenced_spec(ports, fleet);
        let Ok(object) = convert::fleet_object(fleet, referenced) else {
            continue; // its own reconcile says why
        };
        if let Ok(planner) = Planner::new(&object) {
            reconciler.plan_and_claim(&planner, &object, &snapshot);
        }
    }
    if fleets.is_empty() {
        ports.desired.rebuilt();
    }
}
