//! Fleet objects that were deleted on purpose.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rollout::FleetDeletionPolicy;
use crate::meta::Time;

/// UIDs of fleet objects of this namespace that were deleted on purpose.
///
/// A cluster that was away meanwhile still has their objects; they go only because their owner
/// stands here. An owner that is neither known nor here means that the hub lost its memory, and
/// then the objects are kept.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "fleet.nave.dev",
    version = "v1alpha1",
    kind = "RetirementLog",
    plural = "retirementlogs",
    namespaced,
    derive = "PartialEq",
    derive = "Default",
    doc = "The hub's own memory of deleted fleet objects. One object per namespace, named retired; not for editing.",
    category = "nave",
    label("app.kubernetes.io/part-of", "nave"),
    annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct RetirementLogSpec {
    /// Deleted fleet objects, oldest first. When full, the oldest are dropped: a cluster that comes
    /// back after that keeps their objects and reports them as orphaned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 2048))]
    pub entries: Vec<Retirement>,
}

/// A fleet object that was deleted on purpose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retirement {
    /// Kind of the fleet object.
    pub kind: String,
    /// Name of the fleet object.
    pub name: String,
    /// UID of the fleet object.
    pub uid: String,
    /// What happens to its objects.
    pub policy: FleetDeletionPolicy,
    /// When it was deleted.
    pub time: Time,
}

impl RetirementLog {
    /// Name of the one object in each namespace.
    pub const NAME: &'static str = "retired";
    /// Most entries that are kept: 2,048 of about 200 bytes stay far below the 1.5 MiB that etcd takes.
    pub const MAX_ENTRIES: usize = 2048;
}
