//! HelmReleases against a real API server. One control plane is shared; every test has a namespace and a reconciler of its own.

mod adoption;
mod asked;
mod charts;
mod crash;
mod cut;
mod failures;
mod faults;
mod fields;
mod gates;
mod handover;
mod held;
mod interop;
mod lifecycle;
mod lockdown;
mod methods;
mod rules;
mod sources;
mod stage;
mod values;
mod wakes;
