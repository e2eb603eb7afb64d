//! Events: what people and notification receivers are told.

use std::collections::BTreeMap;

use nave_apply::{Action, Change};
use nave_crds::{
    annotations::{KUSTOMIZE_ORIGIN_REVISION, KUSTOMIZE_REVISION},
    kustomize::{Kustomization, KustomizationStatus},
    meta::Artifact,
};
use nave_runtime::{EventRecorder, Severity};
use serde_json::{Value, json};

use crate::depends::Key;

/// Key of an event's metadata that lets commit-status providers report success although nothing changed.
const COMMIT_STATUS: &str = "kustomize.toolkit.fluxcd.io/commit_status";

/// The revision that events are about.
#[derive(Debug, Clone, Default)]
pub(crate) struct Revision {
    pub revision: String,
    pub origin: String,
}

/// Key of an artifact's metadata: the upstream revision behind it.
const ORIGIN_REVISION: &str = "org.opencontainers.image.revision";

impl Revision {
    /// That of an artifact.
    pub fn of(artifact: &Artifact) -> Self {
        Revision {
            revision: artifact.revision.clone(),
            origin: artifact.metadata.get(ORIGIN_REVISION).cloned().unwrap_or_default(),
        }
    }

    /// What was applied last.
    pub fn applied(status: &KustomizationStatus) -> Self {
        Revision {
            revision: status.last_applied_revision.clone(),
            origin: status.last_applied_origin_revision.clone(),
        }
    }

    /// As keys and values of events and of the history, under the names given.
    fn under(&self, revision: &str, origin: &str) -> BTreeMap<String, String> {
        [(revision, &self.revision), (origin, &self.origin)]
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .collect()
    }

    pub fn for_history(&self) -> BTreeMap<String, String> {
        self.under("revision", "originRevision")
    }

    fn for_event(&self) -> BTreeMap<String, String> {
        self.under(KUSTOMIZE_REVISION, KUSTOMIZE_ORIGIN_REVISION)
    }
}

/// Records events about one object.
pub(crate) struct Reporter<'a> {
    pub events: &'a EventRecorder,
    pub object: &'a Kustomization,
}

impl Reporter<'_> {
    pub fn failed(&self, reason: &str, message: &str, revision: &Revision) {
        self.record(Severity::Error, reason, message, revision.for_event());
    }

    pub fn info(&self, reason: &str, message: &str, revision: &Revision) {
        self.record(Severity::Info, reason, message, revision.for_event());
    }

    pub fn finished(&self, reason: &str, message: &str, revision: &Revision) {
        let mut metadata = revision.for_event();
        metadata.insert(COMMIT_STATUS.to_owned(), "update".to_owned());
        self.record(Severity::Info, reason, message, metadata);
    }

    fn record(&self, severity: Severity, reason: &str, message: &str, metadata: BTreeMap<String, String>) {
        self.events
            .record_about(self.object, severity, reason, message, metadata);
    }
}

/// `<Kind>/<namespace>/<name> created|configured`, one per line; empty when nothing changed.
pub(crate) fn list_of_changes(changes: &[Change]) -> String {
    let lines: Vec<String> = changes
        .iter()
        .filter(|change| matches!(change.action, Action::Created | Action::Configured))
        .map(|change| format!("{} {}", change.id, change.action.as_str()))
        .collect();
    lines.join("\n")
}

/// Logs what was applied as kustomize-controller does: every object with what was done, or the objects of each action
/// when they are to be grouped.
pub(crate) fn log_of_changes((namespace, name): &Key, revision: &Revision, changes: &[Change], grouped: bool) {
    if tracing::enabled!(tracing::Level::INFO) {
        let output = output_of_changes(changes, grouped);
        tracing::info!(
            controllerKind = "Kustomization",
            namespace,
            name,
            revision = revision.revision,
            %output,
            "server-side apply completed"
        );
    }
}

fn output_of_changes(changes: &[Change], grouped: bool) -> Value {
    let entries = changes
        .iter()
        .map(|change| (change.id.to_string(), change.action.as_str()));
    if !grouped {
        return entries.map(|(object, action)| (object, json!(action))).collect();
    }
    let mut groups: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (object, action) in entries {
        groups.entry(action).or_default().push(object);
    }
    json!(groups)
}
