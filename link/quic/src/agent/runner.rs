//! One session after another, for as long as the agent lives.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nave_identity::{SignedRootSet, TimeFloor};
use nave_proto::{Close, CloseCode};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::backoff::{Attempted, Backoff, BackoffOptions};
use super::handle::AgentHandle;
use super::handler::{AgentHandler, AgentNote};
use super::identity::{AgentIdentity, IdentityError, IdentityStore, StoreError};
use super::session;
use crate::connection::{Connection, LinkError, Transport};
use crate::dialer::{AgentDialer, DialError, DialOptions};
use crate::route::{Carriers, PathMemory};

/// How an agent keeps its link.
#[derive(Debug, Clone, Default)]
pub struct AgentOptions {
    /// How to dial.
    pub dial: DialOptions,
    /// Pauses between attempts.
    pub backoff: BackoffOptions,
    /// Largest payload of a desired item; 0 means the protocol's limit of 4 MiB.
    pub max_item_bytes: usize,
    /// On a metered line, how long changes of status are gathered before they are sent.
    pub gather: Gather,
}

/// How long something is gathered; 15 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gather(pub Duration);

impl Default for Gather {
    fn default() -> Self {
        Self(Duration::from_secs(15))
    }
}

/// Keeps an agent connected; see [`agent`].
#[derive(Debug)]
pub struct AgentRunner<H, S> {
    pub(super) handle: AgentHandle,
    pub(super) handler: Arc<H>,
    pub(super) store: Arc<S>,
    pub(super) options: AgentOptions,
    pub(super) floor: TimeFloor,
    identity: Mutex<AgentIdentity>,
    /// When what was learnt of the network was written last.
    path_kept: Mutex<Option<Instant>>,
}

/// A network that changes its mind all the time does not make the agent write all the time.
const KEEP_PATH: Duration = Duration::from_secs(600);

/// Why an agent's link ended for good.
#[derive(Debug, thiserror::Error)]
pub enum AgentEnd {
    /// It was asked to.
    #[error("shut down")]
    Shutdown,
    /// Another process is this spoke's agent now: this one must end.
    #[error("fenced by the hub: {0}")]
    Fenced(Close),
    /// The identity cannot be used.
    #[error("using the agent's identity")]
    Identity(#[source] IdentityError),
    /// There is no socket to be had.
    #[error("preparing to dial")]
    Dial(#[source] DialError),
}

/// Prepares an agent that has joined. Load what its store holds into the handle, then [`AgentRunner::run`] it.
pub fn agent<H: AgentHandler, S: IdentityStore>(
    identity: AgentIdentity,
    handler: Arc<H>,
    store: Arc<S>,
    options: AgentOptions,
) -> (AgentHandle, AgentRunner<H, S>) {
    let handle = AgentHandle::new();
    let floor = identity.time_floor();
    let identity = Mutex::new(identity);
    (
        handle.clone(),
        AgentRunner {
            handle,
            handler,
            store,
            options,
            floor,
            identity,
            path_kept: Mutex::new(None),
        },
    )
}

impl<H: AgentHandler, S: IdentityStore> AgentRunner<H, S> {
    /// Connects, again and again, until `shutdown` or until the hub says that another process has taken over.
    pub async fn run(self, shutdown: CancellationToken) -> AgentEnd {
        let dialer = match AgentDialer::new(self.options.dial.clone()) {
            Ok(dialer) => dialer,
            Err(error) => return AgentEnd::Dial(error),
        };
        let mut backoff = Backoff::new(self.options.backoff);
        let mut redirect = Vec::new();
        let mut prepared: Option<Connection> = None;
        let mut session_seq = 0;
        loop {
            session_seq += 1;
            let identity = self.identity().clone();
            let tls = match identity.tls(self.floor.clone()) {
                Ok(tls) => tls,
                Err(error) => return AgentEnd::Identity(error),
            };
            let mut path = identity.path.clone();
            let addresses: Vec<String> = std::mem::take(&mut redirect)
                .into_iter()
                .chain(identity.addresses)
                .collect();
            let dialled = match prepared.take().filter(|connection| connection.end().is_none()) {
                Some(connection) => Ok((connection, false)),
                None => tokio::select! {
                    () = shutdown.cancelled() => return AgentEnd::Shutdown,
                    dialled = dialer.dial_knowing(&addresses, tls, &mut path) => dialled,
                },
            };
            let (reason, window, close, at_once) = match dialled {
                Err(error) => (error.to_string(), None, None, false),
                Ok((connection, learnt)) => {
                    if learnt {
                        self.remember(path).await;
                    }
                    let done = self
                        .run_session(&dialer, connection, session_seq, &mut prepared, &shutdown)
                        .await;
                    self.handle.set_live(None);
                    if shutdown.is_cancelled() {
                        dialer.finish().await;
                        return AgentEnd::Shutdown;
                    }
                    (
                        done.end.reason,
                        done.window,
                        done.end.theirs.or(done.end.ours),
                        done.renewed || prepared.is_some(),
                    )
                }
            };
            if let Some(close) = &close {
                redirect = close.redirect.clone();
            }
            let attempted = Attempted {
                window,
                close: close.as_ref(),
                at_once,
            };
            let Some(retry_in) = backoff.pause(attempted, rand::random()) else {
                let close = close.unwrap_or_else(|| Close::new(CloseCode::Fenced, reason));
                return AgentEnd::Fenced(close);
            };
            info!(%reason, ?retry_in, "not connected to the hub");
            self.handler.note(AgentNote::Disconnected {
                reason,
                close,
                retry_in,
            });
            tokio::select! {
                () = shutdown.cancelled() => return AgentEnd::Shutdown,
                () = tokio::time::sleep(retry_in) => {}
            }
        }
    }

    /// Runs one session. While it runs over TCP, QUIC is tried now and then; when it works, the session is ended in order
    /// and the connection that was found is prepared for the next: what both ends hold is not sent again.
    async fn run_session(
        &self,
        dialer: &AgentDialer,
        connection: Connection,
        session_seq: u64,
        prepared: &mut Option<Connection>,
        shutdown: &CancellationToken,
    ) -> session::Done {
        let (leave, carrier) = (CancellationToken::new(), connection.clone());
        let mut running = Box::pin(session::run(self, connection, session_seq, &leave, shutdown));
        let mut search = Box::pin(self.find_quic(dialer, carrier.carried_by()));
        let done = loop {
            tokio::select! {
                done = &mut running => break done,
                found = &mut search, if prepared.is_none() => {
                    info!("QUIC gets through to the hub again");
                    *prepared = Some(found);
                    leave.cancel();
                }
            }
        };
        let mut path = self.identity().path.clone();
        let now = dialer.options().clock.seconds();
        if prepared.is_some() {
            let order = path.order(dialer.options().carriers, &dialer.options().race, now);
            if path.learn(order, Transport::Quic, now) {
                self.remember(path).await;
            }
        } else if carrier.carried_by() == Transport::Quic
            && done.window.is_none()
            && matches!(carrier.end(), Some(LinkError::TimedOut))
        {
            path.doubt_udp(now);
            self.remember(path).await;
        }
        done
    }

    /// Waits until a connection over QUIC succeeds; for ever when there is no reason to look for one.
    async fn find_quic(&self, dialer: &AgentDialer, now_over: Transport) -> Connection {
        let options = dialer.options();
        if now_over == Transport::Quic || options.carriers != Carriers::Any {
            return std::future::pending().await;
        }
        for number in 0.. {
            tokio::time::sleep(options.race.probe_pause(number, rand::random())).await;
            let identity = self.identity().clone();
            // An identity without TLS ends the runner at its next connection, with words.
            let Ok(tls) = identity.tls(self.floor.clone()) else {
                break;
            };
            match dialer.dial_over(Transport::Quic, &identity.addresses, tls).await {
                Ok(connection) => return connection,
                Err(error) => debug!(%error, "QUIC does not get through to the hub yet"),
            }
        }
        std::future::pending().await
    }

    /// Uses what was learnt of the network from now on, and keeps it.
    async fn remember(&self, path: PathMemory) {
        let mut identity = self.identity().clone();
        identity.path = path;
        self.identity().path = identity.path.clone();
        let due = {
            let mut kept = self.path_kept.lock().unwrap_or_else(PoisonError::into_inner);
            let due = kept.is_none_or(|kept| kept.elapsed() >= KEEP_PATH);
            if due {
                *kept = Some(Instant::now());
            }
            due
        };
        if due && let Err(error) = self.adopt(identity).await {
            let error: &dyn std::error::Error = &*error;
            warn!(error, "storing what was learnt of the network failed");
        }
    }

    pub(super) fn identity(&self) -> MutexGuard<'_, AgentIdentity> {
        // It is replaced as a whole.
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores an identity and uses it from the next connection on.
    pub(super) async fn adopt(&self, mut identity: AgentIdentity) -> Result<(), StoreError> {
        identity.note_time(&self.floor);
        self.store.save(&identity).await?;
        *self.identity() = identity;
        Ok(())
    }

    /// Follows the chain of root sets as far as it goes. What cannot be believed is left, with a warning: the roots that
    /// are trusted stay trusted. One further on may be believed all the same, by the word of the recovery key.
    pub(super) async fn follow_roots(&self, signed: Vec<Vec<u8>>) {
        let mut identity = self.identity().clone();
        let Ok(Some(mut roots)) = identity.roots() else { return };
        let before = roots.version();
        let mut left = None;
        for bytes in signed {
            let next = SignedRootSet::from_bytes(&bytes).and_then(|signed| roots.advance(signed));
            match next {
                Ok(next) => (roots, left) = (next, None),
                Err(error) => left = Some(error),
            }
        }
        if let Some(error) = left {
            let error: &dyn std::error::Error = &error;
            warn!(error, "a root set of the hub is not believed");
        }
        if roots.version() == before {
            return;
        }
        identity.believe(&roots);
        let version = roots.version();
        match self.adopt(identity).await {
            Ok(()) => self.handler.note(AgentNote::RootsAdvanced { version }),
            Err(error) => warn!(
                error = &*error as &dyn std::error::Error,
                "storing root set version {version} failed"
            ),
        }
    }

    /// Notes what `Welcome` says about the hub itself.
    pub(super) async fn note_hub(&self, hub_uid: &str, now_ms: i64) {
        let stated = u64::try_from(now_ms / 1000).unwrap_or_default();
        self.floor.raise(stated, self.options.dial.clock.unix());
        let mut identity = self.identity().clone();
        if identity.hub_uid == hub_uid {
            return;
        }
        if !identity.hub_uid.is_empty() {
            warn!(
                was = identity.hub_uid,
                is = hub_uid,
                "the hub has another UID than before"
            );
        }
        identity.hub_uid = hub_uid.to_owned();
        if let Err(error) = self.adopt(identity).await {
            warn!(
                error = &*error as &dyn std::error::Error,
                "storing the hub's UID failed"
            );
        }
    }
}

/// How long a pause is at most between two looks at something that has no event.
pub(super) const BREATH: Duration = Duration::from_secs(5);
