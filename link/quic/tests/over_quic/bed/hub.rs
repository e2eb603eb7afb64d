//! A hub that keeps clusters and tokens in memory and decides by the pure functions, as the real one does.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use nave_identity::{
    Approval, Authority, AuthorityRole, CertificateRequest, ClusterKeys, ClusterRef, ExistingCluster, JoinAttempt,
    JoinToken, KeyFingerprint, PeerCertificate, Registry, RootSet, ServerCertificates, SignedRootSet, Standing,
    TokenRecord, TrustedRoots, decide_join,
};
use nave_proto::hub::{Admission, Config, Entry};
use nave_proto::wire::{
    Fact, Fence, FenceReply, FetchRefused, Hello, JoinReply, JoinRequest, JoinState, LinkProfile, Manifest,
    ManifestChunk, ManifestFile, Mode, OwnerRef, PrunePermit, PrunePlan, RefusalCode, RenewCode, RenewReply,
};
use nave_proto::{
    ChunkPolicy, Close, CloseCode, Deletion, Digest, Fencing, IncomingDelete, IncomingPut, ItemFailure, Key, SessionId,
    StoredSession, decide_fencing,
};
use nave_quic::{
    ClusterLink, EgressBudget, HubHandler, HubListener, HubSessionHandle, JoinHandler, ListenerOptions, Note, ResetKey,
    SentChunk, Verdict, entry, hub_session, refusal, serve_join,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Short, and long enough for a busy machine: three of them without a word end a session.
pub const HEARTBEAT_MS: u32 = 700;
/// Of a metered line.
pub const METERED_MS: u32 = 1100;

pub struct TestHub {
    pub inner: Arc<Inner>,
    pub address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

pub struct Inner {
    pub server_authority: Authority,
    pub client_authority: Authority,
    pub certificates: ServerCertificates,
    pub roots: Mutex<SignedRootSet>,
    pub state: Mutex<State>,
    /// Artifacts by manifest digest, and which clusters have them in their desired set.
    pub artifacts: Mutex<HashMap<Digest, Artifact>>,
    /// What lines can bear.
    pub profile: Mutex<LinkProfile>,
    /// What sessions share.
    pub budget: Mutex<Option<Arc<EgressBudget>>>,
    /// What was sent of chunks.
    pub sent: Mutex<Vec<SentChunk>>,
    /// How long a certificate issued at join lasts.
    pub lifetime: Mutex<SignedDuration>,
    /// Whoever joins gets no answer.
    pub joins_wait: AtomicBool,
    /// How many wait for one.
    pub joins_waiting: AtomicUsize,
}

#[derive(Default)]
pub struct State {
    pub registry: Registry,
    pub tokens: BTreeMap<String, TokenRecord>,
    pub clusters: HashMap<ClusterRef, ClusterState>,
    pub grants: bool,
    pub plans: Vec<PrunePlan>,
    pub facts: Vec<Fact>,
}

#[derive(Default)]
pub struct ClusterState {
    pub keys: ClusterKeys,
    pub cluster_uid: String,
    pub link: Arc<ClusterLink>,
    pub handle: Option<HubSessionHandle>,
    pub stored: Option<StoredSession>,
    pub rows: BTreeMap<String, Bytes>,
    pub notes: Vec<Note>,
    pub quarantined: bool,
}

#[derive(Clone)]
pub struct Artifact {
    pub manifest: Arc<Manifest>,
    pub chunks: HashMap<Digest, Bytes>,
    pub clusters: HashSet<ClusterRef>,
}

#[derive(Clone)]
pub struct TokenSpec {
    pub name: &'static str,
    pub expires_in: SignedDuration,
    pub uses: u32,
    pub approval: Option<Approval>,
    pub revoked: bool,
}

impl Default for TokenSpec {
    fn default() -> Self {
        let expires_in = SignedDuration::from_hours(1);
        Self {
            name: "",
            expires_in,
            uses: 1,
            approval: Some(Approval::Automatic),
            revoked: false,
        }
    }
}

impl TestHub {
    pub fn start() -> Self {
        Self::start_with(Self::options())
    }

    /// Short times, and a reset key that outlives the process, as a Secret does.
    pub fn options() -> ListenerOptions {
        ListenerOptions {
            idle_timeout: Duration::from_millis(3000),
            reset_key: Some(ResetKey([7; 64])),
            ..ListenerOptions::default()
        }
    }

    pub fn start_with(options: ListenerOptions) -> Self {
        let now = Timestamp::now();
        let year = SignedDuration::from_hours(24 * 365);
        let server_authority = Authority::generate(AuthorityRole::Server, now, year).expect("generation works");
        let client_authority = Authority::generate(AuthorityRole::Client, now, year).expect("generation works");
        let server = server_authority
            .issue_server(now, SignedDuration::from_hours(24))
            .expect("issuing works");
        let first = RootSet::first(vec![server_authority.certificate().clone()], None);
        let roots = first.sign(&[server_authority.key()]).expect("signing works");
        let inner = Inner {
            certificates: ServerCertificates::new(&server).expect("usable identity"),
            server_authority,
            client_authority,
            roots: Mutex::new(roots),
            state: Mutex::new(State {
                grants: true,
                ..State::default()
            }),
            artifacts: Mutex::default(),
            profile: Mutex::default(),
            budget: Mutex::default(),
            sent: Mutex::default(),
            lifetime: Mutex::new(SignedDuration::from_hours(24)),
            joins_wait: AtomicBool::new(false),
            joins_waiting: AtomicUsize::new(0),
        };
        Self::open(Arc::new(inner), "127.0.0.1:0".parse().expect("an address"), options)
    }

    fn open(inner: Arc<Inner>, address: SocketAddr, options: ListenerOptions) -> Self {
        let listener = HubListener::bind(address, inner.certificates.clone(), options).expect("the port is free");
        let address = listener.local_addr().expect("bound");
        let stop = CancellationToken::new();
        let task = tokio::spawn(accept(inner.clone(), listener, stop.clone()));
        Self {
            inner,
            address,
            stop,
            task,
        }
    }

    /// Ends in order: agents are told.
    pub async fn shut(self) -> (Arc<Inner>, SocketAddr) {
        self.stop.cancel();
        self.task.await.expect("the hub does not panic");
        (self.inner, self.address)
    }

    /// Opens again where it was, with what it remembers.
    pub fn reopen((inner, address): (Arc<Inner>, SocketAddr)) -> Self {
        Self::open(inner, address, Self::options())
    }

    pub fn token(&self, id: &str, spec: TokenSpec) -> JoinToken {
        self.token_at(id, spec, self.address.to_string())
    }

    pub fn token_at(&self, id: &str, spec: TokenSpec, address: String) -> JoinToken {
        let pin = self.inner.server_authority.fingerprint();
        let issued = JoinToken::issue(vec![address], pin, id.to_owned()).expect("valid arguments");
        let record = TokenRecord {
            namespace: "platform".to_owned(),
            hash: issued.hash,
            expires_at: Timestamp::now() + spec.expires_in,
            uses: spec.uses,
            approval: spec.approval,
            revoked: spec.revoked,
            cluster_uid: String::new(),
            name: spec.name.to_owned(),
            name_prefix: String::new(),
            used: Vec::new(),
        };
        let mut state = self.inner.lock();
        state.tokens.insert(id.to_owned(), record);
        state.registry.set_token(id.to_owned());
        issued.token
    }

    pub fn link(&self, name: &str) -> Arc<ClusterLink> {
        self.inner.lock().clusters[&cluster(name)].link.clone()
    }

    pub fn put(&self, name: &str, key: &str, payload: &str) {
        let payload = Bytes::from(payload.to_owned());
        self.link(name)
            .update(|desired| desired.put(key, &owner(), payload, None))
            .expect("valid item");
    }

    pub fn delete(&self, name: &str, key: &str) {
        let deletion = Deletion {
            owner: owner(),
            cause: nave_proto::wire::DeleteCause::NotPlaced,
            policy: nave_proto::wire::DeletePolicy::Prune,
            change_id: "change".to_owned(),
        };
        self.link(name).update(|desired| desired.delete(key, deletion));
    }

    pub fn row(&self, name: &str, key: &str) -> Option<Bytes> {
        self.inner.lock().clusters[&cluster(name)].rows.get(key).cloned()
    }

    pub fn with<T>(&self, name: &str, look: impl FnOnce(&mut ClusterState) -> T) -> T {
        look(
            self.inner
                .lock()
                .clusters
                .get_mut(&cluster(name))
                .expect("the cluster exists"),
        )
    }

    pub fn handle(&self, name: &str) -> HubSessionHandle {
        self.with(name, |cluster| cluster.handle.clone())
            .expect("a session is live")
    }

    pub fn approve(&self, name: &str) {
        let mut state = self.inner.lock();
        let known = state.clusters.get_mut(&cluster(name)).expect("the cluster exists");
        known.keys.accepted = true;
        let (keys, handle) = (known.keys.clone(), known.handle.clone());
        state.registry.set_cluster(cluster(name), keys);
        drop(state);
        if let Some(handle) = handle {
            handle.close(Close::new(CloseCode::Reconnect, "approved"));
        }
    }

    pub fn revoke(&self, name: &str, reason: &str) {
        let mut state = self.inner.lock();
        let known = &state.clusters[&cluster(name)];
        let (keys, handle) = (known.keys.keys.clone(), known.handle.clone());
        for key in keys {
            state.registry.revoke(key, reason);
        }
        drop(state);
        if let Some(handle) = handle {
            handle.close(Close::new(CloseCode::KeyRevoked, format!("key revoked: {reason}")));
        }
    }

    /// Adds an artifact of random-looking content to a cluster's desired set; the digest that names it.
    pub fn publish(&self, name: &str, files: &[(&str, Vec<u8>)]) -> Digest {
        let mut made = artifact(files);
        made.1.clusters.insert(cluster(name));
        self.inner
            .artifacts
            .lock()
            .expect("no panic holds it")
            .insert(made.0, made.1);
        made.0
    }

    /// Rotates the root: both roots in the next set, signed by the old one. The server goes on with the new one.
    pub fn rotate_root(&self) -> (SignedRootSet, ServerCertificates) {
        let now = Timestamp::now();
        let next = Authority::generate(AuthorityRole::Server, now, SignedDuration::from_hours(24));
        let next = next.expect("generation works");
        let mut roots = self.inner.roots.lock().expect("no panic holds it");
        let pin = self.inner.server_authority.fingerprint();
        let trusted = TrustedRoots::pinned(roots.clone(), pin).expect("own set");
        let both = vec![
            self.inner.server_authority.certificate().clone(),
            next.certificate().clone(),
        ];
        let signed = RootSet::following(&trusted, both)
            .sign(&[self.inner.server_authority.key()])
            .expect("signs");
        *roots = signed.clone();
        let server = next
            .issue_server(now, SignedDuration::from_hours(24))
            .expect("issuing works");
        self.inner.certificates.replace(&server).expect("usable identity");
        (signed, self.inner.certificates.clone())
    }
}

/// A manifest of files in chunks of 256 KiB. The digest is over path and content digests, as long as both ends agree.
pub fn artifact(files: &[(&str, Vec<u8>)]) -> (Digest, Artifact) {
    let mut chunks = HashMap::new();
    let file = |(path, content): &(&str, Vec<u8>)| {
        let mut parts = Vec::new();
        for part in content.chunks(256 * 1024) {
            let digest = Digest::of_content(part);
            chunks.insert(digest, Bytes::copy_from_slice(part));
            parts.push(ManifestChunk {
                digest: digest.to_vec(),
                size: part.len() as u32,
            });
        }
        ManifestFile {
            path: (*path).to_owned(),
            mode: 0o644,
            size: content.len() as u64,
            digest: Digest::of_content(content).to_vec(),
            chunks: parts,
        }
    };
    let manifest = Manifest {
        files: files.iter().map(file).collect(),
        evidence: Vec::new(),
    };
    let digest = manifest_digest(&manifest);
    (
        digest,
        Artifact {
            manifest: Arc::new(manifest),
            chunks,
            clusters: HashSet::new(),
        },
    )
}

pub fn manifest_digest(manifest: &Manifest) -> Digest {
    let line = |file: &ManifestFile| format!("{} {:?}\n", file.path, file.digest);
    Digest::of_content(manifest.files.iter().map(line).collect::<String>().as_bytes())
}

pub fn cluster(name: &str) -> ClusterRef {
    ClusterRef::new("platform", name)
}

pub fn owner() -> OwnerRef {
    OwnerRef {
        kind: "FleetKustomization".into(),
        ns: "platform".into(),
        name: "apps".into(),
        uid: "uid-1".into(),
    }
}

impl Inner {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic holds it")
    }
}

async fn accept(inner: Arc<Inner>, mut listener: HubListener, stop: CancellationToken) {
    let config = Arc::new(Config {
        hub_uid: "hub".to_owned(),
        features: nave_proto::FEATURE_LIVE | nave_proto::FEATURE_METERED | nave_proto::FEATURE_DICTIONARIES,
        heartbeat_ms: HEARTBEAT_MS,
        metered_heartbeat_ms: METERED_MS,
        reconnect_window_ms: 50,
        ..Config::default()
    });
    let mut sessions = tokio::task::JoinSet::new();
    loop {
        let connection = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = sessions.join_next() => continue,
            connection = listener.accept() => match connection {
                Some(connection) => connection,
                None => break,
            },
        };
        let authorities = [inner.client_authority.certificate().clone()];
        let Ok(peer) = PeerCertificate::read(connection.peer_certificate(), &authorities) else {
            continue;
        };
        let standing = inner.lock().registry.decide(&peer, Timestamp::now());
        if let Some(close) = refusal(&standing) {
            connection.close(&close);
            continue;
        }
        let entry = entry(&standing).expect("not refused");
        let cluster = match standing {
            Standing::Known { cluster, .. } | Standing::RenewOnly { cluster, .. } => cluster,
            _ => {
                let handler = Arc::new(Joiner(inner.clone()));
                sessions.spawn({
                    let (config, stop) = (config.clone(), stop.child_token());
                    async move { drop(serve_join(connection, handler, config, stop).await) }
                });
                continue;
            }
        };
        let key = connection.peer_key();
        let link = inner.lock().clusters[&cluster].link.clone();
        let handler = Arc::new_cyclic(|_| Handler {
            inner: inner.clone(),
            cluster: cluster.clone(),
            key,
            entry,
            handle: Mutex::new(None),
            hello: Mutex::new(None),
        });
        let (handle, session) = hub_session(connection, entry, link, handler.clone(), config.clone());
        *handler.handle.lock().expect("no panic holds it") = Some(handle);
        let session = session.within(inner.budget.lock().expect("no panic holds it").clone());
        let stop = stop.child_token();
        sessions.spawn(async move {
            let end = session.run(stop).await;
            handler.ended(end.welcomed);
        });
    }
    listener
        .shut(&Close::new(CloseCode::ShuttingDown, "the hub shuts down"))
        .await;
    while sessions.join_next().await.is_some() {}
}

struct Joiner(Arc<Inner>);

impl JoinHandler for Joiner {
    async fn join(&self, request: JoinRequest, key: KeyFingerprint) -> Result<JoinReply, Close> {
        if self.0.joins_wait.load(Ordering::SeqCst) {
            self.0.joins_waiting.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        let refuse = |error: &dyn std::error::Error| Close::new(CloseCode::JoinRefused, error.to_string());
        let csr = CertificateRequest::read(&request.csr).map_err(|error| refuse(&error))?;
        let now = Timestamp::now();
        let attempt = JoinAttempt {
            token_id: &request.token_id,
            secret: &request.token_secret,
            key,
            request_key: csr.key(),
            name: &request.name,
            cluster_uid: &request.cluster_uid,
        };
        let mut guard = self.0.lock();
        let state = &mut *guard;
        let existing = |cluster: &ClusterRef| {
            state.clusters.get(cluster).map(|known| ExistingCluster {
                keys: known.keys.keys.clone(),
                pending: known.keys.pending.clone(),
                cluster_uid: known.cluster_uid.clone(),
                accepted: known.keys.accepted,
                by_kubeconfig: false,
            })
        };
        let token = state.tokens.get(&request.token_id);
        let outcome = decide_join(&attempt, token, existing, now).map_err(|error| refuse(&error))?;
        if let (Some(record), Some(token)) = (outcome.record_use, state.tokens.get_mut(&request.token_id)) {
            token.used.push(record);
        }
        let known = state.clusters.entry(outcome.cluster.clone()).or_default();
        known.cluster_uid = request.cluster_uid;
        let granted = outcome.approval == Approval::Automatic;
        match (granted, outcome.create) {
            (true, _) | (false, true) => {
                known.keys.keys.retain(|old| *old != key);
                known.keys.keys.push(key);
                known.keys.accepted |= granted;
            }
            (false, false) => known.keys.pending.push(key),
        }
        state.registry.set_cluster(outcome.cluster.clone(), known.keys.clone());
        state.facts = request.facts;
        drop(guard);
        let mut cert_chain = Vec::new();
        if granted {
            let lifetime = *self.0.lifetime.lock().expect("no panic holds it");
            let issued = self
                .0
                .client_authority
                .issue_client(&csr, &outcome.cluster, now, lifetime);
            cert_chain = issued
                .expect("issuing works")
                .chain
                .into_iter()
                .map(|der| der.to_vec())
                .collect();
        }
        Ok(JoinReply {
            state: if granted {
                JoinState::Admitted
            } else {
                JoinState::Pending
            } as i32,
            cluster_ns: outcome.cluster.namespace,
            cluster_name: outcome.cluster.name,
            cert_chain,
            signed_root_set: self.0.roots.lock().expect("no panic holds it").to_bytes(),
            now_ms: now.as_millisecond(),
        })
    }
}

struct Handler {
    inner: Arc<Inner>,
    cluster: ClusterRef,
    key: KeyFingerprint,
    entry: Entry,
    handle: Mutex<Option<HubSessionHandle>>,
    hello: Mutex<Option<Hello>>,
}

impl Handler {
    fn admission(&self, mode: Mode, root_set_version: u64) -> Verdict {
        let roots = self.inner.roots.lock().expect("no panic holds it").clone();
        let pin = self.inner.server_authority.fingerprint();
        let version = TrustedRoots::pinned(roots.clone(), pin).expect("own set").version();
        Verdict::Admit(Admission {
            mode,
            profile: *self.inner.profile.lock().expect("no panic holds it"),
            reason: String::new(),
            cluster_ns: self.cluster.namespace.clone(),
            cluster_name: self.cluster.name.clone(),
            root_sets: if version > root_set_version {
                vec![roots.to_bytes()]
            } else {
                Vec::new()
            },
            ..Admission::default()
        })
    }

    fn ended(&self, welcomed: bool) {
        let mut state = self.inner.lock();
        let Some(known) = state.clusters.get_mut(&self.cluster) else {
            return;
        };
        let hello = self.hello.lock().expect("no panic holds it");
        let mine = |stored: &&mut StoredSession| {
            hello.as_ref().is_some_and(|hello| {
                (&hello.instance_id, hello.session_seq) == (&stored.id.instance_id, stored.id.session_seq)
            })
        };
        if let Some(stored) = known.stored.as_mut().filter(mine).filter(|_| welcomed) {
            stored.live = false;
            known.handle = None;
        }
    }
}

impl ChunkPolicy for Handler {
    fn holds_manifest(&self, manifest: &Digest) -> bool {
        let artifacts = self.inner.artifacts.lock().expect("no panic holds it");
        artifacts
            .get(manifest)
            .is_some_and(|artifact| artifact.clusters.contains(&self.cluster))
    }

    fn has_chunk(&self, manifest: &Digest, chunk: &Digest) -> bool {
        let artifacts = self.inner.artifacts.lock().expect("no panic holds it");
        artifacts
            .get(manifest)
            .is_some_and(|artifact| artifact.chunks.contains_key(chunk))
    }
}

impl HubHandler for Handler {
    async fn hello(&self, hello: Hello) -> Verdict {
        let handle = self.handle.lock().expect("no panic holds it").clone();
        let version = hello.root_set_version;
        let mut state = self.inner.lock();
        let known = state.clusters.get_mut(&self.cluster).expect("decided by the registry");
        let id = SessionId {
            instance_id: hello.instance_id.clone(),
            boot_seq: hello.boot_seq,
            session_seq: hello.session_seq,
        };
        let fencing = decide_fencing(&id, known.stored.as_ref());
        *self.hello.lock().expect("no panic holds it") = Some(hello.clone());
        let old = known.handle.clone();
        match fencing {
            Fencing::Stale => return Verdict::Refuse(Close::new(CloseCode::Stale, "a later session was seen")),
            Fencing::Fence => {
                let stored = known.stored.as_ref().expect("it stands against this one");
                let fence = Fence {
                    instance_id: stored.id.instance_id.clone(),
                    boot_seq: stored.id.boot_seq,
                };
                return Verdict::Fence(fence);
            }
            Fencing::Clone => known.quarantined = true,
            Fencing::AcceptAndFence => {
                if let Some(old) = old {
                    let fence = Fence {
                        instance_id: hello.instance_id.clone(),
                        boot_seq: hello.boot_seq,
                    };
                    let _ = old.fence(fence);
                }
            }
            Fencing::Replace => {
                if let Some(old) = old {
                    old.close(Close::new(CloseCode::Superseded, "a newer session of this agent"));
                }
            }
            Fencing::Accept | Fencing::Restored => {}
        }
        if self.entry == Entry::Member {
            // The new key is in use, so the old one goes.
            known.keys.keys.retain(|key| *key == self.key);
        }
        known.stored = Some(StoredSession { id, live: true });
        known.handle = handle;
        let mode = if known.quarantined {
            Mode::Quarantined
        } else {
            Mode::Normal
        };
        let keys = known.keys.clone();
        state.registry.set_cluster(self.cluster.clone(), keys);
        drop(state);
        self.admission(mode, version)
    }

    async fn fence_answer(&self, reply: Option<FenceReply>) -> Verdict {
        match reply {
            Some(reply) if reply.contested => {
                self.inner
                    .lock()
                    .clusters
                    .get_mut(&self.cluster)
                    .expect("it exists")
                    .quarantined = true;
                self.admission(Mode::Quarantined, u64::MAX)
            }
            _ => Verdict::Refuse(Close::new(CloseCode::Fenced, "another process is this cluster's agent")),
        }
    }

    async fn renew(&self, csr: Vec<u8>) -> RenewReply {
        let Ok(request) = CertificateRequest::read(&csr) else {
            return RenewReply {
                code: RenewCode::Refused as i32,
                reason: "unreadable".into(),
                ..RenewReply::default()
            };
        };
        let mut state = self.inner.lock();
        let known = state.clusters.get_mut(&self.cluster).expect("decided by the registry");
        if !known.keys.keys.contains(&request.key()) {
            known.keys.keys.push(request.key());
        }
        let keys = known.keys.clone();
        state.registry.set_cluster(self.cluster.clone(), keys);
        drop(state);
        let day = SignedDuration::from_hours(24);
        let issued = self
            .inner
            .client_authority
            .issue_client(&request, &self.cluster, Timestamp::now(), day);
        let chain = issued
            .expect("issuing works")
            .chain
            .into_iter()
            .map(|der| der.to_vec())
            .collect();
        RenewReply {
            code: RenewCode::Renewed as i32,
            cert_chain: chain,
            ..RenewReply::default()
        }
    }

    async fn status(&self, row: IncomingPut) -> Result<(), ItemFailure> {
        let mut state = self.inner.lock();
        let known = state.clusters.get_mut(&self.cluster).expect("decided by the registry");
        known.rows.insert(row.key.to_string(), row.payload);
        Ok(())
    }

    async fn status_gone(&self, row: IncomingDelete) -> Result<(), ItemFailure> {
        let mut state = self.inner.lock();
        state
            .clusters
            .get_mut(&self.cluster)
            .expect("decided by the registry")
            .rows
            .remove(&*row.key);
        Ok(())
    }

    async fn plan(&self, plan: PrunePlan) -> Option<PrunePermit> {
        let mut state = self.inner.lock();
        let permit = PrunePermit {
            change_id: plan.change_id.clone(),
            plan_digest: plan.digest.clone(),
            granted: true,
            reason: String::new(),
        };
        state.plans.push(plan);
        state.grants.then_some(permit)
    }

    fn orphan(&self, _key: &Key, _owner_uid: &str) -> Option<Deletion> {
        None
    }

    /// The first chunk of the file of the same name.
    fn dictionary(&self, manifest: &Digest, chunk: &Digest, older: &Digest) -> Option<Bytes> {
        let artifacts = self.inner.artifacts.lock().expect("no panic holds it");
        let older = artifacts
            .get(older)
            .filter(|older| older.clusters.contains(&self.cluster))?;
        let named = |file: &&ManifestFile| file.chunks.iter().any(|part| part.digest == chunk.to_vec());
        let path = &artifacts[manifest].manifest.files.iter().find(named)?.path;
        let before = older.manifest.files.iter().find(|file| file.path == *path)?;
        let first = Digest::from_slice(&before.chunks.first()?.digest)?;
        older.chunks.get(&first).cloned()
    }

    fn sent(&self, chunk: SentChunk) {
        self.inner.sent.lock().expect("no panic holds it").push(chunk);
    }

    async fn load_manifest(&self, manifest: &Digest) -> Result<Arc<Manifest>, FetchRefused> {
        let artifacts = self.inner.artifacts.lock().expect("no panic holds it");
        Ok(artifacts[manifest].manifest.clone())
    }

    async fn load_chunk(&self, manifest: &Digest, chunk: &Digest) -> Result<Bytes, FetchRefused> {
        let artifacts = self.inner.artifacts.lock().expect("no panic holds it");
        artifacts[manifest].chunks.get(chunk).cloned().ok_or(FetchRefused {
            code: RefusalCode::Unavailable as i32,
            message: "not here".to_owned(),
        })
    }

    fn note(&self, note: Note) {
        let mut state = self.inner.lock();
        state
            .clusters
            .get_mut(&self.cluster)
            .expect("decided by the registry")
            .notes
            .push(note);
    }
}
