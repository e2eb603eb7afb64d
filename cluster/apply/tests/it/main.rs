//! Applying, pruning and waiting against a real API server. One control plane is shared; every test has namespaces of its own.

mod applying;
mod modes;
mod pruning;
mod tenants;
mod waiting;
mod world;
