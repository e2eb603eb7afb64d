//! How a change and a deletion travel through the fleet.
//!
//! The API carries these fields from its first version; a version of the hub that does not
//! enforce one of them says so in the condition `Held`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::meta::{Duration, IntOrString, LabelSelector, is_false};

/// What happens to the objects of a fleet object that leaves a cluster, and how much at once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deletion {
    /// Whether the objects go or stay.
    #[serde(default)]
    #[schemars(extend("default" = "Prune"))]
    pub policy: FleetDeletionPolicy,
    /// How much one change may delete without approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<DeletionBudget>,
    /// Digest of the plan, from `status.plan`, that a person approved.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(extend("pattern" = crate::schema::SHA256_PATTERN))]
    pub approved_plan: String,
}

/// What happens to the objects of a fleet object that leaves a cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum FleetDeletionPolicy {
    /// They are deleted.
    #[default]
    Prune,
    /// The Flux objects go, the workloads stay.
    Orphan,
}

/// How much one change may delete over the fleet without approval.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeletionBudget {
    /// Objects, over all clusters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0, "format" = "int32"))]
    pub objects: Option<i32>,
    /// Clusters that lose anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0, "format" = "int32"))]
    pub clusters: Option<i32>,
}

/// How a new revision travels through the fleet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Groups of clusters, one after the other; a cluster belongs to the first that takes it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 32, "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub waves: Vec<RolloutWave>,
    /// When a wave may begin; at any time when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 16))]
    pub windows: Vec<Window>,
    /// Whether a wave that fails goes back to the revision before.
    #[serde(default, skip_serializing_if = "is_false")]
    pub rollback: bool,
}

/// A group of clusters that is updated together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutWave {
    /// Name of the wave.
    #[schemars(extend("minLength" = 1, "maxLength" = 63, "pattern" = crate::schema::DNS_LABEL_PATTERN))]
    pub name: String,
    /// Clusters by label; all that are left when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// Share of those clusters, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1, "maximum" = 100, "format" = "int32"))]
    pub percent: Option<i32>,
    /// How many of its clusters may be on their way at once: a number or a share such as `25%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrString>,
    /// How long the wave has to stay healthy before the next one begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<Duration>,
    /// What else has to be true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 16))]
    pub gates: Vec<Gate>,
    /// Whether the wave waits for a person.
    #[serde(default, skip_serializing_if = "is_false")]
    pub hold: bool,
}

/// A condition for going on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// CEL expression.
    #[schemars(extend("minLength" = 1, "maxLength" = 4096))]
    pub cel: String,
}

/// A time in which waves may begin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// When the window opens, as five fields of cron.
    #[schemars(extend("minLength" = 1, "maxLength" = 128))]
    pub schedule: String,
    /// How long it stays open.
    pub duration: Duration,
    /// Time zone of the schedule by its IANA name; UTC when empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(extend("maxLength" = 64))]
    pub time_zone: String,
}
