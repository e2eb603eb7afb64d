//! The hub's side: one session per connection, driven to its end.

mod fetch;
mod handle;
mod handler;
mod join;
mod link;
mod live;
mod session;

pub use handle::{HubSessionHandle, SessionGone};
pub use handler::{HubHandler, Note, SentChunk, Verdict};
pub use join::{JoinHandler, serve_join};
pub use link::ClusterLink;
pub use live::{LiveFailure, LiveStream};
pub use session::{HubSession, SessionEnd, entry, hub_session};
