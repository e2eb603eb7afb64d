//! Reconciles Flux sources: from a remote to an artifact in the store.
//!
//! ```text
//! GitRepository ─┐
//! OCIRepository ─┤
//! HelmRepository ┼─► reconciler: begin ─► work ─► draft ─► status   (the sources that Nave fetches)
//! HelmChart ─────┤                  each kind: observe ─► plan ─► act
//! publish ───────┴────────────────────────────────────► status   (ExternalArtifact: content that is here already)
//! ```

mod cloud_login;
mod common;
mod draft;
pub mod external_artifact;
mod failure;
mod git_repository;
mod helm_chart;
mod helm_repository;
mod oci_access;
mod oci_repository;
mod reconciler;
mod run;
mod source;
mod summary;
mod verification;

pub use run::{Filter, Options, Ports, Watches, run};
