//! Kustomizations against a real API server. One control plane is shared; every test has a namespace and a reconciler of its own.

mod bases;
mod by_interval;
mod changes;
mod cost;
mod decryption;
mod deletion;
mod dependencies;
mod faults;
mod gates;
mod handover;
mod health;
mod ignored;
mod large;
mod modes;
mod moving;
mod outage;
mod refusals;
mod remote;
mod slow_sources;
mod soak;
mod stage;
mod stages;
mod wakes;
