//! Reconciles Flux HelmReleases: from a chart to a healthy release in a cluster.
//!
//! ```text
//! observe ─► plan ─► job, in the background: state ─► step ─► act ─► status ─┐
//!    ▲                                         ▲                             │
//!    │                                         └─────────────────────────────┘
//!    └── triggers: sources, dependencies, configs, ends of jobs
//! ```

mod act;
mod artifacts;
mod capabilities;
mod chart_object;
mod cluster;
mod definitions;
mod deletions;
mod depends;
mod documents;
mod drift;
mod drift_check;
mod finalize;
mod hook_logs;
mod hooks;
mod install;
mod job;
mod lookup;
mod managers;
mod memory;
mod notes;
mod observe;
mod options;
mod plan;
mod post_render;
mod preview;
mod reconcile;
mod render;
mod report;
mod results;
mod rollback;
mod running;
mod settings;
mod sources;
mod status;
mod steps;
mod storage;
mod target;
mod testing;
mod tracked;
mod triggers;
mod uninstall;
mod upgrade;
mod values;
mod waits;
mod write;

pub use artifacts::{ChartArtifacts, ReadError};
pub use documents::WebDocuments;
pub use lookup::HostResolver;
pub use options::{FeatureGates, Filter, Options, Ports};
pub use preview::{
    PreviewError, PreviewRequest, ReleasePreview, cluster_capabilities, preview_release, preview_values,
};

use std::sync::Arc;

/// Runs until shutdown.
pub async fn run(ports: Ports, options: Options) {
    let (trigger, triggers) = nave_runtime::wakes::channel();
    let concurrent = options.concurrent;
    let reconciler = Arc::new(reconcile::HelmReleases::new(ports, options, trigger));
    reconciler.start_watching();
    reconciler.wait_for_sources().await;
    let ports = reconciler.ports();
    nave_runtime::controller::run(
        &ports.helm_releases,
        triggers,
        concurrent,
        &ports.metrics,
        reconciler.clone(),
        &ports.tasks,
    )
    .await;
}
