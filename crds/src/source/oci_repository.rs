//! An OCI repository as source.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::OciVerification;
use crate::meta::{Artifact, Condition, Duration, LocalRef, is_false, is_zero, optional_spec};

/// Which OCI repository to watch, and what of it becomes the artifact.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", remote = "Self")]
#[kube(
    group = "source.toolkit.fluxcd.io",
    version = "v1",
    kind = "OCIRepository",
    plural = "ocirepositories",
    namespaced,
    status = "OciRepositoryStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "An OCI repository of which one layer becomes an artifact for other objects to use.",
    shortname = "ocirepo",
    category = "all",
    category = "fluxcd",
    category = "fluxcd-sources",
    label("app.kubernetes.io/part-of", "flux"),
    annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled"),
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.url"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct OciRepositorySpec {
    /// Address of the repository, `oci://<registry>/<repository>`, without a tag.
    #[schemars(extend("pattern" = "^oci://.*$"))]
    pub url: String,
    /// What to pull; the tag `latest` when not set.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<OciRepositoryRef>,
    /// Which layer to take and what to do with it; the first one is unpacked when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer_selector: Option<OciLayerSelector>,
    /// Who authenticates; `generic` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "generic"))]
    pub provider: Option<OciProvider>,
    /// Secret of type `kubernetes.io/dockerconfigjson` with credentials for the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalRef>,
    /// Which signatures the artifact needs.
    #[serde(rename = "verify", default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<OciVerification>,
    /// ServiceAccount whose image pull secrets are used, or whose cloud identity.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service_account_name: String,
    /// Secret with `ca.crt`, and `tls.crt` and `tls.key`, for TLS with the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<LocalRef>,
    /// Secret with the proxy to use: `address` and, if needed, `username` and `password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_secret_ref: Option<LocalRef>,
    /// How often the repository is asked for news.
    pub interval: Duration,
    /// Limit for one step such as listing tags or pulling the layer; 60 seconds when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "60s", "pattern" = crate::schema::SHORT_DURATION_PATTERN))]
    pub timeout: Option<Duration>,
    /// Patterns in the form of `.gitignore` of what stays out of the artifact. Setting any pattern
    /// drops the built-in ones, except for Git's own files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore: Option<String>,
    /// Allows plain HTTP and, without `certSecretRef`, certificates that nobody vouches for.
    #[serde(default, skip_serializing_if = "is_false")]
    pub insecure: bool,
    /// Stops the reconciliation of this object.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
}
optional_spec!(OciRepositorySpec);

/// What to pull. Precedence: digest, semver, tag.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OciRepositoryRef {
    /// Digest of a manifest, `sha256:<hex>`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// A range of versions; the highest tag within wins.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub semver: String,
    /// Regular expression that a tag has to match to be looked at by `semver`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub semver_filter: String,
    /// A tag.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tag: String,
}

/// Which layer of an artifact to take, and what to do with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OciLayerSelector {
    /// The first layer of this media type; when empty, the first of all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// `extract` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OciLayerOperation>,
}

/// What becomes of a layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OciLayerOperation {
    /// It is unpacked, and its files become the artifact.
    #[default]
    Extract,
    /// It is the artifact, byte for byte.
    Copy,
}

/// Who provides the credentials for a registry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OciProvider {
    /// Secrets, or nobody.
    #[default]
    Generic,
    /// Elastic Container Registry through an IAM identity.
    Aws,
    /// Azure Container Registry through an Entra identity.
    Azure,
    /// Artifact Registry through a Google identity.
    Gcp,
}

impl OciProvider {
    /// As it stands in a spec.
    pub fn as_str(self) -> &'static str {
        match self {
            OciProvider::Generic => "generic",
            OciProvider::Aws => "aws",
            OciProvider::Azure => "azure",
            OciProvider::Gcp => "gcp",
        }
    }
}

/// What the controller found and stored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OciRepositoryStatus {
    /// Generation that was last handled; -1 before the first time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
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
    /// `spec.ignore` as of the stored artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_ignore: Option<String>,
    /// `spec.layerSelector` as of the stored artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_layer_selector: Option<OciLayerSelector>,
    /// The request for a reconcile that was last handled.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_handled_reconcile_at: String,
}
