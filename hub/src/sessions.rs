//! Sessions of agents: who is connected, as what, and what ends it.
//!
//! ```text
//! connection ─► identities: who? ─► Hello ─► receive: as what? ─► conversation ─► closed
//!                   │                             │                    ▲
//!                   └─ refused with words         └─ fence, quarantine └─ a key revoked, a cluster removed, the drain
//! ```

mod accept;
mod admissions;
mod conversation;
mod entry;
mod fetch;
mod permits;
mod profiles;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::StreamExt;
use nave_crds::{Cluster, Condition, conditions, fleet::Outlook};
use nave_identity::{ClusterRef, KeyFingerprint};
use nave_placement_controller::Knowledge;
use nave_proto::{
    Close, CloseCode, FEATURE_DICTIONARIES, FEATURE_LIVE, FEATURE_METERED, FEATURE_UPGRADE, SessionId, StoredSession,
    wire::Mode,
};
use nave_quic::{EgressBudget, HubSessionHandle};
use nave_runtime::{EventRecorder, Watched};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

pub use accept::accept;
use conversation::Conversation;
use entry::{Entrant, enter};

use crate::{
    artifacts::ManifestCache,
    authority::HubAuthority,
    brake::Brake,
    cluster_status::{CONTESTED as CONTESTED_REASON, ClusterStatuses},
    desired::Desired,
    hub_state::Checkpoints,
    identities::{Identities, Verdict, reference},
    join::Joins,
    limiter::Limiter,
    locked,
    memory::Memory,
    metrics::HubMetrics,
    outlook::{Fate, outlook, revised},
    renew::Renewals,
    traffic::TrafficBook,
    view::{View, cluster_key, cluster_ref},
};

/// Within which agents come back after a connection was lost: a thousand of them make five hundred handshakes a second,
/// which two cores bear.
pub const RECONNECT_WINDOW: Duration = Duration::from_secs(2);
/// What this hub can do beyond the protocol's first version.
pub const FEATURES: u64 = FEATURE_LIVE | FEATURE_METERED | FEATURE_DICTIONARIES | FEATURE_UPGRADE;
/// Quarantined sessions of one cluster: an agent and its copies, which are few. As many may wait for approval or a
/// certificate.
const MAX_BESIDE: usize = 8;
/// Connections of one key that have not said who they are: an agent has one, and one that it lost and does not know of.
const MAX_SILENT: usize = 4;
/// Events of one cluster: a burst, and how many more in a second.
const EVENTS: (f64, f64) = (50.0, 2.0);
/// How often items without a known owner are judged again.
const JUDGE_ORPHANS: Duration = Duration::from_secs(30);

/// Everything that sessions share.
pub struct Shared {
    /// The hub's own keys.
    pub authority: Arc<HubAuthority>,
    /// Who keys are.
    pub identities: Arc<Identities>,
    /// Admits.
    pub joins: Joins,
    /// Renews.
    pub renewals: Renewals,
    /// What agents are to have.
    pub desired: Arc<Desired>,
    /// What agents say.
    pub view: Arc<View>,
    /// Which deletions wait.
    pub brake: Arc<Brake>,
    /// Conditions of clusters.
    pub statuses: Arc<ClusterStatuses>,
    /// Manifests and chunks.
    pub manifests: Arc<ManifestCache>,
    /// Whether the hub trusts its memory.
    pub checkpoints: Arc<Checkpoints>,
    /// What becomes of items that nobody knows.
    pub knowledge: Knowledge,
    /// Clusters.
    pub clusters: Watched<Cluster>,
    /// Events on fleet objects and clusters.
    pub events: EventRecorder,
    /// Measures.
    pub metrics: HubMetrics,
    /// How many agents may be connected.
    pub max_agents: usize,
    /// What links carry.
    pub traffic: Arc<TrafficBook>,
    /// What agents told.
    pub memory: Arc<Memory>,
    /// What may be sent in a second; none for no bound.
    pub egress: Option<Arc<EgressBudget>>,
}

/// The sessions.
pub struct Sessions {
    shared: Shared,
    table: Mutex<HashMap<ClusterRef, Place>>,
    /// Connections that are let in and have not said `Hello`, by key.
    silent: Arc<Mutex<HashMap<KeyFingerprint, usize>>>,
    count: AtomicU64,
}

/// What is remembered of one cluster's sessions.
#[derive(Default)]
struct Place {
    last: Option<SessionId>,
    live: Option<Live>,
    /// Quarantined sessions. They stand beside the live one and never push it out: two agents that both say that they are
    /// this cluster would otherwise push each other out for ever, and a copy elsewhere would stop the real one.
    beside: Vec<Live>,
    /// Sessions that wait for approval or a certificate. What they say of the agent's starts counts for nothing: whoever has
    /// a token for a name that is taken, or a copy of a key, would otherwise push the real agent out.
    waiting: Vec<Live>,
    /// The key and why; another key ends it.
    quarantined: Option<(KeyFingerprint, String)>,
    /// How many events are told, over all sessions: one that comes back gets no other bucket.
    events: Option<Limiter>,
}

/// One of a key's places among the connections that have not said `Hello`, given back when dropped.
pub struct Silent {
    all: Arc<Mutex<HashMap<KeyFingerprint, usize>>>,
    key: KeyFingerprint,
}

impl Drop for Silent {
    fn drop(&mut self) {
        let mut all = locked::mutex(&self.all);
        if let Some(count) = all.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.key);
            }
        }
    }
}

/// A place for one more connection of that key; none when it has as many as it may.
fn be_silent(all: &Arc<Mutex<HashMap<KeyFingerprint, usize>>>, key: KeyFingerprint) -> Option<Silent> {
    let mut counts = locked::mutex(all);
    let count = counts.entry(key).or_default();
    if *count >= MAX_SILENT {
        return None;
    }
    *count += 1;
    Some(Silent { all: all.clone(), key })
}

struct Live {
    number: u64,
    key: KeyFingerprint,
    verdict: Verdict,
    /// Version of the root set that the agent was told of.
    root_version: u64,
    /// The version that the agent was told to run; empty for one that does not change its own.
    wanted: String,
    /// Whether a person had quarantined the cluster when it came.
    by_hand: bool,
    handle: HubSessionHandle,
}

impl Place {
    fn all(&self) -> impl Iterator<Item = &Live> {
        self.live.iter().chain(&self.beside).chain(&self.waiting)
    }
}

impl Sessions {
    /// No sessions yet.
    pub fn new(shared: Shared) -> Arc<Self> {
        Arc::new(Sessions {
            shared,
            table: Mutex::default(),
            silent: Arc::default(),
            count: AtomicU64::new(1),
        })
    }

    /// What sessions share.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Whether another agent may connect.
    fn is_full(&self) -> bool {
        let open = locked::mutex(&self.table)
            .values()
            .map(|place| place.all().count())
            .sum::<usize>();
        open >= self.shared.max_agents
    }

    /// A place for a connection that has not said `Hello`; none when its key has as many as it may.
    fn silent(&self, key: KeyFingerprint) -> Option<Silent> {
        be_silent(&self.silent, key)
    }

    /// Whether another event of a cluster is told.
    fn allows_event(&self, cluster: &ClusterRef) -> bool {
        let mut table = locked::mutex(&self.table);
        let Some(place) = table.get_mut(cluster) else {
            return false; // removed meanwhile
        };
        let events = place.events.get_or_insert_with(|| Limiter::new(EVENTS.0, EVENTS.1));
        events.allow(Instant::now())
    }

    fn next_number(&self) -> u64 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }

    /// The session of a cluster's agent, while it may be asked for something: also while the hub is Behind.
    pub fn reach(&self, cluster: &ClusterRef) -> Option<HubSessionHandle> {
        let table = locked::mutex(&self.table);
        let live = table.get(cluster)?.live.as_ref()?;
        matches!(live.handle.mode(), Some(Mode::Normal | Mode::Behind)).then(|| live.handle.clone())
    }

    /// The last session of a cluster: of this process, else as its status tells.
    fn stored(&self, cluster: &ClusterRef) -> Option<StoredSession> {
        let table = locked::mutex(&self.table);
        if let Some(place) = table.get(cluster)
            && let Some(id) = &place.last
        {
            return Some(StoredSession {
                id: id.clone(),
                live: place.live.is_some(),
            });
        }
        drop(table);
        let object = self.shared.clusters.get(&cluster.namespace, &cluster.name)?;
        let session = object.status.as_ref()?.session.as_ref()?;
        let id = SessionId {
            instance_id: session.instance_id.clone(),
            boot_seq: u64::try_from(session.boot_seq).unwrap_or(0),
            session_seq: 0,
        };
        Some(StoredSession { id, live: false })
    }

    fn quarantine_of(&self, cluster: &ClusterRef, key: &KeyFingerprint) -> Option<String> {
        let by_hand = self.shared.identities.quarantined(cluster);
        by_hand.or_else(|| self.contested(cluster, key))
    }

    fn contested(&self, cluster: &ClusterRef, key: &KeyFingerprint) -> Option<String> {
        let mut table = locked::mutex(&self.table);
        let place = table.entry(cluster.clone()).or_default();
        // Releasing a quarantine gives the cluster another key.
        if place.quarantined.take_if(|(of, _)| of != key).is_some() {
            self.shared.statuses.opened(cluster, |seen| seen.contested = None);
        }
        if place.quarantined.is_none() {
            place.quarantined = self.remembered(cluster).filter(|(of, _)| of == key);
        }
        place.quarantined.as_ref().map(|(_, reason)| reason.clone())
    }

    /// The quarantine that a hub before this one wrote down: it must not end with a process.
    fn remembered(&self, cluster: &ClusterRef) -> Option<(KeyFingerprint, String)> {
        let object = self.shared.clusters.get(&cluster.namespace, &cluster.name)?;
        contested_key(&object.status.as_ref()?.conditions)
    }

    fn quarantine(&self, cluster: &ClusterRef, key: KeyFingerprint, reason: &str) {
        if self.contested(cluster, &key).is_some() {
            return; // they come back, and it has been told
        }
        tracing::error!(%cluster, %key, reason, "quarantined");
        self.shared.events.record(
            crate::join::cluster_reference(cluster),
            nave_runtime::Severity::Error,
            conditions::QUARANTINED,
            reason,
            Default::default(),
        );
        let words = contested_words(&key, reason);
        self.shared
            .statuses
            .opened(cluster, |seen| seen.contested = Some(words.clone()));
        let mut table = locked::mutex(&self.table);
        let place = table.entry(cluster.clone()).or_default();
        place.quarantined = Some((key, words));
    }

    /// Lists a session, as the cluster's live one where its mode makes it that. Answers the one whose place it took.
    ///
    /// # Errors
    /// Its key may no longer what it might when it was looked up, or there are too many beside it.
    fn enlist(&self, cluster: &ClusterRef, id: &SessionId, mode: Mode, live: Live) -> Result<Option<Live>, Close> {
        let mut table = locked::mutex(&self.table);
        // Judged under the lock: a change that comes after this finds the session in the list.
        if let Some(close) = self.verdict_on(cluster, &live) {
            return Err(close);
        }
        let place = table.entry(cluster.clone()).or_default();
        let others = match mode {
            Mode::Normal | Mode::Behind => {
                place.last = Some(id.clone());
                return Ok(place.live.replace(live));
            }
            Mode::Quarantined => &mut place.beside,
            Mode::Pending | Mode::RenewOnly => &mut place.waiting,
        };
        // The same key came again before its last connection was missed.
        let same = others
            .iter()
            .position(|other| mode != Mode::Quarantined && other.key == live.key);
        if same.is_none() && others.len() >= MAX_BESIDE {
            let close = Close::new(CloseCode::Overloaded, "too many agents say that they are this cluster");
            return Err(close.retry_after(60_000));
        }
        let before = same.map(|at| others.swap_remove(at));
        others.push(live);
        Ok(before)
    }

    /// The words with which a session must end, if what is known of its key and cluster has changed since it came.
    fn verdict_on(&self, cluster: &ClusterRef, session: &Live) -> Option<Close> {
        let identities = &self.shared.identities;
        let verdict = identities.verdict(cluster, &session.key);
        end_of(cluster, &session.key, session.verdict, verdict)
            .or_else(|| turned(session.by_hand, identities.quarantined(cluster).as_deref()))
    }

    /// Takes the live session of a cluster off the list.
    fn take_live(&self, cluster: &ClusterRef) -> Option<Live> {
        locked::mutex(&self.table).get_mut(cluster)?.live.take()
    }

    fn delist(&self, cluster: &ClusterRef, number: u64) -> bool {
        let mut table = locked::mutex(&self.table);
        let Some(place) = table.get_mut(cluster) else {
            return false;
        };
        let before = place.all().count();
        place.live.take_if(|live| live.number == number);
        place.beside.retain(|visitor| visitor.number != number);
        place.waiting.retain(|waiting| waiting.number != number);
        place.all().count() < before
    }

    /// Ends the live session of a cluster unless it is this one.
    fn close_other(&self, cluster: &ClusterRef, number: u64, close: &Close) {
        let table = locked::mutex(&self.table);
        let live = table.get(cluster).and_then(|place| place.live.as_ref());
        if let Some(other) = live.filter(|live| live.number != number) {
            other.handle.close(close.clone());
        }
    }

    /// A new key joined: what is remembered of the agent before is of no use.
    fn forget_sessions(&self, cluster: &ClusterRef) {
        let place = locked::mutex(&self.table).remove(cluster).unwrap_or_default();
        self.shared.statuses.opened(cluster, |seen| seen.contested = None);
        for session in place.all() {
            session
                .handle
                .close(Close::new(CloseCode::Reconnect, "the cluster was joined again"));
        }
    }

    /// Ends the live session of a cluster when its key's standing changed, until shutdown.
    pub async fn follow_identities(self: Arc<Self>, shutdown: CancellationToken) {
        let mut changes = self.shared.identities.changes();
        loop {
            let changed = tokio::select! {
                _ = shutdown.cancelled() => return,
                changed = changes.recv() => changed,
            };
            match changed {
                Ok(cluster) => self.check(&cluster),
                Err(RecvError::Lagged(_)) => {
                    let all: Vec<ClusterRef> = locked::mutex(&self.table).keys().cloned().collect();
                    all.iter().for_each(|cluster| self.check(cluster));
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn check(&self, cluster: &ClusterRef) {
        let exists = self.shared.identities.keys(cluster).is_some();
        let closes: Vec<Close> = {
            let table = locked::mutex(&self.table);
            let sessions = table.get(cluster).into_iter().flat_map(Place::all);
            sessions
                .filter_map(|session| {
                    let close = self.verdict_on(cluster, session)?;
                    session.handle.close(close.clone());
                    Some(close)
                })
                .collect()
        };
        for close in closes {
            tracing::info!(%cluster, reason = close.reason, "ending the session");
        }
        if !exists {
            locked::mutex(&self.table).remove(cluster);
            self.shared.desired.forget(&cluster_key(cluster));
            self.shared.brake.forget(&cluster_key(cluster));
            self.shared.view.forget(&cluster_key(cluster));
            self.shared.traffic.forget(&cluster_key(cluster));
        }
    }

    /// Has agents come back that should run another version than they were told, until shutdown.
    pub async fn follow_versions(self: Arc<Self>, shutdown: CancellationToken) {
        let mut changes = std::pin::pin!(self.shared.clusters.changes());
        loop {
            let changed = tokio::select! {
                _ = shutdown.cancelled() => return,
                Some(changed) = changes.next() => reference(changed.as_ref()),
            };
            let wanted = self.wanted_version(&changed);
            if wanted.is_empty() {
                continue; // forgotten
            }
            let table = locked::mutex(&self.table);
            let live = table.get(&changed).and_then(|place| place.live.as_ref());
            if let Some(live) = live.filter(|live| !live.wanted.is_empty() && live.wanted != wanted) {
                let words = format!("agent version {wanted} is wanted");
                live.handle.close(Close::new(CloseCode::Reconnect, words));
            }
        }
    }

    /// The version that the agent of a cluster should run.
    fn wanted_version(&self, cluster: &ClusterRef) -> String {
        let object = self.shared.clusters.get(&cluster.namespace, &cluster.name);
        object.map_or_else(String::new, |object| {
            self.shared.statuses.wanted_version(&object).to_owned()
        })
    }

    /// Judges again what agents hold without a known owner, until shutdown: the owner may have been deleted meanwhile.
    pub async fn judge_orphans(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                _ = shutdown.cancelled() => return,
                _ = tokio::time::sleep(JUDGE_ORPHANS) => {}
            }
            for (cluster, owner) in self.shared.desired.orphans() {
                self.judge(&cluster_ref(&cluster), &owner);
            }
        }
    }

    /// True when the item goes.
    fn judge(&self, cluster: &ClusterRef, owner: &nave_placement::OwnerKey) -> bool {
        use nave_placement_controller::{DeleteCause, DesiredState};
        let cluster = cluster_key(cluster);
        let Some((cause, policy)) = self.shared.knowledge.deletion(&cluster, owner) else {
            return false;
        };
        let cause = DeleteCause {
            cause,
            policy,
            change_id: String::new(),
        };
        self.shared.desired.delete(&cluster, owner, cause);
        true
    }

    /// What a confirmation would lead to while the hub is Behind, by what agents say that they have.
    pub fn outlook(&self) -> Outlook {
        let shared = &self.shared;
        outlook(shared.view.had(), |item| {
            match shared.knowledge.judge(&item.cluster, &item.owner) {
                Some(nave_placement::Verdict::Orphaned) => Fate::Orphaned,
                _ => revised(&item.revision, &shared.brake.target_revision(&item.owner)),
            }
        })
    }

    /// The hub became Behind: sessions in which items flow end, and come back in a mode that sends nothing.
    pub fn end_normal(&self, reason: &str) {
        self.end_in(Mode::Normal, reason);
    }

    /// The hub is no longer Behind.
    pub fn end_behind(&self, reason: &str) {
        self.end_in(Mode::Behind, reason);
    }

    fn end_in(&self, mode: Mode, reason: &str) {
        for place in locked::mutex(&self.table).values() {
            if let Some(live) = place.live.as_ref().filter(|live| live.handle.mode() == Some(mode)) {
                live.handle.close(Close::new(CloseCode::Reconnect, reason));
            }
        }
    }

    /// Tells the agents that are connected of root sets that they have not heard of.
    pub fn push_roots(&self) {
        let authority = &self.shared.authority;
        for place in locked::mutex(&self.table).values_mut() {
            for session in place.live.iter_mut().chain(&mut place.beside).chain(&mut place.waiting) {
                let sets = authority.roots_after(session.root_version);
                // One that takes no command comes back, and hears of them then.
                if !sets.is_empty() && session.handle.push_root_sets(sets).is_ok() {
                    session.root_version = authority.root_version();
                }
            }
        }
    }

    /// Tells every agent to come back later.
    pub fn drain(&self) {
        for session in locked::mutex(&self.table).values().flat_map(Place::all) {
            session.handle.close(shutting_down());
        }
    }
}

/// The last words of a hub that ends. Agents come back within the reconnect window, after a new one had time to start.
fn shutting_down() -> Close {
    Close::new(CloseCode::ShuttingDown, "the hub is shutting down; come back").retry_after(1_000)
}

/// What is said of a quarantined key, in a form that the next hub reads again from the Cluster's condition.
fn contested_words(key: &KeyFingerprint, reason: &str) -> String {
    format!("key {key}: {reason}")
}

/// The key that a Cluster's condition says is quarantined, and the whole of what it says.
fn contested_key(said: &[Condition]) -> Option<(KeyFingerprint, String)> {
    let said = said.iter().find(|said| said.type_ == conditions::QUARANTINED)?;
    let of_key = said.status == "True" && said.reason == CONTESTED_REASON;
    let (key, _) = said.message.strip_prefix("key ").filter(|_| of_key)?.split_once(": ")?;
    Some((key.parse().ok()?, said.message.clone()))
}

/// The words with which a session ends so that its agent comes back under another rule, if a person has quarantined the
/// cluster since it came, or released it.
fn turned(by_hand: bool, quarantined: Option<&str>) -> Option<Close> {
    match quarantined {
        Some(why) if !by_hand => Some(Close::new(CloseCode::Reconnect, why)),
        None if by_hand => Some(Close::new(CloseCode::Reconnect, "the quarantine was ended")),
        _ => None,
    }
}

/// The words with which a session must end, if its key may no longer what it might when it came.
fn end_of(cluster: &ClusterRef, key: &KeyFingerprint, before: Verdict, verdict: Verdict) -> Option<Close> {
    let close = match verdict {
        Verdict::Revoked => Close::new(
            CloseCode::KeyRevoked,
            format!("key revoked: {key} was taken back for cluster {cluster}"),
        ),
        Verdict::Forgotten => Close::new(
            CloseCode::Forgotten,
            format!("cluster {cluster} was removed from the hub"),
        ),
        Verdict::KeyRemoved => Close::new(
            CloseCode::KeyRevoked,
            format!("key revoked: {key} is no longer in spec.identity.keys of cluster {cluster}"),
        ),
        Verdict::Waiting if before == Verdict::Accepted => Close::new(
            CloseCode::Reconnect,
            format!("cluster {cluster} is no longer accepted; it waits for approval"),
        ),
        Verdict::Accepted if before == Verdict::Waiting => {
            Close::new(CloseCode::Reconnect, format!("cluster {cluster} was approved"))
        }
        Verdict::Accepted | Verdict::Waiting => return None,
    };
    Some(close)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nave_runtime::{Conditions, Status};

    fn check(before: Verdict, now: Verdict, expected: Option<CloseCode>) {
        let key = KeyFingerprint::of_spki(b"a");
        let end = end_of(&ClusterRef::new("platform", "eu-1"), &key, before, now);
        assert_eq!(
            end.as_ref().and_then(Close::code),
            expected,
            "{before:?} to {now:?}: {end:?}"
        );
    }

    #[test]
    fn a_key_has_few_connections_that_say_nothing() {
        let (all, key) = (Arc::default(), KeyFingerprint::of_spki(b"a"));
        let mut held: Vec<Silent> = (0..MAX_SILENT).filter_map(|_| be_silent(&all, key)).collect();
        assert_eq!(held.len(), MAX_SILENT);
        assert!(be_silent(&all, key).is_none());
        assert!(be_silent(&all, KeyFingerprint::of_spki(b"b")).is_some(), "another key");
        held.pop();
        assert!(be_silent(&all, key).is_some());
        drop(held);
        assert!(locked::mutex(&all).is_empty(), "nothing is kept of who left");
    }

    #[test]
    fn a_quarantine_is_read_again_from_what_the_cluster_says() {
        let key = KeyFingerprint::of_spki(b"a");
        let said = |status, reason: &str, message: String| {
            let mut all = Vec::new();
            all.set(
                conditions::QUARANTINED,
                status,
                reason,
                message,
                1,
                jiff::Timestamp::UNIX_EPOCH,
            );
            contested_key(&all)
        };
        let words = contested_words(&key, "two agents: stop one");
        assert_eq!(
            said(Status::True, CONTESTED_REASON, words.clone()),
            Some((key, words.clone()))
        );
        assert_eq!(said(Status::False, CONTESTED_REASON, words.clone()), None);
        assert_eq!(said(Status::True, "ByHand", words), None);
        // A copy elsewhere, which takes nothing away from the agent that was there first.
        let other = "this key joined from the cluster with UID u, now it comes from v".to_owned();
        assert_eq!(said(Status::True, CONTESTED_REASON, other), None);
        assert_eq!(contested_key(&[]), None);
    }

    #[test]
    fn what_ends_a_session() {
        use Verdict::*;
        check(Accepted, Accepted, None);
        check(Waiting, Waiting, None);
        check(Accepted, Revoked, Some(CloseCode::KeyRevoked));
        check(Accepted, KeyRemoved, Some(CloseCode::KeyRevoked));
        check(Accepted, Forgotten, Some(CloseCode::Forgotten));
        check(Accepted, Waiting, Some(CloseCode::Reconnect));
        check(Waiting, Accepted, Some(CloseCode::Reconnect));
    }
}
