//! `source.extensions.fluxcd.io/v1beta1`: artifacts made of the artifacts of sources.

mod artifact_generator;

pub use artifact_generator::{
    ArtifactGenerator, ArtifactGeneratorSpec, ArtifactGeneratorStatus, CommonMetadata, CopyOperation, CopyStrategy,
    GeneratedArtifact, GeneratorSource, OutputArtifact,
};

/// API group of the kinds that extend the sources.
pub const GROUP: &str = "source.extensions.fluxcd.io";
/// The version that is stored.
pub const VERSION: &str = "v1beta1";
/// Group and version as objects carry them.
pub const API_VERSION: &str = "source.extensions.fluxcd.io/v1beta1";
