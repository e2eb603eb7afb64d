//! The agent's way to a hub: addresses in order, each with its own deadline, and a race between the carriers.
//!
//! ```text
//! QUIC   ├─ address 1 ─ address 2 ─ …
//! TCP       ├─ address 1 ─ address 2 ─ …      starts a little later, or at once when QUIC has failed
//!               ▲ whoever is through first is the connection; the other is dropped
//! ```

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use nave_identity::SERVER_NAME;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::clock::WallClock;
use crate::connection::{Connection, LinkError, Transport};
use crate::listener::idle_timeout;
use crate::route::{Carriers, Order, PathMemory, RaceOptions};
use crate::tcp::{ProxyError, ProxyRules, TcpDialer, TcpFailure};
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
    /// Which carriers.
    pub carriers: Carriers,
    /// Times of the race between them.
    pub race: RaceOptions,
    /// For TCP.
    pub proxy: ProxyRules,
    /// What this end takes for the time of day.
    pub clock: WallClock,
}

/// Opens connections to hubs.
#[derive(Debug)]
pub struct AgentDialer {
    endpoint: Endpoint,
    tcp: TcpDialer,
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
        /// What was tried, in order, QUIC before TCP.
        attempts: Vec<Attempt>,
    },
}

/// One address that was tried.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// As configured.
    pub address: String,
    /// How it was tried.
    pub transport: Transport,
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
    /// No answer in time over TCP.
    #[error("no answer in {seconds} s")]
    TcpTimeout {
        /// The deadline.
        seconds: u64,
    },
    /// Nobody listens, or something on the way says so.
    #[error("connecting: {0}")]
    Connect(String),
    /// The proxy on the way.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// It answered, and TLS, QUIC or the streams over TCP failed.
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl DialError {
    /// Whether another try may succeed without anybody doing anything: some address was not answered by somebody whom
    /// TLS does not believe. A hub that shows another root will go on doing so, whatever carries it.
    pub fn may_pass(&self) -> bool {
        let Self::Unreachable { attempts } = self else {
            return false;
        };
        let strange = |attempt: &&Attempt| matches!(attempt.error, AttemptError::Link(LinkError::Tls(_)));
        attempts.iter().any(|attempt| {
            let same = attempts.iter().filter(|other| other.address == attempt.address);
            same.filter(strange).count() == 0
        })
    }
}

impl Default for DialOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            idle_timeout: idle_timeout(SLOWEST_HEARTBEAT_MS),
            carriers: Carriers::Any,
            race: RaceOptions::default(),
            proxy: ProxyRules::default(),
            clock: WallClock::default(),
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
        let tcp = TcpDialer::default();
        Ok(Self {
            endpoint,
            tcp,
            options,
            six,
        })
    }

    /// Tries the addresses (`host:port`) over the carriers that the options allow, without any memory of the network, and
    /// returns the first connection whose handshake is complete.
    pub async fn dial(&self, addresses: &[String], tls: rustls::ClientConfig) -> Result<Connection, DialError> {
        let memory = &mut PathMemory::default();
        self.dial_knowing(addresses, tls, memory).await.map(|(found, _)| found)
    }

    /// The same with what is known of the network; `true` when something was learnt.
    pub(crate) async fn dial_knowing(
        &self,
        addresses: &[String],
        tls: rustls::ClientConfig,
        memory: &mut PathMemory,
    ) -> Result<(Connection, bool), DialError> {
        let now = self.options.clock.seconds();
        let order = memory.order(self.options.carriers, &self.options.race, now);
        let connection = self.dial_in(order, addresses, tls).await?;
        let learnt = memory.learn(order, connection.carried_by(), now);
        Ok((connection, learnt))
    }

    /// Tries one carrier alone.
    pub(crate) async fn dial_over(
        &self,
        transport: Transport,
        addresses: &[String],
        tls: rustls::ClientConfig,
    ) -> Result<Connection, DialError> {
        self.dial_in(Order::Only(transport), addresses, tls).await
    }

    /// How it dials.
    pub(crate) fn options(&self) -> &DialOptions {
        &self.options
    }

    /// Gives the last packets of closed connections up to a second.
    pub async fn finish(&self) {
        let gone = async { tokio::join!(self.endpoint.wait_idle(), self.tcp.finish()) };
        let _ = tokio::time::timeout(Duration::from_secs(1), gone).await;
    }

    async fn dial_in(
        &self,
        order: Order,
        addresses: &[String],
        tls: rustls::ClientConfig,
    ) -> Result<Connection, DialError> {
        if addresses.is_empty() {
            return Err(DialError::NoAddress);
        }
        let mut tls = tls;
        tls.time_provider = Arc::new(self.options.clock);
        let tls = Arc::new(tls);
        let quic = QuicClientConfig::try_from(tls.clone()).map_err(|error| DialError::Quic(error.to_string()))?;
        let mut config = ClientConfig::new(Arc::new(quic));
        config.transport_config(agent_transport(self.options.idle_timeout));
        let attempts = match order {
            Order::Only(transport) => self.try_all(transport, addresses, &config, &tls).await,
            Order::First(first, head_start) => self.race(first, head_start, addresses, &config, &tls).await,
        };
        attempts.map_err(|mut attempts| {
            attempts.sort_by_key(|attempt| attempt.transport == Transport::Tcp);
            DialError::Unreachable { attempts }
        })
    }

    async fn race(
        &self,
        first: Transport,
        head_start: Duration,
        addresses: &[String],
        config: &ClientConfig,
        tls: &Arc<rustls::ClientConfig>,
    ) -> Result<Connection, Vec<Attempt>> {
        let second = match first {
            Transport::Quic => Transport::Tcp,
            Transport::Tcp => Transport::Quic,
        };
        let failed = CancellationToken::new();
        let mut ahead = std::pin::pin!(async {
            let result = self.try_all(first, addresses, config, tls).await;
            failed.cancel();
            result
        });
        let mut behind = std::pin::pin!(async {
            // Whoever waits for somebody who has given up waits in vain.
            let _ = tokio::time::timeout(head_start, failed.cancelled()).await;
            self.try_all(second, addresses, config, tls).await
        });
        let (result, mut attempts) = tokio::select! {
            biased;
            result = &mut ahead => match result {
                Ok(connection) => return Ok(connection),
                Err(attempts) => (behind.await, attempts),
            },
            result = &mut behind => match result {
                Ok(connection) => return Ok(connection),
                Err(attempts) => (ahead.await, attempts),
            },
        };
        result.map_err(|more| {
            attempts.extend(more);
            attempts
        })
    }

    async fn try_all(
        &self,
        transport: Transport,
        addresses: &[String],
        config: &ClientConfig,
        tls: &Arc<rustls::ClientConfig>,
    ) -> Result<Connection, Vec<Attempt>> {
        let mut attempts = Vec::new();
        for address in addresses {
            let result = match transport {
                Transport::Quic => self.try_quic(address, config).await,
                Transport::Tcp => self.try_tcp(address, tls).await,
            };
            match result {
                Ok(connection) => return Ok(connection),
                Err(error) => {
                    debug!(%address, %transport, %error, "hub address does not serve");
                    attempts.push(Attempt {
                        address: address.clone(),
                        transport,
                        error,
                    });
                }
            }
        }
        Err(attempts)
    }

    async fn try_quic(&self, address: &str, config: &ClientConfig) -> Result<Connection, AttemptError> {
        let mut last = no_address();
        for resolved in self.resolve(address).await? {
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
            Ok(Ok(carrier)) => Ok(Connection::over_quic(carrier)?),
            Ok(Err(quinn::ConnectionError::TimedOut)) | Err(_) => Err(AttemptError::Timeout { seconds }),
            Ok(Err(error)) => Err(LinkError::from(error).into()),
        }
    }

    async fn try_tcp(&self, address: &str, tls: &Arc<rustls::ClientConfig>) -> Result<Connection, AttemptError> {
        let (deadline, idle) = (self.options.connect_timeout, self.options.idle_timeout);
        let timed_out = AttemptError::TcpTimeout {
            seconds: deadline.as_secs(),
        };
        if let Some(proxy) = self.options.proxy.proxy_for(address) {
            let connecting = self.tcp.through(proxy, address, tls.clone(), idle);
            let result = tokio::time::timeout(deadline, connecting).await;
            return Ok(result.map_err(|_| timed_out)??);
        }
        let mut last = no_address();
        for resolved in self.resolve(address).await? {
            let connecting = self.tcp.direct(resolved, tls.clone(), idle);
            last = match tokio::time::timeout(deadline, connecting).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => error.into(),
                Err(_) => timed_out.clone(),
            };
        }
        Err(last)
    }

    /// The addresses of `host:port` that this machine can use.
    pub(crate) async fn resolve(&self, address: &str) -> Result<Vec<SocketAddr>, AttemptError> {
        let looking = tokio::net::lookup_host(address);
        let resolved = tokio::time::timeout(self.options.connect_timeout, looking)
            .await
            .map_err(|_| AttemptError::Resolve("the name server does not answer".to_owned()))?
            .map_err(|error: io::Error| AttemptError::Resolve(error.to_string()))?;
        Ok(resolved.filter(|resolved| resolved.is_ipv4() || self.six).collect())
    }
}

impl From<TcpFailure> for AttemptError {
    fn from(failure: TcpFailure) -> Self {
        match failure {
            TcpFailure::Connect(words) => Self::Connect(words),
            TcpFailure::Proxy(error) => Self::Proxy(error),
            TcpFailure::Link(error) => Self::Link(error),
        }
    }
}

fn no_address() -> AttemptError {
    AttemptError::Resolve("no address of a usable kind".to_owned())
}

impl std::fmt::Display for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} over {}: {}", self.address, self.transport, self.error)
    }
}
