//! A repository of Helm charts as source.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::OciProvider;
use crate::meta::{Artifact, Condition, Duration, LocalRef, is_false, is_zero, optional_spec};

/// Which chart repository to read.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", remote = "Self")]
#[kube(
    group = "source.toolkit.fluxcd.io",
    version = "v1",
    kind = "HelmRepository",
    plural = "helmrepositories",
    namespaced,
    status = "HelmRepositoryStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A repository of Helm charts, whose index becomes an artifact.",
    shortname = "helmrepo",
    category = "all",
    category = "fluxcd",
    category = "fluxcd-sources",
    label("app.kubernetes.io/part-of", "flux"),
    annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled"),
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.url"),
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
pub struct HelmRepositorySpec {
    /// Address of the repository: http or https, or oci with `type: oci`.
    #[schemars(extend("pattern" = "^(http|https|oci)://.*$"))]
    pub url: String,
    /// Secret with `username` and `password`, or of type `kubernetes.io/dockerconfigjson` for oci.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalRef>,
    /// Secret with `ca.crt`, and `tls.crt` and `tls.key`, for TLS with the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<LocalRef>,
    /// Also sends the credentials to the hosts that the index names for charts.
    #[serde(default, skip_serializing_if = "is_false")]
    pub pass_credentials: bool,
    /// How often the index is asked for news; one minute when not set. Without meaning for oci.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = crate::schema::DURATION_PATTERN))]
    pub interval: Option<Duration>,
    /// Allows plain HTTP for oci.
    #[serde(default, skip_serializing_if = "is_false")]
    pub insecure: bool,
    /// Limit for one request; 60 seconds when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = crate::schema::SHORT_DURATION_PATTERN))]
    pub timeout: Option<Duration>,
    /// Stops the reconciliation of this object.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
    /// Reserved by Flux: accepted and without effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_from: Option<AccessFrom>,
    /// What kind of repository; an index over http when not set.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<HelmRepositoryType>,
    /// Who authenticates with an oci registry; `generic` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "generic"))]
    pub provider: Option<OciProvider>,
}
optional_spec!(HelmRepositorySpec);

/// What kind of chart repository.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HelmRepositoryType {
    /// An `index.yaml` over http or https.
    #[default]
    Default,
    /// A registry, whose charts are repositories below the URL.
    Oci,
}

/// Namespaces whose objects may use this one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessFrom {
    /// Any of them.
    pub namespace_selectors: Vec<NamespaceSelector>,
}

/// Namespaces by their labels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// All of them have to be there; none selects every namespace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
}

/// What the controller found and stored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HelmRepositoryStatus {
    /// Generation that was last handled; -1 before the first time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
    /// What is known, by condition type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Address at which the latest index is served, whatever its revision.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// What is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,
    /// The request for a reconcile that was last handled.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_handled_reconcile_at: String,
}
