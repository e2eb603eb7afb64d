//! Who the agent is to the hub: keys and certificates, clones, roots, and a hub that was restored.
//!
//! The decisions are the real ones: the key registry, fencing, checkpoints, signed root sets. What is modelled is who
//! makes which key when, and a person who helps where only a person can.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use nave_identity::{
    Authority, AuthorityRole, CertificateFacts, ClusterKeys, ClusterRef, KeyFingerprint, PeerCertificate, Registry,
    RenewReason, RootSet, SignedRootSet, Standing, TrustedRoots,
};
use nave_proto::hub::Entry;
use nave_proto::wire::{Hello, Mode, SetKind};
use nave_proto::{CheckpointRing, Close, CloseCode, Fencing, ItemMap, SessionId, StoredSession, decide_fencing};

use rand::Rng;

use super::{World, owner, salt_of};

/// A certificate lasts so long.
const LIFETIME_MS: i64 = 24 * 3600 * 1000;
/// How many changes of the authority the hub leads agents over.
const BRIDGES: u64 = 3;
/// A `Welcome` carries so many root sets.
const SETS: usize = 8;

/// The hub's side.
pub struct Door {
    registry: Registry,
    keys: ClusterKeys,
    revoked: BTreeSet<KeyFingerprint>,
    stored: Option<StoredSession>,
    quarantined: Option<KeyFingerprint>,
    pub behind: bool,
    /// Version of the root set in use.
    pub roots: u64,
    /// Version that the open session was told of.
    told: u64,
    /// UIDs that a restored hub does not know any more.
    lost: BTreeSet<String>,
    backup: Option<Backup>,
    /// What happened, to see that a soak does all of it.
    pub seen: BTreeMap<&'static str, u64>,
}

struct Backup {
    truth: BTreeMap<String, (String, Bytes)>,
    retired: BTreeSet<String>,
    ring: CheckpointRing,
    keys: ClusterKeys,
    revoked: BTreeSet<KeyFingerprint>,
}

/// The agent's side.
pub struct Me {
    number: u64,
    key: KeyFingerprint,
    /// Wall clock, in milliseconds.
    not_after: i64,
    pub roots: TrustedRoots,
    stored_roots: TrustedRoots,
}

/// Making authorities is slow, and every round may use the same.
static ROOTS: LazyLock<Vec<SignedRootSet>> = LazyLock::new(|| {
    let now = Timestamp::from_second(1_800_000_000).expect("in range");
    let year = SignedDuration::from_hours(24 * 365);
    let authority = || Authority::generate(AuthorityRole::Server, now, year).expect("generation works");
    let mut last = authority();
    let first = RootSet::first(vec![last.certificate().clone()], None);
    let mut signed = vec![first.sign(&[last.key()]).expect("signing works")];
    let mut trusted = TrustedRoots::stored(&signed[0].to_bytes()).expect("own set");
    for _ in 0..6 {
        let next = authority();
        let both = vec![last.certificate().clone(), next.certificate().clone()];
        let set = RootSet::following(&trusted, both)
            .sign(&[last.key()])
            .expect("signing works");
        trusted = trusted.advance(set.clone()).expect("it follows");
        signed.push(set);
        last = next;
    }
    signed
});

fn cluster() -> ClusterRef {
    ClusterRef::new("platform", "eu-1")
}

fn key(number: u64) -> KeyFingerprint {
    KeyFingerprint::of_spki(&number.to_be_bytes())
}

impl Me {
    pub fn new() -> Self {
        let roots = TrustedRoots::stored(&ROOTS[0].to_bytes()).expect("own set");
        Self {
            number: 1,
            key: key(1),
            not_after: i64::MAX,
            stored_roots: roots.clone(),
            roots,
        }
    }

    /// Root sets that the hub sent: as far as they can be believed, and stored.
    pub fn follow(&mut self, sets: &[Vec<u8>]) {
        for set in sets {
            let set = SignedRootSet::from_bytes(set).expect("an honest hub's set");
            self.roots = self.roots.advance(set).expect("an honest hub sends those that follow");
        }
        self.stored_roots = self.roots.clone();
    }

    pub fn forget_roots_in_memory(&mut self) {
        self.roots = self.stored_roots.clone();
    }

    fn rekey(&mut self) {
        self.number += 1;
        self.key = key(self.number);
    }

    fn certificate(&self) -> PeerCertificate {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX);
        PeerCertificate {
            facts: CertificateFacts {
                key: self.key,
                not_before: Timestamp::UNIX_EPOCH,
                not_after: at(self.not_after),
                self_signed: false,
            },
            issued_by_us: true,
        }
    }
}

impl Door {
    pub fn new() -> Self {
        let keys = ClusterKeys {
            keys: vec![key(1)],
            pending: Vec::new(),
            accepted: true,
        };
        let mut door = Self {
            registry: Registry::new(),
            keys,
            revoked: BTreeSet::new(),
            stored: None,
            quarantined: None,
            behind: false,
            roots: 1,
            told: 1,
            lost: BTreeSet::new(),
            backup: None,
            seen: BTreeMap::new(),
        };
        door.register();
        door
    }

    fn note(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn register(&mut self) {
        self.registry = Registry::new();
        self.registry.set_cluster(cluster(), self.keys.clone());
        for key in &self.revoked {
            self.registry.revoke(*key, "taken back");
        }
    }

    /// The connection is gone, and the hub knows.
    pub fn left(&mut self) {
        if let Some(stored) = &mut self.stored {
            stored.live = false;
        }
    }

    /// The process remembers what the cluster's status says: process and its start, not the count of its connections.
    /// Quarantine is found again when both come back.
    pub fn restarted(&mut self) {
        self.left();
        if let Some(stored) = &mut self.stored {
            stored.id.session_seq = 0;
        }
        self.quarantined = None;
    }

    /// As what a session is received.
    pub fn receive(&mut self, hello: &Hello) -> Result<Mode, Close> {
        let id = SessionId {
            instance_id: hello.instance_id.clone(),
            boot_seq: hello.boot_seq,
            session_seq: hello.session_seq,
        };
        let fencing = decide_fencing(&id, self.stored.as_ref());
        let quarantined = self.quarantined.is_some();
        match fencing {
            Fencing::Clone => self.quarantined = Some(self.keys.keys.last().copied().unwrap_or_else(|| key(0))),
            Fencing::Stale => return Err(Close::new(CloseCode::Stale, "a newer connection is known")),
            // An older process than one that lives: it is asked, and says that it is not the agent any more.
            Fencing::Fence => return Err(Close::new(CloseCode::Fenced, "another process has taken over")),
            _ => {}
        }
        if quarantined || fencing == Fencing::Clone {
            return Ok(Mode::Quarantined);
        }
        self.stored = Some(StoredSession { id, live: true });
        Ok(Mode::Normal)
    }

    /// Signed root sets for a session that begins with this version.
    pub fn tell(&mut self, version: u64) -> Vec<Vec<u8>> {
        self.told = self.roots;
        self.roots_after(version)
    }

    fn roots_after(&self, version: u64) -> Vec<Vec<u8>> {
        let from = usize::try_from(version).expect("small");
        let to = usize::try_from(self.roots).expect("small");
        ROOTS[from.min(to)..to]
            .iter()
            .take(SETS)
            .map(SignedRootSet::to_bytes)
            .collect()
    }

    /// Whether an agent keeps this item although nobody wants it: its owner was forgotten by a restored hub.
    pub fn is_orphan(&self, truth: &BTreeMap<String, (String, Bytes)>, key: &str, uid: &str) -> bool {
        self.lost.contains(uid) && truth.get(key).is_none_or(|(wanted, _)| wanted != uid)
    }
}

impl World {
    /// What the hub makes of the agent's key. None, and the connection is closed, when it may not come in.
    pub(super) fn knock(&mut self) -> Option<Entry> {
        let (door, me) = (&mut self.hub.door, &mut self.agent.me);
        // TLS: the hub's certificate leads from each of the last authorities to the present one.
        assert!(
            me.roots.version() + BRIDGES >= door.roots,
            "no way from the agent's roots to the hub's"
        );
        let now = Timestamp::from_millisecond(self.now.wall).expect("in range");
        let refuse = |code, words: String| Close::new(code, words);
        match door.registry.decide(&me.certificate(), now) {
            Standing::Known { approved: true, .. } => Some(Entry::Member),
            Standing::RenewOnly {
                reason: RenewReason::Expired { .. },
                ..
            } if door.behind => {
                self.closed = Some(refuse(CloseCode::Overloaded, "not renewed while behind".to_owned()));
                None
            }
            Standing::RenewOnly { .. } => {
                door.note("renewed");
                self.renew();
                self.knock()
            }
            standing @ (Standing::Known { .. } | Standing::Joining | Standing::Unknown { .. }) => {
                door.note("unknown");
                self.closed = Some(refuse(CloseCode::KeyUnknown, standing.to_string()));
                None
            }
            Standing::Revoked { reason } => {
                door.note("revoked");
                self.closed = Some(refuse(CloseCode::KeyRevoked, reason));
                None
            }
        }
    }

    /// A new key and certificate; the key of before stays until the new one is in use.
    pub fn renew(&mut self) {
        let (door, me) = (&mut self.hub.door, &mut self.agent.me);
        let now = Timestamp::from_millisecond(self.now.wall).expect("in range");
        let known = matches!(
            door.registry.decide(&me.certificate(), now),
            Standing::Known { .. } | Standing::RenewOnly { .. }
        );
        if !known {
            return;
        }
        me.rekey();
        door.keys.keys.push(me.key);
        let excess = door.keys.keys.len().saturating_sub(3);
        door.keys.keys.drain(..excess);
        me.not_after = self.now.wall + LIFETIME_MS;
        door.register();
    }

    /// The certificate ends while the agent is away.
    pub fn expire(&mut self) {
        self.cut();
        self.agent.me.not_after = self.now.wall - 1;
    }

    /// Somebody takes the agent's key back: the live session is cut.
    pub fn revoke(&mut self) {
        self.cut();
        let door = &mut self.hub.door;
        door.revoked.extend(door.keys.keys.iter().copied());
        door.register();
        assert!(!self.connect(), "a revoked key came in");
    }

    /// A copy of the agent's key and disk dials in. It must get nothing while the cluster has an agent.
    pub fn clone_comes(&mut self) {
        let door = &mut self.hub.door;
        let now = Timestamp::from_millisecond(self.now.wall).expect("in range");
        let standing = door.registry.decide(&self.agent.me.certificate(), now);
        if !matches!(standing, Standing::Known { approved: true, .. }) {
            return;
        }
        let Some(stored) = door
            .stored
            .clone()
            .filter(|stored| stored.id.boot_seq == self.agent.boot_seq)
        else {
            return; // the first to come is the agent, whoever it is
        };
        let hello = Hello {
            instance_id: "a copy".to_owned(),
            boot_seq: self.agent.boot_seq,
            session_seq: 1,
            ..Hello::default()
        };
        let mode = door.receive(&hello).expect("it is let in, and told nothing");
        assert_eq!(mode, Mode::Quarantined, "a copy beside {stored:?}");
        door.note("cloned");
        // The session that was live comes back quarantined as well.
        if self.is_connected() {
            self.cut();
            self.connect();
        }
    }

    /// The next root set; a session that is open is told.
    pub fn rotate_roots(&mut self) {
        let door = &mut self.hub.door;
        let far = door.roots - self.agent.me.roots.version();
        if door.roots as usize >= ROOTS.len() || far >= BRIDGES {
            return;
        }
        door.roots += 1;
        door.note("rotated");
        let next = door.roots_after(door.told);
        if let Some(session) = &mut self.hub.session
            && session.push_root_sets(next)
        {
            door.told = door.roots;
        }
    }

    /// Another version starts at one end, with features of its own.
    pub fn upgrade(&mut self) {
        let features = 1 | self.rng.random_range(0..8);
        if self.rng.random_bool(0.5) {
            self.hub.features = features;
            self.restart_hub(true);
        } else {
            self.agent.features = features;
            self.restart_agent();
        }
    }

    /// Everything that the hub stores is copied.
    pub fn backup_hub(&mut self) {
        let hub = &mut self.hub;
        if hub.door.behind {
            return;
        }
        hub.door.backup = Some(Backup {
            truth: hub.truth.clone(),
            retired: hub.retired.clone(),
            ring: hub.ring.clone(),
            keys: hub.door.keys.clone(),
            revoked: hub.door.revoked.clone(),
        });
    }

    /// The hub dies, and what starts is as old as the backup.
    pub fn restore_hub(&mut self) {
        let Some(backup) = self.hub.door.backup.take() else {
            return;
        };
        let hub = &mut self.hub;
        let uids = |truth: &BTreeMap<String, (String, Bytes)>, retired: &BTreeSet<String>| -> BTreeSet<String> {
            truth
                .values()
                .map(|(uid, _)| uid.clone())
                .chain(retired.iter().cloned())
                .collect()
        };
        let known = uids(&backup.truth, &backup.retired);
        let before = uids(&hub.truth, &hub.retired);
        hub.door.lost.extend(before.difference(&known).cloned());
        hub.door.note("restored");
        (hub.truth, hub.retired, hub.ring) = (backup.truth, backup.retired, backup.ring);
        (hub.door.keys, hub.door.revoked) = (backup.keys, backup.revoked);
        (hub.door.stored, hub.door.quarantined, hub.door.behind) = (None, None, false);
        hub.door.register();
        self.restart_hub(false);
    }

    /// A person looks after what only a person can: a quarantine, a key that is not known, a hub that is behind.
    pub fn help(&mut self) {
        self.release();
        // Twice: only a session shows that a hub is behind, or that an agent was not told of roots.
        for _ in 0..2 {
            if self.hub.door.behind {
                self.confirm();
            }
            if !self.is_connected() && !self.connect() {
                self.join_again();
                assert!(self.connect(), "refused with a key of its own: {:?}", self.closed);
            }
            self.settle();
            if self.agent.me.roots.version() < self.hub.door.roots {
                self.cut();
            }
        }
        // A restored hub may find the copy's traces anew.
        self.release();
    }

    fn release(&mut self) {
        if self.hub.door.quarantined.is_some() {
            self.hub.door.note("released");
            self.revoke();
            self.join_again();
        }
    }

    /// With a new token and a new key.
    fn join_again(&mut self) {
        self.cut();
        let (door, me) = (&mut self.hub.door, &mut self.agent.me);
        me.rekey();
        me.not_after = i64::MAX;
        door.keys.keys = vec![me.key];
        (door.stored, door.quarantined) = (None, None);
        door.note("joined again");
        door.register();
    }

    /// The restored state is what is wanted from now on, lower revisions and all.
    fn confirm(&mut self) {
        self.cut();
        let hub = &mut self.hub;
        hub.door.note("confirmed");
        let seen = self.agent.last.as_ref().map_or(0, |last| last.incarnation);
        hub.ring.confirm(seen.max(hub.ring.incarnation()) + 1, &hub.issuer);
        hub.door.behind = false;
        hub.desired = ItemMap::new(SetKind::Desired);
        hub.desired
            .set_checkpoint(hub.ring.latest().expect("one was just made").clone());
        for (key, (uid, payload)) in &hub.truth {
            hub.desired
                .put(key, &owner(uid), payload.clone(), salt_of(key))
                .expect("valid item");
        }
        hub.in_sync = false;
        self.agent.applied.clear();
    }
}
