//! Fetching manifests and chunks from the hub.

use std::time::Duration;

use bytes::Bytes;
use nave_proto::wire::{self, ChunkBody, ChunkEncoding, ChunkRequest, Manifest, ManifestRequest};
use nave_proto::{Digest, FetchError, StreamKind, refusal, unpack_chunk, unpack_manifest};
use tracing::warn;

use crate::connection::{Connection, LinkError, RecvStream};

/// A fetch on which nothing has come for so long has failed.
const STALL: Duration = Duration::from_secs(60);

/// Chunks in one request: 16 MiB at most, so that one artifact does not occupy a stream for minutes.
const BATCH: usize = 64;

/// Content that this end holds already: what has changed since is sent with it as a dictionary, when the hub has it too.
#[derive(Clone, Copy)]
pub struct Older<'a> {
    /// The manifest of it.
    pub manifest: Digest,
    /// What it holds in the place of a chunk that is fetched. It must be what the hub takes: the digest of the chunk
    /// proves that, and without that proof the chunk is fetched again without.
    pub dictionary: &'a (dyn Fn(&Digest) -> Option<Bytes> + Sync),
}

/// Fetching failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchFailure {
    /// There is no session to fetch through.
    #[error("not connected to the hub")]
    NotConnected,
    /// The connection failed.
    #[error("fetching from the hub")]
    Link(#[from] LinkError),
    /// The hub refused, or sent what cannot be believed.
    #[error(transparent)]
    Content(#[from] FetchError),
    /// Nothing came for a minute.
    #[error("the hub sent nothing for {} s", STALL.as_secs())]
    Stalled,
    /// The hub sent another message than was asked for.
    #[error("the hub answered a fetch with another message")]
    Unexpected,
}

pub(crate) async fn manifest(
    connection: &Connection,
    digest: &Digest,
    has_digest: impl FnOnce(&Manifest) -> bool,
) -> Result<Manifest, FetchFailure> {
    let request = ChunkBody::ManifestRequest(ManifestRequest {
        manifest_digest: digest.to_vec(),
    });
    let mut replies = ask(connection, request).await?;
    match next(&mut replies).await? {
        ChunkBody::ManifestReply(reply) => Ok(unpack_manifest(digest, reply, has_digest)?),
        ChunkBody::Refused(refused) => Err(refusal(refused).into()),
        _ => Err(FetchFailure::Unexpected),
    }
}

pub(crate) async fn chunks(
    connection: &Connection,
    manifest: &Digest,
    chunks: &[Digest],
    older: Option<Older<'_>>,
    mut take: impl FnMut(Digest, Bytes),
) -> Result<(), FetchFailure> {
    let (mut left, mut older) = (chunks, older);
    while !left.is_empty() {
        let batch = &left[..left.len().min(BATCH)];
        let request = ChunkRequest {
            manifest_digest: manifest.to_vec(),
            digests: batch.iter().map(|chunk| chunk.to_vec()).collect(),
            dict_manifest: older.map(|older| older.manifest.to_vec()).unwrap_or_default(),
        };
        let mut replies = ask(connection, ChunkBody::ChunkRequest(request)).await?;
        for chunk in batch {
            let reply = match next(&mut replies).await? {
                ChunkBody::ChunkReply(reply) => reply,
                ChunkBody::Refused(refused) => return Err(refusal(refused).into()),
                _ => return Err(FetchFailure::Unexpected),
            };
            let with = reply.encoding == ChunkEncoding::ZstdDictionary as i32;
            let dictionary = older.filter(|_| with).and_then(|older| (older.dictionary)(chunk));
            match unpack_chunk(chunk, reply, dictionary.as_deref()) {
                Ok(content) => take(*chunk, content),
                Err(error) if with && older.is_some() => {
                    warn!(%error, "a chunk with a dictionary cannot be used; it is fetched again without");
                    older = None;
                    break;
                }
                Err(error) => return Err(error.into()),
            }
            left = &left[1..];
        }
    }
    Ok(())
}

async fn ask(connection: &Connection, request: ChunkBody) -> Result<RecvStream, FetchFailure> {
    let (mut send, recv) = connection.open(StreamKind::Chunk).await?;
    send.send(StreamKind::Chunk, wire::encode(request)).await?;
    send.finish();
    Ok(recv)
}

async fn next(replies: &mut RecvStream) -> Result<ChunkBody, FetchFailure> {
    let frame = tokio::time::timeout(STALL, replies.next())
        .await
        .map_err(|_| FetchFailure::Stalled)?;
    let frame = frame?.ok_or(LinkError::Cut {
        kind: StreamKind::Chunk,
    })?;
    wire::decode::<ChunkBody>(frame)
        .map_err(LinkError::from)?
        .ok_or(FetchFailure::Unexpected)
}
