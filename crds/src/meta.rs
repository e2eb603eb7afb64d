//! What several kinds share: artifacts, references, durations.

mod duration;

pub use duration::{Duration, DurationError};
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, LabelSelectorRequirement, Time};
pub use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a source controller stored for one revision of a source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// Path of the file below the storage directory: `<kind>/<namespace>/<name>/<file>`.
    pub path: String,
    /// HTTP address of the file, for consumers inside the cluster.
    pub url: String,
    /// Where the content came from, in a form people can trace: `<ref>@<algorithm>:<hex>` or the like.
    pub revision: String,
    /// Digest of the stored file: `<algorithm>:<checksum>`.
    #[schemars(extend("pattern" = crate::schema::DIGEST_PATTERN))]
    pub digest: String,
    /// When this artifact was stored.
    pub last_update_time: Time,
    /// Size of the stored file in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<i64>,
    /// Facts from upstream, such as annotations of an OCI manifest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// An object in the same namespace, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalRef {
    /// Name of the object.
    pub name: String,
}

/// A key of a Secret in the same namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    pub name: String,
    /// Key in the Secret; when empty, `value` and then `value.yaml` are tried.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
}

/// An object by kind and name, possibly in another namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespacedObjectKindRef {
    /// API version of the object; when empty, `apps/v1` is meant.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    /// Kind of the object.
    pub kind: String,
    /// Name of the object.
    pub name: String,
    /// Namespace of the object; when empty, that of the referrer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// Another object of the same kind that has to be ready first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DependencyRef {
    /// Name of the object.
    pub name: String,
    /// Namespace of the object; when empty, that of the referrer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// CEL expression over `self` and `dep` (both whole objects) that decides in place of the
    /// built-in check of readiness.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ready_expr: String,
}

/// How another cluster is reached. Exactly one of the two references is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "has(self.configMapRef) || has(self.secretRef)",
        "message": "exactly one of spec.kubeConfig.configMapRef or spec.kubeConfig.secretRef must be specified"
    },
    {
        "rule": "!has(self.configMapRef) || !has(self.secretRef)",
        "message": "exactly one of spec.kubeConfig.configMapRef or spec.kubeConfig.secretRef must be specified"
    }
]))]
pub struct KubeConfigRef {
    /// ConfigMap that says how to get short-lived credentials from a cloud: keys `provider`,
    /// `cluster`, `address`, `ca.crt`, `audiences`, `serviceAccountName`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<LocalRef>,
    /// Secret that holds a kubeconfig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
}

/// For `skip_serializing_if`: Go's `omitempty` on a bool.
pub(crate) fn is_false(value: &bool) -> bool {
    !value
}

/// For `skip_serializing_if`: Go's `omitempty` on a number.
pub(crate) fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// Makes a missing `spec` read as the default one.
///
/// Flux's schemas do not require `spec`, and one such object in a list must not keep the whole
/// list from being read. The derived code of the type moves to an inherent function
/// (`#[serde(remote = "Self")]`), and this macro wraps it.
macro_rules! optional_spec {
    ($spec:ty) => {
        impl serde::Serialize for $spec {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                <$spec>::serialize(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $spec {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Present($spec);
                impl<'de> serde::Deserialize<'de> for Present {
                    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                        <$spec>::deserialize(deserializer).map(Present)
                    }
                }
                let spec = <Option<Present> as serde::Deserialize>::deserialize(deserializer)?;
                Ok(spec.map(|present| present.0).unwrap_or_default())
            }
        }
    };
}
pub(crate) use optional_spec;
