//! A token that lets agents join.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cluster::WorkspaceAccess;
use crate::meta::{Condition, Time, is_false, is_zero};

/// What the token stands for. The secret itself is never stored. Nothing changes but `revoked`.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "fleet.nave.dev",
    version = "v1alpha1",
    kind = "JoinToken",
    plural = "jointokens",
    namespaced,
    status = "JoinTokenStatus",
    derive = "PartialEq",
    doc = "A token that lets agents join as clusters of this namespace.",
    shortname = "jt",
    category = "nave",
    label("app.kubernetes.io/part-of", "nave"),
    annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled"),
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.cluster.name"),
    printcolumn(name = "Uses", type_ = "integer", json_path = ".spec.uses"),
    printcolumn(name = "Used By", type_ = "string", json_path = ".status.used[*].cluster"),
    printcolumn(name = "Revoked", type_ = "boolean", json_path = ".spec.revoked"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".spec.expiresAt"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self.hash == oldSelf.hash && self.expiresAt == oldSelf.expiresAt && self.uses == oldSelf.uses",
        "message": "a join token cannot be changed, only revoked"
    },
    {
        "rule": "has(self.approval) == has(oldSelf.approval) && (!has(self.approval) || self.approval == oldSelf.approval)",
        "message": "a join token cannot be changed, only revoked",
        "fieldPath": ".approval"
    },
    {
        "rule": "has(self.clusterUID) == has(oldSelf.clusterUID) && (!has(self.clusterUID) || self.clusterUID == oldSelf.clusterUID)",
        "message": "a join token cannot be changed, only revoked"
    },
    {
        "rule": "self.cluster == oldSelf.cluster",
        "message": "a join token cannot be changed, only revoked",
        "fieldPath": ".cluster"
    },
    {
        "rule": "!has(oldSelf.revoked) || !oldSelf.revoked || (has(self.revoked) && self.revoked)",
        "message": "a revoked token stays revoked; create another one"
    },
    {
        "rule": "self.uses == 1 || !has(self.cluster.name)",
        "message": "a token with a cluster name has one use; set cluster.namePrefix for more"
    }
]))]
pub struct JoinTokenSpec {
    /// Digest of the secret: `sha256:<hex>`.
    #[schemars(extend("pattern" = crate::schema::SHA256_PATTERN))]
    pub hash: String,
    /// When the token ends. The command line sets at most an hour unless asked for more.
    pub expires_at: Time,
    /// How many keys may join with it.
    #[serde(default = "one")]
    #[schemars(extend("default" = 1, "minimum" = 1, "maximum" = 10000, "format" = "int32"))]
    pub uses: i32,
    /// Whether a person has to approve each join; when not set, only tokens with one use do without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// Takes the token back. Clusters that joined with it stay.
    #[serde(default, skip_serializing_if = "is_false")]
    pub revoked: bool,
    /// Only the cluster with this UID may use the token.
    #[serde(rename = "clusterUID", default, skip_serializing_if = "String::is_empty")]
    #[schemars(extend("minLength" = 1, "maxLength" = 128))]
    pub cluster_uid: String,
    /// What the clusters that join become.
    pub cluster: JoinTokenCluster,
}

fn one() -> i32 {
    1
}

impl JoinTokenSpec {
    /// Whether a person has to approve each join.
    pub fn effective_approval(&self) -> Approval {
        self.approval.unwrap_or(if self.uses > 1 {
            Approval::Manual
        } else {
            Approval::Automatic
        })
    }
}

/// Who lets a joining agent in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Approval {
    /// The token is enough.
    Automatic,
    /// A person approves each join.
    Manual,
}

/// What the clusters that join become.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.name) != has(self.namePrefix)",
    "message": "either name or namePrefix is set"
}]))]
pub struct JoinTokenCluster {
    /// Name of the Cluster.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(extend("minLength" = 1, "maxLength" = 63, "pattern" = crate::schema::DNS_LABEL_PATTERN))]
    pub name: String,
    /// What the name that an agent asks for has to begin with.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(extend("minLength" = 1, "maxLength" = 50, "pattern" = "^[a-z0-9]([-a-z0-9]*)$"))]
    pub name_prefix: String,
    /// Labels of the Cluster. What the agent claims adds nothing to them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub labels: BTreeMap<String, String>,
    /// Variables of the Cluster.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {"type": "string", "maxLength": 1024}))]
    pub variables: BTreeMap<String, String>,
    /// Access of workspaces to the Cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 64, "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["workspace"]))]
    pub access: Vec<WorkspaceAccess>,
}

/// Who used the token.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JoinTokenStatus {
    /// Generation that was last handled.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
    /// What is known, by condition type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Keys that used the token, oldest first. Written before a certificate is issued.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 10000))]
    pub used: Vec<TokenUse>,
}

/// One use of a token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenUse {
    /// Name of the Cluster, in the namespace of the token.
    pub cluster: String,
    /// Fingerprint of the key: `sha256:<hex>`.
    pub key_fingerprint: String,
    /// When it was used first.
    pub time: Time,
}
