//! One simulated spoke: the real agent, with a cluster in memory behind it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use nave_identity::JoinToken;
use nave_proto::{
    Digest, IncomingDelete, IncomingPut, ItemFailure, Key,
    wire::{Bundle, Checkpoint, Condition, FailCode, Fence, FenceReply, Hello, PrunePermit, PrunePlan, StatusPayload},
};
use nave_quic::{
    AgentHandle, AgentHandler, AgentIdentity, AgentNote, AgentOptions, DialOptions, IdentityStore, JoinError,
    JoinOptions, Joined, StoreError, Transport, WallClock, agent, join,
};
use prost::Message;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::ask::now_us;

/// Entries in the inventory that each item reports.
const INVENTORY: u64 = 200;
/// After a fetch that failed.
const FETCH_AGAIN: Duration = Duration::from_millis(500);
/// After a join that was refused for the moment, when the hub did not say how long to wait.
const JOIN_AGAIN: Duration = Duration::from_secs(1);

/// What all spokes share.
#[derive(Default)]
pub struct Board {
    /// Something that somebody may wait for has happened.
    pub changed: Notify,
    /// Join attempts that came to nothing.
    pub retries: AtomicU64,
}

/// A spoke with its agent.
pub struct Spoke {
    pub state: Arc<State>,
    stop: CancellationToken,
    _ends_with_it: AbortOnDropHandle<()>,
}

/// What the spoke's cluster and disk hold.
pub struct State {
    name: String,
    board: Arc<Board>,
    handle: OnceLock<AgentHandle>,
    memory: Mutex<Memory>,
}

/// What happened, and when (microseconds since 1970).
#[derive(Default)]
pub struct Memory {
    identity: Option<AgentIdentity>,
    pub items: BTreeMap<String, Applied>,
    checkpoint: Option<Checkpoint>,
    pub puts: u64,
    pub deletes: u64,
    pub connections: u64,
    /// When the attempt that is under way, or led to the connection, was begun.
    pub attempt: u64,
    pub welcomed: u64,
    /// Bytes on the connection when the welcome came, and when all was in sync.
    pub welcome_bytes: u64,
    pub synced: u64,
    pub synced_bytes: u64,
    changes: u64,
}

/// An item as the spoke has it.
#[derive(Clone)]
pub struct Applied {
    item: IncomingPut,
    pub revision: String,
    manifest: Vec<u8>,
    /// When its artifact was there and its status told; 0 before.
    pub at: u64,
}

impl Spoke {
    /// Joins with a token, again and again while that may help, and starts the agent. Also how long the join took.
    pub async fn join(
        name: String,
        token: &JoinToken,
        (max_item_bytes, clock): (usize, WallClock),
        board: Arc<Board>,
    ) -> Result<(Self, u64)> {
        let state = Arc::new(State {
            name: name.clone(),
            board: board.clone(),
            handle: OnceLock::new(),
            memory: Mutex::default(),
        });
        let begun = now_us();
        let dial = DialOptions {
            clock,
            ..DialOptions::default()
        };
        let mut identity = AgentIdentity::begin(token).context("making a key")?;
        loop {
            let options = JoinOptions {
                name: name.clone(),
                cluster_uid: state.uid(),
                facts: vec![("provider".to_owned(), "simulated".to_owned())],
                dial: dial.clone(),
            };
            match join(&mut identity, token, &*state, options).await {
                Ok(Joined::Admitted) => break,
                Ok(Joined::Pending) => anyhow::bail!("{name} waits for approval, although its token needs none"),
                Err(error) if error.may_pass() => {
                    board.retries.fetch_add(1, Ordering::Relaxed);
                    let pause = match &error {
                        JoinError::Refused(close) if close.retry_after_ms > 0 => {
                            Duration::from_millis(close.retry_after_ms)
                        }
                        _ => JOIN_AGAIN,
                    };
                    tokio::time::sleep(pause.mul_f64(0.5 + rand::random::<f64>())).await;
                }
                Err(error) => return Err(error).with_context(|| format!("joining {name}")),
            }
        }
        let took = now_us() - begun;
        state.lock().attempt = now_us();
        let options = AgentOptions {
            max_item_bytes,
            dial,
            ..AgentOptions::default()
        };
        let (handle, runner) = agent(identity, Arc::new(Hands(state.clone())), state.clone(), options);
        let _ = state.handle.set(handle); // this is the only place where it is set
        let stop = CancellationToken::new();
        let (until, who) = (stop.clone(), name);
        let task = tokio::spawn(async move {
            let end = runner.run(until).await;
            if !matches!(end, nave_quic::AgentEnd::Shutdown) {
                eprintln!("the agent of {who} ended: {end}");
            }
        });
        let spoke = Spoke {
            state,
            stop,
            _ends_with_it: AbortOnDropHandle::new(task),
        };
        Ok((spoke, took))
    }

    /// Changes the status of an item, if there is any. True when there was.
    pub fn touch(&self) -> bool {
        let mut memory = self.state.lock();
        memory.changes += 1;
        let text = format!("change {}", memory.changes);
        let Some(applied) = memory.items.values().find(|applied| applied.at > 0).cloned() else {
            return false;
        };
        memory.synced = 0;
        drop(memory);
        self.state.report(&applied, &text);
        true
    }

    /// When the hub knew everything; 0 while it does not.
    pub fn synced(&self) -> u64 {
        self.state.lock().synced
    }

    /// Whether its session is carried by QUIC.
    pub fn is_over_quic(&self) -> bool {
        let connection = self.state.handle.get().and_then(AgentHandle::connection);
        connection.is_some_and(|connection| connection.carried_by() == Transport::Quic)
    }

    /// Ends the agent.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

impl State {
    pub fn lock(&self) -> MutexGuard<'_, Memory> {
        // Every change of it is a single step.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of the present connection with the heads of IP and UDP, and its datagrams and losses.
    pub fn traffic(&self) -> (u64, u64, u64) {
        let Some(connection) = self.handle.get().and_then(AgentHandle::connection) else {
            return (0, 0, 0);
        };
        let stats = connection.stats();
        let datagrams = stats.sent_datagrams + stats.received_datagrams;
        let bytes = stats.sent_bytes + stats.received_bytes + 28 * datagrams;
        (bytes, datagrams, stats.lost_packets)
    }

    fn uid(&self) -> String {
        format!("uid-of-{}", self.name)
    }

    /// What reconciling is here: get the files of the artifact, then say that the item is ready.
    async fn reconcile(self: Arc<Self>, applied: Applied, artifact: Option<(Digest, u64)>) {
        let Some(handle) = self.handle.get() else { return };
        let key = applied.item.key.clone();
        while let Some((digest, size)) = artifact {
            match fetch(handle, &digest, size).await {
                Ok(()) => break,
                Err(error) => {
                    // Between connections this is as it should be.
                    if handle.mode().is_some() {
                        eprintln!("{}: {error:#}", self.name);
                    }
                    tokio::time::sleep(FETCH_AGAIN).await;
                    if !self.is_wanted(&key, &applied) {
                        return;
                    }
                }
            }
        }
        if !self.is_wanted(&key, &applied) {
            return;
        }
        // Noted first: the acknowledgement may come before this task runs on.
        let mut memory = self.lock();
        memory.synced = 0;
        if let Some(held) = memory.items.get_mut(&*key) {
            held.at = now_us();
        }
        drop(memory);
        self.report(&applied, "Applied");
        self.board.changed.notify_waiters();
    }

    fn is_wanted(&self, key: &Key, applied: &Applied) -> bool {
        let memory = self.lock();
        memory
            .items
            .get(&**key)
            .is_some_and(|held| held.item.digest == applied.item.digest)
    }

    fn report(&self, applied: &Applied, message: &str) {
        let status = StatusPayload {
            observed_payload: applied.item.digest.to_vec(),
            observed_manifest: applied.manifest.clone(),
            revision: applied.revision.clone(),
            state: "ready".to_owned(),
            conditions: vec![Condition {
                r#type: "Ready".to_owned(),
                status: "True".to_owned(),
                reason: "ReconciliationSucceeded".to_owned(),
                message: message.to_owned(),
                ..Condition::default()
            }],
            object: "Kustomization/fleet/app".to_owned(),
            inventory_count: INVENTORY,
            ..StatusPayload::default()
        };
        let Some(handle) = self.handle.get() else { return };
        let payload = status.encode_to_vec().into();
        let told = handle.update_status(|rows| rows.put(&applied.item.key, &applied.item.owner, payload, None));
        if let Err(error) = told {
            eprintln!("{}: {error}", self.name);
        }
    }
}

async fn fetch(handle: &AgentHandle, digest: &Digest, size: u64) -> Result<()> {
    // The hub is the one that the bench started; that its manifest is the one it named is the agent's own test.
    let manifest = handle.fetch_manifest(digest, |_| true).await?;
    let mut chunks = Vec::new();
    for file in &manifest.files {
        for chunk in &file.chunks {
            chunks.push(Digest::from_slice(&chunk.digest).context("a chunk's digest has 32 bytes")?);
        }
    }
    let mut got = 0;
    handle
        .fetch_chunks(digest, &chunks, |_, content| got += content.len() as u64)
        .await?;
    anyhow::ensure!(got == size, "the artifact has {got} bytes and not {size}");
    Ok(())
}

impl IdentityStore for State {
    async fn save(&self, identity: &AgentIdentity) -> Result<(), StoreError> {
        self.lock().identity = Some(identity.clone());
        Ok(())
    }
}

/// The agent's hands in the spoke.
struct Hands(Arc<State>);

impl AgentHandler for Hands {
    async fn hello(&self) -> Hello {
        Hello {
            instance_id: self.0.name.clone(),
            boot_seq: 1,
            cluster_uid: self.0.uid(),
            last: self.0.lock().checkpoint.clone(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            k8s_version: "v1.36.3".to_owned(),
            ..Hello::default()
        }
    }

    async fn put(&self, item: IncomingPut) -> Result<(), ItemFailure> {
        let bundle = Bundle::read(item.payload.clone())
            .map_err(|error| ItemFailure::new(FailCode::Malformed, error.to_string()))?;
        let artifact = bundle.artifact.unwrap_or_default();
        let applied = Applied {
            item,
            revision: artifact.revision,
            manifest: artifact.manifest_digest,
            at: 0,
        };
        let mut memory = self.0.lock();
        memory.puts += 1;
        let before = memory.items.insert(applied.item.key.to_string(), applied.clone());
        drop(memory);
        let had = before.is_some_and(|before| before.at > 0 && before.manifest == applied.manifest);
        let artifact = Digest::from_slice(&applied.manifest)
            .filter(|_| !had)
            .map(|digest| (digest, artifact.size));
        tokio::spawn(self.0.clone().reconcile(applied, artifact));
        Ok(())
    }

    async fn delete(&self, item: IncomingDelete) -> Result<(), ItemFailure> {
        let mut memory = self.0.lock();
        memory.deletes += 1;
        memory.items.remove(&*item.key);
        Ok(())
    }

    async fn checkpoint(&self, checkpoint: Checkpoint) -> Result<(), StoreError> {
        self.0.lock().checkpoint = Some(checkpoint);
        Ok(())
    }

    async fn permit(&self, _permit: PrunePermit, _plan: PrunePlan) {}

    async fn fence(&self, _fence: Fence) -> FenceReply {
        FenceReply {
            contested: false,
            stored_instance_id: self.0.name.clone(),
            stored_boot_seq: 1,
        }
    }

    fn note(&self, note: AgentNote) {
        match note {
            AgentNote::Connected(_) => {
                let bytes = self.0.traffic().0;
                let mut memory = self.0.lock();
                memory.connections += 1;
                (memory.welcomed, memory.welcome_bytes) = (now_us(), bytes);
            }
            AgentNote::Disconnected { retry_in, .. } => {
                let mut memory = self.0.lock();
                memory.attempt = now_us() + retry_in.as_micros() as u64;
                (memory.welcomed, memory.synced) = (0, 0);
            }
            AgentNote::InSync => {
                let bytes = self.0.traffic().0;
                let mut memory = self.0.lock();
                (memory.synced, memory.synced_bytes) = (now_us(), bytes);
            }
            _ => return,
        }
        self.0.board.changed.notify_waiters();
    }
}
