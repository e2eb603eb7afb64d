//! Serving manifests and chunks, each request on a stream of its own.

use std::time::Duration;

use nave_proto::hub::Session;
use nave_proto::wire::{self, ChunkBody, ChunkEncoding, ChunkRequest, FetchRefused, LinkProfile, RefusalCode};
use nave_proto::{
    Digest, FEATURE_DICTIONARIES, Packing, StreamKind, authorise_chunks, authorise_manifest, pack_chunk, pack_manifest,
};
use tracing::debug;

use super::handler::{HubHandler, SentChunk};
use crate::connection::{LinkError, RecvStream, SendStream};
use crate::egress::Lane;

/// The request must come within this time after the stream was opened.
const REQUEST_DEADLINE: Duration = Duration::from_secs(30);

/// What was agreed on with the agent about fetches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    metered: bool,
    dictionaries: bool,
}

impl Terms {
    pub(super) fn of(session: &Session) -> Self {
        Self {
            metered: session.profile() == LinkProfile::Metered,
            dictionaries: session.features() & FEATURE_DICTIONARIES != 0,
        }
    }
}

/// Serves one request and ends the stream. An error concerns this stream alone.
pub(super) async fn serve<H: HubHandler>(to: (&H, &Lane), terms: Terms, mut send: SendStream, mut recv: RecvStream) {
    if let Err(error) = answer(to, terms, &mut send, &mut recv).await {
        debug!(%error, "fetch ended early");
    }
    send.finish();
}

async fn answer<H: HubHandler>(
    (handler, lane): (&H, &Lane),
    terms: Terms,
    send: &mut SendStream,
    recv: &mut RecvStream,
) -> Result<(), LinkError> {
    let Ok(frame) = tokio::time::timeout(REQUEST_DEADLINE, recv.next()).await else {
        return Ok(());
    };
    let Some(frame) = frame? else { return Ok(()) };
    let result = match wire::decode::<ChunkBody>(frame)? {
        Some(ChunkBody::ManifestRequest(request)) => match authorise_manifest(&request.manifest_digest, handler) {
            Ok(digest) => match handler.load_manifest(&digest).await {
                Ok(manifest) => {
                    let reply = ChunkBody::ManifestReply(pack_manifest(&digest, &manifest, terms.metered));
                    let frame = wire::encode(reply);
                    lane.take(frame.len()).await;
                    return send.send(StreamKind::Chunk, frame).await;
                }
                Err(refused) => refused,
            },
            Err(refused) => refused,
        },
        Some(ChunkBody::ChunkRequest(request)) => match authorise_chunks(&request, handler) {
            Ok(chunks) => match send_chunks((handler, lane), terms, send, &request, &chunks).await? {
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

async fn send_chunks<H: HubHandler>(
    (handler, lane): (&H, &Lane),
    terms: Terms,
    send: &mut SendStream,
    request: &ChunkRequest,
    chunks: &[Digest],
) -> Result<Option<FetchRefused>, LinkError> {
    let manifest = Digest::from_slice(&request.manifest_digest).expect("authorised, so it is a digest");
    let older = Digest::from_slice(&request.dict_manifest).filter(|_| terms.dictionaries);
    for chunk in chunks {
        match handler.load_chunk(&manifest, chunk).await {
            Ok(content) => {
                let dictionary = older.and_then(|older| handler.dictionary(&manifest, chunk, &older));
                let packing = Packing {
                    metered: terms.metered,
                    dictionary: dictionary.as_deref(),
                };
                let reply = pack_chunk(chunk, &content, packing);
                let encoding = ChunkEncoding::try_from(reply.encoding).unwrap_or(ChunkEncoding::Plain);
                let frame = wire::encode(ChunkBody::ChunkReply(reply));
                let sent = SentChunk {
                    encoding,
                    content: content.len(),
                    sent: frame.len(),
                };
                lane.take(frame.len()).await;
                send.send(StreamKind::Chunk, frame).await?;
                handler.sent(sent);
            }
            Err(refused) => return Ok(Some(refused)),
        }
    }
    Ok(None)
}
