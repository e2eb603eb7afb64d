//! The hub's doors, one for each carrier: handshakes under way are bounded in number and in time, and cost nothing before the address is known
//! to be real when many come at once.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use nave_identity::{ServerCertificates, TlsError, server_config};
use nave_proto::hub::silence_ms;
use nave_proto::{Close, CloseCode};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, Incoming, ServerConfig, TokioRuntime};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::{Instrument, debug, info_span};

use crate::connection::{Connection, LinkError};
use crate::socket::hub_socket;
use crate::tcp::{Door, listen};
use crate::transport::{ResetKey, endpoint_config, hub_transport};

/// How the hub listens.
#[derive(Debug, Clone)]
pub struct ListenerOptions {
    /// A connection on which nothing is heard for so long is gone; see [`idle_timeout`]. It holds for both ends.
    pub idle_timeout: Duration,
    /// A handshake must be complete within this time.
    pub handshake_timeout: Duration,
    /// So many handshakes may be under way at each door. Over UDP more are refused at once; over TCP one more ends the
    /// oldest.
    pub max_pending: usize,
    /// From so many on, a peer must show that it receives at its address before anything is done for it.
    pub validate_above: usize,
    /// Lets agents notice a restart at once.
    pub reset_key: Option<ResetKey>,
    /// Where agents come in whose network does not let UDP through.
    pub tcp: TcpDoor,
}

/// Where TLS over TCP is listened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TcpDoor {
    /// At the address of UDP, with the same port number: agents know one port.
    #[default]
    SamePort,
    /// Elsewhere, behind something that maps the port.
    At(SocketAddr),
    /// Nowhere.
    Closed,
}

/// Accepts connections of agents.
pub struct HubListener {
    endpoint: Endpoint,
    tcp: Option<SocketAddr>,
    ready: mpsc::Receiver<Connection>,
    stop: CancellationToken,
    /// Says the last words over TCP.
    shut: watch::Sender<Option<Close>>,
    tcp_tasks: TaskTracker,
    /// End with the listener.
    _doors: Vec<AbortOnDropHandle<()>>,
}

/// The hub cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be used.
    #[error("listening for agents on {transport} {address}")]
    Socket {
        /// UDP or TCP.
        transport: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The certificate cannot be used.
    #[error("preparing TLS for agents")]
    Tls(#[source] TlsError),
    /// TLS cannot be used with QUIC.
    #[error("preparing QUIC for agents: {0}")]
    Quic(String),
}

/// The idle timeout of a hub that asks for a heartbeat every so many milliseconds.
pub fn idle_timeout(heartbeat_ms: u32) -> Duration {
    Duration::from_millis(silence_ms(heartbeat_ms))
}

impl Default for ListenerOptions {
    fn default() -> Self {
        Self {
            idle_timeout: idle_timeout(nave_proto::hub::Config::default().heartbeat_ms),
            handshake_timeout: Duration::from_secs(10),
            max_pending: 512,
            validate_above: 64,
            reset_key: None,
            tcp: TcpDoor::SamePort,
        }
    }
}

impl HubListener {
    /// Listens on a UDP address, and for TCP as the options say. `certificates` may be replaced while it runs.
    ///
    /// # Errors
    /// The address is taken or not ours, or the certificate does not serve. Must be called within a tokio runtime.
    pub fn bind(
        address: SocketAddr,
        certificates: ServerCertificates,
        options: ListenerOptions,
    ) -> Result<Self, BindError> {
        let tcp_tls = Arc::new(server_config(certificates).map_err(BindError::Tls)?);
        let tls = QuicServerConfig::try_from(tcp_tls.clone()).map_err(|error| BindError::Quic(error.to_string()))?;
        let mut config = ServerConfig::with_crypto(Arc::new(tls));
        config.transport_config(hub_transport(options.idle_timeout));
        config.max_incoming(options.max_pending);
        // A first flight is two packets; nothing more needs to be kept for a peer that is not accepted yet.
        config
            .incoming_buffer_size(8 * 1024)
            .incoming_buffer_size_total(8 * 1024 * options.max_pending as u64);
        let (socket, tcp) = bind_both(address, options.tcp)?;
        let endpoint_config = endpoint_config(options.reset_key.as_ref());
        let endpoint = hub_socket(socket)
            .and_then(|socket| {
                Endpoint::new_with_abstract_socket(endpoint_config, Some(config), socket, Arc::new(TokioRuntime))
            })
            .map_err(|source| BindError::Socket {
                transport: "UDP",
                address,
                source,
            })?;
        // Connections that wait for the hub's accept loop, which only decides and spawns: a small burst.
        let (done, ready) = mpsc::channel(64);
        let stop = CancellationToken::new();
        let (shut, shutting) = watch::channel(None);
        let tcp_tasks = TaskTracker::new();
        let tcp_address = tcp.as_ref().and_then(|listener| listener.local_addr().ok());
        let mut doors = Vec::new();
        if let Some(listener) = tcp {
            let door = Door {
                tls: tcp_tls,
                idle: options.idle_timeout,
                handshake_timeout: options.handshake_timeout,
                max_pending: options.max_pending.max(1),
                shut: shutting,
                tasks: tcp_tasks.clone(),
            };
            let keep = door.keep(listener, done.clone(), stop.clone());
            doors.push(AbortOnDropHandle::new(tokio::spawn(
                keep.instrument(info_span!("link-listener", carrier = "tcp")),
            )));
        }
        let keep = keep_door(endpoint.clone(), options, done, stop.clone());
        doors.push(AbortOnDropHandle::new(tokio::spawn(
            keep.instrument(info_span!("link-listener", carrier = "quic")),
        )));
        Ok(Self {
            endpoint,
            tcp: tcp_address,
            ready,
            stop,
            shut,
            tcp_tasks,
            _doors: doors,
        })
    }

    /// The next connection whose handshake is complete; `None` after [`HubListener::shut`]. Safe to cancel.
    pub async fn accept(&mut self) -> Option<Connection> {
        self.ready.recv().await
    }

    /// Where TCP is listened for.
    pub fn tcp_addr(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// The address in use for UDP.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Connections that exist, including those that are closing.
    pub fn open_connections(&self) -> usize {
        self.endpoint.open_connections() + self.tcp_tasks.len()
    }

    /// Stops accepting and closes every connection with these words, giving their last packets up to a second.
    pub async fn shut(&self, close: &Close) {
        self.stop.cancel();
        self.endpoint.close(close.code.into(), &close.to_bytes());
        self.shut.send_replace(Some(close.clone()));
        self.tcp_tasks.close();
        let gone = async { tokio::join!(self.endpoint.wait_idle(), self.tcp_tasks.wait()) };
        let _ = tokio::time::timeout(Duration::from_secs(1), gone).await;
    }
}

impl std::fmt::Debug for HubListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubListener")
            .field("address", &self.endpoint.local_addr().ok())
            .finish_non_exhaustive()
    }
}

/// How often a free port is looked for that is free for both.
const TRIES: usize = 32;

fn bind_both(address: SocketAddr, tcp: TcpDoor) -> Result<(UdpSocket, Option<TcpListener>), BindError> {
    let bind_udp = || {
        UdpSocket::bind(address).map_err(|source| BindError::Socket {
            transport: "UDP",
            address,
            source,
        })
    };
    let bind_tcp = |address| {
        listen(address).map_err(|source| BindError::Socket {
            transport: "TCP",
            address,
            source,
        })
    };
    match tcp {
        TcpDoor::Closed => Ok((bind_udp()?, None)),
        TcpDoor::At(address) => Ok((bind_udp()?, Some(bind_tcp(address)?))),
        TcpDoor::SamePort => {
            let mut tries = if address.port() == 0 { TRIES } else { 1 };
            loop {
                tries -= 1;
                let udp = bind_udp()?;
                let port = udp.local_addr().map_or(address.port(), |local| local.port());
                match bind_tcp(SocketAddr::new(address.ip(), port)) {
                    Ok(tcp) => return Ok((udp, Some(tcp))),
                    Err(error) if tries == 0 => return Err(error),
                    Err(_) => {}
                }
            }
        }
    }
}

async fn keep_door(
    endpoint: Endpoint,
    options: ListenerOptions,
    done: mpsc::Sender<Connection>,
    stop: CancellationToken,
) {
    let mut pending = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(_) = pending.join_next() => {}
            incoming = endpoint.accept() => match incoming {
                None => return,
                Some(incoming) => admit(incoming, &mut pending, &options, &done),
            },
        }
    }
}

fn admit(incoming: Incoming, pending: &mut JoinSet<()>, options: &ListenerOptions, done: &mpsc::Sender<Connection>) {
    if pending.len() >= options.max_pending {
        return incoming.refuse();
    }
    if pending.len() >= options.validate_above && !incoming.remote_address_validated() {
        // It fails only when the address is validated already.
        let _ = incoming.retry();
        return;
    }
    let (done, timeout, from) = (done.clone(), options.handshake_timeout, incoming.remote_address());
    pending.spawn(async move {
        match tokio::time::timeout(timeout, shake(incoming)).await {
            Ok(Ok(connection)) => {
                // The hub is shutting down when nobody receives; the endpoint closes the connection with its words.
                let _ = done.send(connection).await;
            }
            Ok(Err(error)) => debug!(%from, %error, "handshake failed"),
            Err(_) => debug!(%from, "handshake took too long"),
        }
    });
}

async fn shake(incoming: Incoming) -> Result<Connection, LinkError> {
    Connection::over_quic(incoming.await?)
}

/// What a peer is told that is not let in: to be closed with right after the handshake.
pub fn refusal(standing: &nave_identity::Standing) -> Option<Close> {
    use nave_identity::Standing;
    let code = match standing {
        Standing::Known { .. } | Standing::RenewOnly { .. } | Standing::Joining => return None,
        Standing::Unknown { .. } => CloseCode::KeyUnknown,
        Standing::Revoked { .. } => CloseCode::KeyRevoked,
    };
    Some(Close::new(code, standing.to_string()))
}
