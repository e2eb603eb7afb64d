//! ArtifactGenerator: artifacts composed of, and split from, those of sources (source-watcher 2.2).
//!
//! ```text
//! sources ─► observe ─► drift? ─► trees ─► pattern ─► compose ─► store ─► ExternalArtifact
//! ```

mod act;
mod compose;
mod glob;
mod observe;
mod output;
mod pattern;
mod plan;
mod status;
mod triggers;

use std::sync::Arc;

use nave_runtime::controller;

use crate::run::{Options, Ports, Watches};

/// Reconciles ArtifactGenerators until shutdown.
pub(crate) async fn run(ports: &Ports, options: &Options, watches: &Watches) {
    let Some(generators) = &watches.artifact_generators else {
        return;
    };
    let reconciler = Arc::new(act::Generators::new(ports, options, watches));
    let triggers = triggers::triggers(generators, &ports.watched, watches);
    controller::run(
        generators,
        triggers,
        options.concurrent,
        &ports.metrics,
        reconciler,
        &ports.tasks,
    )
    .await;
}
