//! HelmReleases against a real API server. One control plane is shared; every test has a namespace and a reconciler of its own.

mod adoption;
mod charts;
mod failures;
mod lifecycle;
mod stage;
mod values;
