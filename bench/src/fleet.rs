//! A fleet of simulated spokes around a real hub: what a thousand agents cost, and how fast they hear and are heard.
//!
//! ```text
//!  this process                       simulator, a process of its own
//!   plane, git server ◄── hub ◄══ link ══ [path: delay, loss, new ports] ══ N agents of nave-quic,
//!        │ commit, kill -9  core 0         core 1                           each with a cluster in memory
//!        └──────────── Ask / Answer by pipe ───────────────┘
//! ```
//!
//! Sockets, TLS, certificates, protocol and agent are the real ones; only what an agent does with an item is simulated:
//! it fetches the artifact, keeps both in memory and reports the item ready. One real agent with a control plane of its own
//! gets the same beside them, and its times stand beside theirs.

mod ask;
mod capture;
mod options;
mod pin;
mod profile;
mod report;
mod rounds;
mod simulator;
mod spoke;
mod stage;
mod talk;
mod truth;

pub use options::Options;
pub use pin::this as hold_this;
pub use rounds::run;
pub use simulator::simulate;
