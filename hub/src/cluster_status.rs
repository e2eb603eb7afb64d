//! What the hub knows of each spoke with an agent, folded into `Cluster.status`.
//!
//! ```text
//! sessions ─► seen (memory) ─┐
//! counts of the view ────────┼─► fold (pure) ─► differs? ─► paced write
//! Cluster (watch) ───────────┘
//! ```
//!
//! At rest nothing is written. A lost session is shown only after a grace that is longer than the window in which agents
//! come back, so that a restart of the hub writes nothing either.

mod fold;
mod pace;
mod said;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt;
use jiff::Timestamp;
use kube::{Api, Client};
use nave_crds::{
    Cluster, conditions,
    fleet::{ClusterCounts, ClusterMode, LinkProfile},
    managers,
};
use nave_identity::ClusterRef;
use nave_runtime::{Conditions, Watched};
use tokio::{
    sync::{Notify, broadcast},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

pub use fold::{CONTESTED, Link, Seen, confirmed_restoration, restoration};

use crate::{
    identities::{quarantine_of, reference},
    locked,
};
use pace::Pace;

/// How long a session may be gone before it is written down: longer than [`crate::sessions::RECONNECT_WINDOW`], and longer
/// than an agent that dials in vain pauses at most (15 s), with its attempt and a handshake. So an agent that dies is
/// shown as disconnected two heartbeats, 5 s and this after it was last heard of: 90 s with a heartbeat in 30 s.
pub const GRACE: Duration = Duration::from_secs(25);
/// Losses that wait to be told; each is also written to its cluster.
const LOST: usize = 1024;
/// Between two writes over all clusters: five in a second.
const BETWEEN_WRITES: Duration = Duration::from_millis(200);

/// The memory of what was seen of each agent, and the task that writes it down.
pub struct ClusterStatuses {
    client: Client,
    clusters: Watched<Cluster>,
    seen: Mutex<HashMap<ClusterRef, Seen>>,
    pace: Mutex<Pace<ClusterRef>>,
    wake: Notify,
    lost: broadcast::Sender<ClusterRef>,
    started: Timestamp,
    version: &'static str,
    /// Between heartbeats of a metered line.
    metered_heartbeat: Duration,
}

impl ClusterStatuses {
    /// Nothing seen yet. `version` is the hub's, which agents with version `auto` should run.
    pub fn new(
        client: Client,
        clusters: Watched<Cluster>,
        version: &'static str,
        metered_heartbeat: Duration,
    ) -> Arc<Self> {
        Arc::new(ClusterStatuses {
            client,
            clusters,
            seen: Mutex::default(),
            pace: Mutex::default(),
            wake: Notify::new(),
            lost: broadcast::channel(LOST).0,
            started: Timestamp::now(),
            version,
            metered_heartbeat,
        })
    }

    /// How much longer than [`GRACE`] the agent of a cluster may be away: on a metered line it notices only at its next
    /// heartbeat that the hub was restarted.
    fn patience(&self, cluster: &Cluster) -> Duration {
        match cluster.spec.link.as_ref().and_then(|link| link.profile) {
            Some(LinkProfile::Metered) => self.metered_heartbeat,
            Some(LinkProfile::Standard) | None => Duration::ZERO,
        }
    }

    /// A session was opened, or something about the open one changed.
    pub fn opened(&self, cluster: &ClusterRef, change: impl FnOnce(&mut Seen)) {
        change(locked::mutex(&self.seen).entry(cluster.clone()).or_default());
        self.mark(cluster, Instant::now());
    }

    /// The session ended. A later session of the same cluster may have begun already; then this says nothing.
    pub fn closed(&self, cluster: &ClusterRef, session: u64, reason: &str) {
        let now = Timestamp::now();
        if let Some(seen) = locked::mutex(&self.seen).get_mut(cluster) {
            seen.close(session, now, reason);
        }
        self.mark(cluster, Instant::now() + GRACE);
    }

    /// Facts from a join request, before there is any session.
    pub fn facts(&self, cluster: &ClusterRef, facts: BTreeMap<String, String>) {
        let mut all = locked::mutex(&self.seen);
        all.entry(cluster.clone()).or_default().facts = facts;
    }

    /// New counts of Flux objects.
    pub fn counted(&self, cluster: &ClusterRef, counts: ClusterCounts) {
        {
            let mut all = locked::mutex(&self.seen);
            let seen = all.entry(cluster.clone()).or_default();
            if seen.counts.as_ref() == Some(&counts) {
                return;
            }
            seen.counts = Some(counts);
        }
        self.mark(cluster, Instant::now());
    }

    /// Whether a session is open, or was less than the grace ago: an agent that comes back was never away. What a
    /// quarantined one said counts for nothing.
    pub fn is_connected(&self, cluster: &ClusterRef) -> bool {
        let object = self.clusters.get(&cluster.namespace, &cluster.name);
        if object.as_ref().is_some_and(|object| quarantine_of(object).is_some()) {
            return false;
        }
        let now = Timestamp::now();
        let link = locked::mutex(&self.seen).get(cluster).map(|seen| seen.link.clone());
        let object = self.clusters.get(&cluster.namespace, &cluster.name);
        let grace = GRACE + object.as_ref().map_or(Duration::ZERO, |object| self.patience(object));
        let within_grace = |since: Timestamp| now.duration_since(since).unsigned_abs() < grace;
        match link.unwrap_or_default() {
            Link::Open { limited, .. } => limited.is_none_or(|(why, _)| why != conditions::QUARANTINED),
            Link::Closed { at, .. } => within_grace(at),
            Link::Never => {
                let status = object.as_ref().and_then(|object| object.status.as_ref());
                within_grace(self.started)
                    && status.is_some_and(|status| status.conditions.is_true(conditions::CONNECTED))
            }
        }
    }

    /// Clusters that stayed away longer than the grace, from now on.
    pub fn lost(&self) -> broadcast::Receiver<ClusterRef> {
        self.lost.subscribe()
    }

    /// The version that the agent of a cluster should run.
    pub fn wanted_version<'a>(&self, cluster: &'a Cluster) -> &'a str {
        said::wanted_version(cluster, self.version)
    }

    fn mark(&self, cluster: &ClusterRef, due: Instant) {
        locked::mutex(&self.pace).mark(cluster.clone(), due);
        self.wake.notify_one();
    }

    /// Writes what differs until shutdown.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let mut changes = std::pin::pin!(self.clusters.changes());
        // Clusters that were connected when the last hub ended and do not come back.
        for cluster in self.clusters.store().state() {
            self.mark(&reference(&cluster), Instant::now() + GRACE);
        }
        loop {
            let due = locked::mutex(&self.pace).next_due();
            let wait = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = shutdown.cancelled() => return,
                _ = self.wake.notified() => {}
                Some(changed) = changes.next() => self.mark(&reference(&changed), Instant::now()),
                () = wait => {
                    let taken = locked::mutex(&self.pace).take(Instant::now());
                    if let Some(cluster) = taken
                        && self.write(&cluster).await
                    {
                        tokio::time::sleep(BETWEEN_WRITES).await;
                    }
                }
            }
        }
    }

    /// True when something was sent.
    async fn write(&self, cluster: &ClusterRef) -> bool {
        let Some(object) = self.clusters.get(&cluster.namespace, &cluster.name) else {
            locked::mutex(&self.seen).remove(cluster);
            locked::mutex(&self.pace).forget(cluster);
            return false;
        };
        if object.spec.mode != ClusterMode::Agent {
            return false; // the placement controller reports those
        }
        let now = Timestamp::now();
        let mut seen = locked::mutex(&self.seen).get(cluster).cloned().unwrap_or_default();
        seen.patience = self.patience(&object);
        if let Some(left) = seen.grace_left(self.started, now) {
            // This look came early, for another reason, and took the place of the one that was asked for.
            self.mark(cluster, Instant::now() + left);
        }
        let old = object.status.clone().unwrap_or_default();
        let new = fold::fold(&object, &seen, self.started, self.version, now);
        if new == old {
            return false;
        }
        let hold = !fold::is_transition(&old, &new);
        let held = locked::mutex(&self.pace).hold(cluster, hold, Instant::now());
        if let Some(later) = held {
            self.mark(cluster, later);
            return false;
        }
        let api: Api<Cluster> = Api::namespaced(self.client.clone(), &cluster.namespace);
        match nave_runtime::status::patch(&api, &cluster.name, managers::HUB, &old, &new).await {
            Ok(sent) => {
                if old.conditions.is_true(conditions::CONNECTED) && new.conditions.is_false(conditions::CONNECTED) {
                    let _ = self.lost.send(cluster.clone()); // nobody listening is fine
                }
                locked::mutex(&self.pace).wrote(cluster.clone(), Instant::now());
                sent
            }
            Err(kube::Error::Api(status)) if status.code == 404 => false,
            Err(error) => {
                tracing::warn!(%cluster, error = &error as &dyn std::error::Error, "writing the status of a cluster");
                self.mark(cluster, Instant::now() + Duration::from_secs(5));
                true
            }
        }
    }
}
