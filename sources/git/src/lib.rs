//! Git remotes read with gix: references, shallow fetches into a shared object store, trees as files.
//!
//! ```text
//! Git ─► RemoteHandle ─┬─► resolve   one ls-refs, no objects           ┐ session ─► wire (HTTP, deadline,
//!                      └─► checkout  fetch what is missing, read tree  ┘            credentials, failures)
//!                                          │
//!            cache: one bare object store per remote and credentials
//! ```
//!
//! gix changes its interface every month; it is pinned, and only `cache`, `fetch`, `handle`, `session`, `tree` and `wire` know it.

mod cache;
mod error;
mod fetch;
mod git;
mod handle;
mod reference;
mod remote;
mod selection;
mod session;
mod tree;
mod wire;

pub use error::GitError;
pub use git::{Git, OpenError, Options};
pub use handle::RemoteHandle;
pub use reference::{Resolved, Wanted};
pub use remote::{Auth, Remote, RemoteError};
pub use selection::{Selection, SelectionError};
pub use tree::{Checkout, Commit};
