//! `fleet.nave.dev/v1alpha1`: clusters, how they join, and what is placed on them.
//!
//! A namespace of the hub is a *workspace*. `Cluster`, `JoinToken`, `FleetKustomization` and
//! `FleetHelmRelease` are for people. `HubState` and `RetirementLog` are the hub's own memory; they are kinds and not
//! ConfigMaps because a deletion on a spoke may rest on them alone, while tenants commonly may
//! edit any ConfigMap of their namespace, and because RBAC and backups can name a kind.

mod cluster;
mod common;
mod helm_release;
mod hub_state;
mod join_token;
mod kustomization;
mod placement;
mod retirement;
mod rollout;

pub use cluster::{
    AgentSpec, Cluster, ClusterCounts, ClusterIdentity, ClusterKubeConfig, ClusterMode, ClusterSession, ClusterSpec,
    ClusterStatus, LinkProfile, LinkSpec, PendingKey, WorkspaceAccess,
};
pub use common::{FleetParts, FleetResource};
pub use helm_release::{FleetHelmRelease, FleetHelmReleaseSpec};
pub use hub_state::{Checkpoint, ClusterOutlook, HubStart, HubState, HubStateSpec, HubStateStatus, Outlook};
pub use join_token::{Approval, JoinToken, JoinTokenCluster, JoinTokenSpec, JoinTokenStatus, TokenUse};
pub use kustomization::{
    ChangeDeletions, Delivery, FleetClusterCounts, FleetKustomization, FleetKustomizationSpec,
    FleetKustomizationStatus, FleetSource, FleetSourceRef, FleetSourceTemplate, FleetTemplate, FleetTemplateMetadata,
    PlanStatus, SecretUse, UnhealthyCluster, WaveStatus,
};
pub use placement::{ClusterSelector, JsonPatchOp, Override, Placement};
pub use retirement::{Retirement, RetirementLog, RetirementLogSpec};
pub use rollout::{Deletion, DeletionBudget, FleetDeletionPolicy, Gate, Rollout, RolloutWave, Window};

/// API group of the fleet kinds.
pub const GROUP: &str = "fleet.nave.dev";
/// The version that is stored.
pub const VERSION: &str = "v1alpha1";
/// Group and version as objects carry them.
pub const API_VERSION: &str = "fleet.nave.dev/v1alpha1";
