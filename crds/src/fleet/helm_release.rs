//! A HelmRelease for many clusters.

use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::kustomization::{
    Delivery, FleetKustomizationStatus, FleetSource, FleetTemplate, FleetTemplateMetadata, SecretUse,
};
use super::placement::{Override, Placement};
use super::rollout::{Deletion, Rollout};
use crate::meta::is_false;

/// A Flux HelmRelease as template, the source of its chart, and the clusters it goes to.
///
/// In the strings of `source.template` and `template`, values included, and of overrides, `${cluster.name}`,
/// `${cluster.labels.<key>}` and `${cluster.variables.<name>}` stand for the cluster at hand.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "fleet.nave.dev",
    version = "v1alpha1",
    kind = "FleetHelmRelease",
    plural = "fleethelmreleases",
    namespaced,
    status = "FleetKustomizationStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A Flux HelmRelease for every cluster that a placement selects.",
    shortname = "fhr",
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
pub struct FleetHelmReleaseSpec {
    /// Suspends the Flux objects on every cluster.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
    /// Namespace of the Flux objects on a spoke, and of the release unless `template.spec.targetNamespace` says another.
    /// When empty: the workspace's name for an admin of the cluster, the first namespace of the grant for everyone else.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(extend("minLength" = 1, "maxLength" = 63, "pattern" = crate::schema::DNS_LABEL_PATTERN))]
    pub spoke_namespace: String,
    /// Which clusters.
    #[serde(default)]
    pub placement: Placement,
    /// Where the chart comes from. For a GitRepository or HelmRepository, `template.spec.chart.spec.chart` says which
    /// chart of it; an OCIRepository, HelmChart or ExternalArtifact is a chart by itself.
    #[schemars(schema_with = "chart_source")]
    pub source: FleetSource,
    /// Who fetches the source.
    #[serde(default)]
    #[schemars(extend("default" = "Artifact"))]
    pub delivery: Delivery,
    /// The HelmRelease.
    #[schemars(schema_with = "release_template")]
    pub template: FleetTemplate,
    /// Changes of the template for some clusters, in order: their values, for example.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 256))]
    pub overrides: Vec<Override>,
    /// Secrets of this namespace that go along to `spokeNamespace`, for `valuesFrom`. Each needs the label
    /// `fleet.nave.dev/distribute: "true"`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 64, "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub secrets: Vec<SecretUse>,
    /// What happens when a cluster is no longer selected, or this object is deleted: the release is uninstalled or left.
    #[serde(default)]
    pub deletion: Deletion,
    /// How a new revision travels through the fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
}

/// [`FleetSource`] for charts: other kinds, and no files to choose.
fn chart_source(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "description": "Where the chart comes from: a source made from a template, or one that exists.",
        "properties": {
            "template": {
                "type": "object",
                "description": "A source to make.",
                "required": ["kind", "spec"],
                "properties": {
                    "kind": {
                        "type": "string",
                        "description": "Kind of the source.",
                        "enum": ["GitRepository", "HelmRepository", "OCIRepository"],
                    },
                    "spec": {
                        "type": "object",
                        "description": "Spec of the source.",
                        "x-kubernetes-preserve-unknown-fields": true,
                    },
                },
            },
            "ref": {
                "type": "object",
                "description": "A source of the hub, in the namespace of the fleet object.",
                "required": ["kind", "name"],
                "properties": {
                    "kind": {
                        "type": "string",
                        "description": "Kind of the source.",
                        "enum": ["GitRepository", "HelmRepository", "OCIRepository", "HelmChart", "ExternalArtifact"],
                    },
                    "name": {
                        "type": "string",
                        "description": "Name of the source.",
                        "minLength": 1,
                        "maxLength": 253,
                    },
                },
            },
        },
        "x-kubernetes-validations": [{
            "rule": "has(self.template) != has(self.ref)",
            "message": "exactly one of source.template and source.ref must be set",
        }],
    })
}

/// [`FleetTemplate`] as it reads for a HelmRelease.
fn release_template(generator: &mut SchemaGenerator) -> Schema {
    let mut metadata = FleetTemplateMetadata::json_schema(generator);
    metadata.insert("description".into(), "Labels and annotations.".into());
    metadata.remove("title");
    json_schema!({
        "type": "object",
        "description": "A HelmRelease without its name.",
        "required": ["spec"],
        "properties": {
            "metadata": metadata,
            "spec": {
                "type": "object",
                "description": "Spec of the HelmRelease. `chartRef`, `chart.spec.sourceRef` and `kubeConfig` are the hub's business.",
                "x-kubernetes-preserve-unknown-fields": true,
            },
        },
    })
}
