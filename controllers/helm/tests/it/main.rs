//! HelmReleases against a real API server. One control plane is shared; every test has a namespace and a reconciler of its own.

mod adoption;
mod charts;
mod crash;
mod failures;
mod interop;
mod lifecycle;
mod methods;
mod rules;
mod stage;
mod values;
mod wakes;
