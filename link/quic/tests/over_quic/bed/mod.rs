//! A hub and agents over loopback: real sockets, TLS and certificates; stores in memory.

#![allow(dead_code, unused_imports, reason = "each test file uses a part of it")]

mod agent;
mod hub;
mod proxy;
mod relay;

use std::time::Duration;

pub use agent::{
    AgentState, GATHER, TestAgent, carrier, dial, identity_of, join_options, start_agent, start_agent_with,
};
pub use hub::{METERED_MS, TestHub, TokenSpec, artifact, manifest_digest};
pub use proxy::HttpProxy;
pub use relay::Relay;

/// Waits until something is so; a test that waits for longer than anything takes has failed.
pub async fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !so() {
        assert!(tokio::time::Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
