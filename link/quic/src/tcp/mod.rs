//! The link over TLS on TCP: what QUIC gives by itself is made of three well-kept pieces here.
//!
//! ```text
//!  agent                                                         hub
//!  dial ─ (proxy: CONNECT) ─ TCP ─ Socket ─ TLS 1.3 ═══════════ door
//!                              counts bytes      │
//!                                             HTTP/2 frames: streams, windows, limits (the h2 crate)
//!   /       a stream that the agent opens        │
//!   /back   an offer: the hub answers when it wants a stream of its own
//!   /words  how the connection ends: code and words, either way
//! ```
//!
//! HTTP/2 is used for its frames alone: its windows and stream limits are those of QUIC, nothing is sent at rest, and its
//! implementation has seen what hostile peers do. Its requests carry no meaning but their path.

mod dial;
mod door;
mod driver;
mod proxy;
mod socket;
mod stream;

pub(crate) use dial::{TcpDialer, TcpFailure};
pub(crate) use door::{Door, listen};
pub use proxy::{Proxy, ProxyError, ProxyRules, ProxyUrlError};
pub(crate) use stream::{RecvHalf, SendHalf};

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use nave_proto::Close;
use tokio::sync::{Mutex, mpsc, watch};

use self::driver::Offer;
use self::socket::Traffic;
use crate::connection::LinkError;

/// A connection with streams on it. Cheap to clone; when the last clone and the last stream are gone, it is closed.
#[derive(Clone)]
pub(crate) struct TcpLink(Arc<Inner>);

struct Inner {
    remote: SocketAddr,
    traffic: Arc<Traffic>,
    /// Why it ended, once it has.
    end: watch::Receiver<Option<LinkError>>,
    /// What this end wants to close it with.
    words: watch::Sender<Option<Close>>,
    opener: Opener,
    /// Streams that the peer has opened and nobody has taken yet.
    incoming: Mutex<mpsc::Receiver<Halves>>,
    /// Takes what is not read any more of streams that the peer has opened.
    leftovers: mpsc::Sender<stream::Source>,
}

/// A stream as HTTP/2 has it.
type Halves = (h2::SendStream<Bytes>, stream::Source);

enum Opener {
    Agent(SendRequest<Bytes>),
    Hub(Mutex<mpsc::Receiver<Offer>>),
}

impl TcpLink {
    /// Opens a stream. Waits while the peer has as many as it takes.
    pub async fn open(&self) -> Result<(SendHalf, RecvHalf), LinkError> {
        self.alive()?;
        let opened = match &self.0.opener {
            Opener::Agent(requests) => match requests.clone().ready().await {
                Ok(mut requests) => requests
                    .send_request(driver::request(driver::OPEN), false)
                    .map(|(answer, send)| (send, stream::Source::Awaited(answer)))
                    .ok(),
                Err(_) => None,
            },
            Opener::Hub(offers) => match offers.lock().await.recv().await {
                Some(offer) => offer.take(),
                None => None,
            },
        };
        match opened {
            Some(halves) => Ok(self.halves(halves, false)),
            None => Err(self.closed().await),
        }
    }

    /// The next stream that the peer opens. Safe to cancel.
    pub async fn accept(&self) -> Result<(SendHalf, RecvHalf), LinkError> {
        let next = async { self.0.incoming.lock().await.recv().await };
        tokio::select! {
            biased;
            end = self.closed() => Err(end),
            next = next => match next {
                Some(halves) => Ok(self.halves(halves, true)),
                None => Err(self.closed().await),
            },
        }
    }

    /// Ends the connection with these words, unless it is ending already.
    pub fn close(&self, close: &Close) {
        self.0.words.send_if_modified(|words| match words {
            Some(_) => false,
            None => {
                *words = Some(close.clone());
                true
            }
        });
    }

    /// Waits for the end of the connection.
    pub async fn closed(&self) -> LinkError {
        let mut end = self.0.end.clone();
        match end.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or(LinkError::ClosedHere),
            // The task that drives it is gone: the process is ending.
            Err(_) => LinkError::ClosedHere,
        }
    }

    /// Why it ended, if it has.
    pub fn end(&self) -> Option<LinkError> {
        self.0.end.borrow().clone()
    }

    pub fn remote_addr(&self) -> SocketAddr {
        self.0.remote
    }

    pub fn traffic(&self) -> &Traffic {
        &self.0.traffic
    }

    fn alive(&self) -> Result<(), LinkError> {
        if self.0.words.borrow().is_some() {
            return Err(LinkError::ClosedHere);
        }
        self.end().map_or(Ok(()), Err)
    }

    fn halves(&self, (send, source): Halves, accepted: bool) -> (SendHalf, RecvHalf) {
        (
            SendHalf::new(send, self.clone()),
            RecvHalf::new(source, self.clone(), accepted),
        )
    }

    /// Reads what nobody wants any more until the peer ends it.
    fn leave(&self, source: stream::Source) {
        // There is room for as many as there are streams; without, the stream is taken back.
        let _ = self.0.leftovers.try_send(source);
    }
}
