//! What an agent reports: rows, refusals, orphans, events, plans.

use nave_crds::reasons::fleet as reasons;
use nave_placement::Verdict;
use nave_placement_controller::ClusterState;
use nave_proto::{
    Close, CloseCode, Digest, IncomingPut, ItemFailure, shared_text,
    wire::{EventMsg, FailCode, FetchRefused, Mode, PrunePermit, PrunePlan, RefusalCode, StatusPayload},
};

use super::Conversation;
use crate::{
    brake::refusal,
    desired::owner_of,
    locked,
    memory::SpokeEvent,
    view::{Row, cluster_key},
};

/// Rows of one agent; a spoke with more fleet objects than this has another problem.
const MAX_ROWS: usize = 4096;

impl Conversation {
    pub(super) fn take_row(&self, put: &IncomingPut) -> Result<(), ItemFailure> {
        let status = StatusPayload::read(&put.payload).map_err(|error| ItemFailure {
            code: FailCode::Malformed,
            message: error.to_string(),
        })?;
        let full = self
            .state
            .link()
            .status(|rows| rows.len() >= MAX_ROWS && rows.get(&put.key).is_none());
        if full {
            let message = format!("a cluster may report at most {MAX_ROWS} items");
            return Err(ItemFailure {
                code: FailCode::TooLarge,
                message,
            });
        }
        let shared = &self.sessions.shared;
        shared.metrics.statuses.inc();
        let order = self.row_order(put.version);
        let object = shared.clusters.get(&self.cluster.namespace, &self.cluster.name);
        let cluster_uid = object
            .and_then(|object| object.metadata.uid.clone())
            .unwrap_or_default();
        let cluster = cluster_key(&self.cluster);
        shared.view.put(&cluster, &cluster_uid, put, order, &status);
        // Nothing is left to delete where the item is as it should be now: an earlier row may still say that of an
        // earlier item.
        if shared.brake.holds(&cluster, &put.key)
            && let Some(owner) = owner_of(&put.key, &put.owner.uid)
        {
            let target = self.state.target(&owner);
            let row = Row::reported(&owner.uid, &status).status(cluster.clone(), target.as_ref());
            if row.current && row.state == ClusterState::Ready {
                shared.brake.settled(&cluster, &put.key);
            }
        }
        Ok(())
    }

    pub(super) fn not_taken(&self, key: &str, code: FailCode, message: &str) {
        let (shared, cluster) = (&self.sessions.shared, &self.cluster);
        shared.metrics.acknowledged.with_label_values(&["failed"]).inc();
        tracing::warn!(%cluster, key, ?code, message, "the agent did not take an item");
        let Some(uid) = self.state.owner_uid(key) else { return };
        let reason = match code {
            FailCode::Denied => reasons::DENIED,
            FailCode::Conflict | FailCode::OwnerMismatch => reasons::CONFLICT,
            FailCode::TooLarge | FailCode::Malformed | FailCode::BadDigest => reasons::INVALID_SPEC,
            FailCode::Unsupported => reasons::NOT_ENFORCED,
            FailCode::Internal => "AgentFailed",
        };
        shared
            .view
            .refused(&cluster_key(cluster), key, &uid, self.row_order(0), reason, message);
    }

    pub(super) fn hear_of_orphan(&self, key: &str, owner_uid: &str) {
        let (shared, cluster) = (&self.sessions.shared, &self.cluster);
        let owner = match shared.desired.orphan(&cluster_key(cluster), key, owner_uid) {
            Ok(Some(owner)) => owner,
            Ok(None) => return,
            Err(error) => {
                if let Some(handle) = self.handle.get() {
                    handle.close(Close::new(CloseCode::Protocol, error.to_string()));
                }
                return;
            }
        };
        if self.sessions.judge(cluster, &owner) {
            return;
        }
        if shared.knowledge.judge(&cluster_key(cluster), &owner) == Some(Verdict::Orphaned) {
            tracing::warn!(%cluster, key, owner_uid, "the agent holds an item of an unknown owner; it is kept");
            shared
                .view
                .orphaned(&cluster_key(cluster), key, owner_uid, self.row_order(0));
        }
    }

    /// The spoke's own policy changed in the session. What a copy of the agent says of it is not the cluster's.
    pub(super) fn hear_of_policy(&self, digest: &Digest) {
        if matches!(locked::mutex(&self.said).mode, Some(Mode::Normal | Mode::Behind)) {
            let statuses = &self.sessions.shared.statuses;
            statuses.opened(&self.cluster, |seen| seen.policy_digest = digest.to_string());
        }
    }

    /// History of the spoke, kept in the hub's own memory: in the API a fleet's events would be more than all else.
    pub(super) fn tell_event(&self, event: &EventMsg) {
        let shared = &self.sessions.shared;
        let count = |outcome: &str, events: u64| shared.metrics.events.with_label_values(&[outcome]).inc_by(events);
        count("lost", event.dropped_before);
        // A spoke speaks only of what is placed on it, and what a copy of its agent says is not the cluster's.
        let counts = matches!(locked::mutex(&self.said).mode, Some(Mode::Normal | Mode::Behind));
        if !counts || !self.state.concerns(&event.item) || !self.sessions.allows_event(&self.cluster) {
            return count("dropped", 1);
        }
        count("recorded", 1);
        let kept = SpokeEvent {
            time_ms: event.time_ms,
            kind: event.kind.clone(),
            namespace: event.ns.clone(),
            name: event.name.clone(),
            is_warning: event.severity == "Warning",
            reason: event.reason.clone(),
            message: event.message.clone(),
            revision: event.revision.clone(),
            lost: event.dropped_before,
        };
        shared
            .memory
            .told(&cluster_key(&self.cluster), shared_text(&event.item), kept);
    }

    /// What the brake says; a hub that is Behind does not even note the plan, since it comes again afterwards.
    pub(super) fn decide_plan(&self, plan: &PrunePlan) -> Option<PrunePermit> {
        let brake = &self.sessions.shared.brake;
        if locked::mutex(&self.said).mode != Some(Mode::Normal) {
            return Some(refusal(plan, "the hub waits for an operator and permits nothing"));
        }
        brake.ask_of_agent(&cluster_key(&self.cluster), self.state.concerns(&plan.key), plan)
    }

    pub(super) fn unavailable(&self, what: &str) -> FetchRefused {
        self.sessions
            .shared
            .metrics
            .fetch_refusals
            .with_label_values(&["unavailable"])
            .inc();
        FetchRefused {
            code: RefusalCode::Unavailable as i32,
            message: format!("the {what} is not there at the moment; try again"),
        }
    }
}
