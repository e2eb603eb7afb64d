//! The brake: how much one change may delete over the fleet before a person approves.
//!
//! ```text
//! plan of an agent ────────────┐                                   ┌─ yes ─► permit
//! plan of a product on the hub ┴► ledger: within deletion.budget? ─┤
//!                                  ▲                               └─ no ──► held ─► status.plan ─► a person
//!                                  └───────────── spec.deletion.approvedPlan ◄──────────────────────────┘
//! ```
//!
//! What takes other objects along (a namespace, a definition, a Flux object) is held under every budget, and without one.
//! A fleet object that was deleted brakes nothing any more: its deletion was a person's.

mod ledger;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use futures::{StreamExt, stream, stream::BoxStream};
use jiff::Timestamp;
use kube::ResourceExt;
use nave_crds::{
    Cluster, FleetHelmRelease, FleetKustomization,
    fleet::{Deletion, FleetResource},
};
use nave_placement::ClusterKey;
use nave_proto::wire::{MAX_PLAN_LINES, PrunePermit, PrunePlan};
use nave_runtime::{
    Watched,
    ports::{Permit, PlannedDelete},
};
use tokio::sync::Notify;

pub use ledger::Ledger;
use ledger::{Budget, Holder, Verdict};

use crate::{
    cluster_status::{confirmed_restoration, restoration},
    desired::owner_of,
    hub_state::Checkpoints,
    locked,
    metrics::HubMetrics,
    view::View,
};

/// What the end of a Kustomization or HelmRelease calls its change.
const DELETION: &str = "deletion";

/// What the brake looks at.
pub struct Brake {
    /// What is held and what was granted.
    pub ledger: Arc<Ledger>,
    /// Fleet objects, for their budgets and approvals.
    pub fleets: Watched<FleetKustomization>,
    /// Fleet objects, for their budgets and approvals.
    pub releases: Watched<FleetHelmRelease>,
    /// Clusters, for whose workspaces may speak there.
    pub clusters: Watched<Cluster>,
    /// Whether the hub trusts its memory.
    pub checkpoints: Arc<Checkpoints>,
    /// Told when what is held changes.
    pub view: Arc<View>,
    /// Counts answers.
    pub metrics: HubMetrics,
    /// Permits for agents that did not ask just now.
    pub outbox: Outbox,
    /// Clusters that came back from a backup and whose conditions may not say so yet, with the second in which
    /// they did.
    pub restored: Mutex<HashMap<ClusterKey, u64>>,
}

/// Permits on their way to sessions. It has no more of them than there are plans.
#[derive(Default)]
pub struct Outbox {
    permits: Mutex<Vec<(ClusterKey, PrunePermit)>>,
    wake: Notify,
}

impl Outbox {
    /// Waits for permits and takes them.
    pub async fn take(&self) -> Vec<(ClusterKey, PrunePermit)> {
        loop {
            let permits = std::mem::take(&mut *locked::mutex(&self.permits));
            if !permits.is_empty() {
                return permits;
            }
            self.wake.notified().await;
        }
    }

    fn put(&self, permits: Vec<(ClusterKey, PrunePermit)>) {
        if !permits.is_empty() {
            locked::mutex(&self.permits).extend(permits);
            self.wake.notify_one();
        }
    }
}

impl Brake {
    /// The answer to a plan of an agent. `has_item` tells whether the hub knows that the agent has the item.
    pub fn ask_of_agent(&self, cluster: &ClusterKey, has_item: bool, plan: &PrunePlan) -> PrunePermit {
        if !has_item && !self.may_speak(cluster, &plan.key) {
            return refusal(plan, "no fleet object of this name may reach this cluster");
        }
        // Nothing is kept of a name that an agent may have made up.
        if !has_item && self.deletion_of(&plan.key).is_none() {
            return match self.verdict(&plan.key, &plan.change_id) {
                Verdict::Free => PrunePermit {
                    granted: true,
                    ..refusal(plan, "")
                },
                Verdict::Wait(reason) => refusal(plan, &reason),
                Verdict::Limited(_) => refusal(plan, "the fleet object has just been made; ask again"),
            };
        }
        self.ask(&Holder::Agent(cluster.clone()), plan)
    }

    /// The answer to a plan of a Kustomization or HelmRelease of the hub itself, for a kubeconfig cluster.
    pub fn ask_of_product(&self, plan: &nave_runtime::ports::PrunePlan) -> Permit {
        let Some(fleet) = &plan.owner.fleet else {
            return Permit::Granted; // not made from a fleet object: nobody sums it
        };
        let lines = |all: &mut dyn Iterator<Item = &PlannedDelete>| -> Vec<String> {
            all.take(MAX_PLAN_LINES)
                .map(|one| format!("{}/{}", one.kind, one.name))
                .collect()
        };
        let digest = nave_proto::Digest::of_content(plan.digest.as_bytes());
        let plan_of = PrunePlan {
            change_id: plan.change.clone(),
            key: format!("{}/{}/{}", fleet.kind, fleet.namespace, fleet.name),
            digest: digest.to_vec(),
            deletes: plan.deletes.len() as u64,
            cascades: lines(&mut plan.cascades()),
            sample: Vec::new(),
        };
        let product = format!("{}/{}/{}", plan.owner.kind, plan.owner.namespace, plan.owner.name);
        let permit = self.ask(&Holder::Product(product), &plan_of);
        match permit.granted {
            true => Permit::Granted,
            false => Permit::Held { reason: permit.reason },
        }
    }

    fn ask(&self, holder: &Holder, plan: &PrunePlan) -> PrunePermit {
        self.take_care(holder);
        let before = self.ledger.held(&plan.key);
        let verdict = self.verdict(&plan.key, &plan.change_id);
        let permits = self.ledger.ask(holder, plan, &verdict, Timestamp::now());
        self.count(&permits);
        let (mine, others): (Vec<_>, Vec<_>) = permits.into_iter().partition(|(to, _)| to == holder);
        self.send(others);
        if self.ledger.held(&plan.key) != before {
            self.tell(&plan.key);
        }
        let (_, permit) = mine.into_iter().next().expect("who asks is answered");
        tracing::info!(
            holder = %holder, key = plan.key, change = plan.change_id, deletes = plan.deletes,
            cascades = plan.cascades.len(), granted = permit.granted, reason = permit.reason, "prune plan"
        );
        permit
    }

    /// Grants what may go now, after something about the fleet object changed.
    pub fn reconsider(&self, key: &str) {
        if self.ledger.held(key).is_none() {
            return;
        }
        for holder in self.ledger.holders_held(key) {
            self.take_care(&holder);
        }
        let granted = self
            .ledger
            .reconsider(key, |change| self.verdict(key, change), Timestamp::now());
        self.count(&granted);
        if !granted.is_empty() {
            tracing::info!(key, plans = granted.len(), "held prune plans are permitted");
            self.send(granted);
            self.tell(key);
        }
    }

    /// The agent's count of its starts is lower than before: the cluster came back from a backup.
    pub fn restored(&self, cluster: &ClusterKey, second: u64) {
        locked::mutex(&self.restored).insert(cluster.clone(), second);
        self.ledger.restored(&Holder::Agent(cluster.clone()));
    }

    /// Has the ledger know whether the holder came back from a backup and nobody has confirmed that yet.
    fn take_care(&self, holder: &Holder) {
        let Holder::Agent(cluster) = holder else { return };
        let object = self.clusters.get(&cluster.namespace, &cluster.name);
        let said = object.as_deref().and_then(restoration);
        let confirmed = object.as_deref().and_then(confirmed_restoration);
        let mut unsaid = locked::mutex(&self.restored);
        if unsaid.get(cluster).copied() == confirmed {
            unsaid.remove(cluster);
        }
        let second = unsaid.get(cluster).copied().or(said);
        self.ledger.be_careful(holder, second.is_some() && second != confirmed);
    }

    /// Looks at everything that is held, and forgets changes that are long over.
    pub fn look_again(&self) {
        for key in self.ledger.sweep(Timestamp::now()) {
            self.tell(&key);
        }
        for key in self.ledger.keys_held() {
            self.reconsider(&key);
        }
    }

    /// The agent waits for nothing any more, since the item is as it should be, or gone.
    pub fn settled(&self, cluster: &ClusterKey, key: &str) {
        if self.ledger.settled(&Holder::Agent(cluster.clone()), key) {
            self.tell(key);
        }
    }

    /// Whether the agent waits for a permit.
    pub fn holds(&self, cluster: &ClusterKey, key: &str) -> bool {
        self.ledger.holds(&Holder::Agent(cluster.clone()), key)
    }

    /// The cluster was removed from the hub.
    pub fn forget(&self, cluster: &ClusterKey) {
        locked::mutex(&self.restored).remove(cluster);
        for key in self.ledger.forget(&Holder::Agent(cluster.clone())) {
            self.tell(&key);
        }
    }

    /// Keys of fleet objects that changed.
    pub fn changes(&self) -> BoxStream<'static, String> {
        let kustomizations = self.fleets.changes().map(|object| key_of(object.as_ref()));
        let releases = self.releases.changes().map(|object| key_of(object.as_ref()));
        stream::select(kustomizations, releases).boxed()
    }

    fn verdict(&self, key: &str, change: &str) -> Verdict {
        if let Some(behind) = self.checkpoints.behind().borrow().as_ref() {
            let reason = format!("{}; nothing is deleted until an operator confirms", behind.reason);
            return Verdict::Wait(reason);
        }
        match self.deletion_of(key) {
            Some(deletion) => Verdict::Limited(budget_of(&deletion)),
            // The agent removes the Flux object only when it was told to, and whoever deleted the fleet object meant it.
            None if change == DELETION => Verdict::Free,
            None => Verdict::Wait("the hub has no such fleet object, and it was not deleted for good".to_owned()),
        }
    }

    /// What a fleet object says about deleting; nothing once it is being deleted itself.
    fn deletion_of(&self, key: &str) -> Option<Deletion> {
        fn of<K: FleetResource>(object: &K) -> Option<Deletion> {
            let stays = object.meta().deletion_timestamp.is_none();
            stays.then(|| object.parts().deletion.clone())
        }
        let owner = owner_of(key, "")?;
        let (namespace, name) = (&owner.namespace, &owner.name);
        match owner.kind.as_str() {
            FleetKustomization::KIND => of(self.fleets.get(namespace, name)?.as_ref()),
            FleetHelmRelease::KIND => of(self.releases.get(namespace, name)?.as_ref()),
            _ => None,
        }
    }

    /// After a restart of the hub an agent may still remove an item that it was told to remove before; the hub knows
    /// nothing of it then. So it is enough that the workspace has access.
    fn may_speak(&self, cluster: &ClusterKey, key: &str) -> bool {
        let owner = owner_of(key, "");
        let object = self.clusters.get(&cluster.namespace, &cluster.name);
        owner.zip(object).is_some_and(|(owner, object)| {
            let access = &object.spec.access;
            match access.is_empty() {
                true => owner.namespace == cluster.namespace,
                false => access.iter().any(|one| one.workspace == owner.namespace),
            }
        })
    }

    fn send(&self, permits: Vec<(Holder, PrunePermit)>) {
        let to_agents = permits.into_iter().filter_map(|(holder, permit)| match holder {
            Holder::Agent(cluster) => Some((cluster, permit)),
            Holder::Product(_) => None, // it asks again
        });
        self.outbox.put(to_agents.collect());
    }

    fn tell(&self, key: &str) {
        let held = self.ledger.plans_held();
        self.metrics.plans_held.set(i64::try_from(held).unwrap_or(i64::MAX));
        if let Some(owner) = owner_of(key, "") {
            self.view.look_again(owner);
        }
    }

    fn count(&self, permits: &[(Holder, PrunePermit)]) {
        for (_, permit) in permits {
            let answer = if permit.granted { "granted" } else { "held" };
            self.metrics.permits.with_label_values(&[answer]).inc();
        }
    }
}

/// No, without a place in the ledger.
pub fn refusal(plan: &PrunePlan, reason: &str) -> PrunePermit {
    PrunePermit {
        change_id: plan.change_id.clone(),
        plan_digest: plan.digest.clone(),
        granted: false,
        reason: reason.to_owned(),
    }
}

fn key_of<K: FleetResource>(object: &K) -> String {
    let namespace = object.namespace().unwrap_or_default();
    format!("{}/{namespace}/{}", K::KIND, object.name_any())
}

fn budget_of(deletion: &Deletion) -> Budget {
    let budget = deletion.budget.clone().unwrap_or_default();
    let number = |most: Option<i32>| most.map(|most| u64::try_from(most).unwrap_or(0));
    Budget {
        objects: number(budget.objects),
        clusters: number(budget.clusters),
        approved: deletion.approved_plan.clone(),
    }
}
