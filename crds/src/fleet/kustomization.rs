//! A Kustomization for many clusters.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::placement::{Override, Placement};
use super::rollout::{Deletion, Rollout};
use crate::meta::{Condition, Time, is_false, is_zero};

/// A Flux Kustomization as template, its source, and the clusters it goes to.
///
/// In the strings of `source.template` and `template`, and of overrides, `${cluster.name}`,
/// `${cluster.labels.<key>}` and `${cluster.variables.<name>}` stand for the cluster at hand.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "fleet.nave.dev",
    version = "v1alpha1",
    kind = "FleetKustomization",
    plural = "fleetkustomizations",
    namespaced,
    status = "FleetKustomizationStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A Flux Kustomization for every cluster that a placement selects.",
    shortname = "fks",
    category = "nave",
    label("app.kubernetes.io/part-of", "nave"),
    annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Selected", type_ = "integer", json_path = ".status.clusters.selected"),
    printcolumn(name = "Updated", type_ = "integer", json_path = ".status.clusters.updated"),
    printcolumn(name = "Healthy", type_ = "integer", json_path = ".status.clusters.ready"),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.clusters.failed"),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.targetRevision"),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct FleetKustomizationSpec {
    /// Suspends the Flux objects on every cluster.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
    /// Namespace of the Flux objects on a spoke. When empty: the workspace's name for an admin of
    /// the cluster, the first namespace of the grant for everyone else.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(extend("minLength" = 1, "maxLength" = 63, "pattern" = crate::schema::DNS_LABEL_PATTERN))]
    pub spoke_namespace: String,
    /// Which clusters.
    #[serde(default)]
    pub placement: Placement,
    /// Where the manifests come from.
    pub source: FleetSource,
    /// Who fetches the source.
    #[serde(default)]
    #[schemars(extend("default" = "Artifact"))]
    pub delivery: Delivery,
    /// The Kustomization.
    pub template: FleetTemplate,
    /// Changes of the template for some clusters, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 256))]
    pub overrides: Vec<Override>,
    /// Secrets of this namespace that go along to `spokeNamespace`. Each needs the label
    /// `fleet.nave.dev/distribute: "true"`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 64, "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub secrets: Vec<SecretUse>,
    /// What happens when a cluster is no longer selected, or this object is deleted.
    #[serde(default)]
    pub deletion: Deletion,
    /// How a new revision travels through the fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
}

/// Where manifests come from: a source made from a template, or one that exists.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.template) != has(self.ref)",
    "message": "exactly one of source.template and source.ref must be set"
}]))]
pub struct FleetSource {
    /// A source to make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<FleetSourceTemplate>,
    /// A source of the hub, in the namespace of the fleet object.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<FleetSourceRef>,
    /// Files to send, as globs over paths such as `apps/**`; all when empty. For delivery Artifact.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 128, "items" = {"type": "string", "minLength": 1, "maxLength": 1024}))]
    pub include: Vec<String>,
}

/// A source to make.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FleetSourceTemplate {
    /// Kind of the source.
    #[schemars(extend("enum" = ["GitRepository"]))]
    pub kind: String,
    /// Spec of the source.
    #[schemars(schema_with = "crate::schema::free_object")]
    pub spec: Map<String, Value>,
}

/// A source of the hub.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FleetSourceRef {
    /// Kind of the source.
    #[schemars(extend("enum" = ["GitRepository", "ExternalArtifact"]))]
    pub kind: String,
    /// Name of the source.
    #[schemars(extend("minLength" = 1, "maxLength" = 253))]
    pub name: String,
}

/// Who fetches the source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Delivery {
    /// The hub does, once; clusters get the files over the link.
    #[default]
    Artifact,
    /// Each cluster does.
    Source,
}

/// A Kustomization without its name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FleetTemplate {
    /// Labels and annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<FleetTemplateMetadata>,
    /// Spec of the Kustomization. `sourceRef` and `kubeConfig` are the hub's business.
    #[schemars(schema_with = "crate::schema::free_object")]
    pub spec: Map<String, Value>,
}

/// Labels and annotations of a template.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FleetTemplateMetadata {
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,
}

/// A Secret that goes along.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretUse {
    /// Name of the Secret.
    #[schemars(extend("minLength" = 1, "maxLength" = 253))]
    pub name: String,
    /// Whether it may be missing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
}

/// How the fleet stands. Bounded: nothing here grows with the number of clusters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FleetKustomizationStatus {
    /// Generation that was last handled.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
    /// What is known, by condition type: Ready, Progressing, Held.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// The request for a reconcile that was last handled.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_handled_reconcile_at: String,
    /// Revision that every cluster should have.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target_revision: String,
    /// Last revision that every selected cluster had.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub current_revision: String,
    /// Digest of the target: of the manifest of files for delivery Artifact.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target_digest: String,
    /// Identifies the change that made the target: digest over this object and the target.
    #[serde(rename = "changeID", default, skip_serializing_if = "String::is_empty")]
    pub change_id: String,
    /// Clusters by state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<FleetClusterCounts>,
    /// Waves of the roll-out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 32))]
    pub waves: Vec<WaveStatus>,
    /// The first ten clusters that are not healthy, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 10))]
    pub unhealthy: Vec<UnhealthyCluster>,
    /// Deletions that wait for approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanStatus>,
    /// What recent changes deleted so far without approval, where there is a budget.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 16))]
    pub deletions: Vec<ChangeDeletions>,
}

/// Clusters of a fleet object by state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FleetClusterCounts {
    /// Selected by the placement.
    #[serde(default)]
    pub selected: i64,
    /// Have the target.
    #[serde(default)]
    pub updated: i64,
    /// Have the target and are healthy.
    #[serde(default)]
    pub ready: i64,
    /// Failed, whatever revision they have.
    #[serde(default)]
    pub failed: i64,
    /// Have not said anything, or are not connected.
    #[serde(default)]
    pub unknown: i64,
    /// Wait for a permit or an approval.
    #[serde(default)]
    pub held: i64,
    /// Refused by grant or validation.
    #[serde(default)]
    pub denied: i64,
}

/// A wave of a roll-out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaveStatus {
    /// Name of the wave.
    pub name: String,
    /// Pending, Progressing, Soaking, Held, Done or Failed.
    pub state: String,
    /// Clusters in the wave.
    #[serde(default)]
    pub total: i64,
    /// Those that have the target.
    #[serde(default)]
    pub updated: i64,
    /// Those that have the target and are healthy.
    #[serde(default)]
    pub ready: i64,
    /// When the state began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// A cluster that is not healthy, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnhealthyCluster {
    /// Name of the cluster; `<namespace>/<name>` for one of another namespace.
    pub cluster: String,
    /// The object, such as `Kustomization/team-a/apps`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub object: String,
    /// Reason of the object's Ready condition, or why the cluster was refused.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Message of the object's Ready condition, cut to 1 KiB.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Deletions of one change over the fleet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanStatus {
    /// Digest of the plan; an approval names it in `spec.deletion.approvedPlan`.
    pub digest: String,
    /// Objects that would go.
    #[serde(default)]
    pub deletes: i64,
    /// Those of them that take others along: namespaces, definitions, Flux objects.
    #[serde(default)]
    pub cascades: i64,
    /// Clusters that would lose something.
    #[serde(default)]
    pub clusters: i64,
    /// When the plan was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Time>,
}

/// What one change deleted over the fleet without approval.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeDeletions {
    /// The change: a revision of the source, or the end of objects.
    pub change: String,
    /// Objects that it deleted.
    #[serde(default)]
    pub objects: i64,
    /// Clusters that lost something.
    #[serde(default)]
    pub clusters: i64,
    /// When something was permitted last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Time>,
}
