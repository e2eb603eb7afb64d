//! One session after another, for as long as the agent lives.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nave_identity::{SignedRootSet, TimeFloor};
use nave_proto::{Close, CloseCode};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::backoff::{Attempted, Backoff, BackoffOptions};
use super::handle::AgentHandle;
use super::handler::{AgentHandler, AgentNote};
use super::identity::{AgentIdentity, IdentityError, IdentityStore, StoreError};
use super::session;
use crate::dialer::{AgentDialer, DialError, DialOptions};

/// How an agent keeps its link.
#[derive(Debug, Clone, Default)]
pub struct AgentOptions {
    /// How to dial.
    pub dial: DialOptions,
    /// Pauses between attempts.
    pub backoff: BackoffOptions,
    /// Largest payload of a desired item; 0 means the protocol's limit of 4 MiB.
    pub max_item_bytes: usize,
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
}

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
        let mut session_seq = 0;
        loop {
            session_seq += 1;
            let identity = self.identity().clone();
            let tls = match identity.tls(self.floor.clone()) {
                Ok(tls) => tls,
                Err(error) => return AgentEnd::Identity(error),
            };
            let addresses: Vec<String> = std::mem::take(&mut redirect)
                .into_iter()
                .chain(identity.addresses)
                .collect();
            let dialled = tokio::select! {
                () = shutdown.cancelled() => return AgentEnd::Shutdown,
                dialled = dialer.dial(&addresses, tls) => dialled,
            };
            let (reason, window, close, renewed) = match dialled {
                Err(error) => (error.to_string(), None, None, false),
                Ok(connection) => {
                    let done = Box::pin(session::run(&self, connection, session_seq, &shutdown)).await;
                    self.handle.set_live(None);
                    if shutdown.is_cancelled() {
                        dialer.finish().await;
                        return AgentEnd::Shutdown;
                    }
                    (
                        done.end.reason,
                        done.window,
                        done.end.theirs.or(done.end.ours),
                        done.renewed,
                    )
                }
            };
            if let Some(close) = &close {
                redirect = close.redirect.clone();
            }
            let attempted = Attempted {
                window,
                close: close.as_ref(),
                renewed,
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
    /// are trusted stay trusted.
    pub(super) async fn follow_roots(&self, signed: Vec<Vec<u8>>) {
        let mut identity = self.identity().clone();
        let Ok(Some(mut roots)) = identity.roots() else { return };
        let before = roots.version();
        for bytes in signed {
            let next = SignedRootSet::from_bytes(&bytes).and_then(|signed| roots.advance(signed));
            match next {
                Ok(next) => roots = next,
                Err(error) => {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "a root set of the hub is not believed"
                    );
                    break;
                }
            }
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
        self.floor.raise(u64::try_from(now_ms / 1000).unwrap_or_default());
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
