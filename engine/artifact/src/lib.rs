//! Artifacts: what of a source counts, how it is packed, and how its content is named.
//!
//! ```text
//! files ─► Ignore ─► FileTree ─┬─► tarball   (served over HTTP, named by the digest of its bytes)
//!                              └─► Manifest  (sent over the link, named by the digest of its content)
//! ```
//!
//! Nothing here touches a disk or a socket: files come in as paths and bytes, and go out the same way.

mod chunk;
mod digest;
mod gzip;
mod ignore_rules;
mod include;
mod manifest;
mod repack;
mod tarball;
mod tree;
mod untar;

pub use chunk::{Chunk, ChunkIndex, MAX_CHUNK};
pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use ignore_rules::{FILE_NAME as IGNORE_FILE, Ignore};
pub use include::{Include, IncludeError};
pub use manifest::{AssembleError, Manifest, ManifestError, ManifestFile};
pub use repack::{Content, Layout, Listed, Repacked, repack, sort_listed};
pub use tarball::{MODE_DIRECTORY, MODE_EXECUTABLE, MODE_FILE, Tarball, pack, write_tarball};
pub use tree::{File, FileTree, Limits, PathError};
pub use untar::{UnpackError, unpack};
