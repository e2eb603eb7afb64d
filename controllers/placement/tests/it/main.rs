//! Fleet objects against a real API server, with a hub that only remembers. One control plane is
//! shared; every test has a namespace of its own.

mod agents;
mod definitions;
mod hub;
mod kubeconfig;
mod releases;
mod stage;
