//! The link carried over QUIC, and over TLS on TCP where UDP does not get through.
//!
//! ```text
//!   AgentDialer ═══ UDP 9443 ═══ HubListener
//!        │ ╚═ proxy ═ TCP 9443 ══════╝│
//!        │                            │ Connection: key proved, nothing said
//!        │                            ▼
//!        │                     Registry::decide ─► refusal(standing)  ─► connection.close(words)
//!        │                            ├─ Joining ─► serve_join(JoinHandler)
//!        ▼                            └─ a cluster ─► hub_session(HubHandler, ClusterLink).run()
//!   join(token) once,
//!   then agent(identity, AgentHandler).run() for ever
//! ```
//!
//! Nothing outside this crate knows which of the two carries it: [`Connection`] has streams of frames, a peer key and
//! words to close with. An agent races them and remembers ([`PathMemory`]); over TCP it goes on trying QUIC.
//!
//! # The hub
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use nave_identity::{Authority, PeerCertificate, Registry, ServerCertificates, Standing};
//! # use nave_quic::*;
//! # use tokio_util::sync::CancellationToken;
//! # struct Hub { registry: Registry, clients: Authority }
//! # impl Hub { fn link(&self, _: &Standing) -> Arc<ClusterLink> { unreachable!() } }
//! # async fn example<J: JoinHandler, H: HubHandler>(
//! #     hub: Hub, certificates: ServerCertificates, join_handler: Arc<J>, handler_for: impl Fn(&Standing) -> Arc<H>,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let config = Arc::new(nave_proto::hub::Config { hub_uid: "…".to_owned(), ..Default::default() });
//! let shutdown = CancellationToken::new();
//! let mut listener = HubListener::bind("[::]:9443".parse()?, certificates, ListenerOptions::default())?;
//! while let Some(connection) = listener.accept().await {
//!     let peer = PeerCertificate::read(connection.peer_certificate(), &[hub.clients.certificate().clone()])?;
//!     let standing = hub.registry.decide(&peer, jiff::Timestamp::now());
//!     match (refusal(&standing), entry(&standing)) {
//!         (Some(words), _) => connection.close(&words),
//!         (None, Some(nave_proto::hub::Entry::Joining)) | (None, None) => {
//!             tokio::spawn(serve_join(connection, join_handler.clone(), config.clone(), shutdown.child_token()));
//!         }
//!         (None, Some(entry)) => {
//!             // One ClusterLink per cluster, kept by the hub: planners change it with `link.update(|desired| …)`.
//!             let link = hub.link(&standing);
//!             let (handle, session) =
//!                 hub_session(connection, entry, link, handler_for(&standing), config.clone());
//!             // Keep `handle` by cluster: permits, root sets, and `handle.close(…)` when the key is revoked.
//!             tokio::spawn(session.run(shutdown.child_token()));
//!             # drop(handle);
//!         }
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! # The agent
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use nave_quic::*;
//! # use tokio_util::sync::CancellationToken;
//! # async fn example<H: AgentHandler, S: IdentityStore>(
//! #     text: &str, handler: Arc<H>, store: Arc<S>,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! let token: nave_identity::JoinToken = text.parse()?;
//! let mut identity = AgentIdentity::begin(&token)?; // or what was stored: serde_json
//! if !identity.is_joined() {
//!     join(&mut identity, &token, &*store, JoinOptions { name: "eu-1".to_owned(), ..Default::default() }).await?;
//! }
//! let (handle, runner) = agent(identity, handler, store, AgentOptions::default());
//! handle.load_desired(|replica| { /* replica.insert(key, digest, owner_uid) for each stored item */ });
//! // `handle` goes to the reconcilers: update_status, hold, event, fetch_manifest, fetch_chunks.
//! let end = runner.run(CancellationToken::new()).await;
//! # drop(end);
//! # Ok(()) }
//! ```

mod agent;
mod clock;
mod connection;
mod dialer;
pub mod doctor;
mod driver;
mod egress;
mod hub;
mod listener;
mod route;
mod socket;
mod tcp;
mod traffic;
mod transport;

pub use agent::{
    AgentEnd, AgentHandle, AgentHandler, AgentIdentity, AgentNote, AgentOptions, AgentRunner, BackoffOptions,
    FetchFailure, Gather, IdentityError, IdentityStore, JoinError, JoinOptions, Joined, LiveSink, Older, StoreError,
    agent, join,
};
pub use clock::WallClock;
pub use connection::{Connection, LinkError, RecvStream, SendStream, Stats, Transport};
pub use dialer::{AgentDialer, Attempt, AttemptError, DialError, DialOptions};
pub use egress::EgressBudget;
pub use hub::{
    ClusterLink, HubHandler, HubSession, HubSessionHandle, JoinHandler, LiveFailure, LiveStream, Note, SentChunk,
    SessionEnd, SessionGone, Verdict, entry, hub_session, serve_join,
};
pub use listener::{BindError, HubListener, ListenerOptions, TcpDoor, idle_timeout, refusal};
pub use route::{Carriers, PathMemory, RaceOptions};
pub use tcp::{Proxy, ProxyError, ProxyRules, ProxyUrlError};
pub use traffic::{Carried, KindBytes, Traffic};
pub use transport::ResetKey;
