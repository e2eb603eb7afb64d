//! The agent's side: joining once, then one session after another for as long as the agent lives.

mod backoff;
mod fetch;
mod handle;
mod handler;
mod hearing;
mod identity;
mod join;
mod keepalive;
mod live;
mod renew;
mod runner;
mod session;

pub use backoff::BackoffOptions;
pub use fetch::{FetchFailure, Older};
pub use handle::AgentHandle;
pub use handler::{AgentHandler, AgentNote};
pub use identity::{AgentIdentity, IdentityError, IdentityStore, StoreError};
pub use join::{JoinError, JoinOptions, Joined, join};
pub use live::LiveSink;
pub use runner::{AgentEnd, AgentOptions, AgentRunner, Gather, agent};
