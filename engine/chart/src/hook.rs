//! Hooks: manifests that are applied at a moment of a release's life.

use std::fmt;

use serde::Serialize;

/// A manifest with the annotation `helm.sh/hook`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// `metadata.name`.
    pub name: String,
    /// The Kubernetes kind.
    pub kind: String,
    /// `apiVersion`.
    pub api_version: String,
    /// The template it comes from, such as `web/templates/job.yaml`.
    pub path: String,
    /// Its YAML.
    pub manifest: String,
    /// When it is applied, in the order of the annotation.
    pub events: Vec<HookEvent>,
    /// `helm.sh/hook-weight`; 0 where there is none or it is no integer.
    pub weight: i64,
    /// `helm.sh/hook-delete-policy`; empty where there is none, which Helm takes as `before-hook-creation`.
    pub delete_policies: Vec<HookDeletePolicy>,
    /// `helm.sh/hook-output-log-policy`.
    pub output_log_policies: Vec<HookOutputLogPolicy>,
}

impl Hook {
    /// Whether `helm test` runs it.
    pub fn is_test(&self) -> bool {
        self.events.contains(&HookEvent::Test)
    }
}

/// A moment in a release's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum HookEvent {
    PreInstall,
    PostInstall,
    PreDelete,
    PostDelete,
    PreUpgrade,
    PostUpgrade,
    PreRollback,
    PostRollback,
    Test,
}

impl HookEvent {
    /// The annotation's word.
    pub fn as_str(self) -> &'static str {
        match self {
            HookEvent::PreInstall => "pre-install",
            HookEvent::PostInstall => "post-install",
            HookEvent::PreDelete => "pre-delete",
            HookEvent::PostDelete => "post-delete",
            HookEvent::PreUpgrade => "pre-upgrade",
            HookEvent::PostUpgrade => "post-upgrade",
            HookEvent::PreRollback => "pre-rollback",
            HookEvent::PostRollback => "post-rollback",
            HookEvent::Test => "test",
        }
    }

    /// The moment an annotation's word means; `test-success` is Helm 2's word for `test`.
    pub fn parse(word: &str) -> Option<HookEvent> {
        let all = [
            HookEvent::PreInstall,
            HookEvent::PostInstall,
            HookEvent::PreDelete,
            HookEvent::PostDelete,
            HookEvent::PreUpgrade,
            HookEvent::PostUpgrade,
            HookEvent::PreRollback,
            HookEvent::PostRollback,
            HookEvent::Test,
        ];
        match word {
            "test-success" => Some(HookEvent::Test),
            word => all.into_iter().find(|event| event.as_str() == word),
        }
    }
}

impl fmt::Display for HookEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// When a hook's object is deleted. Helm keeps words it does not know in the release record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookDeletePolicy {
    /// `hook-succeeded`.
    Succeeded,
    /// `hook-failed`.
    Failed,
    /// `before-hook-creation`.
    BeforeHookCreation,
    /// Any other word, without effect.
    Other(String),
}

impl HookDeletePolicy {
    /// The policy an annotation's word means.
    pub fn parse(word: &str) -> HookDeletePolicy {
        match word {
            "hook-succeeded" => HookDeletePolicy::Succeeded,
            "hook-failed" => HookDeletePolicy::Failed,
            "before-hook-creation" => HookDeletePolicy::BeforeHookCreation,
            other => HookDeletePolicy::Other(other.to_owned()),
        }
    }

    /// The annotation's word.
    pub fn as_str(&self) -> &str {
        match self {
            HookDeletePolicy::Succeeded => "hook-succeeded",
            HookDeletePolicy::Failed => "hook-failed",
            HookDeletePolicy::BeforeHookCreation => "before-hook-creation",
            HookDeletePolicy::Other(word) => word,
        }
    }
}

/// When a hook's logs are shown. Helm keeps words it does not know in the release record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookOutputLogPolicy {
    /// `hook-succeeded`.
    Succeeded,
    /// `hook-failed`.
    Failed,
    /// Any other word, without effect.
    Other(String),
}

impl HookOutputLogPolicy {
    /// The policy an annotation's word means.
    pub fn parse(word: &str) -> HookOutputLogPolicy {
        match word {
            "hook-succeeded" => HookOutputLogPolicy::Succeeded,
            "hook-failed" => HookOutputLogPolicy::Failed,
            other => HookOutputLogPolicy::Other(other.to_owned()),
        }
    }

    /// The annotation's word.
    pub fn as_str(&self) -> &str {
        match self {
            HookOutputLogPolicy::Succeeded => "hook-succeeded",
            HookOutputLogPolicy::Failed => "hook-failed",
            HookOutputLogPolicy::Other(word) => word,
        }
    }
}
