//! Clients for any cluster: kubeconfigs made safe, impersonation, discovery, shared watches.
//!
//! ```text
//! kubeconfig bytes ─► kubeconfig (refused or safe) ─► one base client per cluster ─► Target = base + identity
//!                                                          │                            │
//!                                                          └─ discovery                 └─ KindWatch per kind: rows, health
//! ```

mod accounts;
mod client;
mod config_map;
mod discovery;
mod fingerprint;
mod kind_watch;
mod kubeconfig;
mod request;
mod target;
mod targets;
mod tokens;

pub use accounts::ClusterAccounts;
pub use config_map::{ConfigMapAccess, ConfigMapError};
pub use discovery::{ResolveError, Resource};
pub use fingerprint::{APPLY_MANAGER, Fingerprint, is_taken_over};
pub use kind_watch::{Judge, KindWatch, Known, News, Subscription};
pub use kubeconfig::{KubeconfigError, KubeconfigPolicy};
pub use request::{ApplyMode, DeleteMode, is_conflict, is_forbidden, is_not_found, object_path};
pub use target::{LOCAL, ServiceAccount, Target};
pub use targets::{TargetError, Targets, TokenAccess};
pub use tokens::{Token, TokenSource};
