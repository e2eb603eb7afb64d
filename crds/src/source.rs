//! `source.toolkit.fluxcd.io/v1`: where content comes from.

mod bucket;
mod external_artifact;
mod git_repository;
mod helm_chart;
mod helm_repository;
mod oci_repository;
mod verification;

pub use bucket::{Bucket, BucketProvider, BucketSpec, BucketStatus, BucketSts, StsProvider};
pub use external_artifact::{ExternalArtifact, ExternalArtifactSpec, ExternalArtifactStatus, ExternalSourceRef};
pub use git_repository::{
    GitProvider, GitRepository, GitRepositoryInclude, GitRepositoryRef, GitRepositorySpec, GitRepositoryStatus,
    GitRepositoryVerification, GitVerificationMode,
};
pub use helm_chart::{ChartSourceRef, HelmChart, HelmChartSpec, HelmChartStatus, ReconcileStrategy};
pub use helm_repository::{
    AccessFrom, HelmRepository, HelmRepositorySpec, HelmRepositoryStatus, HelmRepositoryType, NamespaceSelector,
};
pub use oci_repository::{
    OCIRepository, OciLayerOperation, OciLayerSelector, OciProvider, OciRepositoryRef, OciRepositorySpec,
    OciRepositoryStatus,
};
pub use verification::{ChartVerification, OciVerification, OidcIdentityMatch, VerificationProvider};

/// API group of the source kinds.
pub const GROUP: &str = "source.toolkit.fluxcd.io";
/// The version that is stored.
pub const VERSION: &str = "v1";
/// Group and version as objects carry them.
pub const API_VERSION: &str = "source.toolkit.fluxcd.io/v1";
