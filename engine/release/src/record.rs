//! One version of a release, with the fields and in the order in which Helm stores it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::chart_record::ChartRecord;

/// A version of a release.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Release {
    /// Name of the release.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// How it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<Info>,
    /// The chart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chart: Option<ChartRecord>,
    /// The user's values.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Map::is_empty")]
    pub config: Map<String, Value>,
    /// What was applied, hooks apart.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub manifest: String,
    /// Hooks, in the order of their kinds.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
    /// 1 for the first installation.
    #[serde(skip_serializing_if = "is_zero")]
    pub version: i64,
    /// Namespace of the release.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// How its objects were applied; before Helm 4 always by the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apply_method: Option<ApplyMethod>,
}

impl Release {
    /// Its status.
    pub fn status(&self) -> Status {
        self.info.as_ref().map(|info| info.status.clone()).unwrap_or_default()
    }

    /// Name of its chart.
    pub fn chart_name(&self) -> &str {
        self.chart.as_ref().map_or("", |chart| &chart.metadata().name)
    }

    /// Version of its chart.
    pub fn chart_version(&self) -> &str {
        self.chart.as_ref().map_or("", |chart| &chart.metadata().version)
    }

    /// Sets status and description.
    pub fn set_status(&mut self, status: Status, description: impl Into<String>) {
        let info = self.info.get_or_insert_default();
        info.status = status;
        info.description = description.into();
    }

    /// Whether the server applied its objects.
    pub fn is_server_side(&self) -> bool {
        self.apply_method == Some(ApplyMethod::ServerSide)
    }
}

/// How a release's objects are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApplyMethod {
    /// By the client's merge.
    #[serde(rename = "csa", alias = "")]
    ClientSide,
    /// By the server.
    #[serde(rename = "ssa")]
    ServerSide,
}

/// How a version of a release went.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Info {
    /// When the release was first installed.
    #[serde(skip_serializing_if = "GoTime::is_zero")]
    pub first_deployed: GoTime,
    /// When this version was made.
    #[serde(skip_serializing_if = "GoTime::is_zero")]
    pub last_deployed: GoTime,
    /// When it was uninstalled.
    #[serde(skip_serializing_if = "GoTime::is_zero")]
    pub deleted: GoTime,
    /// What happened last, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Where it stands.
    #[serde(skip_serializing_if = "Status::is_empty")]
    pub status: Status,
    /// The version that was rolled back to; 0 when it is no roll-back.
    #[serde(skip_serializing_if = "is_zero")]
    pub rollback_revision: i64,
    /// The chart's notes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub notes: String,
    /// Live objects, which Helm does not store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Map<String, Value>>,
}

/// Where a version of a release stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
#[allow(missing_docs, reason = "the names are Helm's")]
pub enum Status {
    #[default]
    Unknown,
    Deployed,
    Uninstalled,
    Superseded,
    Failed,
    Uninstalling,
    PendingInstall,
    PendingUpgrade,
    PendingRollback,
    /// A word that Helm 4 does not have; empty where none is stored.
    Other(String),
}

impl Status {
    /// Helm's word.
    pub fn as_str(&self) -> &str {
        match self {
            Status::Unknown => "unknown",
            Status::Deployed => "deployed",
            Status::Uninstalled => "uninstalled",
            Status::Superseded => "superseded",
            Status::Failed => "failed",
            Status::Uninstalling => "uninstalling",
            Status::PendingInstall => "pending-install",
            Status::PendingUpgrade => "pending-upgrade",
            Status::PendingRollback => "pending-rollback",
            Status::Other(word) => word,
        }
    }

    /// Whether an action has begun and not ended.
    pub fn is_pending(&self) -> bool {
        matches!(
            self,
            Status::PendingInstall | Status::PendingUpgrade | Status::PendingRollback
        )
    }

    fn is_empty(&self) -> bool {
        self.as_str().is_empty()
    }
}

impl From<String> for Status {
    fn from(word: String) -> Self {
        match word.as_str() {
            "unknown" => Status::Unknown,
            "deployed" => Status::Deployed,
            "uninstalled" => Status::Uninstalled,
            "superseded" => Status::Superseded,
            "failed" => Status::Failed,
            "uninstalling" => Status::Uninstalling,
            "pending-install" => Status::PendingInstall,
            "pending-upgrade" => Status::PendingUpgrade,
            "pending-rollback" => Status::PendingRollback,
            _ => Status::Other(word),
        }
    }
}

impl From<Status> for String {
    fn from(status: Status) -> Self {
        status.as_str().to_owned()
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A manifest that is applied at moments of a release's life.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hook {
    /// `metadata.name`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The Kubernetes kind.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The template it comes from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Its YAML.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub manifest: String,
    /// When it is applied, such as `pre-install`.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// How it went last.
    pub last_run: HookExecution,
    /// Lower ones come first.
    #[serde(skip_serializing_if = "is_zero")]
    pub weight: i64,
    /// When its object is deleted, such as `hook-succeeded`.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub delete_policies: Vec<String>,
    /// When its logs are shown.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub output_log_policies: Vec<String>,
}

/// How a hook went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HookExecution {
    /// When it was applied.
    #[serde(skip_serializing_if = "GoTime::is_zero")]
    pub started_at: GoTime,
    /// When it ended.
    #[serde(skip_serializing_if = "GoTime::is_zero")]
    pub completed_at: GoTime,
    /// One of [`phase`]; empty before the first time.
    pub phase: String,
}

/// Phases of hooks.
pub mod phase {
    /// It is not known.
    pub const UNKNOWN: &str = "Unknown";
    /// It is there and has not ended.
    pub const RUNNING: &str = "Running";
    /// It ended well.
    pub const SUCCEEDED: &str = "Succeeded";
    /// It did not.
    pub const FAILED: &str = "Failed";
}

/// When hooks are deleted.
pub mod policy {
    /// After all hooks of the event ended well.
    pub const SUCCEEDED: &str = "hook-succeeded";
    /// After it failed.
    pub const FAILED: &str = "hook-failed";
    /// Before it is applied again; where no policy is given.
    pub const BEFORE_CREATION: &str = "before-hook-creation";
}

/// A time as Go wrote it. It is kept as text, so that the digest of a release that somebody else made stays the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Option<String>", into = "String")]
pub struct GoTime(String);

impl GoTime {
    /// Whether it is Go's zero time, or none.
    pub fn is_zero(&self) -> bool {
        self.0.is_empty() || self.0.starts_with("0001-01-01T00:00:00")
    }

    /// The moment, where there is one and it can be read.
    pub fn timestamp(&self) -> Option<Timestamp> {
        if self.is_zero() { None } else { self.0.parse().ok() }
    }
}

impl From<Timestamp> for GoTime {
    fn from(time: Timestamp) -> Self {
        GoTime(time.to_string())
    }
}

impl From<Option<String>> for GoTime {
    fn from(text: Option<String>) -> Self {
        GoTime(text.unwrap_or_default())
    }
}

impl From<GoTime> for String {
    fn from(time: GoTime) -> Self {
        time.0
    }
}

pub(crate) fn is_zero(number: &i64) -> bool {
    *number == 0
}

pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
