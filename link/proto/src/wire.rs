//! The messages, with their field numbers, which never change their meaning.
//!
//! Written by hand as prost structs, so that building needs no protobuf compiler. A number that was used is never used
//! for something else; a reader ignores fields and messages that it does not know; a writer leaves out what the peer's
//! features do not name.
//!
//! Every frame is decoded through [`decode`], which checks sizes and counts before it allocates and then cleans every
//! string ([`crate::clean`]).

mod artifact;
mod bundle;
mod control;
mod envelope;
mod limits;
mod live;
mod state;

pub use artifact::{
    ChunkEncoding, ChunkReply, ChunkRequest, Evidence, FetchRefused, Manifest, ManifestChunk, ManifestFile,
    ManifestReply, ManifestRequest, RefusalCode,
};
pub use bundle::{ArtifactRef, Bundle, Condition, Grant, StatusPayload};
pub use control::{
    Checkpoint, Fact, Fence, FenceReply, Heartbeat, Hello, JoinReply, JoinRequest, JoinState, LinkProfile, Mode,
    OwnerRef, PrunePermit, PrunePlan, RenewCode, RenewReply, RenewRequest, RootSets, Welcome,
};
pub use envelope::{ChunkBody, ControlBody, LiveBody, StateBody, decode, encode};
pub use limits::{
    MAX_EVENT_BYTES, MAX_FACTS, MAX_FAILED, MAX_KEY, MAX_NAME, MAX_PLAN_LINES, MAX_TEXT, MAX_TREE_ENTRIES,
};
pub use live::{LiveCredit, LiveData, LiveEnd, LiveEndCode, LiveRequest, LiveVerb};
pub use state::{
    Ack, DeleteCause, DeletePolicy, EventMsg, FailCode, FailedItem, ItemDelete, ItemPut, SetKind, TreeEntry, TreeReply,
    TreeRequest,
};
