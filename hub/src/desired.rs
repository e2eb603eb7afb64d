//! Desired state per agent cluster, kept across sessions, in memory; the placement controller makes it again after a
//! restart.
//!
//! ```text
//! put, delete ─► planned, staged ─► (all planned once?) ─► checkpoint written ─► ItemMap ─► sessions
//!                                    no: nothing leaves      Behind: nothing leaves
//! ```
//!
//! What is missing here deletes nothing. An item that an agent holds and nobody knows is deleted only when the placement
//! controller said so about its very owner, before or after the agent reported it.

mod bundle;
mod cluster;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, RwLock},
    time::Duration,
};

use bytes::Bytes;
use nave_artifact::Digest;
use nave_placement::{ClusterKey, Grant, OwnerKey};
use nave_placement_controller::{DeleteCause, DesiredItem, DesiredState, ItemHeader};
use nave_proto::{Pool, item_salt, shared_owner};
use tokio::sync::{Notify, broadcast, watch};
use tokio_util::sync::CancellationToken;

pub use bundle::owner_of;
pub use cluster::{ClusterState, Target, TooManyOrphans};

use crate::{
    hub_state::{Checkpoints, wire_checkpoint},
    locked,
    metrics::HubMetrics,
};
use cluster::Staged;

/// Changes that come together become one checkpoint: a plan over a thousand clusters takes about this long.
const GATHER: Duration = Duration::from_millis(5);
/// After a failed write of the checkpoint.
const RETRY: Duration = Duration::from_secs(1);
/// Payloads whose lengths differ by less than such a part of them are much alike.
const ALIKE: usize = 4;
/// A reader that lags judges every owner anew.
const TARGETS: usize = 64;

/// What the agents are to have.
pub struct Desired {
    clusters: RwLock<HashMap<ClusterKey, Arc<ClusterState>>>,
    touched: Mutex<HashSet<ClusterKey>>,
    wake: Notify,
    rebuilt: watch::Sender<bool>,
    checkpoints: Arc<Checkpoints>,
    digest_key: [u8; 32],
    metrics: HubMetrics,
    shared: Mutex<Shared>,
    refused: watch::Sender<Vec<Refused>>,
    targets: broadcast::Sender<Arc<HashSet<OwnerKey>>>,
}

/// What clusters have in common.
#[derive(Default)]
struct Shared {
    owners: Pool<Arc<OwnerKey>>,
    grants: Pool<Arc<Grant>>,
    /// A payload of each owner; those of its other clusters are kept as what differs from it.
    bases: HashMap<Arc<OwnerKey>, Arc<Bytes>>,
}

impl Shared {
    /// What a payload is compared with. Another length means that more than names has changed: then it is the next base.
    fn base(&mut self, owner: &Arc<OwnerKey>, payload: &Bytes) -> Arc<Bytes> {
        if !self.bases.contains_key(owner) {
            // Those of whom no cluster has anything are held here and by the pool.
            self.bases.retain(|owner, _| Arc::strong_count(owner) > 2);
        }
        let base = self
            .bases
            .entry(owner.clone())
            .or_insert_with(|| Arc::new(payload.clone()));
        if base.len().abs_diff(payload.len()) > base.len() / ALIKE {
            *base = Arc::new(payload.clone());
        }
        base.clone()
    }
}

/// An item that cannot be sent at all.
#[derive(Debug, Clone)]
pub struct Refused {
    /// Where it should have gone.
    pub cluster: ClusterKey,
    /// Whose it is.
    pub owner: OwnerKey,
    /// Why.
    pub message: String,
}

impl Desired {
    /// Nothing planned yet. Sensitive items are digested with `digest_key`.
    pub fn new(checkpoints: Arc<Checkpoints>, digest_key: [u8; 32], metrics: HubMetrics) -> Arc<Self> {
        Arc::new(Desired {
            clusters: RwLock::default(),
            touched: Mutex::default(),
            wake: Notify::new(),
            rebuilt: watch::channel(false).0,
            checkpoints,
            digest_key,
            metrics,
            shared: Mutex::default(),
            refused: watch::channel(Vec::new()).0,
            targets: broadcast::channel(TARGETS).0,
        })
    }

    /// The state of one cluster, made when it is not there.
    pub fn cluster(&self, cluster: &ClusterKey) -> Arc<ClusterState> {
        if let Some(state) = locked::read(&self.clusters).get(cluster) {
            return state.clone();
        }
        locked::write(&self.clusters)
            .entry(cluster.clone())
            .or_default()
            .clone()
    }

    /// The state of one cluster, if anything was ever said about it.
    pub fn existing(&self, cluster: &ClusterKey) -> Option<Arc<ClusterState>> {
        locked::read(&self.clusters).get(cluster).cloned()
    }

    /// Forgets a cluster that was removed from the hub.
    pub fn forget(&self, cluster: &ClusterKey) {
        locked::write(&self.clusters).remove(cluster);
        locked::mutex(&self.touched).remove(cluster);
    }

    /// Whether everything has been planned once and was published.
    pub fn is_rebuilt(&self) -> watch::Receiver<bool> {
        self.rebuilt.subscribe()
    }

    /// Items that cannot be sent, since they are too large for the link.
    pub fn refused(&self) -> watch::Receiver<Vec<Refused>> {
        self.refused.subscribe()
    }

    /// Owners whose items were published: their targets are others than before, or known for the first time.
    pub fn targets(&self) -> broadcast::Receiver<Arc<HashSet<OwnerKey>>> {
        self.targets.subscribe()
    }

    /// Manifests that some item names.
    pub fn manifests(&self) -> HashSet<Digest> {
        let clusters: Vec<_> = locked::read(&self.clusters).values().cloned().collect();
        let mut named = HashSet::new();
        for cluster in clusters {
            named.extend(cluster.manifests());
        }
        named
    }

    /// An agent holds an item that is not in its map. Its owner, when the item has to be judged.
    ///
    /// # Errors
    /// It names too many.
    pub fn orphan(&self, cluster: &ClusterKey, key: &str, owner_uid: &str) -> Result<Option<OwnerKey>, TooManyOrphans> {
        let judge = self.cluster(cluster).orphan(key, owner_uid)?;
        Ok(judge.then(|| owner_of(key, owner_uid)).flatten())
    }

    /// Everything that some agent holds and nobody plans.
    pub fn orphans(&self) -> Vec<(ClusterKey, OwnerKey)> {
        let clusters: Vec<_> = locked::read(&self.clusters)
            .iter()
            .map(|(cluster, state)| (cluster.clone(), state.clone()))
            .collect();
        let mut orphans = Vec::new();
        for (cluster, state) in clusters {
            let held = state.orphans();
            let owners = held.iter().filter_map(|(key, uid)| owner_of(key, uid));
            orphans.extend(owners.map(|owner| (cluster.clone(), owner)));
        }
        orphans
    }

    fn touch(&self, cluster: &ClusterKey) {
        locked::mutex(&self.touched).insert(cluster.clone());
        self.wake.notify_one();
    }

    /// Publishes what is staged until shutdown: checkpoint first, then the maps.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let mut rebuilt = self.rebuilt.subscribe();
        tokio::select! {
            _ = shutdown.cancelled() => return,
            result = rebuilt.wait_for(|rebuilt| *rebuilt) => {
                result.expect("the sender lives as long as self");
            }
        }
        let mut behind = self.checkpoints.behind();
        loop {
            // A hub that is Behind makes no new desired state.
            tokio::select! {
                _ = shutdown.cancelled() => return,
                result = behind.wait_for(Option::is_none) => {
                    result.map(drop).expect("the sender lives as long as self");
                }
            }
            match self.publish().await {
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "writing a checkpoint; nothing is sent"
                    );
                    if matches!(error, crate::hub_state::HubStateError::Foreign { .. }) {
                        shutdown.cancel();
                        return;
                    }
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            }
            tokio::select! {
                _ = shutdown.cancelled() => return,
                _ = self.wake.notified() => {}
                // The same turn again while behind.
                _ = behind.changed() => {}
            }
            tokio::time::sleep(GATHER).await;
        }
    }

    /// Publishes everything staged now. True when anything changed.
    async fn publish(&self) -> Result<bool, crate::hub_state::HubStateError> {
        let touched: Vec<ClusterKey> = std::mem::take(&mut *locked::mutex(&self.touched)).into_iter().collect();
        let states: Vec<_> = touched
            .iter()
            .filter_map(|cluster| Some((cluster.clone(), self.existing(cluster)?)))
            .collect();
        let changes = states.iter().any(|(_, state)| state.has_changes());
        let checkpoint = if changes {
            match self.checkpoints.advance().await {
                Ok(checkpoint) => {
                    self.metrics.checkpoints.inc();
                    Some(wire_checkpoint(&checkpoint))
                }
                Err(error) => {
                    locked::mutex(&self.touched).extend(touched);
                    return Err(error);
                }
            }
        } else {
            None
        };
        let (mut refused, mut targets) = (Vec::new(), HashSet::new());
        let mut items = 0;
        for (cluster, state) in &states {
            let before = state.len();
            let published = state.publish(checkpoint.as_ref());
            targets.extend(published.targets);
            refused.extend(published.refused.into_iter().map(|(owner, message)| Refused {
                cluster: cluster.clone(),
                owner,
                message,
            }));
            items += state.len() as i64 - before as i64;
        }
        self.metrics.items.add(items);
        if !targets.is_empty() {
            let _ = self.targets.send(Arc::new(targets)); // nobody listening is fine
        }
        if !refused.is_empty() {
            for one in &refused {
                tracing::warn!(cluster = %one.cluster, owner = %one.owner, error = one.message, "an item cannot be sent");
            }
            self.refused.send_replace(refused);
        }
        Ok(changes)
    }
}

impl DesiredState for Desired {
    fn put(&self, cluster: &ClusterKey, item: DesiredItem) {
        let state = self.cluster(cluster);
        let key = item.owner.item_key();
        let header = {
            let mut shared = locked::mutex(&self.shared);
            ItemHeader {
                owner: shared.owners.share(&item.owner, || Arc::new(item.owner.clone())),
                version: item.version,
                grant: shared.grants.share(&item.grant, || Arc::new(item.grant.clone())),
            }
        };
        if state.is_planned(&key, &header) {
            return;
        }
        let (payload, manifest) = match bundle::encode(&item) {
            Ok(encoded) => encoded,
            Err(error) => {
                tracing::error!(%cluster, error = &error as &dyn std::error::Error, "an item cannot be sent");
                return;
            }
        };
        let salt = (!item.secrets.is_empty()).then(|| item_salt(&self.digest_key, &cluster.to_string(), &key));
        let base = locked::mutex(&self.shared).base(&header.owner, &payload);
        let staged = Staged::Put {
            base,
            owner: shared_owner(&bundle::owner(&item.owner)),
            payload,
            salt,
            manifest,
        };
        state.plan(&key, header, staged);
        self.touch(cluster);
    }

    fn delete(&self, cluster: &ClusterKey, owner: &OwnerKey, cause: DeleteCause) {
        let state = self.cluster(cluster);
        let touched = state.retract(owner, bundle::deletion(owner, &cause));
        if touched {
            self.touch(cluster);
        }
    }

    fn current(&self, cluster: &ClusterKey) -> Vec<ItemHeader> {
        self.existing(cluster).map(|state| state.headers()).unwrap_or_default()
    }

    fn current_of(&self, cluster: &ClusterKey, owner: &OwnerKey) -> Option<ItemHeader> {
        self.existing(cluster)?.header(owner)
    }

    fn behind(&self) -> Option<String> {
        let behind = self.checkpoints.behind();
        let behind = behind.borrow();
        let reason = behind.as_ref().map(|behind| behind.reason.clone())?;
        Some(format!(
            "{reason}; nothing is made or deleted until an operator confirms"
        ))
    }

    fn rebuilt(&self) {
        self.rebuilt
            .send_if_modified(|rebuilt| !std::mem::replace(rebuilt, true));
    }
}
