//! The halves of a stream.

use std::future::poll_fn;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::client::ResponseFuture;
use nave_proto::StreamKind;

use super::TcpLink;
use crate::connection::LinkError;

/// A head and a small frame are copied together, so that they are one frame of the carrier and one record of TLS.
const TOGETHER: usize = 4 * 1024;

/// How long the driver of a connection that has ended may take to say why.
const MOMENT: Duration = Duration::from_secs(1);

/// The sending half. Dropping it ends the stream in order.
pub(crate) struct SendHalf {
    stream: h2::SendStream<Bytes>,
    link: TcpLink,
    finished: bool,
}

/// The receiving half. Dropping that of a stream which this end has opened tells the peer that nobody reads any more. HTTP/2
/// can say so for both directions only, so that an end which answers goes on reading until the other, who has heard
/// enough, ends the stream: or its own last words would be taken back with it.
pub(crate) struct RecvHalf {
    source: Option<Source>,
    link: TcpLink,
    accepted: bool,
    ended: bool,
}

/// Where bytes come from: the peer's answer may not be there yet.
pub(crate) enum Source {
    Awaited(ResponseFuture),
    Here(h2::RecvStream),
}

impl Source {
    /// The next bytes, `None` at the end. Safe to cancel.
    pub async fn next(&mut self) -> Result<Option<Bytes>, h2::Error> {
        if let Self::Awaited(answer) = self {
            let body = answer.await?.into_body();
            *self = Self::Here(body);
        }
        let Self::Here(body) = self else {
            unreachable!("it was just put there")
        };
        match body.data().await {
            Some(Ok(bytes)) => {
                // The window is given back when the bytes are taken: what nobody reads does not go on coming.
                body.flow_control().release_capacity(bytes.len())?;
                Ok(Some(bytes))
            }
            Some(Err(error)) => Err(error),
            None => Ok(None),
        }
    }
}

impl SendHalf {
    pub(super) fn new(stream: h2::SendStream<Bytes>, link: TcpLink) -> Self {
        Self {
            stream,
            link,
            finished: false,
        }
    }

    /// Sends a head and what follows it. Waits while the peer does not read.
    pub async fn send(&mut self, kind: StreamKind, head: Vec<u8>, frame: Vec<u8>) -> Result<(), LinkError> {
        if frame.len() <= TOGETHER {
            let mut both = BytesMut::with_capacity(head.len() + frame.len());
            both.extend_from_slice(&head);
            both.extend_from_slice(&frame);
            return self.write(kind, both.freeze()).await;
        }
        self.write(kind, head.into()).await?;
        self.write(kind, frame.into()).await
    }

    pub async fn write(&mut self, kind: StreamKind, mut bytes: Bytes) -> Result<(), LinkError> {
        while !bytes.is_empty() {
            self.link.alive()?;
            self.stream.reserve_capacity(bytes.len());
            // It is told once when there is more; what was given before is asked for.
            if self.stream.capacity() == 0 {
                match poll_fn(|cx| self.stream.poll_capacity(cx)).await {
                    Some(Ok(_)) => continue,
                    Some(Err(error)) => return Err(failed(&self.link, kind, &error).await),
                    None => return Err(self.link.end().unwrap_or(LinkError::Cut { kind })),
                }
            }
            let piece = bytes.split_to(self.stream.capacity().min(bytes.len()));
            if let Err(error) = self.stream.send_data(piece, false) {
                return Err(failed(&self.link, kind, &error).await);
            }
        }
        Ok(())
    }

    pub fn finish(&mut self) {
        if !self.finished {
            self.finished = true;
            // It fails only when the stream or the connection has ended, which is what is wanted.
            let _ = self.stream.send_data(Bytes::new(), true);
        }
    }
}

impl Drop for SendHalf {
    fn drop(&mut self) {
        self.finish();
    }
}

impl RecvHalf {
    pub(super) fn new(source: Source, link: TcpLink, accepted: bool) -> Self {
        Self {
            source: Some(source),
            link,
            accepted,
            ended: false,
        }
    }

    /// The next bytes, `None` when the peer has finished. Safe to cancel.
    pub async fn next(&mut self, kind: StreamKind) -> Result<Option<Bytes>, LinkError> {
        let source = self.source.as_mut().expect("taken only when dropped");
        let next = source.next().await;
        self.ended |= !matches!(next, Ok(Some(_)));
        match next {
            Ok(None) if lasts(kind) => match tokio::time::timeout(MOMENT, self.link.closed()).await {
                Ok(end) => Err(end),
                Err(_) => Ok(None),
            },
            Ok(bytes) => Ok(bytes),
            Err(error) => Err(failed(&self.link, kind, &error).await),
        }
    }
}

impl Drop for RecvHalf {
    fn drop(&mut self) {
        if let Some(source) = self.source.take().filter(|_| self.accepted && !self.ended) {
            self.link.leave(source);
        }
    }
}

/// Whether such a stream ends with its connection alone: its end is seen a moment before the words that explain it, which
/// come on a stream of their own.
fn lasts(kind: StreamKind) -> bool {
    matches!(kind, StreamKind::Control | StreamKind::State)
}

/// What a stream's error means: the stream was taken back, or the whole connection has ended, whose driver knows why and
/// says so within the same moment.
async fn failed(link: &TcpLink, kind: StreamKind, error: &h2::Error) -> LinkError {
    if error.is_reset() && error.is_remote() && !lasts(kind) && link.end().is_none() {
        return LinkError::Cut { kind };
    }
    let end = tokio::time::timeout(MOMENT, link.closed()).await;
    end.unwrap_or(LinkError::Cut { kind })
}
