//! `kustomize.toolkit.fluxcd.io/v1`: building and applying manifests.

mod kustomization;
mod overlay;
mod status;

pub use kustomization::{
    CommonMetadata, CustomHealthCheck, Decryption, DecryptionProvider, DeletionPolicy, Kustomization,
    KustomizationSpec, SourceRef,
};
pub use overlay::{
    BuildMetadata, IgnoreRule, Image, Patch, PostBuild, Selector, SubstituteKind, SubstituteReference,
    SubstituteStrategy,
};
pub use status::{KustomizationStatus, ResourceInventory, ResourceRef, Snapshot};

/// API group of Kustomization.
pub const GROUP: &str = "kustomize.toolkit.fluxcd.io";
/// The version that is stored.
pub const VERSION: &str = "v1";
/// Group and version as objects carry them.
pub const API_VERSION: &str = "kustomize.toolkit.fluxcd.io/v1";
