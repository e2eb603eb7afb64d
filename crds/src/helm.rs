//! `helm.toolkit.fluxcd.io/v2`: installing and upgrading charts.

mod actions;
mod chart;
mod helm_release;
mod status;

pub use actions::{
    ApplyToggle, ChartNameChangeStrategy, CrdsPolicy, DeletionPropagation, Install, InstallRemediation,
    InstallStrategy, RemediationStrategy, Rollback, StrategyName, Test, TestFilter, Uninstall, Upgrade,
    UpgradeRemediation, UpgradeStrategy,
};
pub use chart::{
    ChartReference, ChartSourceRef, ChartTemplate, ChartTemplateMetadata, ChartTemplateSpec, ChartVerification,
    ReconcileStrategy, VerificationProvider,
};
pub use helm_release::{
    DriftDetection, DriftMode, HelmRelease, HelmReleaseSpec, KustomizeRenderer, PostRenderStrategy, PostRenderer,
    ValuesKind, ValuesReference, WaitStrategy, WaitStrategyName,
};
pub use status::{HelmReleaseStatus, ReleaseAction, ReleaseSnapshot, TestHookStatus};

/// API group of HelmRelease.
pub const GROUP: &str = "helm.toolkit.fluxcd.io";
/// The version that is stored.
pub const VERSION: &str = "v2";
/// Group and version as objects carry them.
pub const API_VERSION: &str = "helm.toolkit.fluxcd.io/v2";
