//! Reconciles Flux sources: from a remote to an artifact in the store.
//!
//! ```text
//! GitRepository ─┐
//! OCIRepository ─┤
//! HelmRepository ┼─► reconciler: begin ─► work ─► draft ─► status   (the sources that Nave fetches)
//! HelmChart ─────┤                  each kind: observe ─► plan ─► act
//! Bucket ────────┤
//! ArtifactGenerator: observe ─► plan ─► compose ─► publish (ExternalArtifacts made of the artifacts of sources)
//! publish ───────┴────────────────────────────────────► status   (ExternalArtifact: content that is here already)
//! ```

mod artifact_generator;
mod bucket;
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

pub use run::{Filter, KindFilter, Options, Ports, Wakes, Watches, run};
