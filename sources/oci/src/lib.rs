//! Container registries: tags, manifests and blobs, read and written, each byte checked.
//!
//! ```text
//! oci://host/name ─► Repository ┐
//! Secrets ─► DockerConfig ──────┼─► Registries::open ─► Remote ─► tags, resolve, manifest, download
//! TLS, proxy ─► Access ─────────┘                         ├────► referrers, tagged: signatures
//!                                                         └────► push_blob, push_manifest, tag
//! ```
//!
//! The protocol is that of the OCI distribution specification 1.1, with Docker's token authentication.

mod artifact;
mod auth;
mod credentials;
mod error;
mod manifest;
mod pull;
mod push;
mod referrers;
mod registries;
mod repository;
mod request;
mod session;

pub use artifact::{PackedArtifact, chart_artifact, flux_artifact};
pub use credentials::{Credentials, DockerConfig, DockerConfigError};
pub use error::OciError;
pub use manifest::{Descriptor, Manifest, media_type};
pub use pull::{Pulled, Resolved};
pub use referrers::Referrer;
pub use registries::{Access, Registries, Remote};
pub use repository::{Repository, RepositoryError};
