//! Git remotes read and written with gix: references, shallow fetches into a shared object store, trees as files, pushes.
//!
//! ```text
//! Git ─► RemoteHandle ─┬─► resolve   one ls-refs, no objects           ┐ session ─► wire (HTTP), ssh:
//!                      ├─► checkout  fetch what is missing, read tree  │            deadline, credentials, failures
//!                      └─► commit    make objects, push them           ┘
//!                                          │
//!            cache: one bare object store per remote and credentials
//! ```
//!
//! gix changes its interface every month; it is pinned, and few modules here know it, and nobody else does.

mod base;
mod cache;
mod commit;
mod error;
mod fetch;
mod git;
mod github_app;
mod handle;
mod listing;
mod publish;
mod push;
mod recurse;
mod reference;
mod remote;
mod selection;
mod session;
mod signature;
mod ssh;
mod submodule;
mod tree;
mod wire;

pub use base::{Base, BaseError};
pub use commit::{NewCommit, Person, Sign};
pub use error::GitError;
pub use git::{Git, OpenError, Options};
pub use github_app::{GitHubApp, GitHubAppError, InstallationToken};
pub use handle::RemoteHandle;
pub use listing::Listing;
pub use push::Lease;
pub use reference::{Resolved, Wanted};
pub use remote::{Auth, Remote, RemoteError};
pub use selection::{Selection, SelectionError};
pub use signature::{KeysError, SignatureError, TrustedKeys};
pub use ssh::{
    HostKey, ScanError, SshAuth, SshAuthError, SshFolderError, SshKeyKind, SshKeyPair, SshOptions, SshOptionsError,
    scan_host_keys,
};
pub use tree::{Checkout, Commit, ReadError, is_lfs_pointer};
