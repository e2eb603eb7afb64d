//! What both ends' drivers share: frames in and out, and how a session ends.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use nave_proto::{Close, CloseCode, ProtocolError};
use tokio_util::sync::CancellationToken;

use crate::connection::{Connection, LinkError, RecvStream};

/// What a session has in hand when it ends may take so long to finish.
pub(crate) const FINISH: Duration = Duration::from_secs(60);

/// Why a loop of a session ended, which ends the session.
#[derive(Debug)]
pub(crate) enum Stop {
    /// This end closes, with these words.
    Close(Close),
    /// The connection is gone, or of no use.
    Lost(LinkError),
    /// Another loop ended the session.
    Ending,
}

impl Stop {
    /// Closes the connection with this end's words, if it has any. To be called before the session's streams are dropped,
    /// which ends them: an end that arrives before the words looks like a peer that broke off.
    pub(crate) fn say(&self, connection: &Connection) {
        if let Self::Close(words) = self {
            connection.close(words);
        }
    }
}

/// A loop ends only by stopping the session.
pub(crate) type Endless = Result<Infallible, Stop>;

impl From<LinkError> for Stop {
    fn from(error: LinkError) -> Self {
        match error {
            // The peer is there and breaks the protocol: it must hear so.
            LinkError::Frame(_) | LinkError::StreamKind { .. } | LinkError::Cut { .. } => {
                Self::Close(Close::new(CloseCode::Protocol, error.to_string()))
            }
            error => Self::Lost(error),
        }
    }
}

impl From<ProtocolError> for Stop {
    fn from(error: ProtocolError) -> Self {
        Self::Close(Close::from(&error))
    }
}

/// The next frame, unless the session is ending. A control or state stream never finishes before the connection does.
pub(crate) async fn next_frame(stream: &mut RecvStream, ending: &CancellationToken) -> Result<Bytes, Stop> {
    let kind = stream.kind();
    tokio::select! {
        () = ending.cancelled() => Err(Stop::Ending),
        frame = stream.next() => frame?.ok_or(LinkError::Cut { kind }.into()),
    }
}

/// Runs a reader; when it ends by itself, the other is told.
pub(crate) async fn finishing(reader: impl Future<Output = Endless>, ending: &CancellationToken) -> Stop {
    let stop = match reader.await {
        Ok(never) => match never {},
        Err(stop) => stop,
    };
    ending.cancel();
    stop
}
