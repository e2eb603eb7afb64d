//! The command line of Nave: what was typed, what it means, what is printed.
//!
//! ```text
//! arguments ─► verbs/<verb> ─► connection ─► api server
//!                  │               └─ files of kubectl: kubeconfig, context, impersonation
//!                  ├─► table, output      data, to stdout
//!                  └─► say, progress      everything else, to stderr
//! live: clusters of the fleet, read through their hub
//! failure, hints: an error, and what its reader can do
//! build: what a directory, or a Kustomization, comes to
//! registry: artifacts in container registries
//! ```
//!
//! Exit codes: 0 done; 1 an error, printed with `✗`; 2 the command line could not be understood. `nave diff` has its own.

mod age;
mod api;
mod arguments;
mod build;
mod charts;
mod confirm;
mod connection;
mod discovery;
mod failure;
mod fields;
mod fleet_owned;
mod flux_kinds;
mod hints;
mod kinds;
mod later;
mod live;
mod manifests;
mod output;
mod progress;
mod random;
mod reference;
mod registry;
mod release;
mod run;
mod say;
mod server_apply;
mod table;
mod verbs;
mod wait;

pub use arguments::CommandLine;
pub use manifests::{Component, InstallOptions, manifests};
pub use reference::reference;
pub use run::main;
