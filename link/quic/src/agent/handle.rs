//! How the rest of the agent reaches its link, connected or not.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use nave_proto::wire::{EventMsg, Manifest, Mode, PrunePlan, SetKind};
use nave_proto::{Digest, EventQueue, FEATURE_DICTIONARIES, ItemMap, Plans, Replica, agent};
use tokio::sync::watch;

use super::fetch::{self, FetchFailure, Older};
use crate::connection::Connection;

/// The agent's end of everything that outlives a session. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AgentHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    maps: Mutex<AgentMaps>,
    changed: watch::Sender<()>,
    live: watch::Sender<Option<Live>>,
}

/// The connection in use and what it may do.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub connection: Connection,
    pub mode: Mode,
    /// Of both ends.
    pub features: u64,
}

#[derive(Debug)]
struct AgentMaps {
    desired: Replica,
    status: ItemMap,
    plans: Plans,
    events: EventQueue,
    policy: Option<Digest>,
}

impl AgentHandle {
    pub(crate) fn new() -> Self {
        let maps = AgentMaps {
            desired: Replica::new(SetKind::Desired),
            status: ItemMap::new(SetKind::Status),
            plans: Plans::new(),
            events: EventQueue::new(),
            policy: None,
        };
        Self(Arc::new(Shared {
            maps: Mutex::new(maps),
            changed: watch::Sender::new(()),
            live: watch::Sender::new(None),
        }))
    }

    /// Says which desired items the agent's store holds. To be called once, before the agent runs: compute each digest
    /// with [`Digest::leaf`] from what was stored, or keep it with the item.
    pub fn load_desired(&self, load: impl FnOnce(&mut Replica)) {
        load(&mut self.lock().desired);
    }

    /// Looks at which desired items are held.
    pub fn desired<T>(&self, look: impl FnOnce(&Replica) -> T) -> T {
        look(&self.lock().desired)
    }

    /// Changes what the hub should know; a live session sends it at once, in its latest form only.
    pub fn update_status<T>(&self, change: impl FnOnce(&mut ItemMap) -> T) -> T {
        let result = change(&mut self.lock().status);
        self.wake();
        result
    }

    /// Holds deletions until the hub permits them; told in every session until then. `false` when the plan's digest is
    /// not 32 bytes.
    pub fn hold(&self, plan: PrunePlan) -> bool {
        let held = self.lock().plans.hold(plan);
        self.wake();
        held
    }

    /// A plan that is not needed any more.
    pub fn withdraw(&self, plan: &Digest) -> bool {
        self.lock().plans.withdraw(plan)
    }

    /// Sends an event when there is room; it may be lost, and the next one says how many were.
    pub fn event(&self, event: EventMsg) {
        self.lock().events.push(event);
        self.wake();
    }

    /// The spoke's policy file changed; a live session tells the hub at once, and a later one begins with it.
    pub fn policy_changed(&self, digest: Digest) {
        self.lock().policy = Some(digest);
        self.wake();
    }

    pub(crate) fn policy(&self) -> Option<Digest> {
        self.lock().policy
    }

    /// What the current session may do, `None` without one.
    pub fn mode(&self) -> Option<Mode> {
        self.0.live.borrow().as_ref().map(|live| live.mode)
    }

    /// The connection, for its address and statistics.
    pub fn connection(&self) -> Option<Connection> {
        self.0.live.borrow().as_ref().map(|live| live.connection.clone())
    }

    /// Waits until items flow.
    pub async fn connected(&self) {
        let flows = |live: &Option<Live>| live.as_ref().is_some_and(|live| live.mode == Mode::Normal);
        // The sender is in this handle.
        let _ = self.0.live.subscribe().wait_for(flows).await;
    }

    /// Fetches a manifest that a desired item names. `has_digest` computes whether its files make up the digest; the
    /// manifest is not to be believed before that.
    pub async fn fetch_manifest(
        &self,
        digest: &Digest,
        has_digest: impl FnOnce(&Manifest) -> bool,
    ) -> Result<Manifest, FetchFailure> {
        let connection = self.connection().ok_or(FetchFailure::NotConnected)?;
        fetch::manifest(&connection, digest, has_digest).await
    }

    /// Fetches chunks of a manifest that a desired item names, and hands each over as it comes, in order and checked.
    pub async fn fetch_chunks(
        &self,
        manifest: &Digest,
        chunks: &[Digest],
        take: impl FnMut(Digest, Bytes),
    ) -> Result<(), FetchFailure> {
        self.fetch_changes(manifest, chunks, None, take).await
    }

    /// The same, with what is held of an older manifest of the same item: then only what differs travels, when the hub
    /// can do that and still has it.
    pub async fn fetch_changes(
        &self,
        manifest: &Digest,
        chunks: &[Digest],
        older: Option<Older<'_>>,
        take: impl FnMut(Digest, Bytes),
    ) -> Result<(), FetchFailure> {
        let live = self.0.live.borrow().clone().ok_or(FetchFailure::NotConnected)?;
        let older = older.filter(|_| live.features & FEATURE_DICTIONARIES != 0);
        fetch::chunks(&live.connection, manifest, chunks, older, take).await
    }

    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut agent::Maps<'_>) -> T) -> T {
        let AgentMaps {
            desired,
            status,
            plans,
            events,
            policy: _,
        } = &mut *self.lock();
        work(&mut agent::Maps {
            desired,
            status,
            plans,
            events,
        })
    }

    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    pub(crate) fn set_live(&self, live: Option<Live>) {
        self.0.live.send_replace(live);
    }

    fn wake(&self) {
        self.0.changed.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, AgentMaps> {
        // The maps are consistent after every single operation on them.
        self.0.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
