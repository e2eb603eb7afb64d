//! `source.toolkit.fluxcd.io/v1`: where content comes from.

mod external_artifact;
mod git_repository;

pub use external_artifact::{ExternalArtifact, ExternalArtifactSpec, ExternalArtifactStatus, ExternalSourceRef};
pub use git_repository::{
    GitProvider, GitRepository, GitRepositoryInclude, GitRepositoryRef, GitRepositorySpec, GitRepositoryStatus,
    GitRepositoryVerification, GitVerificationMode,
};

/// API group of the source kinds.
pub const GROUP: &str = "source.toolkit.fluxcd.io";
/// The version that is stored.
pub const VERSION: &str = "v1";
/// Group and version as objects carry them.
pub const API_VERSION: &str = "source.toolkit.fluxcd.io/v1";
