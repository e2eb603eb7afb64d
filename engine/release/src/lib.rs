//! Helm releases as pure data: records, history, digests, hooks, and what to do next.
//!
//! ```text
//! Secret ◄─► storage ◄─► record ──► snapshot digest ─┐
//!                          │                         ├─► state ─► step
//!                          └──► history, hooks       │
//! values ─► config digest ────────────────────────────┘
//! two manifests, a live object ─► merge ─► patch
//! ```
//!
//! What is matched is Helm 4.3.1's storage (`helm.sh/helm/v4`) and the decisions of Flux's helm-controller 1.6.

mod chart_record;
mod decide;
mod digest;
mod go_json;
mod history;
mod hooks;
mod manifest;
mod merge;
mod name;
mod record;
mod snapshot;
mod state;
mod storage;

pub use chart_record::{ChartMetadata, ChartRecord, Dependency, FileRecord, Lock, Maintainer};
pub use decide::{Counts, Drift, LastAction, Policy, Remediation, Step, Stop, decide};
pub use digest::{config_digest, json_digest, snapshot_digest};
pub use go_json::{to_string as to_go_json, write as write_go_json};
pub use history::{deployed, last, next_version, rollback_target, superfluous};
pub use hooks::{delete_policies, executing, is_test, of_event};
pub use manifest::{ManifestError, Ownership, RESOURCE_POLICY, left_behind, objects, stays_on_uninstall};
pub use merge::{ListKeys, merge_patch, three_way, two_way};
pub use name::{LONGEST_NAME, release_name};
pub use record::{ApplyMethod, GoTime, Hook, HookExecution, Info, Release, Status, phase, policy as delete_policy};
pub use snapshot::{Snapshot, TestRun, previous, truncate};
pub use state::{Desired, State, UnknownState, determine};
pub use storage::{DecodeError, OWNER_SELECTOR, SECRET_TYPE, decode, encode, labels, secret_name, selector};
