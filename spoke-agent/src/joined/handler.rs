//! What the link asks of the agent and tells it.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use nave_artifact::Manifest;
use nave_proto::{
    AfterClose, Close, CloseCode, Deletion, Digest, FEATURE_LIVE, FEATURE_UPGRADE, IncomingDelete, IncomingPut,
    ItemFailure,
    wire::{
        self, Checkpoint, DeleteCause, DeletePolicy, Fact, FailCode, Fence, FenceReply, Hello, LiveEnd, LiveRequest,
        Mode, OwnerRef, PrunePermit, PrunePlan,
    },
};
use nave_quic::{AgentHandle, AgentHandler, AgentNote, LiveSink, Older, StoreError};
use nave_runtime::Tasks;

use super::{
    artifacts::{self, Before, Fetch},
    items::{hex, unhex},
    live::LiveReads,
    orders::LinkReport,
    permits::LinkPermits,
    reporter::StatusSink,
    state::{LastCheckpoint, StateStore, StoredCheckpoint},
    upgrade::Upgrades,
    worker::Worker,
};

/// How often an item is tried again when something that may pass stood in its way.
const TRIES: u32 = 4;
/// Before the second try; doubled for each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Who this process is.
#[derive(Debug, Clone)]
pub struct Myself {
    /// Random, new with each process.
    pub instance_id: String,
    /// Raised in the spoke at start.
    pub boot_seq: u64,
    /// UID of the spoke's `kube-system` namespace.
    pub cluster_uid: String,
    /// Of the API server.
    pub kubernetes_version: String,
}

/// The agent's side of the link.
pub struct Handler {
    /// Who we are.
    pub myself: Myself,
    /// Which version runs, and why not another.
    pub upgrades: Arc<Upgrades>,
    /// Where people look how the link stands.
    pub report: LinkReport,
    /// What outlives the process.
    pub state: StateStore,
    /// What the hub showed last.
    pub last: LastCheckpoint,
    /// Who carries items out.
    pub worker: Worker,
    /// Who waits for permits.
    pub permits: LinkPermits,
    /// Who reads for people at the hub.
    pub live: Arc<LiveReads>,
    /// The link itself, once it is there.
    pub link: Arc<OnceLock<AgentHandle>>,
    /// For what goes on after an item was taken.
    pub tasks: Tasks,
}

impl AgentHandler for Handler {
    async fn hello(&self) -> Hello {
        let last = self.last.get().map(|stored| Checkpoint {
            incarnation: stored.incarnation,
            seq: stored.seq,
            nonce: unhex(&stored.nonce),
        });
        let (upgrade_version, upgrade_outcome) = self.upgrades.outcome().await;
        Hello {
            upgrade_version,
            upgrade_outcome,
            instance_id: self.myself.instance_id.clone(),
            boot_seq: self.myself.boot_seq,
            cluster_uid: self.myself.cluster_uid.clone(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            k8s_version: self.myself.kubernetes_version.clone(),
            last,
            facts: facts(),
            policy_digest: self.worker.policy.digest(),
            features: FEATURE_LIVE | FEATURE_UPGRADE,
            ..Hello::default()
        }
    }

    async fn put(&self, item: IncomingPut) -> Result<(), ItemFailure> {
        let digest = item.digest.to_vec();
        let fetch = LinkFetch(self.link.clone());
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let put = self
                .worker
                .put(&item.key, &item.owner, &digest, item.payload.clone(), &fetch)
                .await;
            match put {
                Ok(()) => return Ok(()),
                Err(failure) if failure.code == FailCode::Internal && attempt < TRIES => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                Err(failure) => {
                    return Err(ItemFailure {
                        code: failure.code,
                        message: failure.message,
                    });
                }
            }
        }
        unreachable!("the loop ends at its last try")
    }

    async fn delete(&self, item: IncomingDelete) -> Result<(), ItemFailure> {
        let orphan = item.policy == DeletePolicy::Orphan;
        self.worker
            .note_deletion(&item.key, orphan)
            .map_err(|error| ItemFailure {
                code: FailCode::Internal,
                message: format!("{error:#}"),
            })?;
        self.worker.finish_deletion(item.key.to_string(), &self.tasks);
        Ok(())
    }

    async fn checkpoint(&self, checkpoint: Checkpoint) -> Result<(), StoreError> {
        let stored = StoredCheckpoint {
            incarnation: checkpoint.incarnation,
            seq: checkpoint.seq,
            nonce: hex(&checkpoint.nonce),
        };
        self.last.keep(&self.state, stored).await.map_err(Into::into)
    }

    async fn permit(&self, permit: PrunePermit, plan: PrunePlan) {
        tracing::info!(
            item = plan.key,
            deletes = plan.deletes,
            granted = permit.granted,
            "prune plan answered"
        );
        self.permits.answered(&permit, &plan.key);
    }

    async fn fence(&self, fence: Fence) -> FenceReply {
        match self.state.load().await {
            Ok(state) => {
                let contested = state.instance_id == self.myself.instance_id && state.boot_seq == self.myself.boot_seq;
                tracing::warn!(
                    other = fence.instance_id,
                    contested,
                    "another process says that it is this agent"
                );
                FenceReply {
                    contested,
                    stored_instance_id: state.instance_id,
                    stored_boot_seq: state.boot_seq,
                }
            }
            Err(error) => {
                tracing::error!("reading who this agent is: {error:#}");
                FenceReply::default()
            }
        }
    }

    async fn live(&self, request: LiveRequest, sink: LiveSink) -> LiveEnd {
        self.live.serve(request, sink).await
    }

    fn note(&self, note: AgentNote) {
        match note {
            AgentNote::Connected(welcome) => {
                self.report.say("Connected", &welcome.reason);
                tracing::info!(
                    cluster = welcome.cluster_name,
                    mode = welcome.mode,
                    reason = welcome.reason,
                    "connected to the hub"
                );
                if welcome.mode == Mode::Normal as i32 {
                    self.upgrade_to(welcome.agent_version);
                }
            }
            AgentNote::Disconnected {
                reason,
                close,
                retry_in,
            } => match close {
                Some(close) if close.after() == AfterClose::Rarely => {
                    self.report.say("Refused", &reason);
                    tracing::error!(%reason, code = ?close.code(), ?retry_in, "refused by the hub; the cluster is reconciled without it meanwhile");
                }
                Some(close) => tracing::warn!(%reason, code = ?close.code(), ?retry_in, "refused or left by the hub"),
                None => tracing::info!(%reason, ?retry_in, "not connected to the hub"),
            },
            AgentNote::Renewed => tracing::info!("certificate renewed"),
            AgentNote::RenewalHeld { reason } => tracing::warn!(reason, "the hub did not renew the certificate"),
            AgentNote::RootsAdvanced { version } => tracing::info!(version, "the hub's roots changed"),
            AgentNote::StatusFailed { key, code, message } => {
                tracing::warn!(item = %key, ?code, message, "the hub did not take a report");
            }
            AgentNote::InSync => tracing::debug!("the hub knows everything"),
        }
    }
}

impl Handler {
    /// In the background: it asks the API server.
    fn upgrade_to(&self, version: String) {
        let (upgrades, link) = (self.upgrades.clone(), self.link.clone());
        let shutdown = self.tasks.shutdown_token().clone();
        self.tasks.spawn("upgrade", async move {
            let tell = tokio::select! {
                _ = shutdown.cancelled() => return,
                tell = upgrades.welcomed(&version) => tell,
            };
            if tell && let Some(connection) = link.get().and_then(AgentHandle::connection) {
                let words = "to say why the agent does not run the version that is wanted";
                connection.close(&Close::new(CloseCode::Reconnect, words));
            }
        });
    }
}

/// What the hub may show of this agent; it selects nothing there.
pub fn facts() -> Vec<Fact> {
    [("os", std::env::consts::OS), ("arch", std::env::consts::ARCH)]
        .map(|(key, value)| Fact {
            key: key.to_owned(),
            value: value.to_owned(),
        })
        .to_vec()
}

/// Reports go into the link's status map, which a live session sends at once and a later one resumes.
pub struct LinkStatus {
    /// The link, once there is one.
    pub link: Arc<OnceLock<AgentHandle>>,
    /// What waits for the hub's word.
    pub permits: LinkPermits,
}

impl StatusSink for LinkStatus {
    fn put(&self, key: &str, owner: &OwnerRef, payload: Bytes) {
        if let Some(link) = self.link.get()
            && let Err(error) = link.update_status(|status| status.put(key, owner, payload, None))
        {
            tracing::warn!(item = key, %error, "a report cannot be sent");
        }
    }

    fn settled(&self, key: &str) {
        self.permits.settled(key);
    }

    fn remove(&self, key: &str, owner: &OwnerRef) {
        self.permits.settled(key);
        if let Some(link) = self.link.get() {
            link.update_status(|status| {
                status.delete(
                    key,
                    Deletion {
                        owner: owner.clone(),
                        cause: DeleteCause::Gone,
                        policy: DeletePolicy::Prune,
                        change_id: String::new(),
                    },
                )
            });
        }
    }
}

/// Manifests and chunks come over the link.
struct LinkFetch(Arc<OnceLock<AgentHandle>>);

impl Fetch for LinkFetch {
    fn manifest<'a>(&'a self, digest: &'a [u8]) -> BoxFuture<'a, Result<wire::Manifest, String>> {
        Box::pin(async move {
            let (link, digest) = (self.link()?, parse(digest)?);
            let is_right = |manifest: &wire::Manifest| {
                artifacts::read(manifest.clone())
                    .is_ok_and(|manifest: Manifest| manifest.digest().bytes() == digest.to_vec())
            };
            link.fetch_manifest(&digest, is_right)
                .await
                .map_err(|error| chain(&error))
        })
    }

    fn chunks<'a>(
        &'a self,
        manifest: &'a [u8],
        digests: &'a [Vec<u8>],
        before: Option<Before<'a>>,
    ) -> BoxFuture<'a, Result<Vec<Vec<u8>>, String>> {
        Box::pin(async move {
            let (link, manifest) = (self.link()?, parse(manifest)?);
            let wanted = digests
                .iter()
                .map(|digest| parse(digest))
                .collect::<Result<Vec<Digest>, String>>()?;
            let mut found = Vec::with_capacity(wanted.len());
            let dictionary = |chunk: &Digest| before.and_then(|before| (before.dictionary)(&chunk.as_bytes()[..]));
            let older = match before {
                Some(before) => Some(Older {
                    manifest: parse(before.manifest)?,
                    dictionary: &dictionary,
                }),
                None => None,
            };
            link.fetch_changes(&manifest, &wanted, older, |_, bytes| found.push(bytes.to_vec()))
                .await
                .map_err(|error| chain(&error))?;
            Ok(found)
        })
    }
}

impl LinkFetch {
    fn link(&self) -> Result<&AgentHandle, String> {
        self.0.get().ok_or_else(|| "the link is not there yet".to_owned())
    }
}

fn parse(digest: &[u8]) -> Result<Digest, String> {
    Digest::from_slice(digest).ok_or_else(|| "a digest does not have 32 bytes".to_owned())
}

/// An error with its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}
