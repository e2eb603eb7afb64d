//! One session of a cluster's agent: what each of its messages means to the hub.

mod hear;
mod renewal;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock},
};

use bytes::Bytes;
use jiff::Timestamp;
use nave_crds::conditions;
use nave_identity::ClusterRef;
use nave_proto::{
    ChunkPolicy, Close, CloseCode, Deletion, Digest, FEATURE_UPGRADE, IncomingDelete, IncomingPut, ItemFailure, Key,
    SessionId, feature_names,
    hub::{Admission, Entry},
    wire::{
        Fence, FenceReply, FetchRefused, Hello, JoinReply, JoinRequest, LinkProfile, Manifest, Mode, PrunePermit,
        PrunePlan, RenewReply,
    },
};
use nave_quic::{HubHandler, HubSessionHandle, JoinHandler as _, Note, SentChunk, Verdict as Answer};

use super::{
    Entrant, FEATURES, Live, Sessions, Silent,
    admissions::Admissions,
    entry::{BEHIND_RENEWS_NOTHING, CONTESTED, FORGED, Old, Reception, Situation, later, receive},
    fetch::Fetch,
    profiles,
};
use crate::{
    cluster_status::Link,
    desired::ClusterState,
    hub_state::Origin,
    identities::Verdict,
    locked,
    metrics::encoding_name,
    view::{Order, cluster_key},
};

/// The hub's side of one connection of a cluster.
pub struct Conversation {
    sessions: Arc<Sessions>,
    entrant: Entrant,
    cluster: ClusterRef,
    number: u64,
    transport: &'static str,
    from: SocketAddr,
    state: Arc<ClusterState>,
    handle: OnceLock<HubSessionHandle>,
    said: Mutex<Said>,
}

/// What was said so far.
struct Said {
    mode: Option<Mode>,
    /// Held until `Hello` is answered.
    silent: Option<Silent>,
}

impl Conversation {
    /// A conversation with a peer that was let in as `cluster`.
    pub fn new(
        sessions: Arc<Sessions>,
        entrant: Entrant,
        cluster: ClusterRef,
        (transport, from): (&'static str, SocketAddr),
        silent: Silent,
    ) -> Self {
        Conversation {
            number: sessions.next_number(),
            state: sessions.shared.desired.cluster(&cluster_key(&cluster)),
            sessions,
            entrant,
            cluster,
            transport,
            from,
            handle: OnceLock::new(),
            said: Mutex::new(Said {
                mode: None,
                silent: Some(silent),
            }),
        }
    }

    /// The state of the cluster.
    pub fn state(&self) -> &Arc<ClusterState> {
        &self.state
    }

    /// By which others reach this session; to be set before it is run.
    pub fn reached_by(&self, handle: HubSessionHandle) {
        // Set once, by whoever made both.
        let _ = self.handle.set(handle);
    }

    fn greet(&self, hello: &Hello) -> Answer {
        let (shared, cluster) = (&self.sessions.shared, &self.cluster);
        let id = SessionId {
            instance_id: hello.instance_id.clone(),
            boot_seq: hello.boot_seq,
            session_seq: hello.session_seq,
        };
        if matches!(self.entrant.entry, Entry::Pending | Entry::Joining) {
            let reason = self.entrant.reason.clone();
            return self.admit(&id, hello, Mode::Pending, reason, Old::Keep, false);
        }
        if shared.checkpoints.admit(&cluster.to_string(), hello.last.as_ref()) == Origin::Forged {
            self.sessions.quarantine(cluster, self.entrant.key, FORGED);
        }
        if self.entrant.entry == Entry::RenewOnly {
            return self.greet_renewing(&id, hello);
        }
        let behind = shared
            .checkpoints
            .behind()
            .borrow()
            .as_ref()
            .map(|behind| behind.reason.clone());
        let known_uid = self.known_uid();
        let stored = self.sessions.stored(cluster);
        let quarantined = self.sessions.quarantine_of(cluster, &self.entrant.key);
        let reception = receive(&Situation {
            incoming: &id,
            stored: stored.as_ref(),
            cluster_uid: (&hello.cluster_uid, &known_uid),
            quarantined: quarantined.as_deref(),
            behind: behind.as_deref(),
        });
        match reception {
            Reception::Close(close) => Answer::Refuse(close),
            Reception::Fence => {
                let stored = stored.map(|stored| stored.id);
                Answer::Fence(Fence {
                    instance_id: stored.as_ref().map(|id| id.instance_id.clone()).unwrap_or_default(),
                    boot_seq: stored.map_or(0, |id| id.boot_seq),
                })
            }
            Reception::Admit {
                mode,
                reason,
                old,
                restored,
            } => {
                if old == Old::Quarantine {
                    self.sessions.quarantine(cluster, self.entrant.key, &reason);
                }
                self.admit(&id, hello, mode, reason, old, restored)
            }
        }
    }

    /// An accepted key without a current certificate: it gets one, or waits.
    fn greet_renewing(&self, id: &SessionId, hello: &Hello) -> Answer {
        let is_behind = self.sessions.shared.checkpoints.behind().borrow().is_some();
        if is_behind && !self.has_current_certificate() {
            return Answer::Refuse(later(BEHIND_RENEWS_NOTHING));
        }
        if let Some(reason) = self.sessions.quarantine_of(&self.cluster, &self.entrant.key) {
            return Answer::Refuse(later(&reason));
        }
        let reason = self.entrant.reason.clone();
        self.admit(id, hello, Mode::RenewOnly, reason, Old::Keep, false)
    }

    /// Whether the peer showed a certificate of ours that has not ended yet.
    fn has_current_certificate(&self) -> bool {
        self.entrant.not_after.is_some_and(|end| end > Timestamp::now())
    }

    fn admit(&self, id: &SessionId, hello: &Hello, mode: Mode, reason: String, old: Old, restored: bool) -> Answer {
        let (mode, verdict) = match self.entrant.entry {
            Entry::Member => (mode, Verdict::Accepted),
            Entry::RenewOnly => (Mode::RenewOnly, Verdict::Accepted),
            Entry::Pending | Entry::Joining => (Mode::Pending, Verdict::Waiting),
        };
        let Some(handle) = self.handle.get().cloned() else {
            return Answer::Refuse(Close::new(CloseCode::Internal, "the session is not ready"));
        };
        let (cluster, shared) = (&self.cluster, &self.sessions.shared);
        let root_version = shared.authority.root_version();
        let root_sets = shared.authority.roots_after(hello.root_set_version);
        let wanted = match mode {
            Mode::Normal if hello.features & FEATURE_UPGRADE != 0 => self.sessions.wanted_version(cluster),
            _ => String::new(),
        };
        let profile = profiles::given(self.sessions.profile_of(cluster), hello.features & FEATURES);
        let connection = handle.connection().clone();
        let live = Live {
            number: self.number,
            key: self.entrant.key,
            verdict,
            root_version,
            wanted: wanted.clone(),
            // One in which items flow was welcomed before anybody said so.
            by_hand: !matches!(mode, Mode::Normal | Mode::Behind) && shared.identities.quarantined(cluster).is_some(),
            handle,
        };
        if old == Old::Quarantine
            && let Some(before) = self.sessions.take_live(cluster)
        {
            before
                .handle
                .close(Close::new(CloseCode::Reconnect, "two agents claim to be this cluster"));
        }
        match self.sessions.enlist(cluster, id, mode, live) {
            Ok(before) => self.end_before(id, before, old),
            Err(close) => return Answer::Refuse(close),
        }
        if matches!(mode, Mode::Normal | Mode::Behind) {
            // What a copy of the agent carries is not the cluster's.
            shared.traffic.opened(self.number, &cluster_key(cluster), connection);
        }
        {
            let mut said = locked::mutex(&self.said);
            said.mode = Some(mode);
            said.silent = None;
        }
        shared.metrics.sessions.inc();
        shared.metrics.agents.with_label_values(&[mode_name(mode)]).inc();
        shared.metrics.transports.with_label_values(&[self.transport]).inc();
        tracing::info!(
            %cluster, key = %self.entrant.key, from = %self.from, transport = self.transport, mode = mode_name(mode),
            boot_seq = id.boot_seq, session_seq = id.session_seq, reason, "session opened"
        );
        let restored = restored.then(|| Timestamp::now().as_second().unsigned_abs());
        if let Some(second) = restored {
            shared.brake.restored(&cluster_key(cluster), second);
        }
        self.report_open(id, hello, (mode, profile), &reason, restored);
        if matches!(mode, Mode::Normal | Mode::Quarantined) {
            shared.view.connection_changed(&cluster_key(cluster));
        }
        Answer::Admit(Admission {
            mode,
            profile,
            reason,
            cluster_ns: cluster.namespace.clone(),
            cluster_name: cluster.name.clone(),
            root_sets,
            agent_version: wanted,
        })
    }

    /// What becomes of the session whose place this one took.
    fn end_before(&self, id: &SessionId, before: Option<Live>, old: Old) {
        let Some(before) = before else { return };
        match old {
            Old::Fence => {
                // One that takes no command is gone already.
                let _ = before.handle.fence(Fence {
                    instance_id: id.instance_id.clone(),
                    boot_seq: id.boot_seq,
                });
            }
            Old::Cut | Old::Keep | Old::Quarantine => {
                before
                    .handle
                    .close(Close::new(CloseCode::Superseded, "a newer connection took over"));
            }
        }
    }

    fn report_open(
        &self,
        id: &SessionId,
        hello: &Hello,
        (mode, profile): (Mode, LinkProfile),
        reason: &str,
        restored: Option<u64>,
    ) {
        let limited = match mode {
            Mode::Normal => None,
            Mode::Behind => Some((conditions::BEHIND, reason.to_owned())),
            Mode::Quarantined => Some((conditions::QUARANTINED, reason.to_owned())),
            // Its key is listed among those that wait; what else it says is not the cluster's.
            Mode::Pending => return,
            Mode::RenewOnly => {
                let statuses = &self.sessions.shared.statuses;
                return statuses.opened(&self.cluster, |seen| seen.renewing = Some(reason.to_owned()));
            }
        };
        let difference = hello.clock_ms.saturating_sub(Timestamp::now().as_millisecond());
        let policy = Digest::from_slice(&hello.policy_digest).map(|digest| digest.to_string());
        let facts: BTreeMap<String, String> = hello
            .facts
            .iter()
            .map(|fact| (fact.key.clone(), fact.value.clone()))
            .collect();
        self.sessions.shared.statuses.opened(&self.cluster, |seen| {
            if mode == Mode::Quarantined {
                seen.quarantined.insert(self.number, reason.to_owned());
                if matches!(seen.link, Link::Open { .. }) {
                    return; // what is shown is the session that was there first
                }
            }
            seen.renewing = None;
            seen.session = self.number;
            seen.link = Link::Open {
                transport: self.transport,
                instance_id: id.instance_id.clone(),
                boot_seq: id.boot_seq,
                limited,
            };
            if restored.is_some() {
                seen.restored = restored;
            }
            seen.not_upgraded = (hello.upgrade_version.clone(), hello.upgrade_outcome.clone());
            seen.profile = profile;
            seen.agent_version.clone_from(&hello.agent_version);
            seen.features = feature_names(hello.features & FEATURES);
            seen.kubernetes_version.clone_from(&hello.k8s_version);
            seen.policy_digest = policy.unwrap_or_default();
            seen.clock_difference_ms = difference;
            if !facts.is_empty() {
                seen.facts = facts;
            }
        });
    }

    fn known_uid(&self) -> String {
        let object = self
            .sessions
            .shared
            .clusters
            .get(&self.cluster.namespace, &self.cluster.name);
        let identity = object.and_then(|object| object.spec.identity.clone());
        identity.map(|identity| identity.cluster_uid).unwrap_or_default()
    }

    /// The process said whether it still is the spoke's agent, or did not answer: either way this session ends.
    fn fenced(&self, reply: Option<&FenceReply>) -> Close {
        if !reply.is_some_and(|reply| reply.contested) {
            return Close::new(CloseCode::Fenced, "another process of this spoke has taken over");
        }
        let reason = CONTESTED;
        self.sessions.quarantine(&self.cluster, self.entrant.key, reason);
        let close = Close::new(CloseCode::Reconnect, reason);
        self.sessions.close_other(&self.cluster, self.number, &close);
        close
    }

    /// The connection is gone.
    pub fn ended(&self, reason: &str) {
        let Some(mode) = locked::mutex(&self.said).mode.take() else {
            return;
        };
        let (shared, cluster) = (&self.sessions.shared, &self.cluster);
        shared.metrics.agents.with_label_values(&[mode_name(mode)]).dec();
        shared.metrics.transports.with_label_values(&[self.transport]).dec();
        shared.traffic.closed(self.number);
        tracing::info!(%cluster, reason, "session closed");
        if self.sessions.delist(cluster, self.number) {
            shared.statuses.closed(cluster, self.number, reason);
        }
    }

    fn row_order(&self, version: u64) -> Order {
        Order {
            session: self.number,
            version,
        }
    }

    fn fetch(&self) -> Fetch<'_> {
        Fetch {
            state: &self.state,
            manifests: &self.sessions.shared.manifests,
        }
    }
}

impl ChunkPolicy for Conversation {
    fn holds_manifest(&self, manifest: &Digest) -> bool {
        self.fetch().holds_manifest(manifest)
    }

    fn has_chunk(&self, manifest: &Digest, chunk: &Digest) -> bool {
        self.fetch().has_chunk(manifest, chunk)
    }
}

impl HubHandler for Conversation {
    async fn hello(&self, hello: Hello) -> Answer {
        self.greet(&hello)
    }

    async fn join(&self, request: JoinRequest) -> Result<JoinReply, Close> {
        Admissions(self.sessions.clone()).join(request, self.entrant.key).await
    }

    async fn fence_answer(&self, reply: Option<FenceReply>) -> Answer {
        Answer::Refuse(self.fenced(reply.as_ref()))
    }

    async fn renew(&self, csr: Vec<u8>) -> RenewReply {
        self.renewed(&csr).await
    }

    async fn status(&self, row: IncomingPut) -> Result<(), ItemFailure> {
        self.take_row(&row)
    }

    async fn status_gone(&self, row: IncomingDelete) -> Result<(), ItemFailure> {
        let (order, cluster) = (self.row_order(row.version), cluster_key(&self.cluster));
        let shared = &self.sessions.shared;
        shared.view.remove(&cluster, &row.key, order);
        shared.brake.settled(&cluster, &row.key);
        Ok(())
    }

    async fn plan(&self, plan: PrunePlan) -> Option<PrunePermit> {
        self.decide_plan(&plan)
    }

    /// Never deletes at once: what is known about the owner goes through a plan and a checkpoint like everything else.
    fn orphan(&self, key: &Key, owner_uid: &str) -> Option<Deletion> {
        self.hear_of_orphan(key, owner_uid);
        None
    }

    async fn load_manifest(&self, manifest: &Digest) -> Result<Arc<Manifest>, FetchRefused> {
        self.fetch()
            .manifest(manifest)
            .ok_or_else(|| self.unavailable("manifest"))
    }

    async fn load_chunk(&self, manifest: &Digest, chunk: &Digest) -> Result<Bytes, FetchRefused> {
        let content = self
            .fetch()
            .chunk(manifest, chunk)
            .ok_or_else(|| self.unavailable("chunk"))?;
        self.sessions.shared.metrics.chunk_bytes.inc_by(content.len() as u64);
        Ok(content)
    }

    fn dictionary(&self, manifest: &Digest, chunk: &Digest, older: &Digest) -> Option<Bytes> {
        self.fetch().dictionary(manifest, chunk, older)
    }

    fn sent(&self, chunk: SentChunk) {
        let series = &self.sessions.shared.metrics.chunk_sent_bytes;
        series
            .with_label_values(&[encoding_name(chunk.encoding)])
            .inc_by(chunk.sent as u64);
    }

    fn note(&self, note: Note) {
        match note {
            Note::Taken { key, .. } => {
                self.state.settled(&key);
                self.sessions
                    .shared
                    .metrics
                    .acknowledged
                    .with_label_values(&["taken"])
                    .inc();
            }
            Note::Failed { key, code, message, .. } => self.not_taken(&key, code, &message),
            Note::Event(event) => self.tell_event(&event),
            Note::InSync => tracing::debug!(cluster = %self.cluster, "in sync"),
            Note::Heartbeat { .. } => {}
            Note::Policy(digest) => self.hear_of_policy(&digest),
        }
    }
}

impl Drop for Conversation {
    /// However the driver ends, the session is off the list.
    fn drop(&mut self) {
        self.ended("connection dropped");
    }
}

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Normal => "normal",
        Mode::Behind => "behind",
        Mode::Quarantined => "quarantined",
        Mode::Pending => "pending",
        Mode::RenewOnly => "renew_only",
    }
}
