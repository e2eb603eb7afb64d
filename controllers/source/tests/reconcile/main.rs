//! The controller against a real API server and a real git server. Each test has a namespace, a store and a
//! controller of its own; the control plane is shared.

mod access;
mod artifacts;
mod bucket;
mod chart_server;
mod clouds;
mod external;
mod generator;
mod git;
mod helm;
mod large;
mod lifecycle;
mod objects;
mod oci;
mod signatures;
mod sources_matrix;
mod stage;
