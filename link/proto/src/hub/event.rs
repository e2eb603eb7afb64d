//! What a hub's session is told at its start, and what it asks and tells its owner.

use std::sync::Arc;

use crate::digest::Digest;
use crate::map::ItemMap;
use crate::replica::Replica;
use crate::sync::{IncomingDelete, IncomingPut};
use crate::tree::Key;
use crate::wire::{EventMsg, FailCode, FenceReply, Hello, JoinRequest, LinkProfile, Mode, PrunePlan};

/// What is the same for all sessions of a hub.
#[derive(Debug, Clone)]
pub struct Config {
    /// UID of the hub.
    pub hub_uid: String,
    /// Feature bits that this hub knows.
    pub features: u64,
    /// How often an agent shall send a heartbeat.
    pub heartbeat_ms: u32,
    /// How often one whose line is metered shall.
    pub metered_heartbeat_ms: u32,
    /// Within which time agents come back after the connection was lost.
    pub reconnect_window_ms: u32,
    /// Largest status payload taken.
    pub max_status_bytes: u32,
}

/// What the key registry said about the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// An accepted cluster.
    Member,
    /// A cluster that waits for approval.
    Pending,
    /// A cluster whose certificate must be renewed first.
    RenewOnly,
    /// Nobody yet.
    Joining,
}

/// The owner's answer to `Hello`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admission {
    /// What the session may do; an entry that is not a member overrides it.
    pub mode: Mode,
    /// What the line can bear. An agent that does not know of profiles gets `Standard`.
    pub profile: LinkProfile,
    /// Why the mode is not normal, for people.
    pub reason: String,
    /// Namespace of the cluster object.
    pub cluster_ns: String,
    /// Name of the cluster object.
    pub cluster_name: String,
    /// The signed root sets after the agent's version, in order; as many as fit a frame are sent.
    pub root_sets: Vec<Vec<u8>>,
    /// The version that the agent should run; told to one that can change its own, in a session in which items flow.
    pub agent_version: String,
}

/// The maps of the session's cluster.
pub struct Maps<'a> {
    /// What should be on the spoke.
    pub desired: &'a mut ItemMap,
    /// What the spoke says is.
    pub status: &'a mut Replica,
}

/// What the owner must do or may want to know.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Answer with [`super::Session::admit`], [`super::Session::fence`] or a close.
    Hello(Box<Hello>),
    /// Answer with [`super::Session::answer_join`] or a close.
    Join(Box<JoinRequest>),
    /// Answer with [`super::Session::answer_renew`].
    Renew {
        /// DER certificate request.
        csr: Vec<u8>,
    },
    /// Store it, then [`super::Session::settle`].
    Status(IncomingPut),
    /// Remove it, then [`super::Session::settle`].
    StatusGone(IncomingDelete),
    /// The agent took this version of a desired item.
    Taken {
        /// The item.
        key: Key,
        /// Its version.
        version: u64,
    },
    /// The agent did not take it; nothing else is affected.
    Failed {
        /// The item.
        key: Key,
        /// Its version.
        version: u64,
        /// Why.
        code: FailCode,
        /// For people.
        message: String,
    },
    /// The agent holds an item that the hub does not know. With positive knowledge about the owner, delete it through
    /// the map; otherwise report it as orphaned and leave it.
    Orphan {
        /// The item.
        key: Key,
        /// UID of its owner.
        owner_uid: Arc<str>,
    },
    /// The agent holds exactly what it should.
    InSync,
    /// An event of the spoke.
    Spoke(EventMsg),
    /// The agent holds deletions; answer with [`super::Session::permit`], now or later.
    Plan(PrunePlan),
    /// The answer to [`super::Session::fence`].
    FenceReply(FenceReply),
    /// There was no answer.
    FenceUnanswered,
    /// A heartbeat, with the agent's clock.
    Heartbeat {
        /// Milliseconds since 1970.
        clock_ms: i64,
    },
    /// The spoke's policy file has another digest than when the session began.
    Policy(Digest),
}

impl Default for Config {
    /// A heartbeat in 30 s keeps most address translators open and costs 20 KiB an hour.
    fn default() -> Self {
        Self {
            hub_uid: String::new(),
            features: 0,
            heartbeat_ms: 30_000,
            metered_heartbeat_ms: 120_000,
            reconnect_window_ms: 2_000,
            max_status_bytes: 64 * 1024,
        }
    }
}
