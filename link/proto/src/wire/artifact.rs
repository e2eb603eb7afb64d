//! Messages of a chunk stream: one request, its replies, end of stream.

use bytes::Bytes;
use prost::{Enumeration, Message};

/// A piece of a file.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ManifestChunk {
    /// SHA-256 (32 bytes) of the piece.
    #[prost(bytes = "vec", tag = "1")]
    pub digest: Vec<u8>,
    /// Its size, at most 256 KiB.
    #[prost(uint32, tag = "2")]
    pub size: u32,
}

/// A file of an artifact.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ManifestFile {
    /// Path relative to the artifact's top.
    #[prost(string, tag = "1")]
    pub path: String,
    /// Unix mode bits.
    #[prost(uint32, tag = "2")]
    pub mode: u32,
    /// Size in bytes.
    #[prost(uint64, tag = "3")]
    pub size: u64,
    /// SHA-256 (32 bytes) of the content.
    #[prost(bytes = "vec", tag = "4")]
    pub digest: Vec<u8>,
    /// The content in order.
    #[prost(message, repeated, tag = "5")]
    pub chunks: Vec<ManifestChunk>,
}

/// What proves where an artifact comes from (a signature, an attestation).
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Evidence {
    /// What kind of proof.
    #[prost(string, tag = "1")]
    pub r#type: String,
    /// The proof.
    #[prost(bytes = "vec", tag = "2")]
    pub bytes: Vec<u8>,
}

/// The files of one revision, sorted by path. Its digest is computed by whoever made it, over path, mode, size and
/// content of each file; the link carries it and does not define it.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Manifest {
    /// The files.
    #[prost(message, repeated, tag = "1")]
    pub files: Vec<ManifestFile>,
    /// Proofs.
    #[prost(message, repeated, tag = "2")]
    pub evidence: Vec<Evidence>,
}

/// The agent asks for a manifest.
#[derive(Clone, PartialEq, Message)]
pub struct ManifestRequest {
    /// Its digest (32 bytes), as an item of the desired set names it.
    #[prost(bytes = "vec", tag = "1")]
    pub manifest_digest: Vec<u8>,
}

/// How data was made smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum ChunkEncoding {
    /// Not at all.
    Plain = 0,
    /// One zstd frame.
    Zstd = 1,
    /// One zstd frame that was made with what [`ChunkRequest::dict_manifest`] holds at the same place as its raw
    /// dictionary. Only in answer to a request that names one.
    ZstdDictionary = 2,
}

/// A manifest.
#[derive(Clone, PartialEq, Message)]
pub struct ManifestReply {
    /// The digest of the request.
    #[prost(bytes = "vec", tag = "1")]
    pub manifest_digest: Vec<u8>,
    /// A [`ChunkEncoding`].
    #[prost(enumeration = "ChunkEncoding", tag = "2")]
    pub encoding: i32,
    /// Size of the encoded [`Manifest`] before compression.
    #[prost(uint32, tag = "3")]
    pub raw_size: u32,
    /// The encoded [`Manifest`].
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
}

/// The agent asks for chunks of a manifest that is in its desired set.
#[derive(Clone, PartialEq, Message)]
pub struct ChunkRequest {
    /// The manifest that the chunks must be in.
    #[prost(bytes = "vec", tag = "1")]
    pub manifest_digest: Vec<u8>,
    /// The chunks (32 bytes each), at most 256; replies come in this order.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub digests: Vec<Vec<u8>>,
    /// A manifest whose content the agent holds and would take as a dictionary. A hint: a hub that does not have it any
    /// more, or never sent it to this cluster, answers without, and the encoding in the reply says so.
    #[prost(bytes = "vec", tag = "3")]
    pub dict_manifest: Vec<u8>,
}

/// One chunk.
#[derive(Clone, PartialEq, Message)]
pub struct ChunkReply {
    /// Its digest.
    #[prost(bytes = "vec", tag = "1")]
    pub digest: Vec<u8>,
    /// A [`ChunkEncoding`].
    #[prost(enumeration = "ChunkEncoding", tag = "2")]
    pub encoding: i32,
    /// Its size before compression.
    #[prost(uint32, tag = "3")]
    pub raw_size: u32,
    /// Its content.
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
}

/// Why a fetch was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum RefusalCode {
    /// An error of the hub.
    Internal = 0,
    /// The manifest is not in this cluster's desired set. Whether it exists elsewhere is not told.
    NotDesired = 1,
    /// The chunk is not in the manifest.
    NotInManifest = 2,
    /// The hub should have it and has not, for the moment.
    Unavailable = 3,
    /// The request itself is wrong.
    BadRequest = 4,
}

/// Ends a fetch without (all of) its data.
#[derive(Clone, PartialEq, Message)]
pub struct FetchRefused {
    /// A [`RefusalCode`].
    #[prost(enumeration = "RefusalCode", tag = "1")]
    pub code: i32,
    /// For people.
    #[prost(string, tag = "2")]
    pub message: String,
}
