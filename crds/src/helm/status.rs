//! The status of a HelmRelease.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kustomize::ResourceInventory;
use crate::meta::{Condition, Time, is_zero};

/// What was released, and how it went.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HelmReleaseStatus {
    /// Generation that was last brought to an end; -1 before the first time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub observed_generation: i64,
    /// Digest of the post-renderers of the last release that succeeded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub observed_post_renderers_digest: String,
    /// Digest of the common metadata of the last release that succeeded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub observed_common_metadata_digest: String,
    /// Generation that was last tried.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub last_attempted_generation: i64,
    /// What is known, by condition type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// `<namespace>/<name>` of the HelmChart made for this object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub helm_chart: String,
    /// Namespace in which Helm stores the release now.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(extend("minLength" = 1, "maxLength" = 63))]
    pub storage_namespace: String,
    /// Versions of the release, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<ReleaseSnapshot>,
    /// Objects of the release, hooks apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<ResourceInventory>,
    /// The action that was last tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempted_release_action: Option<ReleaseAction>,
    /// How long it took, as a Go duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempted_release_action_duration: Option<String>,
    /// Failures since the last success or change.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: i64,
    /// Failed installations since the last success or change.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub install_failures: i64,
    /// Failed upgrades since the last success or change.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub upgrade_failures: i64,
    /// Version of the chart that was last tried.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_attempted_revision: String,
    /// Digest of the artifact that was last tried, for charts from OCI.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_attempted_revision_digest: String,
    /// Not used any more.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_attempted_values_checksum: String,
    /// Not used any more.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(schema_with = "crate::schema::integer")]
    pub last_release_revision: i64,
    /// Digest of the values that were last tried.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_attempted_config_digest: String,
    /// The request for a forced release that was last handled.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_handled_force_at: String,
    /// The request for a reset of the failure counts that was last handled.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_handled_reset_at: String,
    /// The request for a reconcile that was last handled.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_handled_reconcile_at: String,
}

impl HelmReleaseStatus {
    /// Whether `revision` of an artifact is the one that was last tried. A revision that carries a digest, as those of
    /// registries do, is told by it: the version of the chart then has a part of the digest as build metadata.
    pub fn has_attempted(&self, revision: &str) -> bool {
        if self.last_attempted_revision == revision {
            return true;
        }
        let digest = revision.split_once('@').map_or(revision, |(_, digest)| digest);
        digest.contains(':') && self.last_attempted_revision_digest == digest
    }

    /// Whether a release stands and is the last one that was tried.
    pub fn is_deployed(&self) -> bool {
        self.history.first().is_some_and(|newest| newest.status == "deployed")
    }
}

/// What a release is made by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReleaseAction {
    /// Installing.
    Install,
    /// Upgrading.
    Upgrade,
}

/// One version of a release, as it was when it was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseSnapshot {
    /// Version of the form of `digest`: `v2`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    /// Digest of the release as Helm stores it: `sha256:<hex>`.
    pub digest: String,
    /// Name of the release.
    pub name: String,
    /// Namespace of the release.
    pub namespace: String,
    /// Version of the release.
    #[schemars(schema_with = "crate::schema::integer")]
    pub version: i64,
    /// Helm's word for its state.
    pub status: String,
    /// What made it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub action: String,
    /// Name of the chart.
    pub chart_name: String,
    /// Version of the chart.
    pub chart_version: String,
    /// Version of the application, as the chart says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub app_version: String,
    /// Digest of the values.
    pub config_digest: String,
    /// When the release was first installed.
    pub first_deployed: Time,
    /// When this version was made.
    pub last_deployed: Time,
    /// When it was uninstalled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Time>,
    /// How its tests went, by name; none before they were looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_hooks: Option<BTreeMap<String, TestHookStatus>>,
    /// Digest of the artifact, for charts from OCI.
    #[serde(default, rename = "ociDigest", skip_serializing_if = "String::is_empty")]
    pub oci_digest: String,
}

/// How a test went.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestHookStatus {
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_started: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_completed: Option<Time>,
    /// `Unknown`, `Running`, `Succeeded` or `Failed`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub phase: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_told_by_version_or_digest() {
        let check = |version: &str, digest: &str, revision: &str, want: bool| {
            let status = HelmReleaseStatus {
                last_attempted_revision: version.into(),
                last_attempted_revision_digest: digest.into(),
                ..HelmReleaseStatus::default()
            };
            assert_eq!(
                status.has_attempted(revision),
                want,
                "{version} {digest} against {revision}"
            );
        };
        check("1.2.3", "", "1.2.3", true);
        check("1.2.3", "", "1.2.4", false);
        check("1.2.3+0123", "sha256:0123", "1.2.3@sha256:0123", true);
        check("1.2.3+0123", "sha256:0123", "sha256:0123", true);
        check("1.2.3+0123", "sha256:0123", "1.2.3@sha256:4567", false);
        check("", "", "", true);
        check("1.2.3", "", "", false);
    }
}
