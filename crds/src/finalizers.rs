//! Finalizers.

/// On every Flux kind that has something to clean up.
pub const FLUX: &str = "finalizers.fluxcd.io";
/// On fleet objects: what they placed is retired before they go. It waits for no remote cluster.
pub const FLEET: &str = "finalizers.fleet.nave.dev";
/// On an ArtifactGenerator: what it generated goes with it.
pub const GENERATOR: &str = "source.extensions.fluxcd.io/finalizer";
