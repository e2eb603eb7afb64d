//! One envelope per stream kind: which message a frame holds.

use bytes::Bytes;
use prost::{Message, Oneof};

use super::limits::Enveloped;
use super::{artifact, control, live, state};
use crate::bounds::DecodeError;

/// A message of the control stream.
#[derive(Clone, PartialEq, Oneof)]
#[allow(missing_docs, reason = "each variant carries the message of its name")]
pub enum ControlBody {
    #[prost(message, tag = "1")]
    Hello(control::Hello),
    #[prost(message, tag = "2")]
    Welcome(control::Welcome),
    #[prost(message, tag = "3")]
    Heartbeat(control::Heartbeat),
    #[prost(message, tag = "4")]
    Fence(control::Fence),
    #[prost(message, tag = "5")]
    FenceReply(control::FenceReply),
    #[prost(message, tag = "6")]
    JoinRequest(control::JoinRequest),
    #[prost(message, tag = "7")]
    JoinReply(control::JoinReply),
    #[prost(message, tag = "8")]
    RenewRequest(control::RenewRequest),
    #[prost(message, tag = "9")]
    RenewReply(control::RenewReply),
    #[prost(message, tag = "10")]
    RootSets(control::RootSets),
    #[prost(message, tag = "11")]
    PrunePlan(control::PrunePlan),
    #[prost(message, tag = "12")]
    PrunePermit(control::PrunePermit),
}

/// A message of the state stream.
#[derive(Clone, PartialEq, Oneof)]
#[allow(missing_docs, reason = "each variant carries the message of its name")]
pub enum StateBody {
    #[prost(message, tag = "1")]
    ItemPut(state::ItemPut),
    #[prost(message, tag = "2")]
    ItemDelete(state::ItemDelete),
    #[prost(message, tag = "3")]
    Ack(state::Ack),
    #[prost(message, tag = "4")]
    TreeRequest(state::TreeRequest),
    #[prost(message, tag = "5")]
    TreeReply(state::TreeReply),
    #[prost(message, tag = "6")]
    Checkpoint(control::Checkpoint),
    #[prost(message, tag = "7")]
    Event(state::EventMsg),
}

/// A message of a chunk stream.
#[derive(Clone, PartialEq, Oneof)]
#[allow(missing_docs, reason = "each variant carries the message of its name")]
pub enum ChunkBody {
    #[prost(message, tag = "1")]
    ManifestRequest(artifact::ManifestRequest),
    #[prost(message, tag = "2")]
    ManifestReply(artifact::ManifestReply),
    #[prost(message, tag = "3")]
    ChunkRequest(artifact::ChunkRequest),
    #[prost(message, tag = "4")]
    ChunkReply(artifact::ChunkReply),
    #[prost(message, tag = "5")]
    Refused(artifact::FetchRefused),
}

/// A message of a live stream.
#[expect(
    clippy::large_enum_variant,
    reason = "a request comes once for a whole read, and is handed on at once"
)]
#[derive(Clone, PartialEq, Oneof)]
#[allow(missing_docs, reason = "each variant carries the message of its name")]
pub enum LiveBody {
    #[prost(message, tag = "1")]
    Request(live::LiveRequest),
    #[prost(message, tag = "2")]
    Data(live::LiveData),
    #[prost(message, tag = "3")]
    End(live::LiveEnd),
    #[prost(message, tag = "4")]
    Credit(live::LiveCredit),
}

#[derive(Clone, PartialEq, Message)]
pub struct ControlFrame {
    #[prost(oneof = "ControlBody", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12")]
    pub body: Option<ControlBody>,
}

#[derive(Clone, PartialEq, Message)]
pub struct StateFrame {
    #[prost(oneof = "StateBody", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub body: Option<StateBody>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ChunkFrame {
    #[prost(oneof = "ChunkBody", tags = "1, 2, 3, 4, 5")]
    pub body: Option<ChunkBody>,
}

#[derive(Clone, PartialEq, Message)]
pub struct LiveFrame {
    #[prost(oneof = "LiveBody", tags = "1, 2, 3, 4")]
    pub body: Option<LiveBody>,
}

impl ControlFrame {
    pub(super) fn from_body(body: ControlBody) -> Self {
        Self { body: Some(body) }
    }
}

impl StateFrame {
    pub(super) fn from_body(body: StateBody) -> Self {
        Self { body: Some(body) }
    }
}

impl ChunkFrame {
    pub(super) fn from_body(body: ChunkBody) -> Self {
        Self { body: Some(body) }
    }
}

impl LiveFrame {
    pub(super) fn from_body(body: LiveBody) -> Self {
        Self { body: Some(body) }
    }
}

/// The bytes of a frame, without its length.
pub fn encode<B: Enveloped>(body: B) -> Vec<u8> {
    B::wrap(body).encode_to_vec()
}

/// Reads a frame: size, counts, form, values, in this order. `None` is a message of a later version, to be ignored.
pub fn decode<B: Enveloped>(frame: Bytes) -> Result<Option<B>, DecodeError> {
    let what = B::KIND.frame_name();
    let limit = B::KIND.max_frame();
    if frame.len() > limit {
        return Err(DecodeError::TooLarge {
            what,
            bytes: frame.len(),
            limit,
        });
    }
    B::check(&frame)?;
    let envelope = B::Frame::decode(frame).map_err(|_| DecodeError::Malformed { what })?;
    let mut body = B::unwrap(envelope);
    if let Some(body) = &mut body {
        body.bound()?;
    }
    Ok(body)
}
