//! The brake: how much one change may delete over the fleet before a person approves.
//!
//! ```text
//! plan of an agent ────────────┐   gathered, summed                ┌─ yes ─► permit
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
    fleet::{ChangeDeletions, Deletion, FleetKustomizationStatus, FleetResource, PlanStatus},
};
use nave_placement::{ClusterKey, OwnerKey};
use nave_proto::wire::{MAX_PLAN_LINES, PrunePermit, PrunePlan};
use nave_runtime::{
    Watched,
    ports::{Permit, PlannedDelete},
};
use tokio::sync::Notify;

use ledger::{Budget, Holder, Verdict};
pub use ledger::{GATHER, Ledger};

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
    /// Told when plans begin to be gathered.
    pub gathering: Notify,
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
    /// The answer to a plan of an agent; none while the plans of its change are gathered, when it comes by the outbox.
    /// `has_item` tells whether the hub knows that the agent has the item.
    pub fn ask_of_agent(&self, cluster: &ClusterKey, has_item: bool, plan: &PrunePlan) -> Option<PrunePermit> {
        if !has_item && !self.may_speak(cluster, &plan.key) {
            return Some(refusal(plan, "no fleet object of this name may reach this cluster"));
        }
        // Nothing is kept of a name that an agent may have made up.
        if !has_item && self.deletion_of(&plan.key).is_none() {
            return Some(match self.verdict(&plan.key, &plan.change_id) {
                Verdict::Free => PrunePermit {
                    granted: true,
                    ..refusal(plan, "")
                },
                Verdict::Wait(reason) => refusal(plan, &reason),
                Verdict::Limited(_) => refusal(plan, "the fleet object has just been made; ask again"),
            });
        }
        self.ask(&Holder::Agent(cluster.clone()), plan)
    }

    /// The answer to a plan of a Kustomization or HelmRelease of the hub itself, for a kubeconfig cluster; none while the
    /// plans of its change are gathered.
    pub fn ask_of_product(&self, plan: &nave_runtime::ports::PrunePlan) -> Option<Permit> {
        let Some(fleet) = &plan.owner.fleet else {
            return Some(Permit::Granted); // not made from a fleet object: nobody sums it
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
        let permit = self.ask(&Holder::Product(product), &plan_of)?;
        Some(match permit.granted {
            true => Permit::Granted,
            false => Permit::Held { reason: permit.reason },
        })
    }

    fn ask(&self, holder: &Holder, plan: &PrunePlan) -> Option<PrunePermit> {
        self.take_care(holder);
        self.go_on(plan);
        let before = self.seen(&plan.key);
        let verdict = self.verdict(&plan.key, &plan.change_id);
        let permits = self.ledger.ask(holder, plan, &verdict, Timestamp::now());
        self.count(&permits);
        let (mine, others): (Vec<_>, Vec<_>) = permits.into_iter().partition(|(to, _)| to == holder);
        self.send(others);
        if self.seen(&plan.key) != before {
            self.tell(&plan.key);
        }
        let Some((_, permit)) = mine.into_iter().next() else {
            self.gathering.notify_one();
            return None;
        };
        tracing::info!(
            holder = %holder, key = plan.key, change = plan.change_id, deletes = plan.deletes,
            cascades = plan.cascades.len(), granted = permit.granted, reason = permit.reason, "prune plan"
        );
        Some(permit)
    }

    /// What the status of a fleet object shows of its deletions.
    fn seen(&self, key: &str) -> (Option<PlanStatus>, Vec<ChangeDeletions>) {
        (self.ledger.held(key), self.ledger.spent(key))
    }

    /// A change of which this process has not heard may have been under way before it started.
    fn go_on(&self, plan: &PrunePlan) {
        if self.ledger.knows(&plan.key, &plan.change_id) {
            return;
        }
        let owner = owner_of(&plan.key, "");
        let status = owner.and_then(|owner| self.status_of(&owner.kind, &owner.namespace, &owner.name));
        for spent in status
            .unwrap_or_default()
            .deletions
            .iter()
            .filter(|spent| spent.change == plan.change_id)
        {
            self.ledger.go_on(&plan.key, spent, Timestamp::now());
        }
    }

    /// Judges changes whose plans have been gathered, until it is dropped.
    pub async fn judge_gathered(&self) {
        loop {
            let wait = match self.ledger.gathered_at() {
                None => {
                    self.gathering.notified().await;
                    continue;
                }
                Some(at) => at.duration_since(Timestamp::now()),
            };
            tokio::time::sleep(wait.try_into().unwrap_or_default()).await;
            for key in self.ledger.gathered(Timestamp::now()) {
                self.reconsider(&key);
            }
        }
    }

    /// Grants what may go now, after something about the fleet object changed.
    pub fn reconsider(&self, key: &str) {
        let holders = self.ledger.holders_held(key);
        if holders.is_empty() {
            return;
        }
        for holder in &holders {
            self.take_care(holder);
        }
        let answers = self
            .ledger
            .reconsider(key, |change| self.verdict(key, change), Timestamp::now());
        self.count(&answers);
        if !answers.is_empty() {
            let granted = answers.iter().filter(|(_, permit)| permit.granted).count();
            tracing::info!(key, granted, held = answers.len() - granted, "prune plans are judged");
            self.send(answers);
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

    /// The status of a fleet object, as it is written.
    fn status_of(&self, kind: &str, namespace: &str, name: &str) -> Option<FleetKustomizationStatus> {
        match kind {
            FleetKustomization::KIND => self.fleets.get(namespace, name)?.fleet_status().cloned(),
            FleetHelmRelease::KIND => self.releases.get(namespace, name)?.fleet_status().cloned(),
            _ => None,
        }
    }

    /// The revision that a fleet object gives its clusters; empty where each fetches by itself.
    pub fn target_revision(&self, owner: &OwnerKey) -> String {
        let status = self.status_of(&owner.kind, &owner.namespace, &owner.name);
        status.unwrap_or_default().target_revision
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
