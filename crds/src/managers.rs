//! Field managers.

/// Applies the objects of a Kustomization.
pub const KUSTOMIZE_APPLY: &str = "kustomize-controller";
/// Writes the status and metadata of a Kustomization.
pub const KUSTOMIZE_STATUS: &str = "gotk-kustomize-controller";
/// Applies the objects of a HelmRelease, and writes its status and metadata.
pub const HELM: &str = "helm-controller";
/// Writes the status and metadata of a source.
pub const SOURCE: &str = "source-controller";
/// Writes the status and metadata of an ArtifactGenerator, and the ExternalArtifacts that it generates.
pub const WATCHER: &str = "source-watcher";
/// Writes Flux objects for fleet objects, on the hub and through the agent on spokes.
pub const FLEET: &str = "nave-fleet";
/// Writes the hub's own objects: `Cluster.spec.identity`, `JoinToken.status`, `HubState`, `RetirementLog`.
pub const HUB: &str = "nave-hub";
/// Writes the agent's own objects on the spoke.
pub const AGENT: &str = "nave-agent";
