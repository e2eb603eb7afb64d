//! The agent's way to a hub over TCP, with or without a proxy.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nave_identity::{ALPN, SERVER_NAME};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::TaskTracker;

use super::driver::{io_meaning, start_agent};
use super::proxy::{Proxy, ProxyError};
use super::socket::Socket;
use crate::connection::{Connection, LinkError};

/// Opens connections over TCP.
#[derive(Debug, Default)]
pub(crate) struct TcpDialer {
    tasks: TaskTracker,
}

/// Why an address was not reached over TCP.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum TcpFailure {
    /// Nobody listens, or the way is blocked.
    #[error("connecting: {0}")]
    Connect(String),
    /// The proxy.
    #[error(transparent)]
    Proxy(ProxyError),
    /// TLS, or what comes after it.
    #[error(transparent)]
    Link(LinkError),
}

impl TcpDialer {
    /// Connects to a resolved address.
    pub async fn direct(
        &self,
        address: SocketAddr,
        tls: Arc<rustls::ClientConfig>,
        idle: Duration,
    ) -> Result<Connection, TcpFailure> {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| TcpFailure::Connect(words(&error)))?;
        self.shake(stream, address, tls, idle).await
    }

    /// Connects through a proxy, which resolves the name itself.
    pub async fn through(
        &self,
        proxy: &Proxy,
        address: &str,
        tls: Arc<rustls::ClientConfig>,
        idle: Duration,
    ) -> Result<Connection, TcpFailure> {
        let stream = proxy.connect(address).await.map_err(TcpFailure::Proxy)?;
        let remote = stream.peer_addr().map_err(|error| TcpFailure::Connect(words(&error)))?;
        self.shake(stream, remote, tls, idle).await
    }

    /// Waits until every connection has ended.
    pub async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }

    async fn shake(
        &self,
        stream: TcpStream,
        remote: SocketAddr,
        tls: Arc<rustls::ClientConfig>,
        idle: Duration,
    ) -> Result<Connection, TcpFailure> {
        let socket = Socket::new(stream);
        let traffic = socket.traffic();
        let name = ServerName::try_from(SERVER_NAME).expect("a valid name");
        let stream = TlsConnector::from(tls)
            .connect(name, socket)
            .await
            .map_err(|error| TcpFailure::Link(io_meaning(&error)))?;
        let (_, tls) = stream.get_ref();
        if tls.alpn_protocol() != Some(ALPN) {
            let words = "what answers there does not speak this protocol (ALPN)".to_owned();
            return Err(TcpFailure::Link(LinkError::Carrier(words)));
        }
        let certificate = tls.peer_certificates().and_then(|chain| chain.first()).cloned();
        let link = start_agent(stream, (remote, traffic), idle, &self.tasks)
            .await
            .map_err(TcpFailure::Link)?;
        Connection::over_tcp(link, certificate).map_err(TcpFailure::Link)
    }
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused: nobody listens there".to_owned(),
        _ => error.to_string(),
    }
}
