//! Kustomizations against a real API server. One control plane is shared; every test has a namespace and a reconciler of its own.

mod changes;
mod cost;
mod decryption;
mod deletion;
mod dependencies;
mod health;
mod ignored;
mod refusals;
mod remote;
mod stage;
mod wakes;
