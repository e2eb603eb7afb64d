//! The agent's end of a session: a state machine that is fed frames and time, and asked for frames, events and
//! deadlines.
//!
//! ```text
//!  Hello ───────► AwaitingWelcome ── Welcome ──► Live(mode)
//!  JoinRequest ─► AwaitingReply ── JoinReply ──► Done (store what came, connect again)
//! ```
//!
//! What must outlive a session (what is held, what is to be told, plans, events) belongs to the owner and is passed in.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::close::{Close, CloseCode};
use crate::events::EventQueue;
use crate::frame::MAX_ITEM;
use crate::hub::{check_major, control_name, desired_flows, may_renew, status_flows};
use crate::map::{Deletion, ItemMap};
use crate::plans::{Plans, SentPlans};
use crate::replica::Replica;
use crate::sync::{IncomingDelete, IncomingPut, ItemFailure, ProtocolError, Receiver, Sender, SenderEvent, Step};
use crate::time::Now;
use crate::tree::Key;
use crate::wire::{
    self, Checkpoint, ControlBody, DeleteCause, DeletePolicy, FailCode, Fence, FenceReply, Heartbeat, Hello, JoinReply,
    JoinRequest, LinkProfile, Mode, OwnerRef, PrunePermit, PrunePlan, RenewReply, RenewRequest, SetKind, StateBody,
    Welcome,
};

/// How long the hub may take to answer the first message. It may have to ask its API server.
const ANSWER_MS: u64 = 30_000;
/// A hub that said nothing for so many heartbeats does not think any more, though its machine may still answer: it
/// sends one of its own for every eight. A hub that is gone is noticed by the carrier long before.
const SILENT_HEARTBEATS: u64 = 20;
/// Bounds of the pace that a hub may ask for, in milliseconds.
const HEARTBEAT_MS: std::ops::RangeInclusive<u64> = 100..=600_000;

/// The first message of a session.
#[derive(Debug, Clone, PartialEq)]
pub enum Opening {
    /// An agent that has joined. Roots and clock are filled in by the session.
    Hello(Box<Hello>),
    /// An agent that joins. The major version is filled in.
    Join(Box<JoinRequest>),
}

/// What the agent keeps across sessions.
pub struct Maps<'a> {
    /// Desired items that are held.
    pub desired: &'a mut Replica,
    /// Status that the hub should know.
    pub status: &'a mut ItemMap,
    /// Deletions that wait for the hub's word.
    pub plans: &'a mut Plans,
    /// Events on their way.
    pub events: &'a mut EventQueue,
}

/// What the owner must do or may want to know.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Connected. Note the hub's clock, UID, reconnect window and root sets.
    Welcome(Box<Welcome>),
    /// Joined, or waiting for approval: store it and connect again.
    JoinReply(Box<JoinReply>),
    /// The answer to [`Session::request_renewal`].
    RenewReply(Box<RenewReply>),
    /// Root sets that follow the trusted one: verify and store them in order.
    RootSets(Vec<Vec<u8>>),
    /// Store it before anything that comes after it.
    Checkpoint(Checkpoint),
    /// Store it, then [`Session::settle`].
    Put(IncomingPut),
    /// Note it durably, then [`Session::settle`].
    Delete(IncomingDelete),
    /// The hub's word on a plan that is held. Granted comes once for each plan.
    Permit {
        /// What the hub said.
        permit: PrunePermit,
        /// The plan; no longer held when it was granted.
        plan: PrunePlan,
    },
    /// Look up in the spoke whether this process is still its agent, then [`Session::answer_fence`].
    Fence(Fence),
    /// The hub did not take a status item.
    StatusFailed {
        /// The item.
        key: Key,
        /// Why.
        code: FailCode,
        /// For people.
        message: String,
    },
    /// The hub knows everything that this end has to tell.
    InSync,
}

/// The agent's end of a session.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    features: u64,
    desired: Receiver,
    status: Sender,
    plans: SentPlans,
    control: VecDeque<ControlBody>,
    events: VecDeque<Event>,
    sender_events: VecDeque<SenderEvent>,
    heard: u64,
    heartbeat_ms: u64,
    /// Between two heartbeats; no longer than the hub asks for.
    pace_ms: u64,
    heartbeats: u64,
    next_heartbeat: u64,
    beat: bool,
    renewing: bool,
    fenced: bool,
    profile: LinkProfile,
    holds_status: bool,
    /// Digest of the policy file, as it was told or is to be told.
    policy: Vec<u8>,
    tells_policy: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    AwaitingWelcome { deadline: u64 },
    AwaitingReply { deadline: u64 },
    Done,
    Live(Mode),
}

impl Session {
    /// A session that begins with `opening`. `max_item` is the largest payload taken; 0 means the protocol's limit.
    pub fn new(now: Now, opening: Opening, max_item: usize, maps: &mut Maps<'_>) -> Self {
        let deadline = now.mono + ANSWER_MS;
        let max_item = if max_item == 0 {
            MAX_ITEM
        } else {
            max_item.min(MAX_ITEM)
        };
        let policy = match &opening {
            Opening::Hello(hello) => hello.policy_digest.clone(),
            Opening::Join(_) => Vec::new(),
        };
        let (phase, features, first) = match opening {
            Opening::Hello(mut hello) => {
                hello.major = crate::hub::MAJOR;
                hello.desired_root = maps.desired.root().to_vec();
                hello.status_root = maps.status.root().to_vec();
                hello.clock_ms = now.wall;
                hello.max_item_bytes = max_item as u32;
                (
                    Phase::AwaitingWelcome { deadline },
                    hello.features,
                    ControlBody::Hello(*hello),
                )
            }
            Opening::Join(mut request) => {
                request.major = crate::hub::MAJOR;
                (Phase::AwaitingReply { deadline }, 0, ControlBody::JoinRequest(*request))
            }
        };
        Self {
            phase,
            features,
            desired: Receiver::new(SetKind::Desired, max_item),
            status: Sender::new(SetKind::Status),
            plans: SentPlans::default(),
            control: VecDeque::from([first]),
            events: VecDeque::new(),
            sender_events: VecDeque::new(),
            heard: now.mono,
            heartbeat_ms: *HEARTBEAT_MS.end(),
            pace_ms: *HEARTBEAT_MS.end(),
            heartbeats: 0,
            next_heartbeat: u64::MAX,
            beat: false,
            renewing: false,
            fenced: false,
            profile: LinkProfile::Standard,
            holds_status: false,
            policy,
            tells_policy: false,
        }
    }

    /// What the session may do, once it is live.
    pub fn mode(&self) -> Option<Mode> {
        match self.phase {
            Phase::Live(mode) => Some(mode),
            _ => None,
        }
    }

    /// What both ends can do beyond the protocol's first version, once it is live; what this end can before.
    pub fn features(&self) -> u64 {
        self.features
    }

    /// What the hub says that the line can bear; `Standard` before `Welcome`.
    pub fn profile(&self) -> LinkProfile {
        self.profile
    }

    /// Keeps status back until it is let go again, so that several changes of a row become one message. Everything that
    /// the hub waits for goes on: acknowledgements, plans, heartbeats.
    pub fn hold_status(&mut self, hold: bool) {
        self.holds_status = hold;
    }

    /// Whether status is kept back.
    pub fn holds_status(&self) -> bool {
        self.holds_status
    }

    /// How far apart the hub wants heartbeats, in milliseconds; the slowest allowed before `Welcome`.
    pub fn heartbeat_ms(&self) -> u64 {
        self.heartbeat_ms
    }

    /// Heartbeats that were sent.
    pub fn heartbeats(&self) -> u64 {
        self.heartbeats
    }

    /// Sends heartbeats more often than the hub wants them, because the path forgets those who are silent. From the next
    /// heartbeat on, or earlier when that is due earlier.
    pub fn hasten(&mut self, now: Now, pace_ms: u64) {
        self.pace_ms = pace_ms.clamp(*HEARTBEAT_MS.start(), self.heartbeat_ms);
        self.next_heartbeat = self.next_heartbeat.min(now.mono + self.pace_ms);
    }

    /// Whether the state stream is to be opened.
    pub fn wants_state_stream(&self) -> bool {
        self.mode().is_some_and(status_flows)
    }

    /// A frame of the control stream.
    pub fn handle_control(&mut self, now: Now, frame: Bytes, maps: &mut Maps<'_>) -> Result<(), ProtocolError> {
        self.heard = now.mono;
        let Some(body) = wire::decode::<ControlBody>(frame)? else {
            return Ok(());
        };
        match (body, self.phase) {
            (ControlBody::Welcome(welcome), Phase::AwaitingWelcome { .. }) => {
                self.handle_welcome(now, welcome, maps)?
            }
            (ControlBody::JoinReply(reply), Phase::AwaitingReply { .. }) => {
                self.phase = Phase::Done;
                self.events.push_back(Event::JoinReply(Box::new(reply)));
            }
            (ControlBody::Heartbeat(heartbeat), Phase::Live(mode)) => {
                self.desired.heartbeat();
                if status_flows(mode) {
                    self.status.compare(maps.status, heartbeat.status_root8);
                }
            }
            (ControlBody::Fence(fence), Phase::AwaitingWelcome { .. } | Phase::Live(_)) if !self.fenced => {
                self.fenced = true;
                self.events.push_back(Event::Fence(fence));
            }
            // Asked again before the first answer: one answer serves both.
            (ControlBody::Fence(_), Phase::AwaitingWelcome { .. } | Phase::Live(_)) => {}
            (ControlBody::RenewReply(reply), Phase::Live(_)) if self.renewing => {
                self.renewing = false;
                self.events.push_back(Event::RenewReply(Box::new(reply)));
            }
            (ControlBody::RootSets(sets), Phase::Live(_)) => self.events.push_back(Event::RootSets(sets.signed)),
            (ControlBody::PrunePermit(permit), Phase::Live(mode)) if status_flows(mode) => {
                if permit.granted && !desired_flows(mode) {
                    let why = "a hub that is behind grants no deletion";
                    return Err(ProtocolError::Unexpected {
                        message: "PrunePermit",
                        why,
                    });
                }
                if let Some(plan) = maps.plans.answer(&permit) {
                    self.events.push_back(Event::Permit { permit, plan });
                }
            }
            (body, phase) => return Err(unexpected(&body, phase)),
        }
        self.collect(maps);
        Ok(())
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
            StateBody::ItemPut(put) if down && put.set == SetKind::Desired as i32 => {
                let step = self.desired.handle_put(maps.desired, put)?;
                self.take_step(step);
            }
            StateBody::ItemDelete(delete) if down && delete.set == SetKind::Desired as i32 => {
                let step = self.desired.handle_delete(maps.desired, delete)?;
                self.take_step(step);
            }
            StateBody::TreeRequest(request) if down && request.set == SetKind::Desired as i32 => {
                self.desired.handle_request(maps.desired, request)?;
            }
            StateBody::Checkpoint(checkpoint) if down => self.events.push_back(Event::Checkpoint(checkpoint)),
            StateBody::TreeReply(reply) if up && reply.set == SetKind::Status as i32 => {
                self.status.handle_reply(maps.status, reply, &mut self.sender_events)?;
            }
            StateBody::Ack(ack) if up && ack.set == SetKind::Status as i32 => {
                self.status.handle_ack(maps.status, ack, &mut self.sender_events)?;
            }
            StateBody::ItemPut(_) => return not_now("ItemPut"),
            StateBody::ItemDelete(_) => return not_now("ItemDelete"),
            StateBody::TreeRequest(_) => return not_now("TreeRequest"),
            StateBody::TreeReply(_) => return not_now("TreeReply"),
            StateBody::Ack(_) => return not_now("Ack"),
            StateBody::Event(_) => return not_now("EventMsg"),
            StateBody::Checkpoint(_) => return not_now("Checkpoint"),
        }
        self.collect(maps);
        Ok(())
    }

    /// A deadline passed. `Some` ends the session; otherwise [`Session::poll_control`] may have a heartbeat.
    pub fn handle_timeout(&mut self, now: Now) -> Option<Close> {
        if self.mode().is_some() && now.mono >= self.next_heartbeat {
            self.next_heartbeat = now.mono + self.pace_ms;
            self.beat = true;
        }
        match self.phase {
            Phase::AwaitingWelcome { deadline } | Phase::AwaitingReply { deadline } if now.mono >= deadline => Some(
                Close::new(CloseCode::Idle, "the hub did not answer the first message in time"),
            ),
            Phase::Live(_) if now.mono >= self.silence_deadline() => {
                Some(Close::new(CloseCode::Idle, "the hub said nothing for too long"))
            }
            _ => None,
        }
    }

    /// When [`Session::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<u64> {
        match self.phase {
            Phase::AwaitingWelcome { deadline } | Phase::AwaitingReply { deadline } => Some(deadline),
            Phase::Done => None,
            Phase::Live(_) => Some(self.silence_deadline().min(self.next_heartbeat)),
        }
    }

    /// The next thing for the owner.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next frame for the control stream.
    pub fn poll_control(&mut self, now: Now, maps: &mut Maps<'_>) -> Option<Vec<u8>> {
        if let Some(body) = self.control.pop_front() {
            return Some(wire::encode(body));
        }
        let mode = self.mode()?;
        if status_flows(mode)
            && let Some(plan) = self.plans.next(maps.plans)
        {
            return Some(wire::encode(ControlBody::PrunePlan(plan.clone())));
        }
        if !std::mem::take(&mut self.beat) {
            return None;
        }
        self.heartbeats += 1;
        Some(wire::encode(ControlBody::Heartbeat(Heartbeat {
            desired_root8: maps.desired.root().short(),
            status_root8: maps.status.root().short(),
            seq: self.heartbeats,
            clock_ms: now.wall,
            policy_digest: match std::mem::take(&mut self.tells_policy) {
                true => self.policy.clone(),
                false => Vec::new(),
            },
        })))
    }

    /// Tells the hub what the policy file is now, with a heartbeat at once, unless it knows.
    pub fn tell_policy(&mut self, digest: &crate::digest::Digest) {
        if self.policy == digest.as_bytes() {
            return;
        }
        self.policy = digest.to_vec();
        self.tells_policy = true;
        self.beat = true;
    }

    /// The next frame for the state stream. Call it again when status has changed or an event was added.
    pub fn poll_state(&mut self, maps: &mut Maps<'_>) -> Option<Vec<u8>> {
        if !self.wants_state_stream() {
            return None;
        }
        let mut body = self.desired.poll();
        if body.is_none() && !self.holds_status {
            body = self.status.poll(maps.status, &mut self.sender_events);
            if body.is_none() {
                self.status.poll_in_sync(maps.status, &mut self.sender_events);
            }
        }
        self.collect(maps);
        // Events are history; what is true goes first, and a metered line has no room for history: the queue loses the
        // oldest and tells how many when the line is not metered any more.
        let tells_events = self.profile == LinkProfile::Standard;
        body.or_else(|| tells_events.then(|| maps.events.pop()).flatten().map(StateBody::Event))
            .map(wire::encode)
    }

    /// The owner has dealt with a desired item. `false` when no such item waits.
    pub fn settle(&mut self, version: u64, result: Result<(), ItemFailure>, maps: &mut Maps<'_>) -> bool {
        let Some(next) = self.desired.settle(maps.desired, version, result) else {
            return false;
        };
        self.take_step(next);
        true
    }

    /// Asks for a new certificate. `false` when the mode does not allow it or an answer is still awaited.
    pub fn request_renewal(&mut self, csr: Vec<u8>) -> bool {
        if self.renewing || !self.mode().is_some_and(may_renew) {
            return false;
        }
        self.renewing = true;
        self.control.push_back(ControlBody::RenewRequest(RenewRequest { csr }));
        true
    }

    /// The answer to [`Event::Fence`].
    pub fn answer_fence(&mut self, reply: FenceReply) {
        self.fenced = false;
        self.control.push_back(ControlBody::FenceReply(reply));
    }

    fn handle_welcome(&mut self, now: Now, welcome: Welcome, maps: &mut Maps<'_>) -> Result<(), ProtocolError> {
        let mode = Mode::try_from(welcome.mode).map_err(|_| ProtocolError::Inconsistent {
            message: "Welcome",
            why: "its mode is not known",
        })?;
        if welcome.features & !self.features != 0 {
            let why = "it names features that this agent does not have";
            return Err(ProtocolError::Inconsistent {
                message: "Welcome",
                why,
            });
        }
        check_major(crate::hub::MAJOR)?;
        // A profile of a later version is one that this agent does not know how to keep to.
        self.profile = LinkProfile::try_from(welcome.profile).unwrap_or_default();
        self.features = welcome.features;
        self.phase = Phase::Live(mode);
        self.heartbeat_ms = u64::from(welcome.heartbeat_ms).clamp(*HEARTBEAT_MS.start(), *HEARTBEAT_MS.end());
        self.pace_ms = self.heartbeat_ms;
        self.next_heartbeat = now.mono + self.heartbeat_ms;
        if status_flows(mode) {
            let max_item = match welcome.max_item_bytes as usize {
                0 => MAX_ITEM,
                bytes => bytes.min(MAX_ITEM),
            };
            self.status.start(maps.status, &welcome.status_root, max_item, None);
        }
        self.events.push_back(Event::Welcome(Box::new(welcome)));
        Ok(())
    }

    fn silence_deadline(&self) -> u64 {
        self.heard + self.heartbeat_ms * SILENT_HEARTBEATS
    }

    fn take_step(&mut self, step: Option<Step>) {
        self.events.extend(step.map(|step| match step {
            Step::Put(put) => Event::Put(put),
            Step::Delete(delete) => Event::Delete(delete),
        }));
    }

    fn collect(&mut self, maps: &mut Maps<'_>) {
        for event in self.sender_events.drain(..) {
            match event {
                SenderEvent::Taken { .. } => {}
                SenderEvent::Failed { key, code, message, .. } => {
                    self.events.push_back(Event::StatusFailed { key, code, message });
                }
                // Only this agent writes its status, so a row that it does not have is one that it no longer has.
                SenderEvent::Orphan { key, owner_uid } => {
                    let owner = OwnerRef {
                        uid: owner_uid.to_string(),
                        ..OwnerRef::default()
                    };
                    let change_id = String::new();
                    let (cause, policy) = (DeleteCause::Gone, DeletePolicy::Orphan);
                    maps.status.delete(
                        &key,
                        Deletion {
                            owner,
                            cause,
                            policy,
                            change_id,
                        },
                    );
                }
                SenderEvent::InSync => self.events.push_back(Event::InSync),
            }
        }
    }
}

fn unexpected(body: &ControlBody, phase: Phase) -> ProtocolError {
    let why = match phase {
        Phase::AwaitingWelcome { .. } => "a Welcome must come first",
        Phase::AwaitingReply { .. } => "a JoinReply must come first",
        Phase::Done => "the join request is answered",
        Phase::Live(_) => "nothing asked for it, or this session's mode does not allow it",
    };
    ProtocolError::Unexpected {
        message: control_name(body),
        why,
    }
}
