//! One chart of a repository, or of a folder, as source.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ChartVerification;
use crate::meta::{Artifact, Condition, Duration, is_false, is_zero, optional_spec};

/// Which chart, and which version of it.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", remote = "Self")]
#[kube(
    group = "source.toolkit.fluxcd.io",
    version = "v1",
    kind = "HelmChart",
    plural = "helmcharts",
    namespaced,
    status = "HelmChartStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A Helm chart, whose package becomes an artifact for HelmReleases to use.",
    shortname = "hc",
    category = "all",
    category = "fluxcd",
    category = "fluxcd-sources",
    label("app.kubernetes.io/part-of", "flux"),
    annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled"),
    printcolumn(name = "Chart", type_ = "string", json_path = ".spec.chart"),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.version"),
    printcolumn(name = "Source Kind", type_ = "string", json_path = ".spec.sourceRef.kind"),
    printcolumn(name = "Source Name", type_ = "string", json_path = ".spec.sourceRef.name"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message"
    )
)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.verify) || self.sourceRef.kind == 'HelmRepository'",
    "message": "spec.verify is only supported when spec.sourceRef.kind is 'HelmRepository'"
}]))]
pub struct HelmChartSpec {
    /// Name of the chart in a HelmRepository, or path of its folder or package in the artifact of
    /// another source.
    pub chart: String,
    /// A version or a range of versions; the latest when not set. Without meaning for charts from
    /// GitRepository and Bucket.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(extend("default" = "*"))]
    pub version: String,
    /// The source, in the same namespace.
    pub source_ref: ChartSourceRef,
    /// How often the source is asked for news.
    pub interval: Duration,
    /// What makes a new artifact: a new version of the chart, or any new revision of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "ChartVersion"))]
    pub reconcile_strategy: Option<ReconcileStrategy>,
    /// Values files that are merged in this order and replace the chart's own `values.yaml`. Their
    /// paths begin at the root of the source; for a HelmRepository at that of the chart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values_files: Vec<String>,
    /// Leaves values files out that do not exist, instead of failing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ignore_missing_values_files: bool,
    /// Stops the reconciliation of this object.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
    /// Which signatures the chart needs; only with a HelmRepository of type oci.
    #[serde(rename = "verify", default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<ChartVerification>,
}
optional_spec!(HelmChartSpec);

/// Where a chart comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChartSourceRef {
    /// API version of the source.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    /// Kind of the source.
    #[schemars(extend("enum" = ["HelmRepository", "GitRepository", "Bucket"]))]
    pub kind: String,
    /// Name of the source.
    pub name: String,
}

/// What makes a new artifact of a chart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReconcileStrategy {
    /// A new version in its `Chart.yaml`.
    #[default]
    ChartVersion,
    /// A new revision of its source, which becomes part of the version.
    Revision,
}

/// What the controller found and stored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HelmChartStatus {
    /// Generation that was last handled; -1 before the first time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
    /// Revision of the source's artifact that the chart was last made from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub observed_source_artifact_revision: String,
    /// Name of the chart in its `Chart.yaml`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub observed_chart_name: String,
    /// The values files that were found; only with `ignoreMissingValuesFiles`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observed_values_files: Vec<String>,
    /// What is known, by condition type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Address at which the latest artifact is served, whatever its revision.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// What is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,
    /// The request for a reconcile that was last handled.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_handled_reconcile_at: String,
}
