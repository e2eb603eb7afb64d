//! What the hub keeps of a cluster's link while it runs, whether the agent is connected or not.

use std::sync::{Mutex, MutexGuard, PoisonError};

use nave_proto::wire::SetKind;
use nave_proto::{Digest, ItemMap, Replica, hub};
use tokio::sync::watch;

/// The maps of one cluster: what should be there, and by digest what it said is there. One per cluster, shared with its
/// session; survives sessions.
#[derive(Debug)]
pub struct ClusterLink {
    maps: Mutex<LinkMaps>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct LinkMaps {
    desired: ItemMap,
    status: Replica,
}

impl ClusterLink {
    /// Nothing desired, nothing known.
    pub fn new() -> Self {
        Self::with_status(Replica::new(SetKind::Status))
    }

    /// Nothing desired; status as it was stored, so that an agent sends only what has changed since.
    pub fn with_status(status: Replica) -> Self {
        let maps = LinkMaps {
            desired: ItemMap::new(SetKind::Desired),
            status,
        };
        Self {
            maps: Mutex::new(maps),
            changed: watch::Sender::new(()),
        }
    }

    /// Changes what should be; a live session sends it at once. Several changes in one call are seen together.
    ///
    /// Set the checkpoint that covers the changes first ([`ItemMap::set_checkpoint`]), once it is durable.
    pub fn update<T>(&self, change: impl FnOnce(&mut ItemMap) -> T) -> T {
        let result = change(&mut self.lock().desired);
        self.changed.send_replace(());
        result
    }

    /// Tells what is known of the status from before, so that an agent sends only what has changed since. To be called
    /// before the first session.
    pub fn load_status<T>(&self, load: impl FnOnce(&mut Replica) -> T) -> T {
        load(&mut self.lock().status)
    }

    /// Looks at what should be.
    pub fn desired<T>(&self, look: impl FnOnce(&ItemMap) -> T) -> T {
        look(&self.lock().desired)
    }

    /// Looks at which status rows are known.
    pub fn status<T>(&self, look: impl FnOnce(&Replica) -> T) -> T {
        look(&self.lock().status)
    }

    /// The roots of both maps, for a report.
    pub fn roots(&self) -> (Digest, Digest) {
        let mut maps = self.lock();
        (maps.desired.root(), maps.status.root())
    }

    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut hub::Maps<'_>) -> T) -> T {
        let LinkMaps { desired, status } = &mut *self.lock();
        work(&mut hub::Maps { desired, status })
    }

    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, LinkMaps> {
        // The maps are consistent after every single operation on them.
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ClusterLink {
    fn default() -> Self {
        Self::new()
    }
}
