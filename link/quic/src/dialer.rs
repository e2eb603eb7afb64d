//! The agent's way to a hub: addresses in order, each with its own deadline.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use nave_identity::SERVER_NAME;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint};
use tracing::debug;

use crate::connection::{Connection, LinkError};
use crate::listener::idle_timeout;
use crate::transport::agent_transport;

/// A hub may ask for heartbeats this far apart.
const SLOWEST_HEARTBEAT_MS: u32 = 600_000;

/// How an agent dials.
#[derive(Debug, Clone)]
pub struct DialOptions {
    /// One address must answer within this time.
    pub connect_timeout: Duration,
    /// A connection on which nothing is heard for so long is gone. The smaller of both ends' counts, and the hub's is:
    /// it knows the heartbeat that it asks for.
    pub idle_timeout: Duration,
}

/// Opens connections to hubs.
#[derive(Debug)]
pub struct AgentDialer {
    endpoint: Endpoint,
    options: DialOptions,
    six: bool,
}

/// No hub was reached.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DialError {
    /// No socket for sending.
    #[error("opening a UDP socket: {0}")]
    Socket(String),
    /// TLS cannot be used with QUIC.
    #[error("preparing QUIC: {0}")]
    Quic(String),
    /// Nothing to try.
    #[error("no hub address is known")]
    NoAddress,
    /// Every address failed.
    #[error("no hub address answers: {}", attempts.iter().map(Attempt::to_string).collect::<Vec<_>>().join("; "))]
    Unreachable {
        /// What was tried, in order.
        attempts: Vec<Attempt>,
    },
}

/// One address that was tried.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// As configured.
    pub address: String,
    /// What happened.
    pub error: AttemptError,
}

/// Why an address did not serve.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AttemptError {
    /// The name has no address that this machine can reach.
    #[error("resolving the name: {0}")]
    Resolve(String),
    /// No answer in time: nobody there, or UDP is not let through.
    #[error("no answer in {seconds} s (is UDP let through?)")]
    Timeout {
        /// The deadline.
        seconds: u64,
    },
    /// It answered, and TLS or QUIC failed.
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl Default for DialOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            idle_timeout: idle_timeout(SLOWEST_HEARTBEAT_MS),
        }
    }
}

impl AgentDialer {
    /// A dialer with a socket of its own, for both IP versions where the machine has them. Must be called within a tokio
    /// runtime.
    pub fn new(options: DialOptions) -> Result<Self, DialError> {
        let six = Endpoint::client((Ipv6Addr::UNSPECIFIED, 0).into()).map(|endpoint| (endpoint, true));
        let (endpoint, six) = six
            .or_else(|_| Endpoint::client((Ipv4Addr::UNSPECIFIED, 0).into()).map(|endpoint| (endpoint, false)))
            .map_err(|error| DialError::Socket(error.to_string()))?;
        Ok(Self { endpoint, options, six })
    }

    /// Tries the addresses (`host:port`) in order and returns the first connection whose handshake is complete.
    pub async fn dial(&self, addresses: &[String], tls: rustls::ClientConfig) -> Result<Connection, DialError> {
        let tls = QuicClientConfig::try_from(tls).map_err(|error| DialError::Quic(error.to_string()))?;
        let mut config = ClientConfig::new(Arc::new(tls));
        config.transport_config(agent_transport(self.options.idle_timeout));
        let mut attempts = Vec::new();
        for address in addresses {
            match self.try_address(address, &config).await {
                Ok(connection) => return Ok(connection),
                Err(error) => {
                    debug!(%address, %error, "hub address does not serve");
                    attempts.push(Attempt {
                        address: address.clone(),
                        error,
                    });
                }
            }
        }
        if attempts.is_empty() {
            Err(DialError::NoAddress)
        } else {
            Err(DialError::Unreachable { attempts })
        }
    }

    /// Gives the last packets of closed connections up to a second.
    pub async fn finish(&self) {
        let _ = tokio::time::timeout(Duration::from_secs(1), self.endpoint.wait_idle()).await;
    }

    async fn try_address(&self, address: &str, config: &ClientConfig) -> Result<Connection, AttemptError> {
        let resolved = tokio::net::lookup_host(address)
            .await
            .map_err(|error: io::Error| AttemptError::Resolve(error.to_string()))?;
        let usable = resolved.filter(|resolved| resolved.is_ipv4() || self.six);
        let mut last = AttemptError::Resolve("no address of a usable kind".to_owned());
        for resolved in usable {
            match self.try_socket(resolved, config).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn try_socket(&self, address: SocketAddr, config: &ClientConfig) -> Result<Connection, AttemptError> {
        let connecting = self
            .endpoint
            .connect_with(config.clone(), address, SERVER_NAME)
            .map_err(|error| LinkError::Carrier(error.to_string()))?;
        let seconds = self.options.connect_timeout.as_secs();
        match tokio::time::timeout(self.options.connect_timeout, connecting).await {
            Ok(Ok(carrier)) => Ok(Connection::new(carrier)?),
            Ok(Err(quinn::ConnectionError::TimedOut)) | Err(_) => Err(AttemptError::Timeout { seconds }),
            Ok(Err(error)) => Err(LinkError::from(error).into()),
        }
    }
}

impl std::fmt::Display for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.address, self.error)
    }
}
