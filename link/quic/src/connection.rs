//! One connection and its streams, without a word about what carries them.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use nave_identity::{CertificateFacts, KeyFingerprint};
use nave_proto::{Close, CloseCode, DecodeError, StreamKind, frame_head, put_varint};
use rustls_pki_types::CertificateDer;

use crate::tcp::{RecvHalf, SendHalf, TcpLink};
use crate::traffic::{Carried, Meter, Traffic, heads};

/// How long a peer may take to name the kind of a stream that it opened.
const KIND_DEADLINE: Duration = Duration::from_secs(10);

/// What carries a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// QUIC over UDP.
    Quic,
    /// TLS over TCP.
    Tcp,
}

/// An established connection: TLS is done, the peer has proved its key, nothing has been said yet.
///
/// Cheap to clone; all clones are the same connection.
#[derive(Clone)]
pub struct Connection {
    carrier: Carrier,
    peer: Arc<Peer>,
    meter: Arc<Meter>,
}

/// Who is at the other end.
struct Peer {
    certificate: CertificateDer<'static>,
    facts: CertificateFacts,
}

#[derive(Clone)]
enum Carrier {
    Quic(quinn::Connection),
    Tcp(TcpLink),
}

/// The sending half of a stream. Dropping it ends the stream in order.
pub struct SendStream {
    carrier: SendCarrier,
    meter: Arc<Meter>,
}

enum SendCarrier {
    Quic(quinn::SendStream),
    Tcp(SendHalf),
}

enum RecvCarrier {
    Quic(quinn::RecvStream),
    Tcp(RecvHalf),
}

/// The receiving half of a stream, cut into frames.
pub struct RecvStream {
    carrier: RecvCarrier,
    kind: StreamKind,
    buffer: BytesMut,
    meter: Arc<Meter>,
}

/// What a connection has carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Bytes sent, without the heads of UDP or TCP and IP (28 bytes for each datagram, 40 for each segment with IPv4).
    pub sent_bytes: u64,
    /// Datagrams sent; over TCP, writes to the socket.
    pub sent_datagrams: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Datagrams received; over TCP, reads from the socket.
    pub received_datagrams: u64,
    /// Packets that were lost; not known over TCP.
    pub lost_packets: u64,
    /// The path's round trip; zero over TCP, whose kernel keeps it.
    pub round_trip: Duration,
    /// The largest datagram that the path is known to carry; zero over TCP.
    pub datagram_size: u16,
    /// How often the peer asked whether we still are where we were: our address changed for it. Always zero over TCP.
    pub path_challenges: u64,
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
    /// The other end's process ended, or something between closed the connection.
    #[error("connection ended by the other end without a word")]
    Gone,
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
    pub(crate) fn over_quic(carrier: quinn::Connection) -> Result<Self, LinkError> {
        let chain = carrier
            .peer_identity()
            .and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
        let certificate = chain.and_then(|chain| chain.into_iter().next());
        Self::new(Carrier::Quic(carrier), certificate)
    }

    pub(crate) fn over_tcp(carrier: TcpLink, certificate: Option<CertificateDer<'static>>) -> Result<Self, LinkError> {
        Self::new(Carrier::Tcp(carrier), certificate.map(CertificateDer::into_owned))
    }

    fn new(carrier: Carrier, certificate: Option<CertificateDer<'static>>) -> Result<Self, LinkError> {
        let unusable = |why: String| {
            carrier.close(&Close::new(CloseCode::Done, ""));
            LinkError::Carrier(why)
        };
        let certificate = certificate.ok_or_else(|| unusable("the peer showed no certificate".to_owned()))?;
        let facts = CertificateFacts::read(&certificate).map_err(|error| unusable(error.to_string()))?;
        Ok(Self {
            peer: Arc::new(Peer { certificate, facts }),
            carrier,
            meter: Arc::default(),
        })
    }

    /// Opens a stream and names its kind. Waits while the peer has as many as it takes.
    pub async fn open(&self, kind: StreamKind) -> Result<(SendStream, RecvStream), LinkError> {
        let mut head = Vec::with_capacity(1);
        put_varint(&mut head, kind as u64);
        let head_length = head.len();
        let (send, recv) = match &self.carrier {
            Carrier::Quic(carrier) => {
                let (mut send, recv) = carrier.open_bi().await?;
                send.write_all(&head).await.map_err(|error| write_error(kind, error))?;
                (SendCarrier::Quic(send), RecvCarrier::Quic(recv))
            }
            Carrier::Tcp(carrier) => {
                let (mut send, recv) = carrier.open().await?;
                send.write(kind, head.into()).await?;
                (SendCarrier::Tcp(send), RecvCarrier::Tcp(recv))
            }
        };
        self.meter.sent(kind, head_length);
        Ok((
            SendStream {
                carrier: send,
                meter: self.meter.clone(),
            },
            RecvStream {
                carrier: recv,
                kind,
                buffer: BytesMut::new(),
                meter: self.meter.clone(),
            },
        ))
    }

    /// The next stream that the peer opens. Safe to cancel, except that a stream whose kind is just being read is lost.
    pub async fn accept(&self) -> Result<(StreamKind, SendStream, RecvStream), LinkError> {
        let (send, mut recv) = match &self.carrier {
            Carrier::Quic(carrier) => {
                let (send, recv) = carrier.accept_bi().await?;
                (SendCarrier::Quic(send), RecvCarrier::Quic(recv))
            }
            Carrier::Tcp(carrier) => {
                let (send, recv) = carrier.accept().await?;
                (SendCarrier::Tcp(send), RecvCarrier::Tcp(recv))
            }
        };
        // All kinds fit one byte. Over QUIC a stream is seen only when its first byte has come.
        let mut buffer = BytesMut::new();
        let read = tokio::time::timeout(KIND_DEADLINE, async {
            while buffer.is_empty() {
                match recv.read(StreamKind::Control, 1).await {
                    Ok(Some(bytes)) => buffer.extend_from_slice(&bytes),
                    Ok(None) | Err(_) => return false,
                }
            }
            true
        });
        if !matches!(read.await, Ok(true)) {
            return Err(self.closed_or(LinkError::StreamKind { number: 0 }));
        }
        let number = u64::from(buffer.get_u8());
        let kind = StreamKind::from_number(number).ok_or(LinkError::StreamKind { number })?;
        self.meter.received(kind, 1 + buffer.len());
        Ok((
            kind,
            SendStream {
                carrier: send,
                meter: self.meter.clone(),
            },
            RecvStream {
                carrier: recv,
                kind,
                buffer,
                meter: self.meter.clone(),
            },
        ))
    }

    /// Ends the connection. Both ends read code and words; what was not yet delivered is lost.
    pub fn close(&self, close: &Close) {
        self.carrier.close(close);
    }

    /// Waits for the end of the connection.
    pub async fn closed(&self) -> LinkError {
        match &self.carrier {
            Carrier::Quic(carrier) => carrier.closed().await.into(),
            // Boxed here and below, so that what waits on QUIC does not carry the room for TCP.
            Carrier::Tcp(carrier) => Box::pin(carrier.closed()).await,
        }
    }

    /// The name of the key that the peer proved.
    pub fn peer_key(&self) -> KeyFingerprint {
        self.peer.facts.key
    }

    /// What the peer's certificate says. Only the key is proved.
    pub fn peer_facts(&self) -> &CertificateFacts {
        &self.peer.facts
    }

    /// The peer's certificate.
    pub fn peer_certificate(&self) -> &CertificateDer<'static> {
        &self.peer.certificate
    }

    /// Where the peer is, or the proxy to it; may change while the connection lives.
    pub fn remote_addr(&self) -> SocketAddr {
        match &self.carrier {
            Carrier::Quic(carrier) => carrier.remote_address(),
            Carrier::Tcp(carrier) => carrier.remote_addr(),
        }
    }

    /// What carries it.
    pub fn carried_by(&self) -> Transport {
        match &self.carrier {
            Carrier::Quic(_) => Transport::Quic,
            Carrier::Tcp(_) => Transport::Tcp,
        }
    }

    /// Name of the carrier, for status and metrics.
    pub fn transport(&self) -> &'static str {
        self.carried_by().name()
    }

    /// What it has carried so far.
    pub fn stats(&self) -> Stats {
        match &self.carrier {
            Carrier::Quic(carrier) => {
                let stats = carrier.stats();
                Stats {
                    sent_bytes: stats.udp_tx.bytes,
                    sent_datagrams: stats.udp_tx.datagrams,
                    received_bytes: stats.udp_rx.bytes,
                    received_datagrams: stats.udp_rx.datagrams,
                    lost_packets: stats.path.lost_packets,
                    round_trip: stats.path.rtt,
                    datagram_size: stats.path.current_mtu,
                    path_challenges: stats.frame_rx.path_challenge,
                }
            }
            Carrier::Tcp(carrier) => {
                let carried = carrier.traffic().carried();
                Stats {
                    sent_bytes: carried.sent,
                    sent_datagrams: carried.writes,
                    received_bytes: carried.received,
                    received_datagrams: carried.reads,
                    lost_packets: 0,
                    round_trip: Duration::ZERO,
                    datagram_size: 0,
                    path_challenges: 0,
                }
            }
        }
    }

    /// What it has carried so far, by what it was for. Also when it has ended.
    pub fn traffic(&self) -> Traffic {
        let stats = self.stats();
        let own = match self.carrier {
            Carrier::Quic(_) => 8,
            Carrier::Tcp(_) => 20,
        };
        let heads = heads(self.remote_addr(), own);
        let (sent, received) = self.meter.read();
        Traffic {
            sent: Carried {
                streams: sent,
                total: stats.sent_bytes + heads * stats.sent_datagrams,
            },
            received: Carried {
                streams: received,
                total: stats.received_bytes + heads * stats.received_datagrams,
            },
        }
    }

    /// Why the connection ended, if it has.
    pub fn end(&self) -> Option<LinkError> {
        match &self.carrier {
            Carrier::Quic(carrier) => carrier.close_reason().map(LinkError::from),
            Carrier::Tcp(carrier) => carrier.end(),
        }
    }

    /// Why the connection ended, if it has; otherwise the error at hand.
    fn closed_or(&self, error: LinkError) -> LinkError {
        self.end().unwrap_or(error)
    }
}

impl Transport {
    /// `quic` or `tcp`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Tcp => "tcp",
        }
    }
}

impl Carrier {
    fn close(&self, close: &Close) {
        match self {
            Self::Quic(carrier) => carrier.close(close.code.into(), &close.to_bytes()),
            Self::Tcp(carrier) => carrier.close(close),
        }
    }
}

impl RecvCarrier {
    /// The next bytes, at most so many over QUIC; `None` at the end. Safe to cancel.
    async fn read(&mut self, kind: StreamKind, most: usize) -> Result<Option<Bytes>, LinkError> {
        match self {
            Self::Quic(carrier) => match carrier.read_chunk(most, true).await {
                Ok(chunk) => Ok(chunk.map(|chunk| chunk.bytes)),
                Err(quinn::ReadError::Reset(_)) => Err(LinkError::Cut { kind }),
                Err(quinn::ReadError::ConnectionLost(error)) => Err(error.into()),
                Err(error) => Err(LinkError::Carrier(error.to_string())),
            },
            Self::Tcp(carrier) => Box::pin(carrier.next(kind)).await,
        }
    }
}

impl SendStream {
    /// Sends a frame. Waits while the peer does not read. Not safe to cancel: the stream is then of no use any more.
    pub async fn send(&mut self, kind: StreamKind, frame: Vec<u8>) -> Result<(), LinkError> {
        let head = frame_head(frame.len());
        self.meter.sent(kind, head.len() + frame.len());
        match &mut self.carrier {
            SendCarrier::Quic(carrier) => carrier
                .write_all_chunks(&mut [Bytes::from(head), Bytes::from(frame)])
                .await
                .map_err(|error| write_error(kind, error)),
            SendCarrier::Tcp(carrier) => Box::pin(carrier.send(kind, head, frame)).await,
        }
    }

    /// What other streams have to send goes first. Over TCP all streams take turns.
    pub(crate) fn yield_to_others(&self) {
        if let SendCarrier::Quic(carrier) = &self.carrier {
            // It fails only for a stream that is closed, which sends nothing.
            let _ = carrier.set_priority(-1);
        }
    }

    /// Says that nothing more comes.
    pub fn finish(&mut self) {
        match &mut self.carrier {
            // It fails only for a stream that was finished before, which is what is wanted.
            SendCarrier::Quic(carrier) => _ = carrier.finish(),
            SendCarrier::Tcp(carrier) => carrier.finish(),
        }
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
            match self.carrier.read(self.kind, 64 * 1024).await? {
                Some(bytes) => {
                    self.meter.received(self.kind, bytes.len());
                    self.buffer.extend_from_slice(&bytes);
                }
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(LinkError::Cut { kind: self.kind }),
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

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Connection({} at {}, key {})",
            self.transport(),
            self.remote_addr(),
            self.peer.facts.key
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
