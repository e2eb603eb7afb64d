//! Two ends, four wires and a clock that only this file moves.
//!
//! Streams are reliable, so loss is a cut: everything on the wires is gone and both sessions die. Between streams there is
//! no order. Each end has a store that survives it, from which it is rebuilt when it restarts. What the ends do is
//! checked as they do it: no effect twice, none out of order, no deletion that the hub did not ask for.

#![allow(dead_code, reason = "each test file uses a part of it")]

mod identity;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use nave_proto::agent::{self, Opening};
use nave_proto::hub::{self, Admission};
use nave_proto::wire::{
    DeleteCause, DeletePolicy, EventMsg, FailCode, FenceReply, Hello, LinkProfile, Mode, OwnerRef, PrunePermit,
    PrunePlan, SetKind,
};
use nave_proto::{
    CheckpointRing, Close, CloseCode, Deletion, Digest, EventQueue, Issuer, ItemFailure, ItemMap, Now, Plans, Relation,
    Replica,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

pub use identity::{Door, Me};

/// Payloads larger than this fail alone.
pub const MAX_ITEM: usize = 10_000;

/// Between heartbeats of a metered line.
pub const METERED_MS: u32 = 45_000;

pub struct World {
    pub rng: StdRng,
    pub now: Now,
    pub hub: HubEnd,
    pub agent: AgentEnd,
    wires: Wires,
    pub delivered: usize,
    /// How the last connection ended, when a side ended it.
    pub closed: Option<Close>,
    counter: u64,
}

#[derive(Default)]
struct Wires {
    control_up: VecDeque<Bytes>,
    control_down: VecDeque<Bytes>,
    state_up: VecDeque<Bytes>,
    state_down: VecDeque<Bytes>,
}

pub struct HubEnd {
    pub desired: ItemMap,
    pub status: Replica,
    pub ring: CheckpointRing,
    /// The process that gives checkpoints.
    pub issuer: Issuer,
    session: Option<hub::Session>,
    /// What should be: key to owner UID, payload. The truth from which `desired` is rebuilt.
    pub truth: BTreeMap<String, (String, Bytes)>,
    /// UIDs that may be deleted: the retirement log.
    pub retired: BTreeSet<String>,
    /// Status as taken: key to counter.
    pub seen: BTreeMap<String, u64>,
    pub mode: Mode,
    pub events: Vec<EventMsg>,
    pub orphans: BTreeSet<String>,
    pub failed: BTreeMap<String, FailCode>,
    pub in_sync: bool,
    /// Plans are answered with this.
    pub grant: bool,
    /// Who may come in, and as what.
    pub door: Door,
    pub features: u64,
    /// What an operator says that the line can bear.
    pub profile: LinkProfile,
}

pub struct AgentEnd {
    pub desired: Replica,
    pub status: ItemMap,
    pub plans: Plans,
    pub events: EventQueue,
    session: Option<agent::Session>,
    /// What is stored: key to owner UID and payload.
    pub store: BTreeMap<String, (String, Bytes)>,
    /// Status rows that it has: key to counter.
    pub rows: BTreeMap<String, u64>,
    /// Deletions that wait for a permit: plan digest to key.
    pub pending: BTreeMap<Vec<u8>, String>,
    /// Plans that were carried out.
    pub pruned: BTreeSet<Vec<u8>>,
    /// Counter of what was applied last, by key: it only rises.
    pub applied: BTreeMap<String, u64>,
    pub last: Option<nave_proto::wire::Checkpoint>,
    pub boot_seq: u64,
    pub session_seq: u64,
    pub effects: usize,
    /// Items of the session that are not carried out yet.
    in_hand: Vec<agent::Event>,
    pub in_sync: bool,
    pub mode: Option<Mode>,
    /// Its key, certificate and roots.
    pub me: Me,
    pub features: u64,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let issuer = Issuer::new([1; 32], [0; 8]);
        Self {
            rng: StdRng::seed_from_u64(seed),
            now: Now {
                mono: 1_000_000,
                wall: 1_800_000_000_000,
            },
            hub: HubEnd {
                desired: ItemMap::new(SetKind::Desired),
                status: Replica::new(SetKind::Status),
                ring: CheckpointRing::new(&issuer),
                issuer,
                session: None,
                truth: BTreeMap::new(),
                retired: BTreeSet::new(),
                seen: BTreeMap::new(),
                mode: Mode::Normal,
                events: Vec::new(),
                orphans: BTreeSet::new(),
                failed: BTreeMap::new(),
                in_sync: false,
                grant: true,
                door: Door::new(),
                features: 1,
                profile: LinkProfile::Standard,
            },
            agent: AgentEnd {
                desired: Replica::new(SetKind::Desired),
                status: ItemMap::new(SetKind::Status),
                plans: Plans::new(),
                events: EventQueue::new(),
                session: None,
                store: BTreeMap::new(),
                rows: BTreeMap::new(),
                pending: BTreeMap::new(),
                pruned: BTreeSet::new(),
                applied: BTreeMap::new(),
                last: None,
                boot_seq: 1,
                session_seq: 0,
                effects: 0,
                in_hand: Vec::new(),
                in_sync: false,
                mode: None,
                me: Me::new(),
                features: 3,
            },
            wires: Wires::default(),
            delivered: 0,
            closed: None,
            counter: 0,
        }
    }

    // ---- what people do ----

    /// Puts or changes an item. The payload carries a counter, so that order can be checked.
    pub fn put(&mut self, key: &str) {
        let size = 20;
        self.put_sized(key, size);
    }

    pub fn put_sized(&mut self, key: &str, size: usize) {
        self.counter += 1;
        let uid = match self.hub.truth.get(key) {
            Some((uid, _)) => uid.clone(),
            None => format!("uid-{}", self.counter),
        };
        let mut payload = format!("{:020}", self.counter).into_bytes();
        payload.resize(size.max(20), b'.');
        self.hub
            .truth
            .insert(key.to_owned(), (uid.clone(), payload.clone().into()));
        self.hub.in_sync = false;
        // A hub that is behind makes no desired state; it makes all of it when it is confirmed.
        if self.hub.door.behind {
            return;
        }
        self.hub.advance();
        self.hub
            .desired
            .put(key, &owner(&uid), payload.into(), salt_of(key))
            .expect("valid item");
    }

    pub fn delete(&mut self, key: &str) {
        let Some((uid, _)) = self.hub.truth.remove(key) else {
            return;
        };
        self.counter += 1;
        self.hub.retired.insert(uid.clone());
        self.hub.in_sync = false;
        if self.hub.door.behind {
            return;
        }
        self.hub.advance();
        self.hub.desired.delete(key, deletion(&uid));
    }

    pub fn set_row(&mut self, key: &str) {
        self.counter += 1;
        self.agent.rows.insert(key.to_owned(), self.counter);
        let payload = self.counter.to_be_bytes().to_vec().into();
        self.agent
            .status
            .put(key, &OwnerRef::default(), payload, None)
            .expect("valid row");
        self.agent.in_sync = false;
    }

    pub fn remove_row(&mut self, key: &str) {
        if self.agent.rows.remove(key).is_some() {
            let deletion = Deletion {
                owner: OwnerRef::default(),
                cause: DeleteCause::Gone,
                policy: DeletePolicy::Orphan,
                change_id: String::new(),
            };
            self.agent.status.delete(key, deletion);
            self.agent.in_sync = false;
        }
    }

    // ---- what fate does ----

    /// False when the hub refuses.
    pub fn connect(&mut self) -> bool {
        self.drop_connection();
        let Some(entry) = self.knock() else {
            return false;
        };
        self.agent.session_seq += 1;
        let hello = Hello {
            instance_id: format!("instance-{}", self.agent.boot_seq),
            boot_seq: self.agent.boot_seq,
            session_seq: self.agent.session_seq,
            last: self.agent.last.clone(),
            root_set_version: self.agent.me.roots.version(),
            features: self.agent.features,
            ..Hello::default()
        };
        let opening = Opening::Hello(Box::new(hello));
        let (now, end) = (self.now, &mut self.agent);
        end.session = Some(agent::Session::new(now, opening, MAX_ITEM, &mut maps!(end)));
        let config = hub::Config {
            hub_uid: "hub".to_owned(),
            features: self.hub.features,
            metered_heartbeat_ms: METERED_MS,
            ..hub::Config::default()
        };
        self.hub.session = Some(hub::Session::new(now, Arc::new(config), entry));
        self.closed = None;
        true
    }

    pub fn cut(&mut self) {
        self.drop_connection();
        self.hub.door.left();
    }

    /// The connection is gone, and the hub has not noticed.
    fn drop_connection(&mut self) {
        self.hub.session = None;
        self.agent.session = None;
        self.agent.mode = None;
        self.agent.in_hand.clear();
        self.wires = Wires::default();
    }

    /// The agent keeps its status back, or lets it go.
    pub fn hold_status(&mut self, hold: bool) {
        let session = self.agent.session.as_mut().expect("connected");
        session.hold_status(hold);
    }

    /// What both ends think of the line: profile, and the pause between heartbeats.
    pub fn profiles(&self) -> [(LinkProfile, u64); 2] {
        let (hub, agent) = (&self.hub.session, &self.agent.session);
        let (hub, agent) = (hub.as_ref().expect("connected"), agent.as_ref().expect("connected"));
        let pause = match hub.profile() {
            LinkProfile::Standard => 30_000,
            LinkProfile::Metered => u64::from(METERED_MS),
        };
        [(hub.profile(), pause), (agent.profile(), agent.heartbeat_ms())]
    }

    pub fn is_connected(&self) -> bool {
        self.hub.session.is_some()
    }

    /// The agent's process dies. Its replica and plans are rebuilt from its store.
    pub fn restart_agent(&mut self) {
        self.cut();
        let end = &mut self.agent;
        end.boot_seq += 1;
        end.session_seq = 0;
        end.desired = Replica::new(SetKind::Desired);
        for (key, (uid, payload)) in &end.store {
            let digest = Digest::leaf(SetKind::Desired as u32, key, false, uid, salt_of(key).as_ref(), payload);
            end.desired.insert(key, digest, uid);
        }
        end.status = ItemMap::new(SetKind::Status);
        for (key, counter) in &end.rows {
            let payload = counter.to_be_bytes().to_vec().into();
            end.status
                .put(key, &OwnerRef::default(), payload, None)
                .expect("valid row");
        }
        end.plans = Plans::new();
        for (digest, key) in &end.pending {
            end.plans.hold(plan(digest.clone(), key));
        }
        end.events = EventQueue::new();
        end.in_sync = false;
        end.me.forget_roots_in_memory();
    }

    /// The hub's process dies. Versions start again, unacknowledged deletions are forgotten, status perhaps too.
    pub fn restart_hub(&mut self, keep_status: bool) {
        self.cut();
        self.hub.door.restarted();
        let end = &mut self.hub;
        end.issuer = Issuer::new([1; 32], self.rng.random());
        end.desired = ItemMap::new(SetKind::Desired);
        if let Some(latest) = end.ring.latest() {
            end.desired.set_checkpoint(latest.clone());
        }
        for (key, (uid, payload)) in &end.truth {
            end.desired
                .put(key, &owner(uid), payload.clone(), salt_of(key))
                .expect("valid item");
        }
        if !keep_status {
            end.status = Replica::new(SetKind::Status);
            end.seen.clear();
        }
        end.in_sync = false;
    }

    // ---- time and wires ----

    /// Lets one random thing happen. `false` when nothing can happen before the clock moves.
    pub fn step(&mut self) -> bool {
        let first = self.rng.random_range(0..7);
        (0..7).any(|offset| match (first + offset) % 7 {
            0 => self.deliver(Wire::ControlUp),
            1 => self.deliver(Wire::ControlDown),
            2 => self.deliver(Wire::StateUp),
            3 => self.deliver(Wire::StateDown),
            4 => self.pump_hub(),
            5 => self.carry_out(),
            _ => self.pump_agent(),
        })
    }

    /// Runs until nothing happens any more without the clock.
    pub fn settle(&mut self) {
        for _ in 0..1_000_000 {
            if !self.step() {
                return;
            }
        }
        panic!("the two ends never come to rest");
    }

    /// Moves the clock by up to `heartbeats` heartbeats and lets everything happen.
    pub fn run(&mut self, heartbeats: u64) {
        self.settle();
        for _ in 0..heartbeats {
            self.now = self.now.plus(30_000);
            self.timeouts();
            self.settle();
        }
    }

    pub fn timeouts(&mut self) {
        let now = self.now;
        let ended = self
            .hub
            .session
            .as_mut()
            .and_then(|session| session.handle_timeout(now));
        let ended = ended.or_else(|| {
            self.agent
                .session
                .as_mut()
                .and_then(|session| session.handle_timeout(now))
        });
        if let Some(close) = ended {
            self.close(close);
        }
        self.hub_events();
    }

    fn close(&mut self, close: Close) {
        self.cut();
        self.closed = Some(close);
    }

    fn deliver(&mut self, wire: Wire) -> bool {
        let Some(frame) = self.wires.of(wire).pop_front() else {
            return false;
        };
        self.delivered += 1;
        let now = self.now;
        let result = match wire {
            Wire::ControlUp | Wire::StateUp => {
                let HubEnd {
                    session,
                    desired,
                    status,
                    ..
                } = &mut self.hub;
                let maps = &mut hub::Maps { desired, status };
                let session = session.as_mut().expect("wires are emptied with the session");
                match wire {
                    Wire::ControlUp => session.handle_control(now, frame, maps),
                    _ => session.handle_state(now, frame, maps),
                }
            }
            Wire::ControlDown | Wire::StateDown => {
                let end = &mut self.agent;
                let session = end.session.as_mut().expect("wires are emptied with the session");
                match wire {
                    Wire::ControlDown => session.handle_control(now, frame, &mut maps!(end)),
                    _ => session.handle_state(now, frame, &mut maps!(end)),
                }
            }
        };
        if let Err(error) = result {
            panic!("an honest peer broke the protocol: {error}");
        }
        self.hub_events();
        self.agent_events();
        true
    }

    fn pump_hub(&mut self) -> bool {
        let now = self.now;
        // The hub can write on the state stream only after the agent has opened it, which it does after `Welcome`.
        let open = self
            .agent
            .session
            .as_ref()
            .is_some_and(agent::Session::wants_state_stream);
        let HubEnd {
            session: Some(session),
            desired,
            status,
            ..
        } = &mut self.hub
        else {
            return false;
        };
        let maps = &mut hub::Maps { desired, status };
        let sent = if let Some(frame) = session.poll_control(now, maps) {
            self.wires.control_down.push_back(frame.into());
            true
        } else if let Some(frame) = open.then(|| session.poll_state(maps)).flatten() {
            self.wires.state_down.push_back(frame.into());
            true
        } else {
            false
        };
        self.hub_events();
        sent
    }

    fn pump_agent(&mut self) -> bool {
        let now = self.now;
        let end = &mut self.agent;
        let Some(session) = end.session.as_mut() else {
            return false;
        };
        let sent = if let Some(frame) = session.poll_control(now, &mut maps!(end)) {
            self.wires.control_up.push_back(frame.into());
            true
        } else if let Some(frame) = session.poll_state(&mut maps!(end)) {
            self.wires.state_up.push_back(frame.into());
            true
        } else {
            false
        };
        self.agent_events();
        sent
    }

    fn hub_events(&mut self) {
        while let Some(event) = self.hub.session.as_mut().and_then(hub::Session::poll_event) {
            if let Some(close) = self.hub.on_event(self.now, event) {
                return self.close(close);
            }
        }
    }

    fn agent_events(&mut self) {
        let now = self.now;
        while let Some(event) = self.agent.session.as_mut().and_then(agent::Session::poll_event) {
            match event {
                agent::Event::Put(_) | agent::Event::Delete(_) => self.agent.in_hand.push(event),
                event => self.agent.on_event(now, event, &self.hub.retired),
            }
        }
    }

    /// The agent is done with one of the items that it has in hand, in whatever order they came.
    fn carry_out(&mut self) -> bool {
        if self.agent.in_hand.is_empty() {
            return false;
        }
        let at = self.rng.random_range(0..self.agent.in_hand.len());
        let item = self.agent.in_hand.swap_remove(at);
        self.agent.on_event(self.now, item, &self.hub.retired);
        self.agent_events();
        true
    }

    // ---- what must hold ----

    /// Reconnects and lets everything flow; then both ends must agree with what people did.
    pub fn converge(&mut self) {
        self.help();
        if !self.is_connected() {
            assert!(self.connect(), "refused while converging: {:?}", self.closed);
        }
        self.run(9);
        assert!(self.is_connected(), "closed while converging: {:?}", self.closed);
        let takes = |key: &String, payload: &Bytes| !key.contains("poison") && payload.len() <= MAX_ITEM;
        let wanted: BTreeMap<_, _> = self
            .hub
            .truth
            .iter()
            .filter(|(key, (_, payload))| takes(key, payload))
            .collect();
        let held: BTreeMap<_, _> = self
            .agent
            .store
            .iter()
            .filter(|(key, (uid, _))| !key.contains("stray") && !self.hub.door.is_orphan(&self.hub.truth, key, uid))
            .collect();
        // An item that grew too large is kept in its last good form.
        let stale = |key: &&String| {
            self.hub
                .truth
                .get(*key)
                .is_some_and(|(_, payload)| !takes(key, payload))
        };
        let held: BTreeMap<_, _> = held.into_iter().filter(|(key, _)| !stale(key)).collect();
        assert_eq!(held, wanted, "desired items differ");
        assert_eq!(self.hub.seen, self.agent.rows, "status rows differ");
        // A deletion of one owner's item leaves the orphan of another under the same key alone, and is refused.
        let refused = |key: &str| {
            let held = self.agent.store.get(key);
            held.is_some_and(|(uid, _)| self.hub.door.is_orphan(&self.hub.truth, key, uid))
        };
        let deletions = self.hub.desired.deleted().filter(|(key, _)| !refused(key));
        assert_eq!(deletions.count(), 0, "deletions are not forgotten");
        assert_eq!(
            self.agent.status.deleted().count(),
            0,
            "row deletions are not forgotten"
        );
        assert_eq!(self.agent.status.root(), self.hub.status.root());
        if self.hub.grant {
            assert!(self.agent.pending.is_empty(), "plans without an answer");
        }
        assert!(
            self.hub.in_sync && self.agent.in_sync,
            "nobody said that all is in sync"
        );
        assert_eq!(
            self.agent.last.as_ref(),
            self.hub.desired.checkpoint(),
            "checkpoint not seen"
        );
        assert_eq!(self.agent.me.roots.version(), self.hub.door.roots, "roots not followed");
    }
}

fn relation(ring: &CheckpointRing, issuer: &Issuer, last: Option<&nave_proto::wire::Checkpoint>) -> Relation {
    let relation = ring.relation(last, issuer);
    assert_ne!(
        relation,
        Relation::Forged,
        "the agent shows only what a hub gave: {last:?}"
    );
    relation
}

impl HubEnd {
    fn advance(&mut self) {
        let checkpoint = self.ring.advance(&self.issuer);
        self.desired.set_checkpoint(checkpoint);
    }

    fn on_event(&mut self, now: Now, event: hub::Event) -> Option<Close> {
        let session = self.session.as_mut().expect("events come from a session");
        let maps = &mut hub::Maps {
            desired: &mut self.desired,
            status: &mut self.status,
        };
        match event {
            hub::Event::Hello(hello) => {
                self.door.behind |= relation(&self.ring, &self.issuer, hello.last.as_ref()).means_behind();
                let mode = match self.door.receive(&hello) {
                    Ok(Mode::Normal) if self.door.behind => Mode::Behind,
                    Ok(Mode::Normal) => self.mode,
                    Ok(mode) => mode,
                    Err(close) => return Some(close),
                };
                let admission = Admission {
                    mode,
                    profile: self.profile,
                    reason: String::new(),
                    cluster_ns: "platform".to_owned(),
                    cluster_name: "eu-1".to_owned(),
                    root_sets: self.door.tell(hello.root_set_version),
                    ..Admission::default()
                };
                session.admit(now, admission, maps);
            }
            hub::Event::Status(put) => {
                let counter = u64::from_be_bytes(put.payload[..].try_into().expect("rows are counters"));
                let before = self.seen.insert(put.key.to_string(), counter);
                assert!(
                    before.is_none_or(|before| before < counter),
                    "a status row went back or came twice"
                );
                assert!(session.settle(put.version, Ok(()), maps));
            }
            hub::Event::StatusGone(gone) => {
                assert!(self.seen.remove(&*gone.key).is_some(), "a status row was deleted twice");
                assert!(session.settle(gone.version, Ok(()), maps));
            }
            hub::Event::Orphan { key, owner_uid } => {
                if self.retired.contains(&*owner_uid) {
                    self.desired.delete(&key, deletion(&owner_uid));
                } else {
                    self.orphans.insert(key.to_string());
                }
            }
            hub::Event::Plan(plan) => {
                let permit = PrunePermit {
                    change_id: plan.change_id,
                    plan_digest: plan.digest,
                    granted: self.grant && !self.door.behind,
                    reason: String::new(),
                };
                session.permit(permit);
            }
            hub::Event::Failed { key, code, .. } => drop(self.failed.insert(key.to_string(), code)),
            hub::Event::InSync => self.in_sync = true,
            hub::Event::Spoke(event) => self.events.push(event),
            hub::Event::Taken { .. } | hub::Event::Heartbeat { .. } => {}
            hub::Event::Join(_) | hub::Event::Renew { .. } => {
                return Some(Close::new(CloseCode::Internal, "not in this world"));
            }
            hub::Event::FenceReply(_) | hub::Event::FenceUnanswered | hub::Event::Policy(_) => {}
        }
        None
    }
}

impl AgentEnd {
    fn on_event(&mut self, _now: Now, event: agent::Event, retired: &BTreeSet<String>) {
        match event {
            agent::Event::Put(put) => {
                let result = if put.key.contains("poison") {
                    Err(ItemFailure::new(FailCode::Malformed, "poison"))
                } else {
                    let counter: u64 = std::str::from_utf8(&put.payload[..20])
                        .expect("payloads are text")
                        .parse()
                        .expect("payloads begin with a counter");
                    assert_eq!(self.mode, Some(Mode::Normal), "{} came while nothing may flow", put.key);
                    self.keep(&put.key, &put.owner.uid);
                    let before = self.applied.insert(put.key.to_string(), counter);
                    assert!(
                        before.is_none_or(|before| before < counter),
                        "{} went back or came twice",
                        put.key
                    );
                    assert_eq!(put.salt, salt_of(&put.key));
                    self.store
                        .insert(put.key.to_string(), (put.owner.uid.clone(), put.payload.clone()));
                    self.effects += 1;
                    Ok(())
                };
                self.settle(put.version, result);
            }
            agent::Event::Delete(delete) => {
                assert_eq!(
                    self.mode,
                    Some(Mode::Normal),
                    "{} deleted while nothing may flow",
                    delete.key
                );
                assert!(
                    retired.contains(&delete.owner.uid),
                    "{} deleted without knowledge",
                    delete.key
                );
                let (uid, _) = self.store.remove(&*delete.key).expect("an item was deleted twice");
                assert_eq!(uid, delete.owner.uid, "another owner's item was deleted");
                self.effects += 1;
                let digest = Digest::of_content(format!("{}/{uid}", delete.key).as_bytes()).to_vec();
                self.plans.hold(plan(digest.clone(), &delete.key));
                self.pending.insert(digest, delete.key.to_string());
                self.settle(delete.version, Ok(()));
            }
            agent::Event::Permit { permit, plan } => {
                if permit.granted {
                    assert!(
                        self.pending.remove(&plan.digest).is_some(),
                        "a plan that was not held was permitted"
                    );
                    assert!(self.pruned.insert(plan.digest), "a plan was carried out twice");
                }
            }
            agent::Event::Checkpoint(checkpoint) => self.last = Some(checkpoint),
            agent::Event::Welcome(welcome) => {
                assert_eq!(welcome.features & !self.features, 0, "only features of both ends");
                self.mode = Mode::try_from(welcome.mode).ok();
                self.me.follow(&welcome.root_sets);
            }
            agent::Event::InSync => self.in_sync = true,
            agent::Event::Fence(_) => {
                let session = self.session.as_mut().expect("events come from a session");
                session.answer_fence(FenceReply::default());
            }
            agent::Event::StatusFailed { key, message, .. } => panic!("status row {key} was refused: {message}"),
            agent::Event::RootSets(sets) => self.me.follow(&sets),
            agent::Event::JoinReply(_) | agent::Event::RenewReply(_) => {}
        }
    }

    /// What is wanted again is not pruned by a plan of before.
    fn keep(&mut self, key: &str, uid: &str) {
        let digest = Digest::of_content(format!("{key}/{uid}").as_bytes());
        self.plans.withdraw(&digest);
        self.pending.remove(digest.as_bytes().as_slice());
        self.pruned.remove(digest.as_bytes().as_slice());
    }

    fn settle(&mut self, version: u64, result: Result<(), ItemFailure>) {
        let end = self;
        let session = end.session.as_mut().expect("events come from a session");
        assert!(session.settle(version, result, &mut maps!(end)));
    }
}

#[derive(Clone, Copy)]
enum Wire {
    ControlUp,
    ControlDown,
    StateUp,
    StateDown,
}

impl Wires {
    fn of(&mut self, wire: Wire) -> &mut VecDeque<Bytes> {
        match wire {
            Wire::ControlUp => &mut self.control_up,
            Wire::ControlDown => &mut self.control_down,
            Wire::StateUp => &mut self.state_up,
            Wire::StateDown => &mut self.state_down,
        }
    }
}

pub fn owner(uid: &str) -> OwnerRef {
    OwnerRef {
        kind: "FleetKustomization".into(),
        ns: "platform".into(),
        name: "apps".into(),
        uid: uid.into(),
    }
}

pub fn deletion(uid: &str) -> Deletion {
    Deletion {
        owner: owner(uid),
        cause: DeleteCause::OwnerDeleted,
        policy: DeletePolicy::Prune,
        change_id: "change".to_owned(),
    }
}

fn plan(digest: Vec<u8>, key: &str) -> PrunePlan {
    PrunePlan {
        change_id: "change".into(),
        key: key.into(),
        digest,
        deletes: 1,
        ..PrunePlan::default()
    }
}

/// Every key with an `s` in it is sensitive.
fn salt_of(key: &str) -> Option<[u8; 32]> {
    key.contains('s')
        .then(|| nave_proto::item_salt(&[3; 32], "cluster", key))
}

macro_rules! maps {
    ($end:expr) => {
        nave_proto::agent::Maps {
            desired: &mut $end.desired,
            status: &mut $end.status,
            plans: &mut $end.plans,
            events: &mut $end.events,
        }
    };
}
use maps;
