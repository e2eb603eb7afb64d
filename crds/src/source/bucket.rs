//! A bucket of an object storage as source.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::meta::{Artifact, Condition, Duration, LocalRef, is_false, is_zero, optional_spec};

/// Which objects of which bucket become the artifact.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", remote = "Self")]
#[kube(
    group = "source.toolkit.fluxcd.io",
    version = "v1",
    kind = "Bucket",
    plural = "buckets",
    namespaced,
    status = "BucketStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A bucket of an object storage whose content becomes an artifact for other objects to use.",
    category = "all",
    category = "fluxcd",
    category = "fluxcd-sources",
    label("app.kubernetes.io/part-of", "flux"),
    annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled"),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".spec.endpoint"),
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
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self.provider == 'aws' || self.provider == 'generic' || !has(self.sts)",
        "message": "STS configuration is only supported for the 'aws' and 'generic' Bucket providers"
    },
    {
        "rule": "self.provider != 'aws' || !has(self.sts) || self.sts.provider == 'aws'",
        "message": "'aws' is the only supported STS provider for the 'aws' Bucket provider"
    },
    {
        "rule": "self.provider != 'generic' || !has(self.sts) || self.sts.provider == 'ldap'",
        "message": "'ldap' is the only supported STS provider for the 'generic' Bucket provider"
    },
    {
        "rule": "!has(self.sts) || self.sts.provider != 'aws' || !has(self.sts.secretRef)",
        "message": "spec.sts.secretRef is not required for the 'aws' STS provider"
    },
    {
        "rule": "!has(self.sts) || self.sts.provider != 'aws' || !has(self.sts.certSecretRef)",
        "message": "spec.sts.certSecretRef is not required for the 'aws' STS provider"
    },
    {
        "rule": "self.provider != 'generic' || !has(self.serviceAccountName)",
        "message": "ServiceAccountName is not supported for the 'generic' Bucket provider"
    },
    {
        "rule": "!has(self.secretRef) || !has(self.serviceAccountName)",
        "message": "cannot set both .spec.secretRef and .spec.serviceAccountName"
    }
]))]
pub struct BucketSpec {
    /// Whose storage it is, and how to authenticate; `generic` speaks S3 with static keys or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "generic"))]
    pub provider: Option<BucketProvider>,
    /// Name of the bucket, or of the container.
    pub bucket_name: String,
    /// Host and port of the storage without a scheme; for azure the URL of the account.
    pub endpoint: String,
    /// Where short-lived keys come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sts: Option<BucketSts>,
    /// Speaks http in place of https.
    #[serde(default, skip_serializing_if = "is_false")]
    pub insecure: bool,
    /// Region of the endpoint.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// Only objects whose keys begin so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// Secret with credentials: `accesskey` and `secretkey`; `serviceaccount` for gcp; for azure one of several sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalRef>,
    /// ServiceAccount whose cloud identity is used; not with the provider generic.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service_account_name: String,
    /// Secret with `ca.crt`, and `tls.crt` with `tls.key`, for TLS with the storage; for the providers generic and aws.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<LocalRef>,
    /// Secret with the proxy to use: `address` and, if needed, `username` and `password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_secret_ref: Option<LocalRef>,
    /// How often the bucket is asked for news.
    pub interval: Duration,
    /// Limit for listing, and for downloading; 60 seconds when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "60s", "pattern" = crate::schema::SHORT_DURATION_PATTERN))]
    pub timeout: Option<Duration>,
    /// Patterns in the form of `.gitignore` of what stays out of the artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore: Option<String>,
    /// Stops the reconciliation of this object.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
}
optional_spec!(BucketSpec);

/// Where short-lived keys for a bucket come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BucketSts {
    /// Which kind of service.
    pub provider: StsProvider,
    /// Address of the service.
    #[schemars(extend("pattern" = "^(http|https)://.*$"))]
    pub endpoint: String,
    /// Secret with `username` and `password`; for ldap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalRef>,
    /// Secret with `ca.crt`, and `tls.crt` with `tls.key`, for TLS with the service; for ldap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<LocalRef>,
}

/// Kinds of services for short-lived keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StsProvider {
    /// AWS' own, at another address.
    #[default]
    Aws,
    /// One that takes a user of a directory (`AssumeRoleWithLDAPIdentity`).
    Ldap,
}

impl StsProvider {
    /// As it stands in a spec.
    pub fn as_str(self) -> &'static str {
        match self {
            StsProvider::Aws => "aws",
            StsProvider::Ldap => "ldap",
        }
    }
}

/// Whose storage a bucket is in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BucketProvider {
    /// Anyone's that speaks S3.
    #[default]
    Generic,
    /// S3, also with an IAM identity.
    Aws,
    /// Google Cloud Storage.
    Gcp,
    /// Azure Blob Storage.
    Azure,
}

impl BucketProvider {
    /// As it stands in a spec.
    pub fn as_str(self) -> &'static str {
        match self {
            BucketProvider::Generic => "generic",
            BucketProvider::Aws => "aws",
            BucketProvider::Gcp => "gcp",
            BucketProvider::Azure => "azure",
        }
    }
}

/// What the controller found and stored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BucketStatus {
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
    /// The request for a reconcile that was last handled.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_handled_reconcile_at: String,
}
