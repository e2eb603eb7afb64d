//! The hub against a real control plane and agents that speak the real link: what agents are sent, what comes back, who
//! is let in and who is cut.

mod behind;
mod brake;
mod clones;
mod delivery;
mod doors;
mod failover;
mod fake_agent;
mod impostors;
mod issuer;
mod join_storm;
mod memory;
mod recovery;
#[allow(dead_code, reason = "other tests cut and count more")]
#[path = "../../../link/quic/tests/over_quic/bed/relay.rs"]
mod relay;
mod rotation;
mod stage;
mod udp_blocked;
