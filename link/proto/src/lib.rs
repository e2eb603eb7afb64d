//! The hub-spoke protocol as a state machine with no socket and no clock.
//!
//! ```text
//!              frames, time ──►┐              ┌──► frames
//!                              │   Session    │
//!  maps that outlive it ──────►│ hub or agent │──► events: decide this, store that
//!       the owner's words ────►└──────────────┘──► the next deadline
//! ```
//!
//! - [`wire`]: the messages and their limits. Nothing that a peer sends allocates more than its size allows.
//! - [`ItemMap`] and [`Replica`]: the two ends of a versioned map. Desired items go from hub to agent, status from agent
//!   to hub; a resume compares roots of digest trees and sends what differs.
//! - [`hub::Session`] and [`agent::Session`]: one connection each. They own no map and decide nothing about identity.
//! - [`LiveReader`] and [`LiveWriter`]: the two ends of a live read, which keep it from filling the connection.
//! - [`CheckpointRing`], [`decide_fencing`], [`ChunkPolicy`]: decisions that the hub makes from what it has stored.
//!
//! Whoever drives a session calls `handle_*` with what arrived, then drains `poll_event`, `poll_control` and
//! `poll_state`, then waits for input or until `poll_timeout`.

pub mod agent;
mod bounds;
mod checkpoint;
mod chunk;
mod close;
mod digest;
mod events;
mod features;
mod fence;
mod frame;
pub mod hub;
mod live;
mod map;
mod payload;
mod plans;
mod pool;
mod replica;
pub mod sorted;
mod sync;
mod text;
mod time;
mod tree;
pub mod wire;

pub use bounds::DecodeError;
pub use checkpoint::{CheckpointRing, Issuer, RING, Relation, STARTS, Start};
pub use chunk::{
    ChunkPolicy, FetchError, MAX_DICTIONARY, Packing, authorise_chunks, authorise_manifest, pack_chunk, pack_manifest,
    refusal, unpack_chunk, unpack_manifest,
};
pub use close::{AfterClose, Close, CloseCode};
pub use digest::{Digest, Salt, item_salt};
pub use events::EventQueue;
pub use features::{FEATURE_DICTIONARIES, FEATURE_LIVE, FEATURE_METERED, FEATURE_UPGRADE, feature_names};
pub use fence::{Fencing, SessionId, StoredSession, decide_fencing};
pub use frame::{
    MAX_CHUNK, MAX_CHUNK_FRAME, MAX_CONTROL_FRAME, MAX_ITEM, MAX_LIVE_FRAME, MAX_MANIFEST, MAX_STATE_FRAME, StreamKind,
    frame_head, put_varint,
};
pub use live::{LIVE_WINDOW, LiveError, LiveEvent, LiveReader, LiveWriter};
pub use map::{Content, Deletion, Item, ItemMap, PutError};
pub use payload::Payload;
pub use plans::Plans;
pub use pool::{Pool, Shared, shared_owner, shared_text};
pub use replica::{Held, Replica};
pub use sync::{IncomingDelete, IncomingPut, ItemFailure, ProtocolError};
pub use text::{clean, is_clean};
pub use time::Now;
pub use tree::{Key, Leaf, Snapshot};
