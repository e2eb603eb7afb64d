//! What the hub's own code answers and hears.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use nave_proto::hub::Admission;
use nave_proto::wire::{
    ChunkEncoding, EventMsg, FailCode, Fence, FenceReply, FetchRefused, Hello, JoinReply, JoinRequest, Manifest,
    PrunePermit, PrunePlan, RenewReply,
};
use nave_proto::{ChunkPolicy, Close, CloseCode, Deletion, Digest, IncomingDelete, IncomingPut, ItemFailure, Key};

/// Decides and stores for one session of one cluster.
///
/// Everything is called from the session's task. Questions from the control stream (`hello`, `renew`, `plan`,
/// `fence_answer`) come one at a time, status items come one at a time, and the two kinds may overlap; fetches overlap
/// with everything. When a session ends, the question and the status item in hand are finished first.
///
/// [`ChunkPolicy`] says what this cluster may fetch: manifests of its current desired set, and their chunks.
pub trait HubHandler: ChunkPolicy + Send + Sync + 'static {
    /// The agent says who it is: decide fencing ([`nave_proto::decide_fencing`]) and Behind
    /// ([`nave_proto::CheckpointRing::relation`]).
    fn hello(&self, hello: Hello) -> impl Future<Output = Verdict> + Send;

    /// A key that waits for approval or must renew asks to join again, because the answer to its first request was lost.
    fn join(&self, request: JoinRequest) -> impl Future<Output = Result<JoinReply, Close>> + Send {
        let _ = request;
        let words = "this key has joined already";
        std::future::ready(Err(Close::new(CloseCode::Protocol, words)))
    }

    /// The answer to a fence, `None` when there was none in time: quarantine, refuse, or go on.
    ///
    /// For a session that is live already an admission changes nothing.
    fn fence_answer(&self, reply: Option<FenceReply>) -> impl Future<Output = Verdict> + Send;

    /// The agent asks for a certificate: check the request, write its key to the cluster, then sign.
    fn renew(&self, csr: Vec<u8>) -> impl Future<Output = RenewReply> + Send;

    /// Stores a status row. An error fails this row alone.
    fn status(&self, row: IncomingPut) -> impl Future<Output = Result<(), ItemFailure>> + Send;

    /// Removes a status row.
    fn status_gone(&self, row: IncomingDelete) -> impl Future<Output = Result<(), ItemFailure>> + Send;

    /// The agent holds deletions. Answer now, or later through the handle; an unanswered plan comes again in the next
    /// session.
    fn plan(&self, plan: PrunePlan) -> impl Future<Output = Option<PrunePermit>> + Send;

    /// The agent holds an item that the hub does not know. `Some` only with positive knowledge about the owner;
    /// `None` keeps it, to be reported as orphaned.
    fn orphan(&self, key: &Key, owner_uid: &str) -> Option<Deletion>;

    /// A manifest that [`ChunkPolicy::holds_manifest`] allowed.
    fn load_manifest(&self, manifest: &Digest) -> impl Future<Output = Result<Arc<Manifest>, FetchRefused>> + Send;

    /// The content of a chunk that [`ChunkPolicy::has_chunk`] allowed.
    fn load_chunk(&self, manifest: &Digest, chunk: &Digest)
    -> impl Future<Output = Result<Bytes, FetchRefused>> + Send;

    /// What an older manifest holds in the place of a chunk that was allowed, to be used as a dictionary. Only of a
    /// manifest that this cluster was to have before: how small a chunk becomes tells what is in its dictionary.
    fn dictionary(&self, manifest: &Digest, chunk: &Digest, older: &Digest) -> Option<Bytes> {
        let _ = (manifest, chunk, older);
        None
    }

    /// A chunk is on its way. Must not block.
    fn sent(&self, chunk: SentChunk) {
        let _ = chunk;
    }

    /// Something that needs no answer. Must not block.
    fn note(&self, note: Note);
}

/// What becomes of an agent that said who it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It is connected, in this mode.
    Admit(Admission),
    /// Ask first whether it still is its spoke's agent.
    Fence(Fence),
    /// It is not welcome; the words reach it.
    Refuse(Close),
}

/// A chunk as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentChunk {
    /// How it was made smaller.
    pub encoding: ChunkEncoding,
    /// Its bytes.
    pub content: usize,
    /// Bytes that were sent.
    pub sent: usize,
}

/// What a session tells its hub.
#[derive(Debug, Clone, PartialEq)]
pub enum Note {
    /// The agent took this version of a desired item.
    Taken {
        /// The item.
        key: Key,
        /// Its version in the map.
        version: u64,
    },
    /// The agent did not take it; nothing else is affected.
    Failed {
        /// The item.
        key: Key,
        /// Its version in the map.
        version: u64,
        /// Why.
        code: FailCode,
        /// For people.
        message: String,
    },
    /// The agent holds exactly what it should.
    InSync,
    /// An event of the spoke.
    Event(EventMsg),
    /// The agent lives.
    Heartbeat {
        /// Its clock, milliseconds since 1970.
        clock_ms: i64,
    },
    /// The spoke's policy file changed.
    Policy(Digest),
}
