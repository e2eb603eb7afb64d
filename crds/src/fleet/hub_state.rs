//! What the hub promised its agents.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::meta::{Condition, is_zero};

/// The hub's checkpoints. Written before desired state is sent, so that a hub restored from a
/// backup recognises that agents have seen more than it knows.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "fleet.nave.dev",
    version = "v1alpha1",
    kind = "HubState",
    plural = "hubstates",
    namespaced,
    status = "HubStateStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "The hub's own memory of what it promised its agents. One object, in the hub's namespace; not for editing.",
    category = "nave",
    label("app.kubernetes.io/part-of", "nave"),
    annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled"),
    printcolumn(name = "Incarnation", type_ = "integer", json_path = ".spec.incarnation"),
    printcolumn(
        name = "Behind",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Behind\")].status"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Behind\")].message"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct HubStateSpec {
    /// Identifies the hub for its agents; made once.
    #[serde(rename = "hubUID")]
    #[schemars(extend("minLength" = 1, "maxLength" = 64))]
    pub hub_uid: String,
    /// Counts how often an operator accepted a restored hub.
    #[schemars(extend("minimum" = 0))]
    pub incarnation: i64,
    /// The last checkpoints, oldest first. An agent that saw one of them is not ahead of the hub.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 256))]
    pub checkpoints: Vec<Checkpoint>,
    /// The hub's processes that gave checkpoints in this incarnation, oldest first: what a lost history gave is told from
    /// what this one gave by them. Before the first of them, nonces were not signed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 256))]
    pub starts: Vec<HubStart>,
}

/// A process of the hub that gave checkpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HubStart {
    /// The number of its first checkpoint.
    #[schemars(extend("minimum" = 0))]
    pub seq: i64,
    /// What the nonces of its checkpoints begin with, in hex.
    #[schemars(extend("pattern" = "^[0-9a-f]{16}$"))]
    pub id: String,
}

/// A point in the history of a hub's desired state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// Incarnation of the hub.
    #[schemars(extend("minimum" = 0))]
    pub incarnation: i64,
    /// Grows by one with each checkpoint of an incarnation.
    #[schemars(extend("minimum" = 0))]
    pub seq: i64,
    /// In hex: the process of the hub that gave it, random, and a signature with the hub's key. Two histories with the same
    /// numbers differ here.
    #[schemars(extend("pattern" = "^[0-9a-f]{16,64}$"))]
    pub nonce: String,
}

/// Whether the hub is behind its agents.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HubStateStatus {
    /// Generation that was last handled.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
    /// What is known, by condition type: Behind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// While it is Behind: what a confirmation leads to, as far as agents were heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlook: Option<Outlook>,
}

/// What agents have and what they get when the hub goes on with what it holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Outlook {
    /// Clusters that said what they have.
    #[serde(default)]
    pub heard: i64,
    /// What fleet objects made that this hub does not know: it stays on its clusters, and nobody changes it any more.
    #[serde(default)]
    pub orphans: i64,
    /// What fleet objects made that has another revision than this hub would send.
    #[serde(default)]
    pub other_revisions: i64,
    /// The first ten clusters with any of them, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 10))]
    pub clusters: Vec<ClusterOutlook>,
}

/// The same of one cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterOutlook {
    /// The cluster.
    pub cluster: String,
    /// How many of its items are orphans.
    #[serde(default)]
    pub orphans: i64,
    /// How many of its items would get another revision.
    #[serde(default)]
    pub other_revisions: i64,
    /// The first of them, by name: the fleet object, and from which revision to which.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 5))]
    pub items: Vec<String>,
}
