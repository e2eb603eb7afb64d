//! An agent that keeps everything in memory and counts what it does.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use nave_identity::JoinToken;
use nave_proto::wire::{
    Checkpoint, FailCode, Fence, FenceReply, Hello, LiveEnd, LiveEndCode, LiveRequest, PrunePermit, PrunePlan, SetKind,
};
use nave_proto::{Digest, FEATURE_LIVE, IncomingDelete, IncomingPut, ItemFailure};
use nave_quic::{
    AgentEnd, AgentHandle, AgentHandler, AgentIdentity, AgentNote, AgentOptions, BackoffOptions, Carriers, DialOptions,
    Gather, IdentityStore, JoinError, JoinOptions, Joined, LiveSink, StoreError, Transport, agent, join,
};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long status is gathered on a metered line.
pub const GATHER: Duration = Duration::from_millis(400);

pub struct TestAgent {
    pub handle: AgentHandle,
    pub state: Arc<AgentState>,
    pub stop: CancellationToken,
    pub task: JoinHandle<AgentEnd>,
}

#[derive(Default)]
pub struct AgentState {
    pub instance: String,
    pub boot_seq: u64,
    /// What is stored: owner UID, payload, leaf digest.
    pub store: Mutex<BTreeMap<String, (String, Bytes, Digest)>>,
    pub effects: Mutex<Vec<String>>,
    pub notes: Mutex<Vec<AgentNote>>,
    pub permits: Mutex<Vec<PrunePermit>>,
    pub last: Mutex<Option<Checkpoint>>,
    pub identity: Mutex<Option<AgentIdentity>>,
    /// What the spoke's stored boot counter says when the hub fences.
    pub fence: Mutex<FenceReply>,
    /// It knows nothing of live reads.
    pub is_old: AtomicBool,
    /// Endless reads that are being served.
    pub endless: AtomicUsize,
    /// Lets one slow item go on.
    pub slow: Notify,
}

/// Counts an endless read while it is served.
struct Serving<'a>(&'a AtomicUsize);

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Joins with a token and a new key.
pub async fn identity_of(token: &JoinToken, name: &str) -> Result<(AgentIdentity, Joined, Arc<AgentState>), JoinError> {
    let state = Arc::new(AgentState {
        instance: name.to_owned(),
        boot_seq: 1,
        ..AgentState::default()
    });
    let mut identity = AgentIdentity::begin(token).expect("key generation works");
    let joined = join(&mut identity, token, &*state, join_options(name)).await?;
    Ok((identity, joined, state))
}

pub fn join_options(name: &str) -> JoinOptions {
    JoinOptions {
        name: name.to_owned(),
        cluster_uid: format!("uid-of-{name}"),
        facts: vec![("region".to_owned(), "eu\u{1b}[31m".to_owned())],
        dial: dial(),
    }
}

/// What carries the links of this test program: the same tests are two programs.
pub fn carrier() -> Transport {
    if env!("CARGO_CRATE_NAME").ends_with("_tcp") {
        Transport::Tcp
    } else {
        Transport::Quic
    }
}

pub fn dial() -> DialOptions {
    DialOptions {
        connect_timeout: Duration::from_secs(2),
        idle_timeout: Duration::from_millis(3000),
        carriers: Carriers::Only(carrier()),
        ..DialOptions::default()
    }
}

pub fn start_agent(identity: AgentIdentity, state: Arc<AgentState>) -> TestAgent {
    start_agent_with(identity, state, dial())
}

pub fn start_agent_with(identity: AgentIdentity, state: Arc<AgentState>, dial: DialOptions) -> TestAgent {
    let options = AgentOptions {
        dial,
        backoff: BackoffOptions {
            first: Duration::from_millis(20),
            longest: Duration::from_millis(200),
            rarely: Duration::from_millis(200),
        },
        max_item_bytes: 100_000,
        gather: Gather(GATHER),
    };
    let (handle, runner) = agent(identity, state.clone(), state.clone(), options);
    handle.load_desired(|replica| {
        for (key, (uid, _, digest)) in &*state.store.lock().expect("no panic holds it") {
            replica.insert(key, *digest, uid);
        }
    });
    let stop = CancellationToken::new();
    let task = tokio::spawn(runner.run(stop.clone()));
    TestAgent {
        handle,
        state,
        stop,
        task,
    }
}

impl TestAgent {
    pub fn holds(&self, key: &str, payload: &str) -> bool {
        let store = self.state.store.lock().expect("no panic holds it");
        store.get(key).is_some_and(|(_, held, _)| held == payload.as_bytes())
    }

    pub fn effects(&self) -> Vec<String> {
        self.state.effects.lock().expect("no panic holds it").clone()
    }

    pub fn notes(&self) -> Vec<AgentNote> {
        self.state.notes.lock().expect("no panic holds it").clone()
    }

    /// Words of the last disconnection.
    pub fn last_words(&self) -> Option<String> {
        self.notes().into_iter().rev().find_map(|note| match note {
            AgentNote::Disconnected { reason, .. } => Some(reason),
            _ => None,
        })
    }

    pub fn connections(&self) -> usize {
        self.notes()
            .iter()
            .filter(|note| matches!(note, AgentNote::Connected(_)))
            .count()
    }

    pub fn identity(&self) -> AgentIdentity {
        self.state
            .identity
            .lock()
            .expect("no panic holds it")
            .clone()
            .expect("stored at join")
    }

    pub async fn stop(self) -> Arc<AgentState> {
        self.stop.cancel();
        assert!(matches!(
            self.task.await.expect("the agent does not panic"),
            AgentEnd::Shutdown
        ));
        self.state
    }
}

impl IdentityStore for AgentState {
    async fn save(&self, identity: &AgentIdentity) -> Result<(), StoreError> {
        // As a Secret would: through text and back.
        let text = serde_json::to_string(identity)?;
        *self.identity.lock().expect("no panic holds it") = Some(serde_json::from_str(&text)?);
        Ok(())
    }
}

impl AgentHandler for AgentState {
    async fn hello(&self) -> Hello {
        Hello {
            instance_id: self.instance.clone(),
            boot_seq: self.boot_seq,
            cluster_uid: format!("uid-of-{}", self.instance),
            last: self.last.lock().expect("no panic holds it").clone(),
            agent_version: "0.1.0".to_owned(),
            features: if self.is_old.load(Ordering::Relaxed) {
                0
            } else {
                FEATURE_LIVE
            },
            ..Hello::default()
        }
    }

    async fn put(&self, item: IncomingPut) -> Result<(), ItemFailure> {
        if item.payload.starts_with(b"poison") {
            return Err(ItemFailure::new(FailCode::Malformed, "poison"));
        }
        if item.payload.starts_with(b"slow") {
            // Until the test says so.
            self.slow.notified().await;
        }
        self.effects
            .lock()
            .expect("no panic holds it")
            .push(format!("put {}", item.key));
        let held = (item.owner.uid, item.payload, item.digest);
        self.store
            .lock()
            .expect("no panic holds it")
            .insert(item.key.to_string(), held);
        Ok(())
    }

    async fn delete(&self, item: IncomingDelete) -> Result<(), ItemFailure> {
        self.effects
            .lock()
            .expect("no panic holds it")
            .push(format!("delete {}", item.key));
        self.store.lock().expect("no panic holds it").remove(&*item.key);
        Ok(())
    }

    async fn checkpoint(&self, checkpoint: Checkpoint) -> Result<(), StoreError> {
        *self.last.lock().expect("no panic holds it") = Some(checkpoint);
        Ok(())
    }

    async fn permit(&self, permit: PrunePermit, _plan: PrunePlan) {
        self.permits.lock().expect("no panic holds it").push(permit);
    }

    async fn fence(&self, _fence: Fence) -> FenceReply {
        self.fence.lock().expect("no panic holds it").clone()
    }

    async fn live(&self, request: LiveRequest, mut sink: LiveSink) -> LiveEnd {
        if request.resource == "endless" {
            self.endless.fetch_add(1, Ordering::Relaxed);
            let _serving = Serving(&self.endless);
            while sink.send(Bytes::from_static(&[b'x'; 4000])).await.is_ok() {}
        }
        if request.resource != "pods" {
            return LiveEnd {
                code: LiveEndCode::Forbidden as i32,
                message: "policy".to_owned(),
            };
        }
        sink.send(Bytes::from(vec![b'x'; 500_000]))
            .await
            .expect("somebody listens");
        LiveEnd {
            code: LiveEndCode::Done as i32,
            message: String::new(),
        }
    }

    fn note(&self, note: AgentNote) {
        self.notes.lock().expect("no panic holds it").push(note);
    }
}

/// What an item's leaf digest is, as an agent that stores payloads alone computes it.
pub fn leaf(key: &str, uid: &str, payload: &[u8]) -> Digest {
    Digest::leaf(SetKind::Desired as u32, key, false, uid, None, payload)
}
