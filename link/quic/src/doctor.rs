//! Why an agent does not reach its hub: name, UDP, TCP, proxy, certificate, clock and key, told apart.
//!
//! ```text
//! examine ─► name ─► QUIC ────────────► key: what the hub says to it
//!                └─► TCP or proxy ─► TLS ┘
//!                                     └─► findings: pure, one line each, with what to do
//! ```
//!
//! Nothing is changed by an examination: no session is opened and no token is used.

mod findings;

use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;

use crate::agent::{AgentIdentity, IdentityError};
use crate::connection::{Connection, LinkError, Transport};
use crate::dialer::{AgentDialer, Attempt, AttemptError, DialError, DialOptions};
use crate::route::Carriers;

pub use self::findings::{Finding, Health, clock_finding, healthy};
use self::findings::{Reached, Way, findings};

/// A hub that does not want a key says so at once; one that has said nothing for so long lets it in.
const VERDICT: Duration = Duration::from_secs(3);

/// What was seen of one address.
#[derive(Debug)]
struct Seen {
    address: String,
    name: Result<Vec<SocketAddr>, AttemptError>,
    proxy: Option<String>,
    quic: Option<Result<Reached, AttemptError>>,
    /// TCP alone, or the proxy's answer.
    tcp: Option<Result<(), AttemptError>>,
    tls: Option<Result<Reached, AttemptError>>,
}

/// Examines the way to every address of the identity, from this machine, with its key. `AgentIdentity::begin(token)`
/// makes one for a token that was not used yet.
///
/// # Errors
/// The identity cannot be used, or this machine has no socket. That a hub is not reached is a finding.
pub async fn examine(identity: &AgentIdentity, options: &DialOptions) -> Result<Vec<Finding>, ExamineError> {
    let dialer = AgentDialer::new(options.clone()).map_err(ExamineError::Dial)?;
    let mut all = Vec::new();
    let now = Timestamp::now();
    let floor = i64::try_from(identity.time_floor().seconds()).unwrap_or_default();
    all.extend(findings::behind_floor(now.as_second(), floor));
    for address in &identity.addresses {
        let seen = look(&dialer, address, identity, options).await?;
        all.extend(findings(&seen, now, identity.is_joined()));
    }
    if identity.addresses.is_empty() {
        all.push(findings::nothing_to_dial());
    }
    dialer.finish().await;
    Ok(all)
}

/// An examination that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ExamineError {
    /// The identity cannot be used.
    #[error("using the agent's identity")]
    Identity(#[source] IdentityError),
    /// No socket, no TLS.
    #[error("preparing to dial")]
    Dial(#[source] DialError),
}

async fn look(
    dialer: &AgentDialer,
    address: &str,
    identity: &AgentIdentity,
    options: &DialOptions,
) -> Result<Seen, ExamineError> {
    let proxy = options.proxy.proxy_for(address);
    let allowed = |transport| match options.carriers {
        Carriers::Any => true,
        Carriers::Only(only) => only == transport,
    };
    let mut seen = Seen {
        address: address.to_owned(),
        name: dialer.resolve(address).await,
        proxy: proxy.map(crate::tcp::Proxy::name),
        quic: None,
        tcp: None,
        tls: None,
    };
    let quic = async {
        if seen.name.is_err() || !allowed(Transport::Quic) {
            return Ok::<_, ExamineError>(None);
        }
        reach(dialer, Transport::Quic, address, identity).await.map(Some)
    };
    let tcp = async {
        if !allowed(Transport::Tcp) || (seen.name.is_err() && proxy.is_none()) {
            return Ok::<_, ExamineError>((None, None));
        }
        let opened = match (proxy, &seen.name) {
            (Some(proxy), _) => {
                let opened = tokio::time::timeout(options.connect_timeout, proxy.connect(address)).await;
                opened.map(|opened| opened.map(drop).map_err(AttemptError::Proxy))
            }
            (None, Ok(found)) => {
                let opened = tokio::time::timeout(options.connect_timeout, open_any(found)).await;
                opened.map(|opened| opened.map_err(AttemptError::Connect))
            }
            (None, Err(error)) => Ok(Err(error.clone())),
        };
        let seconds = options.connect_timeout.as_secs();
        let opened = opened.unwrap_or(Err(AttemptError::TcpTimeout { seconds }));
        if opened.is_err() {
            return Ok((Some(opened), None));
        }
        let tls = reach(dialer, Transport::Tcp, address, identity).await?;
        Ok((Some(opened), Some(tls)))
    };
    let (quic, tcp) = tokio::join!(quic, tcp);
    seen.quic = quic?;
    (seen.tcp, seen.tls) = tcp?;
    Ok(seen)
}

async fn open_any(addresses: &[SocketAddr]) -> Result<(), String> {
    let mut last = "no address of a usable kind".to_owned();
    for address in addresses {
        match tokio::net::TcpStream::connect(address).await {
            Ok(_) => return Ok(()),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

/// Connects and hears what the hub says to the key.
async fn reach(
    dialer: &AgentDialer,
    transport: Transport,
    address: &str,
    identity: &AgentIdentity,
) -> Result<Result<Reached, AttemptError>, ExamineError> {
    let tls = identity.tls(identity.time_floor()).map_err(ExamineError::Identity)?;
    let address = [address.to_owned()];
    match dialer.dial_over(transport, &address, tls).await {
        Ok(connection) => Ok(Ok(hear(connection).await)),
        Err(DialError::Unreachable { attempts }) => {
            let error = attempts.into_iter().next().map(|Attempt { error, .. }| error);
            Ok(Err(error.unwrap_or(AttemptError::TcpTimeout { seconds: 0 })))
        }
        Err(error) => Err(ExamineError::Dial(error)),
    }
}

async fn hear(connection: Connection) -> Reached {
    let facts = connection.peer_facts();
    let way = match connection.carried_by() {
        Transport::Quic => Way::Quic {
            round_trip: connection.stats().round_trip,
        },
        Transport::Tcp => Way::Tcp,
    };
    let (not_before, not_after) = (facts.not_before, facts.not_after);
    let refused = match tokio::time::timeout(VERDICT, connection.closed()).await {
        Ok(LinkError::Closed(close)) => Some(close),
        Ok(_) | Err(_) => None,
    };
    connection.close(&nave_proto::Close::new(nave_proto::CloseCode::Done, "an examination"));
    Reached {
        way,
        not_before,
        not_after,
        refused,
    }
}
