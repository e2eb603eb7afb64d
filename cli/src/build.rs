//! Building directories of this machine, plainly as kustomize does or with a Flux Kustomization on top.
//!
//! ```text
//! PATH ─► DiskTree ─► engine ─► objects ──────────────────► printed, written, or compared with a cluster
//!            │           └─► questions ─► remote (HTTP, git)
//!            └─ given (file or cluster) ─► overlay ─► flux: variables, mask, owner, nested Kustomizations
//! ```

mod answers;
mod chart;
mod clone;
mod disk_tree;
mod flux;
mod given;
mod inflate;
mod mask;
mod place;
mod plain;
mod remote;
mod variables;
mod without_ignored;

pub use chart::read_chart;
pub use flux::{Built, build_all};
pub use given::{Cluster, Request};
pub use mask::{MASKS, is_masked};
pub use plain::{Plain, plain};
pub use variables::variables;
