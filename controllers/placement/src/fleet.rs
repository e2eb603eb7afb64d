//! The reconciler of fleet objects, one for each kind: observe, plan, act, status.

mod act;
mod changed;
mod observe;
mod retire;

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use nave_crds::fleet::FleetKustomizationStatus;
use nave_crds::reasons::fleet as because;
use nave_crds::{conditions, finalizers, managers};
use nave_placement::ClusterKey;
use nave_runtime::schedule::{Backoff, jittered};
use nave_runtime::{
    Conditions, Next, Reconciler, Severity, Watched, conditions as runtime, events, finalizer, status as patch,
};

use crate::clusters::ClusterCache;
use crate::convert;
use crate::kind::{self, FleetKind};
use crate::knowledge::Knowledge;
use crate::ports::{ArtifactHandle, Ports};
use crate::status::{self, Input, Problem, Row, Target};
use crate::validate::Definitions;
use crate::{ClusterState, ClusterStatus};

use observe::Inputs;

/// Reconciles fleet objects of one kind.
pub(crate) struct FleetReconciler<K> {
    pub ports: Ports,
    pub knowledge: Knowledge,
    pub clusters: Arc<ClusterCache>,
    pub secrets: Watched<Secret>,
    pub definitions: Definitions,
    kind: PhantomData<fn() -> K>,
    memory: Mutex<HashMap<String, Memory>>,
    backoff: Backoff<String>,
}

/// What is remembered of one fleet object between reconciles. Losing it costs work, nothing else.
#[derive(Default)]
struct Memory {
    /// What the last complete plan was made from; `None` when it has to be made again.
    inputs: Option<Inputs>,
    planned: Arc<Planned>,
    looked: Option<Instant>,
    written: Option<Instant>,
    /// Products and sources applied on the hub: digest and generation afterwards.
    applied: HashMap<String, (String, Option<i64>)>,
}

/// What the last plan came to.
#[derive(Debug, Default)]
struct Planned {
    clusters: Vec<(ClusterKey, Standing)>,
    unknown_names: Vec<String>,
    target: Option<Target>,
    /// The files of the target, where some agent gets them.
    handle: Option<ArtifactHandle>,
    problem: Option<Problem>,
    conflicts: bool,
}

/// How a cluster stands as far as planning can tell.
#[derive(Debug, Clone)]
enum Standing {
    /// Refused.
    Denied(&'static str, String),
    /// An agent has the item, or will have it; a suspended cluster keeps what it has.
    Spoke {
        /// Whether it is not suspended.
        is_placed: bool,
    },
    /// The product of this name on the hub is for it.
    Hub(String),
}

/// Without any change, a fleet object is looked at this often, in case an event was lost.
const INTERVAL: Duration = Duration::from_secs(600);
/// A conflict ends when someone else's object goes, and some problems pass by themselves; nobody tells.
const RETRY_INTERVAL: Duration = Duration::from_secs(15);
/// How long the shared watch may take to catch up.
const STALE: Duration = Duration::from_millis(500);
/// Between two writes of one status.
const BETWEEN_WRITES: Duration = Duration::from_secs(1);

/// A reconcile that has to be repeated.
#[derive(Debug, thiserror::Error)]
enum ReconcileError {
    #[error("{doing}")]
    Api {
        doing: String,
        #[source]
        source: Box<kube::Error>,
    },
    #[error("{reason}; what was made on the hub for clusters with a kubeconfig stays")]
    Behind { reason: String },
    #[error(transparent)]
    Retire(#[from] crate::retirement::RetireError),
}

/// Names what was being done, for the chain of an error.
fn doing(what: impl Into<String>) -> impl FnOnce(kube::Error) -> ReconcileError {
    move |source| ReconcileError::Api {
        doing: what.into(),
        source: Box::new(source),
    }
}

impl<K: FleetKind> FleetReconciler<K> {
    pub fn new(ports: Ports, knowledge: Knowledge, clusters: Arc<ClusterCache>, secrets: Watched<Secret>) -> Self {
        Self {
            ports,
            knowledge,
            clusters,
            secrets,
            definitions: Definitions::new(),
            kind: PhantomData,
            memory: Mutex::default(),
            backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(60)),
        }
    }

    /// Forgets a fleet object that is gone from the hub.
    pub fn forget(&self, uid: &str) {
        self.memory().remove(uid);
        self.backoff.succeeded(&uid.to_owned());
    }

    fn memory(&self) -> MutexGuard<'_, HashMap<String, Memory>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn api(&self, fleet: &K) -> Api<K> {
        let namespace = fleet.namespace().unwrap_or_default();
        Api::namespaced(self.ports.client.clone(), &namespace)
    }

    async fn run(&self, fleet: &K) -> Result<Next, ReconcileError> {
        let owner = convert::owner_of(fleet);
        let policy = convert::policy_of(fleet.parts().deletion.policy);
        self.knowledge.exists(&owner.uid, policy);
        if fleet.meta().deletion_timestamp.is_some() {
            if finalizer::has(fleet, finalizers::FLEET) {
                self.retire(fleet).await?;
            }
            return Ok(Next::Await);
        }
        let added = finalizer::add(&self.api(fleet), fleet, finalizers::FLEET, managers::FLEET).await;
        match added {
            // Our copy is older than the object, for example by the finalizer that was just added.
            Err(kube::Error::Api(status)) if status.code == 409 => return Ok(Next::After(STALE)),
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Next::Await),
            other => other.map_err(doing("adding the finalizer"))?,
        };
        let planned = self.bring(fleet).await?;
        self.report(fleet, &planned).await
    }

    /// Writes the status if it changed, and at most once a second. Each look is at all clusters, and a thousand agents that
    /// come back have as much to say: so many clusters, so many milliseconds between two looks.
    async fn report(&self, fleet: &K, planned: &Planned) -> Result<Next, ReconcileError> {
        let uid = fleet.uid().unwrap_or_default();
        let between = BETWEEN_WRITES.min(Duration::from_millis(planned.clusters.len() as u64));
        {
            let mut memory = self.memory();
            let looked = &mut memory.entry(uid.clone()).or_default().looked;
            if let Some(since) = looked.map(|looked| looked.elapsed()).filter(|since| *since < between) {
                return Ok(Next::After(between - since));
            }
            *looked = Some(Instant::now());
        }
        let rows = self.rows(fleet, planned);
        let owner = convert::owner_of(fleet);
        let plan = self.ports.statuses.plan(&owner);
        let deletions = self.ports.statuses.deletions(&owner);
        // The shared watch may lag behind our own last write; then this repeats it, which is harmless.
        let old = K::fleets(&self.ports)
            .get(&fleet.namespace().unwrap_or_default(), &fleet.name_any())
            .and_then(|fleet| fleet.fleet_status().cloned())
            .unwrap_or_default();
        let requested_at = convert::requested_at(fleet);
        let new = status::fold(
            &old,
            &Input {
                spec: fleet.parts(),
                generation: fleet.meta().generation.unwrap_or_default(),
                requested_at: requested_at.as_deref(),
                rows: &rows,
                unknown_names: &planned.unknown_names,
                target: planned.target.as_ref(),
                problem: planned.problem.as_ref(),
                plan: plan.as_ref(),
                deletions: &deletions,
                now: runtime::whole_seconds(Timestamp::now()),
            },
        );
        let next = if planned.conflicts || planned.problem.is_some() {
            RETRY_INTERVAL
        } else {
            INTERVAL
        };
        if new == old {
            return Ok(Next::After(jittered(next, 10)));
        }
        let since = self
            .memory()
            .get(&uid)
            .and_then(|memory| memory.written)
            .map(|written| written.elapsed());
        if let Some(since) = since
            && since < BETWEEN_WRITES
        {
            return Ok(Next::After(BETWEEN_WRITES - since));
        }
        let wrote = patch::patch(&self.api(fleet), &fleet.name_any(), managers::FLEET, &old, &new).await;
        match wrote {
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Next::Await),
            other => other.map_err(doing("writing the status"))?,
        };
        self.memory().entry(uid).or_default().written = Some(Instant::now());
        self.tell(fleet, &old.conditions, &new.conditions);
        self.tell_of_plan(fleet, &old, &new);
        Ok(Next::After(jittered(next, 10)))
    }

    /// What the clusters say, together with what planning said about them.
    fn rows(&self, fleet: &K, planned: &Planned) -> Vec<Row> {
        let owner = convert::owner_of(fleet);
        let mut said: HashMap<ClusterKey, _> = self
            .ports
            .statuses
            .of(&owner)
            .into_iter()
            .map(|status| (status.cluster.clone(), status))
            .collect();
        let target = planned.target.as_ref().map_or("", |target| target.revision.as_str());
        planned
            .clusters
            .iter()
            .map(|(cluster, standing)| {
                let standing = match standing {
                    Standing::Denied(reason, message) => status::Standing::Denied {
                        reason,
                        message: message.clone(),
                    },
                    Standing::Spoke { .. } => status::Standing::Placed {
                        status: said.remove(cluster),
                        away: (!self.ports.statuses.connected(cluster)).then(status::Away::agent),
                    },
                    Standing::Hub(name) => {
                        let status = K::products(&self.ports)
                            .get(&owner.namespace, name)
                            .map(|one| kind::status(one.as_ref(), cluster, target));
                        let away = self
                            .unanswered(cluster)
                            .map(|away| of_its_product(away, status.as_ref()));
                        status::Standing::Placed { status, away }
                    }
                };
                Row {
                    cluster: if cluster.namespace == owner.namespace {
                        cluster.name.clone()
                    } else {
                        cluster.to_string()
                    },
                    standing,
                }
            })
            .collect()
    }

    /// Why the last probe of a kubeconfig cluster failed, if it did.
    fn unanswered(&self, cluster: &ClusterKey) -> Option<status::Away> {
        let cluster = self.ports.clusters.get(&cluster.namespace, &cluster.name)?;
        let conditions = &cluster.status.as_ref()?.conditions;
        let connected = conditions.get_condition(conditions::CONNECTED)?;
        (connected.status == "False").then(|| status::Away {
            reason: connected.reason.clone(),
            message: connected.message.clone(),
        })
    }

    /// Records an event when deletions of another change than before begin to wait.
    fn tell_of_plan(&self, fleet: &K, old: &FleetKustomizationStatus, new: &FleetKustomizationStatus) {
        let Some(plan) = &new.plan else { return };
        if old.plan.as_ref().is_some_and(|before| before.created == plan.created) {
            return;
        }
        let message = status::describe_plan(plan);
        let severity = Severity::Error;
        let about = events::reference(fleet);
        self.ports
            .events
            .record(about, severity, because::DELETIONS_HELD, &message, Default::default());
    }

    /// Records an event when Ready says something else than before.
    fn tell(&self, fleet: &K, old: &[nave_crds::Condition], new: &[nave_crds::Condition]) {
        let ready = |list: &[nave_crds::Condition]| list.iter().find(|one| one.type_ == conditions::READY).cloned();
        let (old, Some(new)) = (ready(old), ready(new)) else {
            return;
        };
        if old.is_some_and(|old| old.reason == new.reason && old.status == new.status) {
            return;
        }
        let severity = if new.status == "False" {
            Severity::Error
        } else {
            Severity::Info
        };
        self.ports.events.record(
            events::reference(fleet),
            severity,
            &new.reason,
            &new.message,
            Default::default(),
        );
    }
}

/// The product on the hub knows what failed on the way to its cluster; the probe only that it failed.
fn of_its_product(away: status::Away, product: Option<&ClusterStatus>) -> status::Away {
    match product.filter(|status| status.state == ClusterState::Failed && !status.message.is_empty()) {
        Some(status) => status::Away {
            reason: status.reason.clone(),
            message: status.message.clone(),
        },
        None => away,
    }
}

impl<K: FleetKind> Reconciler<K> for FleetReconciler<K> {
    async fn reconcile(&self, object: Arc<K>) -> Next {
        let uid = object.uid().unwrap_or_default();
        let result = self.run(&object).await;
        // Also when it failed: what could not be planned keeps what it has.
        if self.knowledge.looked_at(&uid) {
            self.ports.desired.rebuilt();
        }
        match result {
            Ok(next) => {
                self.backoff.succeeded(&uid);
                next
            }
            Err(error) => {
                if let Some(memory) = self.memory().get_mut(&uid) {
                    memory.inputs = None;
                }
                tracing::warn!(
                    fleet = %convert::owner_of(object.as_ref()),
                    error = &error as &dyn std::error::Error,
                    "reconciling a fleet object"
                );
                Next::After(jittered(self.backoff.failed(uid), 20))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Away;

    #[test]
    fn a_kubeconfig_cluster_says_what_failed_on_the_way_to_it() {
        let probe = || Away {
            reason: "Unreachable".into(),
            message: "connection refused".into(),
        };
        let said = |state, message: &str| ClusterStatus {
            cluster: ClusterKey::new("team", "on-prem"),
            current: false,
            revision: String::new(),
            state,
            object: "Kustomization/team/apps-on-prem".into(),
            reason: "ReconciliationFailed".into(),
            message: message.into(),
        };
        let failed = said(ClusterState::Failed, "Deployment/shop/web dry-run failed: x509");
        assert_eq!(of_its_product(probe(), Some(&failed)).message, failed.message);
        // A Kustomization that still shows the last good state knows less than the probe.
        let ready = said(ClusterState::Ready, "Applied revision");
        assert_eq!(of_its_product(probe(), Some(&ready)), probe());
        assert_eq!(of_its_product(probe(), None), probe());
    }
}
