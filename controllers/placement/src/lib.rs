//! Reconciles fleet objects: from a template and a placement to desired state per cluster, and health back.
//!
//! ```text
//! FleetKustomization ─┐                                    ┌─► DesiredState   (agents)
//! Cluster ────────────┼─► observe ─► plan ─► act ──────────┼─► Kustomization  (kubeconfig clusters)
//! source's artifact ──┘                      │             └─► RetirementLog  (deletion on purpose)
//! FleetStatus, Kustomization ────────────► status ─► FleetKustomization.status
//! Cluster (mode KubeConfig) ─► ClusterProbe ─► Cluster.status
//! ```

pub mod ports;

pub use ports::{
    ArtifactHandle, Artifacts, ClusterFacts, ClusterProbe, ClusterState, ClusterStatus,
    DeleteCause, DesiredItem, DesiredState, FleetStatus, ItemArtifact, ItemHeader, Ports,
    ProbeError, SensitiveObject,
};
