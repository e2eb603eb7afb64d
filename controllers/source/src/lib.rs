//! Reconciles Flux sources: from a remote to an artifact in the store.
//!
//! ```text
//! GitRepository ─► observe ─► plan ─► act ─► status        (the sources that Nave fetches)
//! publish ────────────────────────────────► status        (ExternalArtifact: content that is here already)
//! ```

pub mod external_artifact;
mod failure;
mod git_repository;
mod run;
mod summary;

pub use run::{Filter, Options, Ports, run};
