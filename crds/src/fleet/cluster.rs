//! One spoke.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::meta::{Condition, Duration, SecretKeyRef, Time, is_false, is_zero};

/// How a spoke is reached, what selects it, and who may do what on it.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "fleet.nave.dev",
    version = "v1alpha1",
    kind = "Cluster",
    plural = "clusters",
    namespaced,
    status = "ClusterStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A spoke: one Kubernetes cluster that the hub drives. Its labels select it.",
    shortname = "fcl",
    category = "nave",
    label("app.kubernetes.io/part-of", "nave"),
    annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Connected",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Connected\")].status"
    ),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.kubernetesVersion"),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self.mode == oldSelf.mode",
        "message": "mode cannot be changed; forget the cluster and add it again",
        "fieldPath": ".mode"
    },
    {
        "rule": "self.mode == 'KubeConfig' ? has(self.kubeConfig) : !has(self.kubeConfig)",
        "message": "kubeConfig must be set with mode KubeConfig, and only then"
    },
    {
        "rule": "self.mode == 'Agent' || !has(self.identity)",
        "message": "identity belongs to mode Agent"
    }
]))]
pub struct ClusterSpec {
    /// Whether an agent dials in or the hub dials out. Cannot be changed.
    #[serde(default)]
    #[schemars(extend("default" = "Agent"))]
    pub mode: ClusterMode,
    /// Credentials for mode KubeConfig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kube_config: Option<ClusterKubeConfig>,
    /// Whether this cluster may receive desired state. Changing it needs the verb `approve`.
    #[serde(default = "yes")]
    #[schemars(extend("default" = true))]
    pub accepted: bool,
    /// Freezes the desired state of this cluster; it goes on with what it has.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
    /// Values for `${cluster.variables.<name>}` in fleet templates and `cluster_<name>` in manifests.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 256, "x-kubernetes-validations" = [{
        "rule": "self.all(name, name.matches('^[A-Za-z_][A-Za-z0-9_]{0,62}$'))",
        "message": "names of variables are letters, digits and underscores, at most 63, and do not start with a digit"
    }]))]
    pub variables: BTreeMap<String, String>,
    /// What each workspace may do here; its own namespace as admin when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 64, "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["workspace"]))]
    pub access: Vec<WorkspaceAccess>,
    /// Who the agent is. Written by the hub, kept here and not in the status so that backups hold it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<ClusterIdentity>,
    /// Which agent runs there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentSpec>,
    /// How the link behaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkSpec>,
}

fn yes() -> bool {
    true
}

/// Who dials.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ClusterMode {
    /// An agent in the cluster dials the hub; the hub holds no credentials.
    #[default]
    Agent,
    /// The hub dials the cluster's API server with a kubeconfig.
    KubeConfig,
}

/// Credentials for mode KubeConfig.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterKubeConfig {
    /// Secret that holds the kubeconfig, in the namespace of the cluster.
    pub secret_ref: SecretKeyRef,
}

/// What one workspace may do on a cluster: everything, or what one service account may do in some
/// namespaces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "(has(self.admin) && self.admin) != has(self.serviceAccountName)",
        "message": "either admin is true or serviceAccountName is set"
    },
    {
        "rule": "(has(self.admin) && self.admin) != has(self.namespaces)",
        "message": "either admin is true or namespaces are listed"
    }
]))]
pub struct WorkspaceAccess {
    /// Namespace of the hub whose fleet objects are meant.
    #[schemars(extend("minLength" = 1, "maxLength" = 63, "pattern" = crate::schema::DNS_LABEL_PATTERN))]
    pub workspace: String,
    /// Whether everything is allowed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub admin: bool,
    /// Namespaces of the spoke that the workspace may use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("minItems" = 1, "maxItems" = 64, "x-kubernetes-list-type" = "set", "items" = {"type": "string", "minLength": 1, "maxLength": 63, "pattern": crate::schema::DNS_LABEL_PATTERN}))]
    pub namespaces: Vec<String>,
    /// ServiceAccount, in each of those namespaces, whose rights are used.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(extend("minLength" = 1, "maxLength" = 253))]
    pub service_account_name: String,
}

/// Who the agent is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterIdentity {
    /// UID of the spoke's `kube-system` namespace, as the agent reported it when it joined.
    #[serde(rename = "clusterUID", default, skip_serializing_if = "String::is_empty")]
    #[schemars(extend("maxLength" = 128))]
    pub cluster_uid: String,
    /// Fingerprints of the keys that are accepted, newest last: `sha256:<hex>` of the public key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 8, "items" = {"type": "string", "maxLength": 71, "pattern": crate::schema::SHA256_PATTERN}))]
    pub keys: Vec<String>,
    /// Fingerprints of keys that were taken back, newest last. A session that shows one is told so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 32, "items" = {"type": "string", "maxLength": 71, "pattern": crate::schema::SHA256_PATTERN}))]
    pub revoked_keys: Vec<String>,
    /// Why this cluster is quarantined by hand, empty when it is not: it goes on with what it has, is sent nothing, and
    /// what it says counts for nothing. `nave quarantine` sets it, `nave release` ends it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(extend("maxLength" = 256))]
    pub quarantined: String,
    /// How long after its certificate ended a key may still renew without approval; 90 days when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_within: Option<Duration>,
}

/// Which agent runs on the spoke.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentSpec {
    /// Version to run; `auto` follows the hub.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(extend("default" = "auto", "maxLength" = 64))]
    pub version: String,
}

/// How the link behaves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinkSpec {
    /// What the line can bear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Standard"))]
    pub profile: Option<LinkProfile>,
}

/// What the line between hub and spoke can bear.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LinkProfile {
    /// Traffic costs nothing.
    #[default]
    Standard,
    /// Every byte counts: rarer heartbeats, no events, details only on demand.
    Metered,
}

/// What the hub knows of a spoke. Written only on change; nothing here selects a cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// Generation that was last handled.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
    /// What is known, by condition type: Joined, Connected, Ready, AgentCurrent, ClockSynced,
    /// Quarantined, Restored, PolicyLimited.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Version of the spoke's API server.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kubernetes_version: String,
    /// Version of the agent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agent_version: String,
    /// Features of the link that both ends have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 64))]
    pub features: Vec<String>,
    /// Carrier of the current or last session: `quic` or `tcp`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub transport: String,
    /// The current or last session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<ClusterSession>,
    /// When the last session ended; written only then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Time>,
    /// Keys that wait for approval.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 8))]
    pub pending_keys: Vec<PendingKey>,
    /// Digest of the policy that the spoke holds against the hub.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub policy_digest: String,
    /// What the agent says of its cluster. Never selected on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub facts: BTreeMap<String, String>,
    /// Flux objects by state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<ClusterCounts>,
}

/// A session of an agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSession {
    /// Random identifier of the agent's process.
    #[serde(rename = "instanceID")]
    pub instance_id: String,
    /// How often the agent has started, by its own count.
    pub boot_seq: i64,
}

/// A key that waits for approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingKey {
    /// Fingerprint of the key: `sha256:<hex>`.
    pub fingerprint: String,
    /// When it was first shown.
    pub time: Time,
    /// Why it waits.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Flux objects of a spoke by state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterCounts {
    /// As wanted.
    #[serde(default)]
    pub ready: i64,
    /// On their way.
    #[serde(default)]
    pub progressing: i64,
    /// Failed.
    #[serde(default)]
    pub failed: i64,
    /// Suspended.
    #[serde(default)]
    pub suspended: i64,
    /// Waiting for a permit or an approval.
    #[serde(default)]
    pub held: i64,
    /// Kept without a known owner.
    #[serde(default)]
    pub orphaned: i64,
}
