//! Reconciles fleet objects: from a template and a placement to desired state per cluster, and health back.
//!
//! ```text
//! FleetKustomization ─┐                                 ┌─► DesiredState                (agents)
//! FleetHelmRelease ───┤                                 │
//! Cluster ────────────┼─► observe ─► plan ─► act ───────┼─► Kustomization, HelmRelease  (kubeconfig clusters)
//! source's artifact ──┘                      │          └─► RetirementLog               (deletion on purpose)
//! FleetStatus, Kustomization, HelmRelease ───┴► status ──► status of the fleet object
//! Cluster (mode KubeConfig) ─► ClusterProbe ─► Cluster.status
//! ```

mod clusters;
mod convert;
mod fleet;
mod hub_source;
mod kind;
mod knowledge;
mod kubeconfig_cluster;
mod on_hub;
mod plan;
pub mod ports;
mod retirement;
mod run;
mod secrets;
mod status;
mod triggers;
mod validate;

pub use knowledge::Knowledge;
pub use ports::{
    ArtifactHandle, Artifacts, ChartPorts, ClusterFacts, ClusterProbe, ClusterState, ClusterStatus, DeleteCause,
    DesiredItem, DesiredState, FleetStatus, ItemArtifact, ItemHeader, ItemVersion, Ports, ProbeError, SensitiveObject,
};
pub use run::{Options, PlacementController};
