//! The hub's end of a session: a state machine that is fed frames and time, and asked for frames, events and deadlines.
//!
//! ```text
//!  Awaiting ── Hello ──► Deciding ── admit ──► Live(mode)
//!      └────── JoinRequest ─► Deciding ── answer_join ──► Answered (the agent closes and connects again)
//!
//! A member says Hello; a key that nobody knows asks to join; one that waits or must renew may do either.
//! ```
//!
//! The session decides nothing about identity, fencing or Behind: it asks its owner with an [`Event`] and is told. It
//! owns no map: those of the cluster outlive it and are passed in.

mod event;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

pub use event::{Admission, Config, Entry, Event, Maps};

use crate::close::{Close, CloseCode};
use crate::digest::Digest;
use crate::features::{FEATURE_METERED, FEATURE_UPGRADE};
use crate::frame::MAX_ITEM;
use crate::replica::Replica;
use crate::sync::{ItemFailure, ProtocolError, Receiver, Sender, SenderEvent, Step, pop};
use crate::time::Now;
use crate::wire::{
    self, ControlBody, Fence, Heartbeat, Hello, JoinReply, LinkProfile, Mode, PrunePermit, RenewReply, RootSets,
    SetKind, StateBody, Welcome,
};

/// The protocol's major version.
pub const MAJOR: u32 = 1;

/// How long an agent may take for its first message, and for closing after a join reply.
const FIRST_MESSAGE_MS: u64 = 10_000;
/// How long a process may take to look up whether it is fenced.
const FENCE_MS: u64 = 10_000;
/// An agent that was silent for so many heartbeats is gone: the carrier repeats a lost one long before the next is due.
const SILENT_HEARTBEATS: u64 = 2;
/// And so much longer: for repeating, and for a machine that was busy.
const SILENT_SLACK_MS: u64 = 5_000;
/// Every so many heartbeats the hub sends one of its own, so that an agent notices a hub that hears and does not think.
const ECHO_EVERY: u64 = 8;
/// Messages that wait for the control stream. Permits and root sets are the only ones without a question before them;
/// a reader this far behind is not reading at all.
const CONTROL_QUEUE: usize = 256;

/// The hub's end of a session.
#[derive(Debug)]
pub struct Session {
    config: Arc<Config>,
    entry: Entry,
    phase: Phase,
    desired: Sender,
    status: Receiver,
    hello: Option<Box<HelloFacts>>,
    control: VecDeque<ControlBody>,
    events: VecDeque<Event>,
    sender_events: VecDeque<SenderEvent>,
    heard: u64,
    heartbeats: u64,
    beat: bool,
    fence_deadline: Option<u64>,
    renewing: bool,
    features: u64,
    profile: LinkProfile,
    /// What the agent was told.
    heartbeat_ms: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Awaiting { deadline: u64 },
    Deciding,
    Answered { deadline: u64 },
    Live(Mode),
}

/// What is needed of `Hello` when the owner has decided.
#[derive(Debug)]
struct HelloFacts {
    features: u64,
    desired_root: Vec<u8>,
    clock_ms: i64,
    max_item: usize,
    last: Option<wire::Checkpoint>,
}

impl Session {
    /// A session for a peer that the registry let in.
    pub fn new(now: Now, config: Arc<Config>, entry: Entry) -> Self {
        let max_status = config.max_status_bytes as usize;
        Self {
            heartbeat_ms: config.heartbeat_ms,
            profile: LinkProfile::Standard,
            config,
            entry,
            phase: Phase::Awaiting {
                deadline: now.mono + FIRST_MESSAGE_MS,
            },
            desired: Sender::new(SetKind::Desired),
            status: Receiver::new(SetKind::Status, max_status),
            hello: None,
            control: VecDeque::new(),
            events: VecDeque::new(),
            sender_events: VecDeque::new(),
            heard: now.mono,
            heartbeats: 0,
            beat: false,
            fence_deadline: None,
            renewing: false,
            features: 0,
        }
    }

    /// What both ends can do beyond the protocol's first version, once it is live.
    pub fn features(&self) -> u64 {
        self.features
    }

    /// What the agent was told that its line can bear; `Standard` before `Welcome`.
    pub fn profile(&self) -> LinkProfile {
        self.profile
    }

    /// What the session may do, once it is live.
    pub fn mode(&self) -> Option<Mode> {
        match self.phase {
            Phase::Live(mode) => Some(mode),
            _ => None,
        }
    }

    /// A frame of the control stream.
    pub fn handle_control(&mut self, now: Now, frame: Bytes, maps: &mut Maps<'_>) -> Result<(), ProtocolError> {
        self.heard = now.mono;
        // A message of a later version is no error: its sender knows from our features that we ignore it.
        let Some(body) = wire::decode::<ControlBody>(frame)? else {
            return Ok(());
        };
        match (body, self.phase) {
            (ControlBody::Hello(hello), Phase::Awaiting { .. }) if self.entry != Entry::Joining => {
                self.handle_hello(hello)
            }
            // Also a key that is known already: the answer to its first request may have been lost.
            (ControlBody::JoinRequest(request), Phase::Awaiting { .. }) if self.entry != Entry::Member => {
                check_major(request.major)?;
                self.phase = Phase::Deciding;
                self.events.push_back(Event::Join(Box::new(request)));
                Ok(())
            }
            (ControlBody::Heartbeat(heartbeat), Phase::Live(mode)) => {
                self.handle_heartbeat(heartbeat, mode, maps);
                Ok(())
            }
            (ControlBody::RenewRequest(request), Phase::Live(mode)) if may_renew(mode) && !self.renewing => {
                self.renewing = true;
                self.events.push_back(Event::Renew { csr: request.csr });
                Ok(())
            }
            (ControlBody::PrunePlan(plan), Phase::Live(mode)) if status_flows(mode) => {
                self.events.push_back(Event::Plan(plan));
                Ok(())
            }
            (ControlBody::FenceReply(reply), _) if self.fence_deadline.take().is_some() => {
                self.events.push_back(Event::FenceReply(reply));
                Ok(())
            }
            // The deadline passed before the answer arrived.
            (ControlBody::FenceReply(_), _) => Ok(()),
            (body, phase) => Err(unexpected(&body, phase, self.entry)),
        }
    }

    /// A frame of the state stream.
    pub fn handle_state(&mut self, now: Now, frame: Bytes, maps: &mut Maps<'_>) -> Result<(), ProtocolError> {
        self.heard = now.mono;
        let Some(body) = wire::decode::<StateBody>(frame)? else {
            return Ok(());
        };
        let not_now = |message| {
            Err(ProtocolError::Unexpected {
                message,
                why: "this session's mode does not allow it",
            })
        };
        let mode = self.mode();
        let (up, down) = (mode.is_some_and(status_flows), mode.is_some_and(desired_flows));
        match body {
            StateBody::ItemPut(put) if up && put.set == SetKind::Status as i32 => {
                let step = self.status.handle_put(maps.status, put)?;
                self.take_step(step);
            }
            StateBody::ItemDelete(delete) if up && delete.set == SetKind::Status as i32 => {
                let step = self.status.handle_delete(maps.status, delete)?;
                self.take_step(step);
            }
            StateBody::TreeRequest(request) if up && request.set == SetKind::Status as i32 => {
                self.status.handle_request(maps.status, request)?;
            }
            StateBody::TreeReply(reply) if down && reply.set == SetKind::Desired as i32 => {
                self.desired
                    .handle_reply(maps.desired, reply, &mut self.sender_events)?;
            }
            StateBody::Ack(ack) if down && ack.set == SetKind::Desired as i32 => {
                self.desired.handle_ack(maps.desired, ack, &mut self.sender_events)?;
            }
            StateBody::Event(event) if up => self.events.push_back(Event::Spoke(event)),
            StateBody::ItemPut(_) => return not_now("ItemPut"),
            StateBody::ItemDelete(_) => return not_now("ItemDelete"),
            StateBody::TreeRequest(_) => return not_now("TreeRequest"),
            StateBody::TreeReply(_) => return not_now("TreeReply"),
            StateBody::Ack(_) => return not_now("Ack"),
            StateBody::Event(_) => return not_now("EventMsg"),
            StateBody::Checkpoint(_) => return not_now("Checkpoint"),
        }
        self.collect();
        Ok(())
    }

    /// A deadline passed. `Some` ends the session.
    pub fn handle_timeout(&mut self, now: Now) -> Option<Close> {
        if self.fence_deadline.take_if(|deadline| now.mono >= *deadline).is_some() {
            self.events.push_back(Event::FenceUnanswered);
        }
        match self.phase {
            Phase::Awaiting { deadline } if now.mono >= deadline => {
                Some(Close::new(CloseCode::Idle, "no hello and no join request came in time"))
            }
            Phase::Answered { deadline } if now.mono >= deadline => {
                Some(Close::new(CloseCode::Reconnect, "join request answered; connect again"))
            }
            Phase::Live(_) if now.mono >= self.silence_deadline() => {
                Some(Close::new(CloseCode::Idle, "no heartbeat came in time"))
            }
            _ => None,
        }
    }

    /// When [`Session::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<u64> {
        let phase = match self.phase {
            Phase::Awaiting { deadline } | Phase::Answered { deadline } => Some(deadline),
            Phase::Deciding => None,
            Phase::Live(_) => Some(self.silence_deadline()),
        };
        [phase, self.fence_deadline].into_iter().flatten().min()
    }

    /// The next thing for the owner.
    pub fn poll_event(&mut self) -> Option<Event> {
        pop(&mut self.events)
    }

    /// The next frame for the control stream.
    pub fn poll_control(&mut self, now: Now, maps: &mut Maps<'_>) -> Option<Vec<u8>> {
        if let Some(body) = pop(&mut self.control) {
            return Some(wire::encode(body));
        }
        if !std::mem::take(&mut self.beat) {
            return None;
        }
        Some(wire::encode(ControlBody::Heartbeat(Heartbeat {
            desired_root8: maps.desired.root().short(),
            status_root8: maps.status.root().short(),
            seq: self.heartbeats,
            clock_ms: now.wall,
            policy_digest: Vec::new(),
        })))
    }

    /// The next frame for the state stream. Call it again when the map has changed.
    pub fn poll_state(&mut self, maps: &mut Maps<'_>) -> Option<Vec<u8>> {
        let mode = self.mode()?;
        if !status_flows(mode) {
            return None;
        }
        let body = self
            .status
            .poll()
            .or_else(|| self.desired.poll(maps.desired, &mut self.sender_events));
        if body.is_none() {
            self.desired.poll_in_sync(maps.desired, &mut self.sender_events);
        }
        self.collect();
        body.map(wire::encode)
    }

    /// The answer to [`Event::Hello`]: sends `Welcome`, and in a mode that allows it compares what both ends have.
    pub fn admit(&mut self, now: Now, admission: Admission, maps: &mut Maps<'_>) {
        let Some(hello) = self.hello.take() else { return };
        let mode = match self.entry {
            Entry::Member => admission.mode,
            Entry::RenewOnly => Mode::RenewOnly,
            Entry::Pending | Entry::Joining => Mode::Pending,
        };
        // Half a frame for root sets; an agent that needs more gets the rest next time.
        let mut room = 32 * 1024_usize;
        let fits = |set: &Vec<u8>| room.checked_sub(set.len() + 8).map(|rest| room = rest).is_some();
        let root_sets = admission.root_sets.into_iter().take_while(fits).take(8).collect();
        self.features = self.config.features & hello.features;
        let upgrades = self.features & FEATURE_UPGRADE != 0 && mode == Mode::Normal;
        if admission.profile == LinkProfile::Metered && self.features & FEATURE_METERED != 0 {
            self.profile = LinkProfile::Metered;
            self.heartbeat_ms = self.config.metered_heartbeat_ms;
        }
        self.control.push_back(ControlBody::Welcome(Welcome {
            features: self.features,
            hub_uid: self.config.hub_uid.clone(),
            now_ms: now.wall,
            mode: mode as i32,
            desired_root: maps.desired.root().to_vec(),
            status_root: maps.status.root().to_vec(),
            reconnect_window_ms: self.config.reconnect_window_ms,
            heartbeat_ms: self.heartbeat_ms,
            clock_ms: hello.clock_ms,
            max_item_bytes: self.config.max_status_bytes,
            root_sets,
            reason: admission.reason,
            cluster_ns: admission.cluster_ns,
            cluster_name: admission.cluster_name,
            agent_version: if upgrades {
                admission.agent_version
            } else {
                String::new()
            },
            profile: self.profile as i32,
        }));
        self.heard = now.mono;
        self.phase = Phase::Live(mode);
        if desired_flows(mode) {
            self.desired
                .start(maps.desired, &hello.desired_root, hello.max_item, hello.last);
        }
    }

    /// Asks the process at the other end whether it still is the spoke's agent. Possible before and after `Welcome`.
    pub fn fence(&mut self, now: Now, fence: Fence) {
        self.fence_deadline = Some(now.mono + FENCE_MS);
        self.control.push_back(ControlBody::Fence(fence));
    }

    /// The answer to [`Event::Join`] when it is accepted; a refusal is a close.
    pub fn answer_join(&mut self, now: Now, reply: JoinReply) {
        self.phase = Phase::Answered {
            deadline: now.mono + FIRST_MESSAGE_MS,
        };
        self.control.push_back(ControlBody::JoinReply(reply));
    }

    /// The answer to [`Event::Renew`].
    pub fn answer_renew(&mut self, reply: RenewReply) {
        self.renewing = false;
        self.control.push_back(ControlBody::RenewReply(reply));
    }

    /// The owner has dealt with a status item. `false` when no such item waits.
    pub fn settle(&mut self, version: u64, result: Result<(), ItemFailure>, maps: &mut Maps<'_>) -> bool {
        let Some(next) = self.status.settle(maps.status, version, result) else {
            return false;
        };
        self.take_step(next);
        true
    }

    /// The hub's word on a plan. `false` when the control stream is not being read, or the mode forbids permits.
    pub fn permit(&mut self, permit: PrunePermit) -> bool {
        let allowed = self.mode() == Some(Mode::Normal) || (self.mode() == Some(Mode::Behind) && !permit.granted);
        if !allowed || self.control.len() >= CONTROL_QUEUE {
            return false;
        }
        self.control.push_back(ControlBody::PrunePermit(permit));
        true
    }

    /// Pushes root sets that follow the agent's. `false` when the session is not live or the stream is not being read.
    pub fn push_root_sets(&mut self, signed: Vec<Vec<u8>>) -> bool {
        if self.mode().is_none() || self.control.len() >= CONTROL_QUEUE {
            return false;
        }
        self.control.push_back(ControlBody::RootSets(RootSets { signed }));
        true
    }

    /// Sends a heartbeat now, for example because the map changed while nothing else is sent.
    pub fn beat(&mut self) {
        self.beat = self.mode().is_some();
    }

    fn handle_hello(&mut self, hello: Hello) -> Result<(), ProtocolError> {
        check_major(hello.major)?;
        let max_item = match hello.max_item_bytes as usize {
            0 => MAX_ITEM,
            bytes => bytes.min(MAX_ITEM),
        };
        self.hello = Some(Box::new(HelloFacts {
            features: hello.features,
            desired_root: hello.desired_root.clone(),
            clock_ms: hello.clock_ms,
            max_item,
            last: hello.last.clone(),
        }));
        self.phase = Phase::Deciding;
        self.events.push_back(Event::Hello(Box::new(hello)));
        Ok(())
    }

    fn handle_heartbeat(&mut self, heartbeat: Heartbeat, mode: Mode, maps: &mut Maps<'_>) {
        self.heartbeats += 1;
        self.status.heartbeat();
        if desired_flows(mode) {
            self.desired.compare(maps.desired, heartbeat.desired_root8);
        }
        // The agent is the one to walk its own map; our roots tell it that there is a difference.
        let differs = status_flows(mode) && heartbeat.status_root8 != maps.status.root().short();
        self.beat |= differs || self.heartbeats.is_multiple_of(ECHO_EVERY);
        self.events.push_back(Event::Heartbeat {
            clock_ms: heartbeat.clock_ms,
        });
        let policy = Digest::from_slice(&heartbeat.policy_digest);
        self.events.extend(policy.map(Event::Policy));
    }

    fn silence_deadline(&self) -> u64 {
        self.heard + silence_ms(self.heartbeat_ms)
    }

    fn take_step(&mut self, step: Option<Step>) {
        self.events.extend(step.map(|step| match step {
            Step::Put(put) => Event::Status(put),
            Step::Delete(delete) => Event::StatusGone(delete),
        }));
    }

    fn collect(&mut self) {
        self.events.extend(
            std::mem::take(&mut self.sender_events)
                .into_iter()
                .map(|event| match event {
                    SenderEvent::Taken { key, version } => Event::Taken { key, version },
                    SenderEvent::Failed {
                        key,
                        version,
                        code,
                        message,
                    } => Event::Failed {
                        key,
                        version,
                        code,
                        message,
                    },
                    SenderEvent::Orphan { key, owner_uid } => Event::Orphan { key, owner_uid },
                    SenderEvent::InSync => Event::InSync,
                }),
        );
    }
}

/// Whether desired items flow to the agent.
pub(crate) fn desired_flows(mode: Mode) -> bool {
    mode == Mode::Normal
}

/// Whether status flows to the hub.
pub(crate) fn status_flows(mode: Mode) -> bool {
    matches!(mode, Mode::Normal | Mode::Behind)
}

/// Whether an agent may ask for a new certificate. A hub that is Behind still renews what has not expired.
pub(crate) fn may_renew(mode: Mode) -> bool {
    matches!(mode, Mode::Normal | Mode::Behind | Mode::RenewOnly)
}

/// How long an agent that is told to send a heartbeat every so often may be silent before it counts as gone. The
/// carrier's idle timeout is that of the slowest heartbeat which the hub asks for.
pub const fn silence_ms(heartbeat_ms: u32) -> u64 {
    heartbeat_ms as u64 * SILENT_HEARTBEATS + SILENT_SLACK_MS
}

pub(crate) fn check_major(theirs: u32) -> Result<(), ProtocolError> {
    if theirs == MAJOR {
        Ok(())
    } else {
        Err(ProtocolError::Version { theirs, ours: MAJOR })
    }
}

pub(crate) fn control_name(body: &ControlBody) -> &'static str {
    match body {
        ControlBody::Hello(_) => "Hello",
        ControlBody::Welcome(_) => "Welcome",
        ControlBody::Heartbeat(_) => "Heartbeat",
        ControlBody::Fence(_) => "Fence",
        ControlBody::FenceReply(_) => "FenceReply",
        ControlBody::JoinRequest(_) => "JoinRequest",
        ControlBody::JoinReply(_) => "JoinReply",
        ControlBody::RenewRequest(_) => "RenewRequest",
        ControlBody::RenewReply(_) => "RenewReply",
        ControlBody::RootSets(_) => "RootSets",
        ControlBody::PrunePlan(_) => "PrunePlan",
        ControlBody::PrunePermit(_) => "PrunePermit",
    }
}

fn unexpected(body: &ControlBody, phase: Phase, entry: Entry) -> ProtocolError {
    let why = match (phase, entry) {
        (Phase::Awaiting { .. }, Entry::Joining) => "this key is not known, so a JoinRequest must come first",
        (Phase::Awaiting { .. }, Entry::Member) => "this key is in, so a Hello must come first",
        (Phase::Awaiting { .. }, _) => "a Hello or a JoinRequest must come first",
        (Phase::Deciding, _) => "the first message is not answered yet",
        (Phase::Answered { .. }, _) => "the join request is answered; connect again",
        (Phase::Live(_), _) => "this session's mode does not allow it",
    };
    ProtocolError::Unexpected {
        message: control_name(body),
        why,
    }
}

impl From<&ProtocolError> for Close {
    fn from(error: &ProtocolError) -> Self {
        let code = match error {
            ProtocolError::Version { .. } => CloseCode::Version,
            _ => CloseCode::Protocol,
        };
        Self::new(code, error.to_string())
    }
}

/// The digest of nothing held, which an agent without items announces.
pub fn empty_root(set: SetKind) -> Digest {
    Replica::new(set).root()
}
