//! Messages of the state stream.

use std::fmt;

use bytes::Bytes;
use prost::{Enumeration, Message};

use super::control::OwnerRef;

/// Which versioned map an item is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum SetKind {
    /// Hub to agent: what should be.
    Desired = 1,
    /// Agent to hub: what is.
    Status = 2,
}

/// An item is so, from this version of its map on.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub struct ItemPut {
    /// A [`SetKind`].
    #[prost(enumeration = "SetKind", tag = "1")]
    pub set: i32,
    /// Names the item within its map.
    #[prost(string, tag = "2")]
    pub key: String,
    /// The sender's version of the map; acknowledgements name it.
    #[prost(uint64, tag = "3")]
    pub version: u64,
    /// Where it comes from.
    #[prost(message, optional, tag = "4")]
    pub owner: Option<OwnerRef>,
    /// Its leaf digest.
    #[prost(bytes = "vec", tag = "5")]
    pub digest: Vec<u8>,
    /// Its content, opaque here.
    #[prost(bytes = "bytes", tag = "6")]
    pub payload: Bytes,
    /// Reserved for payloads in chunks; this version refuses an item that uses it.
    #[prost(bytes = "vec", repeated, tag = "7")]
    pub chunks: Vec<Vec<u8>>,
    /// The payload holds secrets: it stays out of logs and caches.
    #[prost(bool, tag = "8")]
    pub sensitive: bool,
    /// Keyed value in the digest of a sensitive item (32 bytes).
    #[prost(bytes = "vec", tag = "9")]
    pub salt: Vec<u8>,
}

/// Why an item goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum DeleteCause {
    /// Never sent.
    Unspecified = 0,
    /// The owner exists and no longer chooses this cluster.
    NotPlaced = 1,
    /// The owner was deleted; its UID is in the retirement log.
    OwnerDeleted = 2,
    /// A person purges the cluster.
    Purge = 3,
    /// The cluster's grant to the owner's workspace ended.
    GrantEnded = 4,
    /// A status row whose object is gone.
    Gone = 5,
}

/// What happens to what the item made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum DeletePolicy {
    /// Delete it, under the brake.
    Prune = 0,
    /// Leave it.
    Orphan = 1,
}

/// An item goes. Never inferred from absence.
#[derive(Clone, PartialEq, Message)]
pub struct ItemDelete {
    /// A [`SetKind`].
    #[prost(enumeration = "SetKind", tag = "1")]
    pub set: i32,
    /// The item.
    #[prost(string, tag = "2")]
    pub key: String,
    /// The sender's version of the map.
    #[prost(uint64, tag = "3")]
    pub version: u64,
    /// Whose item goes: a receiver that holds another owner's under this key keeps it.
    #[prost(message, optional, tag = "4")]
    pub owner: Option<OwnerRef>,
    /// A [`DeleteCause`].
    #[prost(enumeration = "DeleteCause", tag = "5")]
    pub cause: i32,
    /// A [`DeletePolicy`].
    #[prost(enumeration = "DeletePolicy", tag = "6")]
    pub policy: i32,
    /// The change that causes it.
    #[prost(string, tag = "7")]
    pub change_id: String,
}

/// Why an item was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum FailCode {
    /// An error of the receiver.
    Internal = 0,
    /// Larger than it takes.
    TooLarge = 1,
    /// The digest does not fit the payload.
    BadDigest = 2,
    /// The payload cannot be read.
    Malformed = 3,
    /// The grant or the spoke's policy forbids it.
    Denied = 4,
    /// It uses something that this version does not know.
    Unsupported = 5,
    /// A deletion named another owner than the item's.
    OwnerMismatch = 6,
    /// Another owner holds the name.
    Conflict = 7,
}

/// One item that was not taken.
#[derive(Clone, PartialEq, Message)]
pub struct FailedItem {
    /// The item.
    #[prost(string, tag = "1")]
    pub key: String,
    /// A [`FailCode`].
    #[prost(enumeration = "FailCode", tag = "2")]
    pub code: i32,
    /// For people.
    #[prost(string, tag = "3")]
    pub message: String,
}

/// The item of this version was dealt with: taken, or failed alone.
#[derive(Clone, PartialEq, Message)]
pub struct Ack {
    /// A [`SetKind`].
    #[prost(enumeration = "SetKind", tag = "1")]
    pub set: i32,
    /// Version of the item.
    #[prost(uint64, tag = "2")]
    pub version: u64,
    /// Empty when it was taken.
    #[prost(message, repeated, tag = "3")]
    pub failed: Vec<FailedItem>,
}

/// The sender of a map asks what its receiver holds below a prefix.
#[derive(Clone, PartialEq, Message)]
pub struct TreeRequest {
    /// A [`SetKind`].
    #[prost(enumeration = "SetKind", tag = "1")]
    pub set: i32,
    /// Root of the snapshot that is walked; empty takes a new one.
    #[prost(bytes = "vec", tag = "2")]
    pub snapshot_root: Vec<u8>,
    /// One byte (0–15) per level; at most 64.
    #[prost(bytes = "vec", tag = "3")]
    pub prefix: Vec<u8>,
}

/// An item in a [`TreeReply`].
#[derive(Clone, PartialEq, Message)]
pub struct TreeEntry {
    /// The item.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Its leaf digest.
    #[prost(bytes = "vec", tag = "2")]
    pub digest: Vec<u8>,
    /// UID of its owner, for the sender to judge what it does not know itself.
    #[prost(string, tag = "3")]
    pub owner_uid: String,
}

/// What the receiver holds: all items below the prefix when they are few, else the digests of its sixteen children.
#[derive(Clone, PartialEq, Message)]
pub struct TreeReply {
    /// A [`SetKind`].
    #[prost(enumeration = "SetKind", tag = "1")]
    pub set: i32,
    /// Root of the snapshot.
    #[prost(bytes = "vec", tag = "2")]
    pub snapshot_root: Vec<u8>,
    /// The prefix of the request.
    #[prost(bytes = "vec", tag = "3")]
    pub prefix: Vec<u8>,
    /// Sixteen digests, or none.
    #[prost(bytes = "vec", repeated, tag = "4")]
    pub children: Vec<Vec<u8>>,
    /// At most 512.
    #[prost(message, repeated, tag = "5")]
    pub entries: Vec<TreeEntry>,
    /// The snapshot is not kept any more; `snapshot_root` names the one to walk instead.
    #[prost(bool, tag = "6")]
    pub gone: bool,
}

/// A Kubernetes event of the spoke, or one of the agent's own. Bounded; may be lost.
#[derive(Clone, PartialEq, Message)]
pub struct EventMsg {
    /// When, milliseconds since 1970.
    #[prost(int64, tag = "1")]
    pub time_ms: i64,
    /// Kind of the object that it is about.
    #[prost(string, tag = "2")]
    pub kind: String,
    /// Its namespace.
    #[prost(string, tag = "3")]
    pub ns: String,
    /// Its name.
    #[prost(string, tag = "4")]
    pub name: String,
    /// `Normal` or `Warning`.
    #[prost(string, tag = "5")]
    pub severity: String,
    /// One word.
    #[prost(string, tag = "6")]
    pub reason: String,
    /// A sentence.
    #[prost(string, tag = "7")]
    pub message: String,
    /// The revision it speaks of.
    #[prost(string, tag = "8")]
    pub revision: String,
    /// How many events were dropped before this one.
    #[prost(uint64, tag = "9")]
    pub dropped_before: u64,
    /// Key of the item that it concerns, empty for none.
    #[prost(string, tag = "10")]
    pub item: String,
}

impl fmt::Debug for ItemPut {
    /// Never shows the payload: it may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ItemPut")
            .field("set", &self.set)
            .field("key", &self.key)
            .field("version", &self.version)
            .field("owner", &self.owner)
            .field("payload_bytes", &self.payload.len())
            .field("sensitive", &self.sensitive)
            .finish_non_exhaustive()
    }
}
