//! A whole fleet on one machine: control planes, a git server, a hub, agents, all as real processes.
//!
//! ```text
//! git server ──► nave-hub ──QUIC──► nave-agent ──► plane "staging"
//!     (hook: hint)   │   └──QUIC──► nave-agent ──► plane "eu-1"
//!                    └── kubeconfig ─────────────► plane "us-1"
//! ```

pub mod agent;
pub mod cli;
pub mod examples;
pub mod fleet;
pub mod hub;
pub mod program;
pub mod repository;
pub mod rollout;

pub use agent::Agent;
pub use cli::Nave;
pub use fleet::{Fleet, FleetOptions};
pub use hub::Hub;
pub use repository::ExampleRepository;
