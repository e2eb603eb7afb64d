//! Reconciles Flux Kustomizations: from an artifact to healthy objects in a cluster.
//!
//! ```text
//! observe ─► plan ─► build ─► apply ─► prune ─► (wait, in the background) ─► status
//!    ▲                                                   │
//!    └── triggers: sources, dependencies, configs, ends of waits
//! ```

mod act;
mod artifacts;
mod build;
mod carry_out;
mod claims;
mod decrypt;
mod decryption;
mod depends;
mod drift;
mod ending;
mod finalize;
mod flags;
mod history;
mod memory;
mod modes;
mod observe;
mod options;
mod place;
mod plan;
mod pruning;
mod reads;
mod reconcile;
mod remote;
mod report;
mod sources;
mod status;
mod target;
mod triggers;
mod variables;
mod waiting;

pub use artifacts::{ArtifactReader, Hosts, ReadError, StoreOrHttp};
pub use flags::Flags;
pub use options::{FeatureGates, Filter, Options, Ports};
pub use remote::{OpenRemoteError, RemoteBases};

use std::sync::Arc;

/// Runs until shutdown.
pub async fn run(ports: Ports, options: Options) {
    let (trigger, triggers) = triggers::channel();
    let concurrent = options.concurrent;
    let reconciler = Arc::new(reconcile::Kustomizations::new(ports, options, trigger));
    reconciler.start_watching();
    let ports = reconciler.ports();
    nave_runtime::controller::run(
        &ports.kustomizations,
        triggers,
        concurrent,
        &ports.metrics,
        reconciler.clone(),
        &ports.tasks,
    )
    .await;
}
