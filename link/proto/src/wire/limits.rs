//! The limits of every message, and what is done to values that pass them.
//!
//! Names that choose something (keys, ids) are refused when they are too long or unclean; texts for people are cut and
//! cleaned.

use prost::Message;

use super::artifact::{ChunkReply, ChunkRequest, FetchRefused, Manifest, ManifestReply, ManifestRequest};
use super::bundle::{Bundle, StatusPayload};
use super::control::{
    Checkpoint, Fact, Hello, JoinReply, JoinRequest, OwnerRef, PrunePermit, PrunePlan, RenewReply, RenewRequest,
    RootSets, Welcome,
};
use super::envelope::{ChunkBody, ChunkFrame, ControlBody, ControlFrame, LiveBody, LiveFrame, StateBody, StateFrame};
use super::live::{LiveEnd, LiveRequest};
use super::state::{Ack, EventMsg, ItemDelete, ItemPut, TreeEntry, TreeReply, TreeRequest};
use crate::bounds::{DecodeError, Shape};
use crate::frame::{MAX_CHUNK, MAX_ITEM, MAX_MANIFEST, StreamKind};
use crate::text::{clean, is_clean};

/// Longest key of an item, in bytes.
pub const MAX_KEY: usize = 512;
/// Longest name, namespace, kind, UID or version.
pub const MAX_NAME: usize = 253;
/// Longest text for people.
pub const MAX_TEXT: usize = 2048;
/// Most facts in a message.
pub const MAX_FACTS: usize = 32;
/// Most entries in a tree reply; below this a tree is told flat.
pub const MAX_TREE_ENTRIES: usize = 512;
/// Most failed items in an acknowledgement.
pub const MAX_FAILED: usize = 64;
/// Most cascades, and most samples, in a prune plan.
pub const MAX_PLAN_LINES: usize = 100;
/// Longest encoded event.
pub const MAX_EVENT_BYTES: usize = 8 * 1024;

const MAX_CERTIFICATES: usize = 8;
const MAX_DER: usize = 8 * 1024;
const MAX_ROOT_SET: usize = 32 * 1024;
const MAX_SECRET: usize = 64;
const MAX_CHUNKS_PER_REQUEST: usize = 256;
const MAX_BUNDLE_PARTS: usize = 1024;
const MAX_MANIFEST_FILES: usize = 50_000;
const MAX_FILE_CHUNKS: usize = 65_536;
const MAX_CONDITIONS: usize = 16;
const MAX_GROUPS: usize = 64;
const MAX_PATH: usize = 4096;

/// A message body that a stream kind carries.
pub trait Enveloped: Bounded + Sized {
    /// The stream.
    const KIND: StreamKind;
    /// Walks a frame and counts, before anything is allocated.
    fn check(frame: &[u8]) -> Result<(), DecodeError>;
    /// The envelope message.
    type Frame: Message + Default;
    /// Puts the body into its envelope.
    fn wrap(self) -> Self::Frame;
    /// Takes it out; nothing for a message of a later version.
    fn unwrap(frame: Self::Frame) -> Option<Self>;
}

/// Checks values after decoding and cleans texts.
pub trait Bounded {
    /// Refuses what must not be; cuts and cleans what may be cut.
    fn bound(&mut self) -> Result<(), DecodeError>;
}

const FLAT: Shape = Shape::flat(32);
// Strings and digests lie on the wire like messages do, so only fields that hold messages are named here.
const HELLO: Shape = Shape::with(64 + MAX_FACTS, &[(8..=8, &FLAT), (17..=17, &FLAT)]);
const JOIN: Shape = Shape::with(32 + MAX_FACTS, &[(6..=6, &FLAT)]);
const PLAN: Shape = Shape::flat(2 * MAX_PLAN_LINES + 32);
const CONTROL: Shape = Shape::with(
    4,
    &[(1..=1, &HELLO), (6..=6, &JOIN), (11..=11, &PLAN), (2..=u32::MAX, &FLAT)],
);

const ITEM: Shape = Shape::with(64, &[(4..=4, &FLAT)]);
const ACK: Shape = Shape::with(MAX_FAILED + 8, &[(3..=3, &FLAT)]);
const TREE_REPLY: Shape = Shape::with(MAX_TREE_ENTRIES + 32, &[(5..=5, &FLAT)]);
const STATE: Shape = Shape::with(
    4,
    &[
        (1..=2, &ITEM),
        (3..=3, &ACK),
        (5..=5, &TREE_REPLY),
        (4..=u32::MAX, &FLAT),
    ],
);

const CHUNK_REQUEST: Shape = Shape::flat(MAX_CHUNKS_PER_REQUEST + 8);
const CHUNK: Shape = Shape::with(4, &[(3..=3, &CHUNK_REQUEST), (1..=u32::MAX, &FLAT)]);

const LIVE_REQUEST: Shape = Shape::flat(MAX_GROUPS + 32);
const LIVE: Shape = Shape::with(4, &[(1..=1, &LIVE_REQUEST), (2..=u32::MAX, &FLAT)]);

/// A digest field of 32 bytes is 34 bytes on the wire.
const MANIFEST_CHUNK: Shape = Shape::flat(8).of_at_least(34);
const MANIFEST_FILE: Shape = Shape::with(MAX_FILE_CHUNKS + 16, &[(5..=5, &MANIFEST_CHUNK)]).of_at_least(36);
const EVIDENCE: Shape = Shape::flat(8);
const MANIFEST: Shape = Shape::with(MAX_MANIFEST_FILES + 16, &[(1..=1, &MANIFEST_FILE), (2..=2, &EVIDENCE)]);

const GRANT: Shape = Shape::flat(1024);
const BUNDLE: Shape = Shape::with(MAX_BUNDLE_PARTS + 16, &[(2..=2, &FLAT), (4..=4, &GRANT)]);
const STATUS: Shape = Shape::with(MAX_CONDITIONS + 32, &[(5..=5, &FLAT)]);

macro_rules! enveloped {
    ($body:ty, $frame:ty, $kind:ident, $shape:ident) => {
        impl Enveloped for $body {
            const KIND: StreamKind = StreamKind::$kind;
            fn check(frame: &[u8]) -> Result<(), DecodeError> {
                $shape.check(Self::KIND.frame_name(), frame)
            }
            type Frame = $frame;
            fn wrap(self) -> $frame {
                <$frame>::from_body(self)
            }
            fn unwrap(frame: $frame) -> Option<Self> {
                frame.body
            }
        }
    };
}
enveloped!(ControlBody, ControlFrame, Control, CONTROL);
enveloped!(StateBody, StateFrame, State, STATE);
enveloped!(ChunkBody, ChunkFrame, Chunk, CHUNK);
enveloped!(LiveBody, LiveFrame, Live, LIVE);

impl Bounded for ControlBody {
    fn bound(&mut self) -> Result<(), DecodeError> {
        match self {
            Self::Hello(hello) => hello.bound(),
            Self::Welcome(welcome) => welcome.bound(),
            Self::Fence(fence) => id("Fence", "instance_id", &fence.instance_id),
            Self::FenceReply(reply) => {
                clean(&mut reply.stored_instance_id, MAX_NAME);
                Ok(())
            }
            Self::JoinRequest(request) => request.bound(),
            Self::JoinReply(reply) => reply.bound(),
            Self::RenewRequest(RenewRequest { csr }) => sized("RenewRequest", "csr", csr, 1..=MAX_DER),
            Self::RenewReply(RenewReply { cert_chain, reason, .. }) => {
                clean(reason, MAX_TEXT);
                chain("RenewReply", cert_chain)
            }
            Self::RootSets(RootSets { signed }) => root_sets("RootSets", signed),
            Self::PrunePlan(plan) => plan.bound(),
            Self::PrunePermit(PrunePermit {
                change_id,
                plan_digest,
                reason,
                ..
            }) => {
                clean(reason, MAX_TEXT);
                optional_id("PrunePermit", "change_id", change_id)?;
                sized("PrunePermit", "plan_digest", plan_digest, 32..=32)
            }
            Self::Heartbeat(heartbeat) => digest_or_none("Heartbeat", "policy_digest", &heartbeat.policy_digest),
        }
    }
}

impl Bounded for StateBody {
    fn bound(&mut self) -> Result<(), DecodeError> {
        match self {
            Self::ItemPut(put) => put.bound(),
            Self::ItemDelete(delete) => delete.bound(),
            Self::Ack(Ack { failed, .. }) => {
                for item in failed {
                    key("Ack", &item.key)?;
                    clean(&mut item.message, MAX_TEXT);
                }
                Ok(())
            }
            Self::TreeRequest(TreeRequest {
                snapshot_root, prefix, ..
            }) => {
                digest_or_none("TreeRequest", "snapshot_root", snapshot_root)?;
                nibbles("TreeRequest", prefix)
            }
            Self::TreeReply(reply) => reply.bound(),
            Self::Checkpoint(checkpoint) => checkpoint.bound(),
            Self::Event(event) => event.bound(),
        }
    }
}

impl Bounded for ChunkBody {
    fn bound(&mut self) -> Result<(), DecodeError> {
        match self {
            Self::ManifestRequest(ManifestRequest { manifest_digest }) => {
                sized("ManifestRequest", "manifest_digest", manifest_digest, 32..=32)
            }
            Self::ManifestReply(ManifestReply {
                manifest_digest,
                raw_size,
                ..
            }) => {
                sized("ManifestReply", "manifest_digest", manifest_digest, 32..=32)?;
                at_most("ManifestReply", "raw_size", *raw_size as usize, MAX_MANIFEST)
            }
            Self::ChunkRequest(ChunkRequest {
                manifest_digest,
                digests,
                dict_manifest,
            }) => {
                sized("ChunkRequest", "manifest_digest", manifest_digest, 32..=32)?;
                digest_or_none("ChunkRequest", "dict_manifest", dict_manifest)?;
                at_most("ChunkRequest", "digests", digests.len(), MAX_CHUNKS_PER_REQUEST)?;
                digests
                    .iter()
                    .try_for_each(|digest| sized("ChunkRequest", "digests", digest, 32..=32))
            }
            Self::ChunkReply(ChunkReply { digest, raw_size, .. }) => {
                sized("ChunkReply", "digest", digest, 32..=32)?;
                at_most("ChunkReply", "raw_size", *raw_size as usize, MAX_CHUNK)
            }
            Self::Refused(FetchRefused { message, .. }) => {
                clean(message, MAX_TEXT);
                Ok(())
            }
        }
    }
}

impl Bounded for LiveBody {
    fn bound(&mut self) -> Result<(), DecodeError> {
        match self {
            Self::Request(request) => request.bound(),
            Self::Data(_) | Self::Credit(_) => Ok(()),
            Self::End(LiveEnd { message, .. }) => {
                clean(message, MAX_TEXT);
                Ok(())
            }
        }
    }
}

impl Bounded for Checkpoint {
    fn bound(&mut self) -> Result<(), DecodeError> {
        sized("Checkpoint", "nonce", &self.nonce, 16..=16)
    }
}

impl Bounded for Hello {
    fn bound(&mut self) -> Result<(), DecodeError> {
        id("Hello", "instance_id", &self.instance_id)?;
        optional_id("Hello", "cluster_uid", &self.cluster_uid)?;
        optional_id("Hello", "hub_uid", &self.hub_uid)?;
        digest_or_none("Hello", "desired_root", &self.desired_root)?;
        digest_or_none("Hello", "status_root", &self.status_root)?;
        digest_or_none("Hello", "policy_digest", &self.policy_digest)?;
        clean(&mut self.agent_version, MAX_NAME);
        clean(&mut self.k8s_version, MAX_NAME);
        clean(&mut self.upgrade_version, MAX_NAME);
        clean(&mut self.upgrade_outcome, MAX_TEXT);
        self.last.as_mut().map_or(Ok(()), Checkpoint::bound)?;
        facts("Hello", &mut self.facts)
    }
}

impl Bounded for Welcome {
    fn bound(&mut self) -> Result<(), DecodeError> {
        id("Welcome", "hub_uid", &self.hub_uid)?;
        digest_or_none("Welcome", "desired_root", &self.desired_root)?;
        digest_or_none("Welcome", "status_root", &self.status_root)?;
        clean(&mut self.reason, MAX_TEXT);
        clean(&mut self.cluster_ns, MAX_NAME);
        clean(&mut self.cluster_name, MAX_NAME);
        clean(&mut self.agent_version, MAX_NAME);
        root_sets("Welcome", &self.root_sets)
    }
}

impl Bounded for JoinRequest {
    fn bound(&mut self) -> Result<(), DecodeError> {
        optional_id("JoinRequest", "token_id", &self.token_id)?;
        sized("JoinRequest", "token_secret", &self.token_secret, 0..=MAX_SECRET)?;
        sized("JoinRequest", "csr", &self.csr, 1..=MAX_DER)?;
        clean(&mut self.name, MAX_NAME);
        optional_id("JoinRequest", "cluster_uid", &self.cluster_uid)?;
        facts("JoinRequest", &mut self.facts)
    }
}

impl Bounded for JoinReply {
    fn bound(&mut self) -> Result<(), DecodeError> {
        clean(&mut self.cluster_ns, MAX_NAME);
        clean(&mut self.cluster_name, MAX_NAME);
        sized("JoinReply", "signed_root_set", &self.signed_root_set, 1..=MAX_ROOT_SET)?;
        chain("JoinReply", &self.cert_chain)
    }
}

impl Bounded for PrunePlan {
    fn bound(&mut self) -> Result<(), DecodeError> {
        optional_id("PrunePlan", "change_id", &self.change_id)?;
        key("PrunePlan", &self.key)?;
        sized("PrunePlan", "digest", &self.digest, 32..=32)?;
        for lines in [&mut self.cascades, &mut self.sample] {
            lines.truncate(MAX_PLAN_LINES);
            lines.iter_mut().for_each(|line| clean(line, MAX_KEY));
        }
        Ok(())
    }
}

impl Bounded for ItemPut {
    fn bound(&mut self) -> Result<(), DecodeError> {
        key("ItemPut", &self.key)?;
        owner("ItemPut", self.owner.as_ref())?;
        sized("ItemPut", "digest", &self.digest, 32..=32)?;
        if !matches!(self.salt.len(), 0 | 32) {
            return Err(field("ItemPut", "salt", "is neither absent nor 32 bytes"));
        }
        at_most("ItemPut", "payload", self.payload.len(), MAX_ITEM)
    }
}

impl Bounded for ItemDelete {
    fn bound(&mut self) -> Result<(), DecodeError> {
        key("ItemDelete", &self.key)?;
        owner("ItemDelete", self.owner.as_ref())?;
        optional_id("ItemDelete", "change_id", &self.change_id)
    }
}

impl Bounded for TreeReply {
    fn bound(&mut self) -> Result<(), DecodeError> {
        digest_or_none("TreeReply", "snapshot_root", &self.snapshot_root)?;
        nibbles("TreeReply", &self.prefix)?;
        if !matches!(self.children.len(), 0 | 16) {
            return Err(field("TreeReply", "children", "are neither absent nor sixteen"));
        }
        self.children
            .iter()
            .try_for_each(|child| sized("TreeReply", "children", child, 32..=32))?;
        at_most("TreeReply", "entries", self.entries.len(), MAX_TREE_ENTRIES)?;
        self.entries.iter().try_for_each(
            |TreeEntry {
                 key: name,
                 digest,
                 owner_uid,
             }| {
                key("TreeReply", name)?;
                optional_id("TreeReply", "owner_uid", owner_uid)?;
                sized("TreeReply", "digest", digest, 32..=32)
            },
        )
    }
}

impl Bounded for EventMsg {
    fn bound(&mut self) -> Result<(), DecodeError> {
        for name in [
            &mut self.kind,
            &mut self.ns,
            &mut self.name,
            &mut self.severity,
            &mut self.reason,
        ] {
            clean(name, MAX_NAME);
        }
        clean(&mut self.message, MAX_TEXT);
        clean(&mut self.revision, MAX_KEY);
        clean(&mut self.item, MAX_KEY);
        Ok(())
    }
}

impl Bounded for LiveRequest {
    fn bound(&mut self) -> Result<(), DecodeError> {
        for (name, value) in [
            ("group", &self.group),
            ("version", &self.version),
            ("resource", &self.resource),
            ("ns", &self.ns),
            ("name", &self.name),
            ("user", &self.user),
            ("container", &self.container),
            ("id", &self.id),
        ] {
            optional_id("LiveRequest", name, value)?;
        }
        if !self.label_selector.is_empty() && !is_clean(&self.label_selector, MAX_KEY) {
            return Err(field("LiveRequest", "label_selector", "is too long or unclean"));
        }
        at_most("LiveRequest", "groups", self.groups.len(), MAX_GROUPS)?;
        self.groups
            .iter()
            .try_for_each(|group| id("LiveRequest", "groups", group))
    }
}

impl Manifest {
    /// Reads a manifest that came over the link. Paths and digests are checked for their form only; whether the files
    /// make up the digest that was asked for is the caller's to check.
    pub fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "manifest";
        at_most(WHAT, "bytes", bytes.len(), MAX_MANIFEST)?;
        MANIFEST.check(WHAT, bytes)?;
        let manifest = Self::decode(bytes).map_err(|_| DecodeError::Malformed { what: WHAT })?;
        for file in &manifest.files {
            if !is_clean(&file.path, MAX_PATH) {
                return Err(field(WHAT, "path", "is empty, too long or unclean"));
            }
            sized(WHAT, "digest", &file.digest, 32..=32)?;
            for chunk in &file.chunks {
                sized(WHAT, "chunks", &chunk.digest, 32..=32)?;
                at_most(WHAT, "chunks", chunk.size as usize, MAX_CHUNK)?;
            }
        }
        Ok(manifest)
    }
}

impl Bundle {
    /// Reads the payload of a desired item.
    pub fn read(payload: bytes::Bytes) -> Result<Self, DecodeError> {
        const WHAT: &str = "bundle";
        BUNDLE.check(WHAT, &payload)?;
        let mut bundle = Self::decode(payload).map_err(|_| DecodeError::Malformed { what: WHAT })?;
        if let Some(artifact) = &mut bundle.artifact {
            sized(WHAT, "manifest_digest", &artifact.manifest_digest, 32..=32)?;
            clean(&mut artifact.revision, MAX_KEY);
            clean(&mut artifact.origin, MAX_TEXT);
        }
        optional_id(WHAT, "change_id", &bundle.change_id)?;
        clean(&mut bundle.requested_at, MAX_NAME);
        Ok(bundle)
    }
}

impl StatusPayload {
    /// Reads the payload of a status item, as the hub does with what a spoke says: everything is bounded and cleaned.
    pub fn read(payload: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "status payload";
        STATUS.check(WHAT, payload)?;
        let mut status = Self::decode(payload).map_err(|_| DecodeError::Malformed { what: WHAT })?;
        for (name, digest) in [
            ("observed_payload", &status.observed_payload),
            ("observed_manifest", &status.observed_manifest),
            ("inventory_digest", &status.inventory_digest),
            ("prune_digest", &status.prune_digest),
        ] {
            digest_or_none(WHAT, name, digest)?;
        }
        clean(&mut status.revision, MAX_KEY);
        clean(&mut status.state, MAX_NAME);
        clean(&mut status.object, MAX_KEY);
        status.conditions.truncate(MAX_CONDITIONS);
        for condition in &mut status.conditions {
            clean(&mut condition.r#type, MAX_NAME);
            clean(&mut condition.status, 16);
            clean(&mut condition.reason, MAX_NAME);
            clean(&mut condition.message, MAX_TEXT);
        }
        Ok(status)
    }
}

fn field(what: &'static str, field: &'static str, why: &'static str) -> DecodeError {
    DecodeError::Field { what, field, why }
}

fn key(what: &'static str, value: &str) -> Result<(), DecodeError> {
    if is_clean(value, MAX_KEY) {
        Ok(())
    } else {
        Err(field(what, "key", "is empty, too long or unclean"))
    }
}

fn id(what: &'static str, name: &'static str, value: &str) -> Result<(), DecodeError> {
    if is_clean(value, MAX_NAME) {
        Ok(())
    } else {
        Err(field(what, name, "is empty, too long or unclean"))
    }
}

fn optional_id(what: &'static str, name: &'static str, value: &str) -> Result<(), DecodeError> {
    if value.is_empty() || is_clean(value, MAX_KEY) {
        Ok(())
    } else {
        Err(field(what, name, "is too long or unclean"))
    }
}

fn owner(what: &'static str, owner: Option<&OwnerRef>) -> Result<(), DecodeError> {
    let Some(owner) = owner else { return Ok(()) };
    for value in [&owner.kind, &owner.ns, &owner.name, &owner.uid] {
        optional_id(what, "owner", value)?;
    }
    Ok(())
}

fn sized(
    what: &'static str,
    name: &'static str,
    value: &[u8],
    allowed: std::ops::RangeInclusive<usize>,
) -> Result<(), DecodeError> {
    if allowed.contains(&value.len()) {
        Ok(())
    } else {
        Err(field(what, name, "has the wrong length"))
    }
}

fn digest_or_none(what: &'static str, name: &'static str, value: &[u8]) -> Result<(), DecodeError> {
    if matches!(value.len(), 0 | 32) {
        Ok(())
    } else {
        Err(field(what, name, "is neither absent nor 32 bytes"))
    }
}

fn at_most(what: &'static str, name: &'static str, value: usize, most: usize) -> Result<(), DecodeError> {
    if value <= most {
        Ok(())
    } else {
        Err(field(what, name, "is too large"))
    }
}

fn nibbles(what: &'static str, prefix: &[u8]) -> Result<(), DecodeError> {
    let fits = prefix.len() <= 64 && prefix.iter().all(|nibble| *nibble < 16);
    if fits {
        Ok(())
    } else {
        Err(field(what, "prefix", "is not at most 64 values below 16"))
    }
}

fn chain(what: &'static str, chain: &[Vec<u8>]) -> Result<(), DecodeError> {
    at_most(what, "cert_chain", chain.len(), MAX_CERTIFICATES)?;
    chain
        .iter()
        .try_for_each(|der| sized(what, "cert_chain", der, 1..=MAX_DER))
}

fn root_sets(what: &'static str, sets: &[Vec<u8>]) -> Result<(), DecodeError> {
    at_most(what, "root_sets", sets.len(), MAX_CERTIFICATES)?;
    sets.iter()
        .try_for_each(|set| sized(what, "root_sets", set, 1..=MAX_ROOT_SET))
}

fn facts(what: &'static str, facts: &mut Vec<Fact>) -> Result<(), DecodeError> {
    at_most(what, "facts", facts.len(), MAX_FACTS)?;
    for fact in facts {
        clean(&mut fact.key, MAX_NAME);
        clean(&mut fact.value, MAX_NAME);
    }
    Ok(())
}
