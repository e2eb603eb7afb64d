//! Artifacts composed of, and split from, the artifacts of sources.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::meta::{Condition, optional_spec};

/// A DNS label or alias without underscores.
const NAME: &str = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$";
const ALIAS: &str = "^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$";
const AT_ALIAS: &str = "^@([a-z0-9]([a-z0-9_-]*[a-z0-9])?)$";
const AT_ALIAS_PATH: &str = "^@([a-z0-9]([a-z0-9_-]*[a-z0-9])?)/(.*)$";

/// Which sources there are, and what is made of them.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", remote = "Self")]
#[kube(
    group = "source.extensions.fluxcd.io",
    version = "v1beta1",
    kind = "ArtifactGenerator",
    plural = "artifactgenerators",
    namespaced,
    status = "ArtifactGeneratorStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "Composes the artifacts of sources to new ones, and splits them, as ExternalArtifacts.",
    shortname = "ag",
    category = "all",
    category = "fluxcd",
    category = "fluxcd-sources",
    label("app.kubernetes.io/part-of", "flux"),
    annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled"),
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
    "rule": "has(self.pathPattern) && size(self.pathPattern) > 0 || self.artifacts.all(a, a.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'))",
    "message": "artifact names must be valid Kubernetes object names when pathPattern is not set"
}]))]
pub struct ArtifactGeneratorSpec {
    /// Labels and annotations of everything that is generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub common_metadata: Option<CommonMetadata>,
    /// `@alias/path` with `{name}` in place of path segments: every directory that matches yields one artifact per entry of
    /// `artifacts`, in which `{name}` stands for what was found.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(extend("pattern" = AT_ALIAS_PATH, "maxLength" = 1024))]
    pub path_pattern: String,
    /// The sources, each with an alias.
    #[schemars(extend("minItems" = 1, "maxItems" = 1000))]
    pub sources: Vec<GeneratorSource>,
    /// What is made of them.
    #[schemars(extend("minItems" = 1, "maxItems" = 1000))]
    pub artifacts: Vec<OutputArtifact>,
}
optional_spec!(ArtifactGeneratorSpec);

/// Labels and annotations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommonMetadata {
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A source under an alias.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GeneratorSource {
    /// Under which name the copy rules know it.
    #[schemars(extend("pattern" = ALIAS, "maxLength" = 63))]
    pub alias: String,
    /// Kind of the source.
    #[schemars(extend("enum" = ["Bucket", "GitRepository", "OCIRepository", "HelmChart", "ExternalArtifact"]))]
    pub kind: String,
    /// Name of the source.
    #[schemars(extend("pattern" = NAME, "maxLength" = 253))]
    pub name: String,
    /// Namespace of the source; when empty, that of the generator.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(extend("pattern" = crate::schema::DNS_LABEL_PATTERN, "minLength" = 1, "maxLength" = 63))]
    pub namespace: String,
}

/// One artifact to make.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutputArtifact {
    /// Name of the ExternalArtifact; with `pathPattern` it may hold `{name}`.
    #[schemars(extend("minLength" = 1, "maxLength" = 253))]
    pub name: String,
    /// `@alias`: the artifact has the revision of that source. Else `latest@<digest>`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(extend("pattern" = AT_ALIAS, "maxLength" = 64))]
    pub revision: String,
    /// `@alias`: the revision of that source goes into the artifact's metadata.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(extend("pattern" = AT_ALIAS, "maxLength" = 64))]
    pub origin_revision: String,
    /// What is copied, in this order.
    #[schemars(extend("minItems" = 1))]
    pub copy: Vec<CopyOperation>,
}

/// One rule of what is copied where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CopyOperation {
    /// `@alias/path`, where the path may be a glob.
    #[schemars(extend("pattern" = AT_ALIAS_PATH, "minLength" = 1, "maxLength" = 1024))]
    pub from: String,
    /// `@artifact/path`.
    #[schemars(extend("pattern" = "^@(artifact)/(.*)$", "minLength" = 1, "maxLength" = 1024))]
    pub to: String,
    /// Globs of what is not copied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 100))]
    pub exclude: Vec<String>,
    /// What happens where a file is already; `Overwrite` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<CopyStrategy>,
}

/// What happens to what is copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CopyStrategy {
    /// A file that is there is replaced.
    #[default]
    Overwrite,
    /// YAML is merged into the file that is there.
    Merge,
    /// Archives are unpacked.
    Extract,
}

/// What was generated.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactGeneratorStatus {
    /// What is known, by condition type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// What exists of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inventory: Vec<GeneratedArtifact>,
    /// Digest over the artifacts of all sources that it was made of.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub observed_sources_digest: String,
    /// The request for a reconcile that was last handled.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_handled_reconcile_at: String,
}

/// An ExternalArtifact that was generated.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GeneratedArtifact {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Digest of the stored file.
    pub digest: String,
    /// Name of the stored file.
    pub filename: String,
}
