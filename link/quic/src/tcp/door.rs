//! The hub's door for TCP.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nave_identity::ALPN;
use nave_proto::Close;
use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::driver::{io_meaning, start_hub};
use super::socket::Socket;
use crate::connection::{Connection, LinkError};

/// Connections that the system completes before they are taken: a fleet that comes back at once.
const BACKLOG: i32 = 1024;
/// When the system has no descriptor left, others must end first.
const PAUSE: Duration = Duration::from_millis(100);

/// What the door needs to let somebody in.
pub(crate) struct Door {
    pub tls: Arc<rustls::ServerConfig>,
    pub idle: Duration,
    pub handshake_timeout: Duration,
    /// So many handshakes may be under way; one more ends the oldest, which an honest agent would have completed.
    pub max_pending: usize,
    /// The words for everybody when the hub shuts down.
    pub shut: watch::Receiver<Option<Close>>,
    /// The tasks of all connections.
    pub tasks: TaskTracker,
}

/// Listens on a TCP address. Must be called within a tokio runtime.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

impl Door {
    /// Lets connections in until `stop`.
    pub async fn keep(self, listener: TcpListener, done: mpsc::Sender<Connection>, stop: CancellationToken) {
        let door = Arc::new(self);
        let mut pending = JoinSet::new();
        let mut oldest: VecDeque<AbortHandle> = VecDeque::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(_) = pending.join_next() => oldest.retain(|handshake| !handshake.is_finished()),
                accepted = listener.accept() => match accepted {
                    Ok((stream, from)) => {
                        while oldest.len() >= door.max_pending && let Some(handshake) = oldest.pop_front() {
                            handshake.abort();
                        }
                        oldest.push_back(pending.spawn(door.clone().admit(stream, from, done.clone())));
                    }
                    Err(error) => {
                        warn!(%error, "taking a TCP connection");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
            }
        }
    }

    async fn admit(self: Arc<Self>, stream: TcpStream, from: SocketAddr, done: mpsc::Sender<Connection>) {
        match tokio::time::timeout(self.handshake_timeout, self.shake(stream, from)).await {
            // The hub is shutting down when nobody receives; the connection closes when it is dropped.
            Ok(Ok(connection)) => _ = done.send(connection).await,
            Ok(Err(error)) => debug!(%from, %error, "handshake over TCP failed"),
            Err(_) => debug!(%from, "handshake over TCP took too long"),
        }
    }

    async fn shake(&self, stream: TcpStream, from: SocketAddr) -> Result<Connection, LinkError> {
        let socket = Socket::new(stream);
        let traffic = socket.traffic();
        let acceptor = TlsAcceptor::from(self.tls.clone());
        let stream = acceptor.accept(socket).await.map_err(|error| io_meaning(&error))?;
        let (_, tls) = stream.get_ref();
        if tls.alpn_protocol() != Some(ALPN) {
            return Err(LinkError::Carrier("it does not speak this protocol (ALPN)".to_owned()));
        }
        let certificate = tls.peer_certificates().and_then(|chain| chain.first()).cloned();
        let link = start_hub(stream, (from, traffic), self.idle, self.shut.clone(), &self.tasks).await?;
        Connection::over_tcp(link, certificate)
    }
}
