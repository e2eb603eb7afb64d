//! One connection and its streams, without a word about what carries them.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use nave_identity::{CertificateFacts, KeyFingerprint};
use nave_proto::{Close, DecodeError, StreamKind, frame_head, put_varint};
use rustls_pki_types::CertificateDer;

/// How long a peer may take to name the kind of a stream that it opened.
const KIND_DEADLINE: Duration = Duration::from_secs(10);

/// An established connection: TLS is done, the peer has proved its key, nothing has been said yet.
///
/// Cheap to clone; all clones are the same connection.
#[derive(Clone)]
pub struct Connection {
    carrier: quinn::Connection,
    certificate: CertificateDer<'static>,
    facts: CertificateFacts,
}

/// The sending half of a stream. Dropping it ends the stream in order.
pub struct SendStream {
    carrier: quinn::SendStream,
}

/// The receiving half of a stream, cut into frames.
pub struct RecvStream {
    carrier: quinn::RecvStream,
    kind: StreamKind,
    buffer: BytesMut,
}

/// What a connection has carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Bytes sent in datagrams, without UDP and IP heads (28 bytes each with IPv4).
    pub sent_bytes: u64,
    /// Datagrams sent.
    pub sent_datagrams: u64,
    /// Bytes received in datagrams.
    pub received_bytes: u64,
    /// Datagrams received.
    pub received_datagrams: u64,
    /// Packets that were lost.
    pub lost_packets: u64,
    /// The path's round trip.
    pub round_trip: Duration,
}

/// A connection or a stream that is of no use any more.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LinkError {
    /// The peer closed the connection and said why.
    #[error("{0}")]
    Closed(Close),
    /// This end closed it.
    #[error("connection closed by this end")]
    ClosedHere,
    /// Nothing was heard for the idle timeout.
    #[error("connection timed out: nothing was heard from the other end")]
    TimedOut,
    /// The other end does not know the connection any more: it was restarted.
    #[error("connection unknown to the other end: it was restarted")]
    Reset,
    /// TLS failed: one end does not believe the other, in these words.
    #[error("{0}")]
    Tls(String),
    /// The carrier failed.
    #[error("{0}")]
    Carrier(String),
    /// The peer ended the stream within a frame, or took it back.
    #[error("{kind:?} stream ended within a frame")]
    Cut {
        /// The stream.
        kind: StreamKind,
    },
    /// The peer sent what cannot be a frame.
    #[error(transparent)]
    Frame(#[from] DecodeError),
    /// The peer opened a stream of no known kind.
    #[error("stream of unknown kind {number}")]
    StreamKind {
        /// What it said.
        number: u64,
    },
}

impl Connection {
    /// Takes over a connection after its handshake. The peer's certificate is mandatory in TLS, so it is there.
    pub(crate) fn new(carrier: quinn::Connection) -> Result<Self, LinkError> {
        let unusable = |why: String| {
            carrier.close(0u32.into(), &[]);
            LinkError::Carrier(why)
        };
        let chain = carrier
            .peer_identity()
            .and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
        let certificate = chain.and_then(|chain| chain.into_iter().next());
        let certificate = certificate.ok_or_else(|| unusable("the peer showed no certificate".to_owned()))?;
        let facts = CertificateFacts::read(&certificate).map_err(|error| unusable(error.to_string()))?;
        Ok(Self {
            certificate,
            facts,
            carrier,
        })
    }

    /// Opens a stream and names its kind. Waits while the peer has as many as it takes.
    pub async fn open(&self, kind: StreamKind) -> Result<(SendStream, RecvStream), LinkError> {
        let (mut send, recv) = self.carrier.open_bi().await?;
        let mut head = Vec::with_capacity(1);
        put_varint(&mut head, kind as u64);
        send.write_all(&head).await.map_err(|error| write_error(kind, error))?;
        Ok((
            SendStream { carrier: send },
            RecvStream {
                carrier: recv,
                kind,
                buffer: BytesMut::new(),
            },
        ))
    }

    /// The next stream that the peer opens. Safe to cancel, except that a stream whose kind is just being read is lost.
    pub async fn accept(&self) -> Result<(StreamKind, SendStream, RecvStream), LinkError> {
        let (send, mut recv) = self.carrier.accept_bi().await?;
        let mut number = [0; 1];
        // All kinds fit one byte, and a stream is seen only when its first byte has come.
        let read = tokio::time::timeout(KIND_DEADLINE, recv.read_exact(&mut number)).await;
        if !matches!(read, Ok(Ok(()))) {
            return Err(self.closed_or(LinkError::StreamKind { number: 0 }));
        }
        let number = u64::from(number[0]);
        let kind = StreamKind::from_number(number).ok_or(LinkError::StreamKind { number })?;
        Ok((
            kind,
            SendStream { carrier: send },
            RecvStream {
                carrier: recv,
                kind,
                buffer: BytesMut::new(),
            },
        ))
    }

    /// Ends the connection. Both ends read code and words; what was not yet delivered is lost.
    pub fn close(&self, close: &Close) {
        self.carrier.close(close.code.into(), &close.to_bytes());
    }

    /// Waits for the end of the connection.
    pub async fn closed(&self) -> LinkError {
        self.carrier.closed().await.into()
    }

    /// The name of the key that the peer proved.
    pub fn peer_key(&self) -> KeyFingerprint {
        self.facts.key
    }

    /// What the peer's certificate says. Only the key is proved.
    pub fn peer_facts(&self) -> &CertificateFacts {
        &self.facts
    }

    /// The peer's certificate.
    pub fn peer_certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Where the peer is; may change while the connection lives.
    pub fn remote_addr(&self) -> SocketAddr {
        self.carrier.remote_address()
    }

    /// Name of the carrier, for status and metrics.
    pub fn transport(&self) -> &'static str {
        "quic"
    }

    /// What it has carried so far.
    pub fn stats(&self) -> Stats {
        let stats = self.carrier.stats();
        Stats {
            sent_bytes: stats.udp_tx.bytes,
            sent_datagrams: stats.udp_tx.datagrams,
            received_bytes: stats.udp_rx.bytes,
            received_datagrams: stats.udp_rx.datagrams,
            lost_packets: stats.path.lost_packets,
            round_trip: stats.path.rtt,
        }
    }

    /// Why the connection ended, if it has; otherwise the error at hand.
    fn closed_or(&self, error: LinkError) -> LinkError {
        self.carrier.close_reason().map_or(error, LinkError::from)
    }
}

impl SendStream {
    /// Sends a frame. Waits while the peer does not read. Not safe to cancel: the stream is then of no use any more.
    pub async fn send(&mut self, kind: StreamKind, frame: Vec<u8>) -> Result<(), LinkError> {
        let mut parts = [Bytes::from(frame_head(frame.len())), Bytes::from(frame)];
        self.carrier
            .write_all_chunks(&mut parts)
            .await
            .map_err(|error| write_error(kind, error))
    }

    /// Says that nothing more comes.
    pub fn finish(&mut self) {
        // It fails only for a stream that was finished before, which is what is wanted.
        let _ = self.carrier.finish();
    }
}

impl RecvStream {
    /// What the stream carries.
    pub fn kind(&self) -> StreamKind {
        self.kind
    }

    /// The next frame, or `None` when the peer has finished. Safe to cancel: nothing that was read is lost.
    ///
    /// The buffer grows with what arrives and is given back when it is empty, so a waiting session holds none.
    pub async fn next(&mut self) -> Result<Option<Bytes>, LinkError> {
        loop {
            if let Some(frame) = self.take_frame()? {
                return Ok(Some(frame));
            }
            match self.carrier.read_chunk(64 * 1024, true).await {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk.bytes),
                Ok(None) if self.buffer.is_empty() => return Ok(None),
                Ok(None) | Err(quinn::ReadError::Reset(_)) => return Err(LinkError::Cut { kind: self.kind }),
                Err(quinn::ReadError::ConnectionLost(error)) => return Err(error.into()),
                Err(error) => return Err(LinkError::Carrier(error.to_string())),
            }
        }
    }

    fn take_frame(&mut self) -> Result<Option<Bytes>, LinkError> {
        let Some((head, length)) = read_head(&self.buffer) else {
            if self.buffer.len() >= 5 {
                // More bytes than any allowed length needs.
                self.kind.check_length(u64::MAX)?;
            }
            return Ok(None);
        };
        let length = self.kind.check_length(length)?;
        if self.buffer.len() < head + length {
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(head + length).freeze();
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        Ok(Some(frame.split_off(head)))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Connection({} at {}, key {})",
            self.transport(),
            self.remote_addr(),
            self.facts.key
        )
    }
}

impl fmt::Debug for SendStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SendStream")
    }
}

impl fmt::Debug for RecvStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecvStream({:?}, {} bytes buffered)", self.kind, self.buffer.len())
    }
}

impl LinkError {
    /// What the peer said when it closed.
    pub fn peer_close(&self) -> Option<&Close> {
        match self {
            Self::Closed(close) => Some(close),
            _ => None,
        }
    }
}

impl From<quinn::ConnectionError> for LinkError {
    fn from(error: quinn::ConnectionError) -> Self {
        use quinn::ConnectionError as Error;
        match error {
            Error::ApplicationClosed(close) => {
                Self::Closed(Close::from_bytes(close.error_code.into_inner(), &close.reason))
            }
            Error::LocallyClosed => Self::ClosedHere,
            Error::TimedOut => Self::TimedOut,
            Error::Reset => Self::Reset,
            // The words of a TLS refusal are in the reason; code and frame type help nobody.
            Error::TransportError(error) if is_tls(error.code) && !error.reason.is_empty() => Self::Tls(error.reason),
            Error::ConnectionClosed(close) if is_tls(close.error_code) => Self::Tls(close.to_string()),
            other => Self::Carrier(other.to_string()),
        }
    }
}

/// Codes of QUIC from 0x100 on carry a TLS alert (RFC 9001, 4.8).
fn is_tls(code: quinn::TransportErrorCode) -> bool {
    (0x100..0x200).contains(&u64::from(code))
}

fn write_error(kind: StreamKind, error: quinn::WriteError) -> LinkError {
    match error {
        quinn::WriteError::ConnectionLost(error) => error.into(),
        quinn::WriteError::Stopped(_) => LinkError::Cut { kind },
        error => LinkError::Carrier(error.to_string()),
    }
}

/// The length at the start of a buffer, and how many bytes it takes itself.
fn read_head(buffer: &[u8]) -> Option<(usize, u64)> {
    let mut value = 0u64;
    for (index, byte) in buffer.iter().take(4).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((index + 1, value));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_when_they_are_complete() {
        assert_eq!(read_head(&[]), None);
        assert_eq!(read_head(&[5, 1, 2]), Some((1, 5)));
        assert_eq!(read_head(&[0x80]), None);
        assert_eq!(read_head(&[0x80, 0x80, 0x04]), Some((3, 65_536)));
        assert_eq!(read_head(&[0xff, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
