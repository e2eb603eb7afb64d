//! What agents say of the items that they have: the latest row per fleet object and cluster.

mod row;

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::{Arc, Mutex},
};

use futures::{StreamExt, stream, stream::BoxStream};
use jiff::Timestamp;
use nave_crds::{
    fleet::{ChangeDeletions, ClusterCounts, PlanStatus},
    reasons::fleet as reasons,
};
use nave_placement::{ClusterKey, OwnerKey};
use nave_placement_controller::{ClusterStatus, FleetStatus};
use nave_proto::{Digest, IncomingPut, Key, Pool, shared_text, wire::StatusPayload};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use row::{Mark, Words};
pub use row::{Order, Row};

use crate::{
    brake::Ledger,
    cluster_status::ClusterStatuses,
    desired::{Desired, Refused},
    locked,
    memory::{Kept, Memory, RowRecord, Transition},
    outlook::Had,
};

/// A reader that lags is given every owner instead of the changes it lost.
const CHANGES: usize = 4096;

/// The rows.
pub struct View {
    desired: Arc<Desired>,
    statuses: Arc<ClusterStatuses>,
    memory: Arc<Memory>,
    ledger: Arc<Ledger>,
    rows: Arc<Mutex<Rows>>,
    changes: broadcast::Sender<OwnerKey>,
}

#[derive(Default)]
struct Rows {
    by_key: HashMap<Key, HashMap<ClusterKey, Told>>,
    /// How many rows of each state a cluster has.
    by_cluster: HashMap<ClusterKey, ClusterCounts>,
    words: Pool<Arc<Words>>,
}

/// What was said last of one fleet object on one cluster.
#[derive(Clone)]
struct Told {
    order: Order,
    mark: Mark,
    words: Arc<Words>,
}

impl View {
    /// No rows yet.
    pub fn new(
        desired: Arc<Desired>,
        statuses: Arc<ClusterStatuses>,
        memory: Arc<Memory>,
        ledger: Arc<Ledger>,
    ) -> Arc<Self> {
        Arc::new(View {
            desired,
            statuses,
            memory,
            ledger,
            rows: Arc::default(),
            changes: broadcast::channel(CHANGES).0,
        })
    }

    /// Rows from before a restart, and their digests for the links, so that agents send only what differs. Rows of
    /// clusters that are no more are forgotten: `uid` tells the UID of a Cluster that there is.
    pub fn restore(&self, kept: Vec<Kept>, uid: impl Fn(&ClusterKey) -> Option<String>) {
        let mut by_cluster: HashMap<ClusterKey, Vec<Kept>> = HashMap::new();
        for row in kept {
            by_cluster.entry(row.cluster.clone()).or_default().push(row);
        }
        let mut rows = locked::mutex(&self.rows);
        for (cluster, kept) in by_cluster {
            let Some(uid) = uid(&cluster) else {
                self.memory.forget(&cluster);
                continue;
            };
            let state = self.desired.cluster(&cluster);
            state.link().load_status(|replica| {
                for Kept { key, record, .. } in &kept {
                    let digest = Digest::from_slice(&record.digest).filter(|_| record.cluster_uid == uid);
                    match digest {
                        Some(digest) => {
                            replica.insert(key, digest, &record.owner_uid);
                            // Whatever is said in this process is later.
                            rows.put(&cluster, key, Order::default(), Row::restored(record));
                        }
                        None => self.memory.remove(&cluster, key.as_str().into()),
                    }
                }
            });
        }
    }

    /// A status row of an agent, of a Cluster with that UID. An older session's row does not replace a newer one's.
    pub fn put(
        &self,
        cluster: &ClusterKey,
        cluster_uid: &str,
        put: &IncomingPut,
        order: Order,
        status: &StatusPayload,
    ) {
        let row = Row::reported(&put.owner.uid, status);
        let record = row.record(&put.digest, cluster_uid);
        let change = {
            let mut rows = locked::mutex(&self.rows);
            let change = rows.put(cluster, &put.key, order, row);
            // Under the rows' lock, so that the file has the same last word. A row that reads the same may have another
            // digest, since not everything in it is read here.
            if change != Change::Older {
                let transition = (change == Change::Transition).then(|| transition_of(&record));
                self.memory.keep(cluster, put.key.clone(), record);
                if let Some(transition) = transition {
                    self.memory.became(cluster, put.key.clone(), transition);
                }
            }
            change
        };
        if change.is_seen() {
            self.tell(cluster, &put.key, &put.owner.uid);
        }
    }

    /// The agent did not take an item: until it says more, this is its status.
    pub fn refused(&self, cluster: &ClusterKey, key: &str, owner_uid: &str, order: Order, reason: &str, message: &str) {
        let target =
            crate::desired::owner_of(key, owner_uid).and_then(|owner| self.desired.existing(cluster)?.target(&owner));
        let row = Row::refused(owner_uid, target, reason, message);
        self.store(cluster, key, order, row);
    }

    /// The hub itself cannot send an item: said in place of whatever the agent says of the one before.
    fn unsendable(&self, refused: &Refused) {
        let key = refused.owner.item_key();
        let order = {
            let rows = locked::mutex(&self.rows);
            let known = rows.by_key.get(key.as_str()).and_then(|of| of.get(&refused.cluster));
            known.map_or_else(Order::default, |told| told.order)
        };
        let row = Row::refused(&refused.owner.uid, None, reasons::INVALID_SPEC, &refused.message);
        self.store(&refused.cluster, &key, order, row);
    }

    /// The agent holds an item whose owner nobody knows.
    pub fn orphaned(&self, cluster: &ClusterKey, key: &str, owner_uid: &str, order: Order) {
        self.store(cluster, key, order, Row::orphaned(owner_uid));
    }

    /// A row that is no more.
    pub fn remove(&self, cluster: &ClusterKey, key: &str, order: Order) {
        let removed = {
            let mut rows = locked::mutex(&self.rows);
            let older = rows
                .by_key
                .get(key)
                .and_then(|of| of.get(cluster))
                .is_some_and(|told| told.order <= order);
            let removed = older.then(|| rows.remove(cluster, key)).flatten();
            if removed.is_some() {
                self.memory.remove(cluster, key.into());
            }
            removed
        };
        if let Some(words) = removed {
            self.tell(cluster, key, &words.owner_uid);
        }
    }

    /// Forgets a cluster that was removed from the hub.
    pub fn forget(&self, cluster: &ClusterKey) {
        let mut rows = locked::mutex(&self.rows);
        self.memory.forget(cluster);
        rows.forget(cluster);
    }

    /// The cluster connected or disconnected: everything placed on it looks different.
    pub fn connection_changed(&self, cluster: &ClusterKey) {
        let Some(state) = self.desired.existing(cluster) else {
            return;
        };
        for header in state.headers() {
            let _ = self.changes.send(OwnerKey::clone(&header.owner)); // nobody listening is fine
        }
    }

    /// The items that agents said they have.
    pub fn had(&self) -> Vec<Had> {
        let rows = locked::mutex(&self.rows);
        let all = rows.by_key.iter().flat_map(|(key, of)| {
            of.iter().filter_map(|(cluster, told)| {
                Some(Had {
                    cluster: cluster.clone(),
                    owner: crate::desired::owner_of(key, &told.words.owner_uid)?,
                    revision: told.words.revision().to_owned(),
                })
            })
        });
        all.collect()
    }

    /// Something besides its rows changed about a fleet object.
    pub fn look_again(&self, owner: OwnerKey) {
        let _ = self.changes.send(owner); // nobody listening is fine
    }

    /// Tells of clusters that stay away longer than the grace, of items that cannot be sent, and of rows whose target
    /// became known after them (a row from before a restart is one), until shutdown.
    pub async fn follow(self: Arc<Self>, shutdown: CancellationToken) {
        let (mut lost, mut refused) = (self.statuses.lost(), self.desired.refused());
        let mut targets = self.desired.targets();
        if *self.desired.is_rebuilt().borrow() {
            self.targets_changed(Ok(Arc::new(owners(&self.rows).into_iter().collect()))); // told before anybody listened
        }
        loop {
            let cluster = tokio::select! {
                _ = shutdown.cancelled() => return,
                Ok(()) = refused.changed() => {
                    let all = refused.borrow_and_update().clone();
                    all.iter().for_each(|one| self.unsendable(one));
                    continue;
                }
                targets = targets.recv() => {
                    self.targets_changed(targets);
                    continue;
                }
                lost = lost.recv() => lost,
            };
            match cluster {
                Ok(cluster) => self.connection_changed(&cluster_key(&cluster)),
                // The next status of each of them is told by the next reconcile.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    fn targets_changed(&self, owners: Result<Arc<HashSet<OwnerKey>>, broadcast::error::RecvError>) {
        let all = owners.map_or_else(|_| self::owners(&self.rows), |some| some.iter().cloned().collect());
        for owner in all {
            let has_rows = locked::mutex(&self.rows).by_key.contains_key(owner.item_key().as_str());
            if has_rows {
                let _ = self.changes.send(owner); // nobody listening is fine
            }
        }
    }

    fn store(&self, cluster: &ClusterKey, key: &str, order: Order, row: Row) {
        let uid = row.words.owner_uid.clone();
        let record = row.record(&Digest::from_bytes([0; 32]), "");
        let change = locked::mutex(&self.rows).put(cluster, key, order, row);
        if change == Change::Transition {
            self.memory.became(cluster, key.into(), transition_of(&record));
        }
        if change.is_seen() {
            self.tell(cluster, key, &uid);
        }
    }

    fn tell(&self, cluster: &ClusterKey, key: &str, uid: &str) {
        let counts = locked::mutex(&self.rows).counts(cluster);
        self.statuses.counted(&cluster_ref(cluster), counts);
        if let Some(owner) = crate::desired::owner_of(key, uid) {
            let _ = self.changes.send(owner); // nobody listening is fine
        }
    }
}

/// Every owner of some row.
fn owners(rows: &Mutex<Rows>) -> Vec<OwnerKey> {
    let rows = locked::mutex(rows);
    let all = rows.by_key.iter().flat_map(|(key, of)| {
        let uids: HashSet<&Arc<str>> = of.values().map(|told| &told.words.owner_uid).collect();
        uids.into_iter()
            .filter_map(|uid| crate::desired::owner_of(key, uid))
            .collect::<Vec<_>>()
    });
    all.collect()
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// A later one is there.
    Older,
    /// A reader sees no difference.
    Same,
    /// A reader sees a difference.
    News,
    /// It has another state, reason or revision.
    Transition,
}

impl Change {
    fn is_seen(self) -> bool {
        matches!(self, Change::News | Change::Transition)
    }
}

fn transition_of(record: &RowRecord) -> Transition {
    Transition {
        time_ms: Timestamp::now().as_millisecond(),
        state: record.state.clone(),
        revision: record.revision.clone(),
        reason: record.reason.clone(),
        message: record.message.clone(),
    }
}

impl Rows {
    fn put(&mut self, cluster: &ClusterKey, key: &str, order: Order, row: Row) -> Change {
        let cluster = match self.by_cluster.get_key_value(cluster) {
            Some((cluster, _)) => cluster.clone(), // one copy in memory
            None => cluster.clone(),
        };
        let mark = row.mark();
        let words = self.words.share(&row.words, || Arc::new(row.words.clone()));
        let told = Told { order, mark, words };
        let (before, now) = match self.by_key.entry(shared_text(key)).or_default().entry(cluster.clone()) {
            Entry::Occupied(known) if known.get().order > order => return Change::Older,
            Entry::Occupied(mut known) => (Some(known.insert(told.clone())), told),
            Entry::Vacant(place) => (None, place.insert(told).clone()),
        };
        let counts = self.by_cluster.entry(cluster).or_default();
        *now.words.of(counts) += 1;
        let Some(before) = before else {
            return Change::Transition;
        };
        *before.words.of(counts) -= 1;
        match (
            (before.mark, &before.words) == (now.mark, &now.words),
            before.words.is_another_state(&now.words),
        ) {
            (true, _) => Change::Same,
            (false, true) => Change::Transition,
            (false, false) => Change::News,
        }
    }

    fn remove(&mut self, cluster: &ClusterKey, key: &str) -> Option<Arc<Words>> {
        let of = self.by_key.get_mut(key)?;
        let words = of.remove(cluster)?.words;
        if of.is_empty() {
            self.by_key.remove(key);
        }
        if let Some(counts) = self.by_cluster.get_mut(cluster) {
            *words.of(counts) -= 1;
            if *counts == ClusterCounts::default() {
                self.by_cluster.remove(cluster);
            }
        }
        Some(words)
    }

    fn forget(&mut self, cluster: &ClusterKey) {
        self.by_cluster.remove(cluster);
        self.by_key.retain(|_, of| {
            of.remove(cluster);
            !of.is_empty()
        });
    }

    fn counts(&self, cluster: &ClusterKey) -> ClusterCounts {
        self.by_cluster.get(cluster).cloned().unwrap_or_default()
    }
}

impl FleetStatus for View {
    fn of(&self, owner: &OwnerKey) -> Vec<ClusterStatus> {
        let key = owner.item_key();
        let rows: Vec<(ClusterKey, Told)> = locked::mutex(&self.rows)
            .by_key
            .get(key.as_str())
            .into_iter()
            .flatten()
            .filter(|(_, told)| *told.words.owner_uid == *owner.uid)
            .map(|(cluster, told)| (cluster.clone(), told.clone()))
            .collect();
        rows.into_iter()
            .map(|(cluster, told)| {
                let target = self.desired.existing(&cluster).and_then(|state| state.target(owner));
                told.words.status(told.mark, cluster, target.as_ref())
            })
            .collect()
    }

    fn changes(&self) -> BoxStream<'static, OwnerKey> {
        // A stream that held the view itself would keep its own sender, and so never end.
        let (receiver, rows) = (self.changes.subscribe(), Arc::downgrade(&self.rows));
        stream::unfold((receiver, rows), |(mut receiver, rows)| async move {
            match receiver.recv().await {
                Ok(owner) => Some((vec![owner], (receiver, rows))),
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    let all = rows.upgrade().map(|rows| owners(&rows)).unwrap_or_default();
                    Some((all, (receiver, rows)))
                }
                Err(broadcast::error::RecvError::Closed) => None,
            }
        })
        .flat_map(stream::iter)
        .boxed()
    }

    fn plan(&self, owner: &OwnerKey) -> Option<PlanStatus> {
        self.ledger.held(&owner.item_key())
    }

    fn deletions(&self, owner: &OwnerKey) -> Vec<ChangeDeletions> {
        self.ledger.spent(&owner.item_key())
    }

    fn connected(&self, cluster: &ClusterKey) -> bool {
        self.statuses.is_connected(&cluster_ref(cluster))
    }
}

/// The same cluster, as the link names it.
pub fn cluster_ref(cluster: &ClusterKey) -> nave_identity::ClusterRef {
    nave_identity::ClusterRef::new(cluster.namespace.clone(), cluster.name.clone())
}

/// The same cluster, as plans name it.
pub fn cluster_key(cluster: &nave_identity::ClusterRef) -> ClusterKey {
    ClusterKey::new(cluster.namespace.clone(), cluster.name.clone())
}
