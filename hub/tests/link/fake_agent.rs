//! An agent without a cluster: it speaks the link and keeps what it is sent.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use nave_artifact::Digest as ArtifactDigest;
use nave_bed::eventually;
use nave_identity::JoinToken;
use nave_proto::{
    Close, Digest, IncomingDelete, IncomingPut, ItemFailure,
    wire::{
        Bundle, Checkpoint, Condition, Fence, FenceReply, Hello, OwnerRef, PrunePermit, PrunePlan, StatusPayload,
        Welcome,
    },
};
use nave_quic::{
    AgentHandle, AgentHandler, AgentIdentity, AgentNote, AgentOptions, BackoffOptions, Carriers, DialOptions, Gather,
    IdentityStore, JoinError, JoinOptions, Joined, StoreError, Transport, agent, join,
};
use prost::Message;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::stage::DEADLINE;

/// What carries the links of this test program: the same tests are two programs.
pub fn carrier() -> Transport {
    if env!("CARGO_CRATE_NAME").ends_with("_tcp") {
        Transport::Tcp
    } else {
        Transport::Quic
    }
}

fn dial() -> DialOptions {
    DialOptions {
        connect_timeout: Duration::from_secs(2),
        carriers: Carriers::Only(carrier()),
        ..DialOptions::default()
    }
}

/// What survives the agent's process.
#[derive(Default)]
pub struct Memory {
    pub identity: Option<AgentIdentity>,
    /// The identity as it was before the hub answered for the first time.
    pub begun: Option<AgentIdentity>,
    pub items: BTreeMap<String, IncomingPut>,
    pub deletes: Vec<IncomingDelete>,
    pub puts: usize,
    pub checkpoint: Option<Checkpoint>,
    pub welcomes: Vec<Welcome>,
    pub closes: Vec<Close>,
    pub permits: Vec<PrunePermit>,
    /// How often the hub knew everything.
    pub in_sync: usize,
    /// What the agent says it can do.
    pub features: u64,
    /// A version that was wanted and does not run, and why.
    pub not_upgraded: (String, String),
    /// How often it was started.
    pub boot_seq: u64,
    /// Whether it was copied from another one.
    pub is_copy: bool,
    /// It has nothing to say until this is notified.
    pub silence: Option<Arc<Notify>>,
}

/// The disk of an agent; clones are the same disk.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Memory>>);

/// A process of an agent.
pub struct FakeAgent {
    pub disk: Disk,
    pub handle: AgentHandle,
    stop: CancellationToken,
    _ends_with_it: tokio_util::task::AbortOnDropHandle<()>,
}

struct Handler {
    disk: Disk,
    instance: String,
    boot_seq: u64,
    uid: String,
}

impl Disk {
    pub fn look<T>(&self, look: impl FnOnce(&mut Memory) -> T) -> T {
        look(
            &mut self
                .0
                .lock()
                .expect("a test that panicked while it looked has failed already"),
        )
    }

    /// Joins with a token; the identity is kept.
    pub async fn join(&self, token: &JoinToken, uid: &str) -> Result<Joined, JoinError> {
        self.join_over(token, uid, dial()).await
    }

    /// The same under a name of its own, with a token of many uses.
    #[allow(dead_code, reason = "of two test programs one has many join")]
    pub async fn join_as(&self, token: &JoinToken, uid: &str, name: &str) -> Result<Joined, JoinError> {
        self.join_with(token, uid, name, dial()).await
    }

    /// The same over other carriers.
    pub async fn join_over(&self, token: &JoinToken, uid: &str, dial: DialOptions) -> Result<Joined, JoinError> {
        self.join_with(token, uid, "", dial).await
    }

    async fn join_with(
        &self,
        token: &JoinToken,
        uid: &str,
        name: &str,
        dial: DialOptions,
    ) -> Result<Joined, JoinError> {
        let stored = self.look(|memory| memory.identity.clone());
        let mut identity = match stored {
            Some(mut identity) => {
                identity.retarget(token);
                identity
            }
            None => AgentIdentity::begin(token).expect("a key can be made"),
        };
        let options = JoinOptions {
            name: name.to_owned(),
            cluster_uid: uid.to_owned(),
            facts: vec![("provider".to_owned(), "test".to_owned())],
            dial,
        };
        join(&mut identity, token, self, options).await
    }

    /// Waits for something to be on the disk.
    pub async fn has<T>(&self, what: &str, look: impl Fn(&mut Memory) -> Option<T>) -> Result<T> {
        eventually(DEADLINE, what, || async {
            self.look(|memory| look(memory).ok_or_else(|| anyhow!("{}", memory.summary())))
        })
        .await
    }
}

impl Memory {
    fn summary(&self) -> String {
        let closes: Vec<String> = self.closes.iter().map(ToString::to_string).collect();
        format!(
            "{} puts, items {:?}, {} deletes, {} welcomes, closes {closes:?}",
            self.puts,
            self.items.keys().collect::<Vec<_>>(),
            self.deletes.len(),
            self.welcomes.len()
        )
    }
}

impl IdentityStore for Disk {
    async fn save(&self, identity: &AgentIdentity) -> Result<(), StoreError> {
        self.look(|memory| {
            memory.begun.get_or_insert_with(|| identity.clone());
            memory.identity = Some(identity.clone());
        });
        Ok(())
    }
}

impl FakeAgent {
    /// Starts a process on a disk that has joined.
    pub fn start(disk: &Disk, uid: &str) -> Result<Self> {
        Self::start_over(disk, uid, dial())
    }

    /// The same over other carriers.
    pub fn start_over(disk: &Disk, uid: &str, dial: DialOptions) -> Result<Self> {
        let (identity, boot_seq, name) = disk.look(|memory| {
            memory.boot_seq += 1;
            let name = if memory.is_copy { "copy" } else { "process" };
            (memory.identity.clone(), memory.boot_seq, name)
        });
        let handler = Handler {
            disk: disk.clone(),
            instance: format!("{name}-{boot_seq}"),
            boot_seq,
            uid: uid.to_owned(),
        };
        let options = AgentOptions {
            dial,
            backoff: BackoffOptions::default(),
            max_item_bytes: 0,
            gather: Gather(Duration::from_millis(200)),
        };
        let identity = identity.context("the agent has not joined")?;
        let (handle, runner) = agent(identity, Arc::new(handler), Arc::new(disk.clone()), options);
        handle.load_desired(|replica| {
            disk.look(|memory| {
                for (key, item) in &memory.items {
                    replica.insert(key, item.digest, &item.owner.uid);
                }
            });
        });
        let stop = CancellationToken::new();
        let until = stop.clone();
        let task = tokio::spawn(async move {
            let _ = runner.run(until).await; // how it ended is on the disk
        });
        Ok(FakeAgent {
            disk: disk.clone(),
            handle,
            stop,
            _ends_with_it: tokio_util::task::AbortOnDropHandle::new(task),
        })
    }

    /// Waits until the item is there and reads it.
    pub async fn item(&self, key: &str, puts: usize) -> Result<(IncomingPut, Bundle)> {
        let item = self
            .disk
            .has(&format!("put {puts} of {key}"), |memory| {
                let item = memory.items.get(key).filter(|_| memory.puts >= puts);
                item.cloned()
            })
            .await?;
        let bundle = Bundle::read(item.payload.clone())?;
        Ok((item, bundle))
    }

    /// Fetches the files of an item's artifact.
    pub async fn files(&self, bundle: &Bundle) -> Result<BTreeMap<String, Bytes>> {
        let artifact = bundle.artifact.as_ref().context("the item names an artifact")?;
        let wanted = Digest::from_slice(&artifact.manifest_digest).context("its digest has 32 bytes")?;
        let manifest = self.handle.fetch_manifest(&wanted, |_| true).await?;
        let mut files = BTreeMap::new();
        for file in &manifest.files {
            let chunks: Vec<Digest> = file
                .chunks
                .iter()
                .filter_map(|chunk| Digest::from_slice(&chunk.digest))
                .collect();
            let mut content = Vec::new();
            self.handle
                .fetch_chunks(&wanted, &chunks, |_, piece| content.extend_from_slice(&piece))
                .await?;
            let digest = ArtifactDigest::sha256(&content);
            anyhow::ensure!(digest.bytes() == file.digest, "{} has another digest", file.path);
            files.insert(file.path.clone(), content.into());
        }
        Ok(files)
    }

    /// Reports how an item fares.
    pub fn report(&self, item: &IncomingPut, bundle: &Bundle, state: &str, reason: &str, message: &str) -> Result<()> {
        let status = StatusPayload {
            observed_payload: item.digest.to_vec(),
            observed_manifest: bundle
                .artifact
                .as_ref()
                .map(|a| a.manifest_digest.clone())
                .unwrap_or_default(),
            revision: bundle.artifact.as_ref().map(|a| a.revision.clone()).unwrap_or_default(),
            state: state.to_owned(),
            conditions: vec![Condition {
                r#type: "Ready".to_owned(),
                status: if state == "ready" { "True" } else { "False" }.to_owned(),
                reason: reason.to_owned(),
                message: message.to_owned(),
                ..Condition::default()
            }],
            object: "Kustomization/platform/apps".to_owned(),
            ..StatusPayload::default()
        };
        let owner: &OwnerRef = &item.owner;
        self.handle
            .update_status(|map| map.put(&item.key, owner, status.encode_to_vec().into(), None))
            .map(drop)
            .map_err(Into::into)
    }

    /// Ends the process.
    pub fn stop(self) {
        self.stop.cancel();
    }
}

impl AgentHandler for Handler {
    async fn hello(&self) -> Hello {
        if let Some(silence) = self.disk.look(|memory| memory.silence.clone()) {
            silence.notified().await;
        }
        let (features, (upgrade_version, upgrade_outcome)) =
            self.disk.look(|memory| (memory.features, memory.not_upgraded.clone()));
        Hello {
            features,
            upgrade_version,
            upgrade_outcome,
            instance_id: self.instance.clone(),
            boot_seq: self.boot_seq,
            cluster_uid: self.uid.clone(),
            last: self.disk.look(|memory| memory.checkpoint.clone()),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            k8s_version: "v1.36.3".to_owned(),
            ..Hello::default()
        }
    }

    async fn put(&self, item: IncomingPut) -> Result<(), ItemFailure> {
        self.disk.look(|memory| {
            memory.puts += 1;
            memory.items.insert(item.key.to_string(), item);
        });
        Ok(())
    }

    async fn delete(&self, item: IncomingDelete) -> Result<(), ItemFailure> {
        self.disk.look(|memory| {
            memory.items.remove(&*item.key);
            memory.deletes.push(item);
        });
        Ok(())
    }

    async fn checkpoint(&self, checkpoint: Checkpoint) -> Result<(), StoreError> {
        self.disk.look(|memory| memory.checkpoint = Some(checkpoint));
        Ok(())
    }

    async fn permit(&self, permit: PrunePermit, _plan: PrunePlan) {
        self.disk.look(|memory| memory.permits.push(permit));
    }

    async fn fence(&self, _fence: Fence) -> FenceReply {
        FenceReply {
            contested: false,
            stored_instance_id: self.instance.clone(),
            stored_boot_seq: self.boot_seq,
        }
    }

    fn note(&self, note: AgentNote) {
        self.disk.look(|memory| match note {
            AgentNote::Connected(welcome) => memory.welcomes.push(*welcome),
            AgentNote::Disconnected { close: Some(close), .. } => memory.closes.push(close),
            AgentNote::InSync => memory.in_sync += 1,
            _ => {}
        });
    }
}
