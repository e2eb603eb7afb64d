//! How a HelmRelease installs, upgrades, tests, rolls back and uninstalls.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::meta::{Duration, is_false};

/// How the chart is installed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Install {
    /// Limit for each hook and for the wait; `spec.timeout` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// What happens after a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<InstallStrategy>,
    /// How a failure is remedied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remediation: Option<InstallRemediation>,
    /// Whether objects that belong to somebody else are left alone, which fails the installation.
    #[serde(default, skip_serializing_if = "is_false")]
    pub disable_take_ownership: bool,
    /// Whether the installation ends without waiting for health.
    #[serde(default, skip_serializing_if = "is_false")]
    pub disable_wait: bool,
    /// Whether Jobs are not waited for.
    #[serde(default, skip_serializing_if = "is_false")]
    pub disable_wait_for_jobs: bool,
    /// Whether hooks are not run.
    #[serde(default, skip_serializing_if = "is_false")]
    pub disable_hooks: bool,
    /// Whether manifests are not checked against the API's schemas.
    #[serde(default, rename = "disableOpenAPIValidation", skip_serializing_if = "is_false")]
    pub disable_open_api_validation: bool,
    /// Whether values are not checked against the chart's schema.
    #[serde(default, skip_serializing_if = "is_false")]
    pub disable_schema_validation: bool,
    /// Whether the name of an uninstalled release may be used again.
    #[serde(default, skip_serializing_if = "is_false")]
    pub replace: bool,
    /// Whether the chart's CRDs are left out. Old form of `crds: Skip`.
    #[serde(default, rename = "skipCRDs", skip_serializing_if = "is_false")]
    pub skip_crds: bool,
    /// What is done with the chart's CRDs; `Create` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crds: Option<CrdsPolicy>,
    /// Whether `targetNamespace` is created when it is missing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub create_namespace: bool,
    /// Whether objects are applied by the server; true when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_side_apply: Option<bool>,
}

/// What happens after an installation failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.retryInterval) || self.name != 'RemediateOnFailure'",
    "message": ".retryInterval cannot be set when .name is 'RemediateOnFailure'"
}]))]
pub struct InstallStrategy {
    /// Which strategy.
    pub name: StrategyName,
    /// Time between two tries; 5 minutes when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_interval: Option<Duration>,
}

/// What happens after an upgrade failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.retryInterval) || self.name == 'RetryOnFailure'",
    "message": ".retryInterval can only be set when .name is 'RetryOnFailure'"
}]))]
pub struct UpgradeStrategy {
    /// Which strategy.
    pub name: StrategyName,
    /// Time between two tries; 5 minutes when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_interval: Option<Duration>,
}

/// What happens after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StrategyName {
    /// As `remediation` says.
    RemediateOnFailure,
    /// Another try, for ever.
    RetryOnFailure,
}

/// How a failed installation is remedied: it is uninstalled, and tried again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstallRemediation {
    /// Tries after the first one; a negative number means without end.
    #[serde(default, skip_serializing_if = "zero")]
    #[schemars(schema_with = "crate::schema::integer")]
    pub retries: i64,
    /// Whether failed tests are no failure; `test.ignoreFailures` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore_test_failures: Option<bool>,
    /// Whether the last failure is remedied too; false when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remediate_last_failure: Option<bool>,
}

/// How a failed upgrade is remedied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeRemediation {
    /// Tries after the first one; a negative number means without end.
    #[serde(default, skip_serializing_if = "zero")]
    #[schemars(schema_with = "crate::schema::integer")]
    pub retries: i64,
    /// Whether failed tests are no failure; `test.ignoreFailures` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore_test_failures: Option<bool>,
    /// Whether the last failure is remedied too; when not set, if there are retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remediate_last_failure: Option<bool>,
    /// What is done; `rollback` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<RemediationStrategy>,
}

fn zero(value: &i64) -> bool {
    *value == 0
}

/// How a failed upgrade is undone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RemediationStrategy {
    /// The release before it comes back.
    #[default]
    Rollback,
    /// The release is removed.
    Uninstall,
}

/// What is done with the CRDs of a chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CrdsPolicy {
    /// Nothing.
    Skip,
    /// Those that do not exist are created.
    Create,
    /// All are created or replaced.
    CreateReplace,
}

/// Whether objects are applied by the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ApplyToggle {
    /// By the server.
    Enabled,
    /// By a merge on our side.
    Disabled,
    /// As for the release before.
    #[default]
    Auto,
}

/// How the chart is upgraded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Upgrade {
    /// Limit for each hook and for the wait; `spec.timeout` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// What happens after a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<UpgradeStrategy>,
    /// How a failure is remedied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remediation: Option<UpgradeRemediation>,
    /// Whether objects that belong to somebody else are left alone, which fails the upgrade.
    #[serde(default, skip_serializing_if = "is_false")]
    pub disable_take_ownership: bool,
    /// Whether the upgrade ends without waiting for health.
    #[serde(default, skip_serializing_if = "is_false")]
    pub disable_wait: bool,
    /// Whether Jobs are not waited for.
    #[serde(default, skip_serializing_if = "is_false")]
    pub disable_wait_for_jobs: bool,
    /// Whether hooks are not run.
    #[serde(default, skip_serializing_if = "is_false")]
    pub disable_hooks: bool,
    /// Whether manifests are not checked against the API's schemas.
    #[serde(default, rename = "disableOpenAPIValidation", skip_serializing_if = "is_false")]
    pub disable_open_api_validation: bool,
    /// Whether values are not checked against the chart's schema.
    #[serde(default, skip_serializing_if = "is_false")]
    pub disable_schema_validation: bool,
    /// Whether objects are replaced instead of merged.
    #[serde(default, skip_serializing_if = "is_false")]
    pub force: bool,
    /// Whether the values of the release before are kept below the new ones.
    #[serde(default, skip_serializing_if = "is_false")]
    pub preserve_values: bool,
    /// Whether objects that a failed upgrade created are deleted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cleanup_on_fail: bool,
    /// What is done with the chart's CRDs; `Create` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crds: Option<CrdsPolicy>,
    /// Whether objects are applied by the server; `auto` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_side_apply: Option<ApplyToggle>,
    /// What happens when the name of the chart changes; `Reinstall` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chart_name_change_strategy: Option<ChartNameChangeStrategy>,
}

/// What happens when the name of the chart changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ChartNameChangeStrategy {
    /// It is a new version of the release.
    InPlaceUpdate,
    /// The old release is uninstalled first.
    #[default]
    Reinstall,
}

/// How a release is tested.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Test {
    /// Whether tests run after an installation or upgrade.
    #[serde(default, skip_serializing_if = "is_false")]
    pub enable: bool,
    /// Limit for each test; `spec.timeout` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Whether failed tests are no failure.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ignore_failures: bool,
    /// Which tests run; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<TestFilter>,
}

/// A test that is chosen or left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestFilter {
    /// Name of the test.
    #[schemars(extend("minLength" = 1, "maxLength" = 253))]
    pub name: String,
    /// Whether it is left out.
    #[serde(default, skip_serializing_if = "is_false")]
    pub exclude: bool,
}

/// How a release is rolled back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// Limit for each hook and for the wait; `spec.timeout` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Whether the roll-back ends without waiting for health.
    #[serde(default, skip_serializing_if = "is_false")]
    pub disable_wait: bool,
    /// Whether Jobs are not waited for.
    #[serde(default, skip_serializing_if = "is_false")]
    pub disable_wait_for_jobs: bool,
    /// Whether hooks are not run.
    #[serde(default, skip_serializing_if = "is_false")]
    pub disable_hooks: bool,
    /// Has no effect since Helm 4.
    #[serde(default, skip_serializing_if = "is_false")]
    pub recreate: bool,
    /// Whether objects are replaced instead of merged.
    #[serde(default, skip_serializing_if = "is_false")]
    pub force: bool,
    /// Whether objects that a failed roll-back created are deleted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cleanup_on_fail: bool,
    /// Whether objects are applied by the server; `auto` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_side_apply: Option<ApplyToggle>,
}

/// How a release is uninstalled.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Uninstall {
    /// Limit for each hook and for the wait; `spec.timeout` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Whether hooks are not run.
    #[serde(default, skip_serializing_if = "is_false")]
    pub disable_hooks: bool,
    /// Whether the release stays in the storage, marked as uninstalled.
    #[serde(default, skip_serializing_if = "is_false")]
    pub keep_history: bool,
    /// Whether the end of the objects is not waited for.
    #[serde(default, skip_serializing_if = "is_false")]
    pub disable_wait: bool,
    /// How dependents are deleted; `background` when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "background"))]
    pub deletion_propagation: Option<DeletionPropagation>,
}

/// How dependents of deleted objects are deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeletionPropagation {
    /// After them.
    #[default]
    Background,
    /// Before them.
    Foreground,
    /// Not at all.
    Orphan,
}
