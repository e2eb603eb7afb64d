//! The hub against a real control plane and agents that speak the real link: what agents are sent, what comes back, who
//! is let in and who is cut.

mod delivery;
mod doors;
mod fake_agent;
mod rotation;
mod stage;
