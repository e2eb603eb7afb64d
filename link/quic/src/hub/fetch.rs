//! Serving manifests and chunks, each request on a stream of its own.

use std::time::Duration;

use nave_proto::wire::{self, ChunkBody, FetchRefused, RefusalCode};
use nave_proto::{StreamKind, authorise_chunks, authorise_manifest, pack_chunk, pack_manifest};
use tracing::debug;

use super::handler::HubHandler;
use crate::connection::{LinkError, RecvStream, SendStream};

/// The request must come within this time after the stream was opened.
const REQUEST_DEADLINE: Duration = Duration::from_secs(30);

/// Serves one request and ends the stream. An error concerns this stream alone.
pub(super) async fn serve(handler: &impl HubHandler, mut send: SendStream, mut recv: RecvStream) {
    if let Err(error) = answer(handler, &mut send, &mut recv).await {
        debug!(%error, "fetch ended early");
    }
    send.finish();
}

async fn answer(handler: &impl HubHandler, send: &mut SendStream, recv: &mut RecvStream) -> Result<(), LinkError> {
    let Ok(frame) = tokio::time::timeout(REQUEST_DEADLINE, recv.next()).await else {
        return Ok(());
    };
    let Some(frame) = frame? else { return Ok(()) };
    let result = match wire::decode::<ChunkBody>(frame)? {
        Some(ChunkBody::ManifestRequest(request)) => match authorise_manifest(&request.manifest_digest, handler) {
            Ok(digest) => match handler.load_manifest(&digest).await {
                Ok(manifest) => {
                    let reply = ChunkBody::ManifestReply(pack_manifest(&digest, &manifest));
                    return send.send(StreamKind::Chunk, wire::encode(reply)).await;
                }
                Err(refused) => refused,
            },
            Err(refused) => refused,
        },
        Some(ChunkBody::ChunkRequest(request)) => match authorise_chunks(&request, handler) {
            Ok(chunks) => match send_chunks(handler, send, &request.manifest_digest, &chunks).await? {
                None => return Ok(()),
                Some(refused) => refused,
            },
            Err(refused) => refused,
        },
        Some(_) | None => FetchRefused {
            code: RefusalCode::BadRequest as i32,
            message: "the first message of a chunk stream is a request".to_owned(),
        },
    };
    send.send(StreamKind::Chunk, wire::encode(ChunkBody::Refused(result)))
        .await
}

async fn send_chunks(
    handler: &impl HubHandler,
    send: &mut SendStream,
    manifest: &[u8],
    chunks: &[nave_proto::Digest],
) -> Result<Option<FetchRefused>, LinkError> {
    let manifest = nave_proto::Digest::from_slice(manifest).expect("authorised, so it is a digest");
    for chunk in chunks {
        match handler.load_chunk(&manifest, chunk).await {
            Ok(content) => {
                let reply = ChunkBody::ChunkReply(pack_chunk(chunk, &content));
                send.send(StreamKind::Chunk, wire::encode(reply)).await?;
            }
            Err(refused) => return Ok(Some(refused)),
        }
    }
    Ok(None)
}
