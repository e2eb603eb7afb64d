//! The artifact store: atomic writes, digests, retention, and the HTTP file server that publishes it.
//!
//! ```text
//! FileTree ─► put_tree ─► <dir>/<kind>/<namespace>/<name>/<file> ─► routes (HTTP, for other processes)
//!                 ├──────────────► trees by digest, in memory ────► tree   (for readers in this process)
//!                 └──────────────► shared storage, if there is one ─► routes (of every replica)
//!                                  artifacts of other processes ────► Downloads
//! ```

mod cache;
mod download;
mod draft;
mod place;
mod read;
mod retention;
mod s3;
mod serve;
mod serve_shared;
mod shared;
mod store;
mod verify;
mod write;

pub use download::{DownloadError, Downloads};
pub use draft::Draft;
pub use place::{Owner, PlaceError};
pub use read::ReadError;
pub use retention::Retention;
pub use s3::{S3Error, s3, s3_with_keys};
pub use serve::advertised_address;
pub use shared::Shared;
pub use store::{OpenError, Options, Store};
pub use verify::{Verdict, VerifyError};
pub use write::{PutError, StoredArtifact};
