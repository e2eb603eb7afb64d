//! Repositories behind SSH, without a program of that name.
//!
//! ```text
//! Secret ─► SshAuth (key, known hosts) ─► connect: TCP, host key, login, exec ─► pipe: what gix reads and writes
//! ```

mod auth;
mod blob;
mod connect;
mod folder;
mod known_hosts;
mod made;
mod pipe;

pub use auth::{SshAuth, SshAuthError, SshOptions, SshOptionsError};
pub(crate) use blob::is_nested;
pub(crate) use connect::connect;
pub use folder::SshFolderError;
pub use made::{HostKey, ScanError, SshKeyKind, SshKeyPair, scan_host_keys};
