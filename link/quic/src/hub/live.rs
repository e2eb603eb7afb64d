//! Live reads of one spoke, at the hub's end.

use std::time::Duration;

use bytes::Bytes;
use nave_proto::wire::{self, LiveBody, LiveEnd, LiveRequest};
use nave_proto::{FEATURE_LIVE, LIVE_WINDOW, LiveError, LiveEvent, LiveReader, StreamKind};

use super::handle::HubSessionHandle;
use crate::clock::{now, wait_until};
use crate::connection::{LinkError, RecvStream, SendStream};

/// An agent takes a few reads at once and answers soon when it takes no more; this long only when its link is stuck.
const OPEN: Duration = Duration::from_secs(10);

/// The answer to a live read. Dropping it tells the agent that nobody listens any more.
#[derive(Debug)]
pub struct LiveStream {
    recv: RecvStream,
    send: SendStream,
    reader: LiveReader,
    end: Option<LiveEnd>,
    /// What the caller has had since the last credit was looked at.
    taken: usize,
}

/// A live read that could not be begun or went wrong on the way.
#[derive(Debug, thiserror::Error)]
pub enum LiveFailure {
    /// An agent of an earlier version.
    #[error("the cluster's agent is too old for live reads")]
    Unsupported,
    /// The agent takes no more streams.
    #[error("the cluster's agent has as many live reads as it takes")]
    Full,
    /// The connection is gone.
    #[error("the link to the cluster failed")]
    Link(#[from] LinkError),
    /// The agent does not keep the rules.
    #[error("the cluster's agent broke the protocol")]
    Protocol(#[from] LiveError),
}

impl HubSessionHandle {
    /// Asks the agent for something on the spoke, for at most `longest`. Whether the caller may was decided before.
    ///
    /// # Errors
    /// [`LiveFailure::Unsupported`] for an agent that does not know live reads.
    pub async fn live(&self, mut request: LiveRequest, longest: Duration) -> Result<LiveStream, LiveFailure> {
        if self.features() & FEATURE_LIVE == 0 {
            return Err(LiveFailure::Unsupported);
        }
        request.window = LIVE_WINDOW;
        let opened = tokio::time::timeout(OPEN, self.connection.open(StreamKind::Live)).await;
        let (mut send, recv) = opened.map_err(|_| LiveFailure::Full)??;
        send.send(StreamKind::Live, wire::encode(LiveBody::Request(request)))
            .await?;
        let longest = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        Ok(LiveStream {
            recv,
            send,
            reader: LiveReader::new(now(), longest),
            end: None,
            taken: 0,
        })
    }
}

impl LiveStream {
    /// The next piece, or `None` at the end; then [`LiveStream::end`] says how it ended. Asking for the next says that
    /// the last was dealt with: only then may the agent send more than a window. Not safe to cancel.
    pub async fn next(&mut self) -> Result<Option<Bytes>, LiveFailure> {
        if let Some(credit) = self.reader.taken(std::mem::take(&mut self.taken)) {
            // An agent that has said everything takes no more credit; what it said is still under way. A connection
            // that is gone shows below.
            let _ = self.send.send(StreamKind::Live, credit).await;
        }
        while self.end.is_none() {
            let frame = tokio::select! {
                frame = self.recv.next() => frame?,
                () = wait_until(Some(self.reader.poll_timeout())) => {
                    self.end = self.reader.handle_timeout(now());
                    continue;
                }
            };
            let Some(frame) = frame else { break };
            match self.reader.handle(frame)? {
                Some(LiveEvent::Data(data)) => {
                    self.taken = data.len();
                    return Ok(Some(data));
                }
                Some(LiveEvent::End(end)) => self.end = Some(end),
                None => {}
            }
        }
        Ok(None)
    }

    /// How it ended, `None` while it has not, or when the agent said nothing.
    pub fn end(&self) -> Option<&LiveEnd> {
        self.end.as_ref()
    }

    /// Bytes that came so far.
    pub fn received(&self) -> u64 {
        self.reader.received()
    }
}
