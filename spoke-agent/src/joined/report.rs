//! What a Kustomization or HelmRelease made from an item says to the hub. A pure fold: the hub judges by what stands here and nothing else.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use nave_crds::{HelmRelease, Kustomization, kustomize::ResourceInventory};
use nave_proto::wire::{Condition, StatusPayload};
use nave_runtime::Conditions;

/// Longest message of a condition on the link.
const MAX_MESSAGE: usize = 1024;

/// What the agent knows of the item behind a Kustomization or HelmRelease.
#[derive(Debug, Clone, Default)]
pub struct Applied {
    /// Leaf digest of the item that was applied to the cluster.
    pub payload: Vec<u8>,
    /// Manifest digest of its artifact; empty when the spoke fetches the source itself.
    pub manifest: Vec<u8>,
    /// The revision that its artifact has; empty when the spoke fetches the source itself.
    pub revision: String,
    /// The reconcile request that it carries.
    pub requested_at: String,
}

/// Why an item could not be turned into objects of the cluster.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// A condition reason: `Denied`, `Conflict`, `ArtifactFailed`, `ApplyFailed`.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// The report on a Kustomization that came from `applied`.
pub fn of_kustomization(kustomization: &Kustomization, applied: &Applied) -> StatusPayload {
    let status = kustomization.status.clone().unwrap_or_default();
    let generation = kustomization.metadata.generation.unwrap_or_default();
    let ready = status.conditions.get_condition("Ready");
    let current = status.observed_generation == generation
        && (applied.revision.is_empty() || status.last_applied_revision == applied.revision)
        && (applied.requested_at.is_empty() || status.last_handled_reconcile_at == applied.requested_at);
    let held = status.conditions.reason_of("Ready") == Some("PruneHeld");
    let failed = ready.is_some_and(|condition| {
        condition.status == "False" && condition.observed_generation.unwrap_or_default() == generation
    }) && (applied.revision.is_empty()
        || attempted(&status.last_attempted_revision, applied, &status.conditions));
    let state = if kustomization.spec.suspend {
        "suspended"
    } else if held {
        "held"
    } else if current && ready.is_some_and(|condition| condition.status == "True") {
        "ready"
    } else if failed {
        "failed"
    } else {
        "progressing"
    };
    Said {
        state,
        current,
        revision: status.last_applied_revision.clone(),
        conditions: &status.conditions,
        inventory: status.inventory.as_ref(),
        object: name("Kustomization", &kustomization.metadata),
    }
    .payload(applied)
}

/// The report on a HelmRelease that came from `applied`.
pub fn of_release(release: &HelmRelease, applied: &Applied) -> StatusPayload {
    let status = release.status.clone().unwrap_or_default();
    let generation = release.metadata.generation.unwrap_or_default();
    let ready = status.conditions.get_condition("Ready");
    let attempted = applied.revision.is_empty() || status.has_attempted(&applied.revision);
    let current = status.observed_generation == generation
        && attempted
        && status.is_deployed()
        && (applied.requested_at.is_empty() || status.last_handled_reconcile_at == applied.requested_at);
    let held = status
        .conditions
        .iter()
        .any(|condition| condition.reason == "PruneHeld");
    // A chart that cannot be fetched or does not fit was never tried, and there is no other that could be waited for.
    let is_before = matches!(
        status.conditions.reason_of("Ready"),
        Some("ArtifactFailed" | "AccessDenied" | "ChartMutateError" | "ValuesError")
    );
    let failed = ready.is_some_and(|condition| {
        condition.status == "False" && condition.observed_generation.unwrap_or_default() == generation
    }) && (attempted || is_before);
    let state = if release.spec.suspend {
        "suspended"
    } else if held {
        "held"
    } else if current && ready.is_some_and(|condition| condition.status == "True") {
        "ready"
    } else if failed && status.conditions.reason_of("Ready") != Some("DependencyNotReady") {
        "failed"
    } else {
        "progressing"
    };
    let newest = status.history.first().filter(|_| status.is_deployed());
    Said {
        state,
        current,
        // The hub compares it with what it sent, which knows nothing of build metadata.
        revision: match newest {
            Some(_) if attempted && !applied.revision.is_empty() => applied.revision.clone(),
            Some(newest) => newest.chart_version.clone(),
            None => String::new(),
        },
        conditions: &status.conditions,
        inventory: status.inventory.as_ref(),
        object: name("HelmRelease", &release.metadata),
    }
    .payload(applied)
}

/// What a product says, whichever kind it is.
struct Said<'a> {
    state: &'static str,
    /// Whether the item is what is there.
    current: bool,
    revision: String,
    conditions: &'a [nave_runtime::Condition],
    inventory: Option<&'a ResourceInventory>,
    object: String,
}

impl Said<'_> {
    fn payload(self, applied: &Applied) -> StatusPayload {
        let inventory = self
            .inventory
            .map(|inventory| inventory.entries.as_slice())
            .unwrap_or_default();
        let mut ids: Vec<&str> = inventory.iter().map(|entry| entry.id.as_str()).collect();
        ids.sort_unstable();
        StatusPayload {
            observed_payload: applied.payload.clone(),
            observed_manifest: if self.current {
                applied.manifest.clone()
            } else {
                Vec::new()
            },
            revision: self.revision,
            state: self.state.to_owned(),
            conditions: self.conditions.iter().map(condition).take(16).collect(),
            inventory_count: inventory.len() as u64,
            inventory_digest: digest(&ids.join("\n")),
            prune_digest: Vec::new(),
            object: if self.state == "failed" {
                self.object
            } else {
                String::new()
            },
        }
    }
}

/// The report on an item that never became a Kustomization or HelmRelease.
pub fn of_refusal(refusal: &Refusal, applied: &Applied, object: &str) -> StatusPayload {
    StatusPayload {
        observed_payload: applied.payload.clone(),
        observed_manifest: Vec::new(),
        revision: String::new(),
        state: "failed".to_owned(),
        conditions: vec![Condition {
            r#type: "Ready".to_owned(),
            status: "False".to_owned(),
            reason: refusal.reason.to_owned(),
            message: cut(&refusal.message),
            observed_generation: 0,
            last_transition_ms: 0,
        }],
        inventory_count: 0,
        inventory_digest: digest(""),
        prune_digest: Vec::new(),
        object: object.to_owned(),
    }
}

/// A failure belongs to this artifact when it was the one attempted, or when nothing could be attempted at all.
fn attempted(revision: &str, applied: &Applied, conditions: &Vec<nave_runtime::Condition>) -> bool {
    revision == applied.revision
        || matches!(
            conditions.reason_of("Ready"),
            Some("ArtifactFailed" | "DependencyNotReady" | "AccessDenied")
        )
}

fn condition(from: &nave_runtime::Condition) -> Condition {
    Condition {
        r#type: from.type_.clone(),
        status: from.status.clone(),
        reason: from.reason.clone(),
        message: cut(&from.message),
        observed_generation: from.observed_generation.unwrap_or_default(),
        last_transition_ms: from.last_transition_time.0.as_millisecond(),
    }
}

fn cut(message: &str) -> String {
    if message.len() <= MAX_MESSAGE {
        return message.to_owned();
    }
    let mut end = MAX_MESSAGE - '…'.len_utf8();
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &message[..end])
}

fn name(kind: &str, metadata: &ObjectMeta) -> String {
    format!(
        "{kind}/{}/{}",
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default()
    )
}

fn digest(text: &str) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    Sha256::digest(text.as_bytes()).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn applied() -> Applied {
        Applied {
            payload: vec![1; 32],
            manifest: vec![2; 32],
            revision: "main@sha1:b".into(),
            requested_at: String::new(),
        }
    }

    #[track_caller]
    fn check(spec: Value, status: Value, state: &str) -> StatusPayload {
        let mut full_spec =
            json!({"interval": "1m", "prune": true, "sourceRef": {"kind": "ExternalArtifact", "name": "a"}});
        full_spec
            .as_object_mut()
            .unwrap()
            .extend(spec.as_object().unwrap().clone());
        let object = json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "apps", "namespace": "flux-system", "generation": 2},
            "spec": full_spec, "status": status,
        });
        let report = of_kustomization(&serde_json::from_value(object).unwrap(), &applied());
        assert_eq!(report.state, state);
        report
    }

    fn ready(status: &str, reason: &str, generation: i64) -> Value {
        json!([{"type": "Ready", "status": status, "reason": reason, "message": "m", "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z"}])
    }

    #[test]
    fn ready_only_at_the_generation_and_the_artifact_of_the_item() {
        let report = check(
            json!({}),
            json!({"observedGeneration": 2, "lastAppliedRevision": "main@sha1:b", "conditions": ready("True", "ReconciliationSucceeded", 2)}),
            "ready",
        );
        assert_eq!(report.observed_manifest, vec![2; 32]);
        let older = check(
            json!({}),
            json!({"observedGeneration": 2, "lastAppliedRevision": "main@sha1:a", "conditions": ready("True", "ReconciliationSucceeded", 2)}),
            "progressing",
        );
        assert!(older.observed_manifest.is_empty());
        check(
            json!({}),
            json!({"observedGeneration": 1, "lastAppliedRevision": "main@sha1:b", "conditions": ready("True", "ReconciliationSucceeded", 1)}),
            "progressing",
        );
        check(json!({}), json!({}), "progressing");
    }

    #[test]
    fn a_failure_counts_when_it_is_of_this_artifact() {
        let report = check(
            json!({}),
            json!({"observedGeneration": 1, "lastAttemptedRevision": "main@sha1:b", "conditions": ready("False", "BuildFailed", 2)}),
            "failed",
        );
        assert_eq!(report.object, "Kustomization/flux-system/apps");
        check(
            json!({}),
            json!({"lastAttemptedRevision": "main@sha1:a", "conditions": ready("False", "BuildFailed", 2)}),
            "progressing",
        );
        check(
            json!({}),
            json!({"lastAttemptedRevision": "main@sha1:b", "conditions": ready("False", "BuildFailed", 1)}),
            "progressing",
        );
    }

    #[track_caller]
    fn check_release(attempted: &str, release: &str, conditions: Value, state: &str) -> StatusPayload {
        let mut history = json!({
            "name": "web", "namespace": "shop", "version": 1, "digest": "sha256:0", "status": release,
            "chartName": "web", "chartVersion": "1.0.0", "configDigest": "sha256:0",
            "firstDeployed": "2026-01-01T00:00:00Z", "lastDeployed": "2026-01-01T00:00:00Z",
        });
        history = if release.is_empty() {
            json!([])
        } else {
            json!([history])
        };
        let object = json!({
            "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": "web", "namespace": "shop", "generation": 2},
            "spec": {"interval": "1m", "chartRef": {"kind": "ExternalArtifact", "name": "web"}},
            "status": {
                "observedGeneration": 2, "lastAttemptedRevision": attempted, "conditions": conditions, "history": history,
            },
        });
        let applied = Applied {
            revision: "1.1.0".into(),
            ..applied()
        };
        let report = of_release(&serde_json::from_value(object).unwrap(), &applied);
        assert_eq!(report.state, state);
        report
    }

    #[test]
    fn a_release_is_ready_with_the_chart_of_the_item() {
        let report = check_release("1.1.0", "deployed", ready("True", "UpgradeSucceeded", 2), "ready");
        assert_eq!(report.observed_manifest, vec![2; 32]);
        assert_eq!(report.revision, "1.1.0");
        let older = check_release("1.0.0", "deployed", ready("True", "InstallSucceeded", 2), "progressing");
        assert!(older.observed_manifest.is_empty());
        assert_eq!(older.revision, "1.0.0");
        check_release("1.1.0", "deployed", ready("Unknown", "Progressing", 2), "progressing");
        check_release("1.1.0", "failed", ready("False", "UpgradeFailed", 1), "progressing");
        let failed = check_release("1.1.0", "failed", ready("False", "UpgradeFailed", 2), "failed");
        assert_eq!(failed.object, "HelmRelease/shop/web");
        check_release("1.0.0", "deployed", ready("False", "UpgradeFailed", 2), "progressing");
        check_release("", "", ready("False", "ArtifactFailed", 2), "failed");
        check_release("", "", ready("False", "DependencyNotReady", 2), "progressing");
        check_release("1.1.0", "deployed", ready("False", "PruneHeld", 2), "held");
    }

    #[test]
    fn suspended_and_held_are_said() {
        check(
            json!({"suspend": true}),
            json!({"conditions": ready("True", "ReconciliationSucceeded", 2)}),
            "suspended",
        );
        check(json!({}), json!({"conditions": ready("False", "PruneHeld", 2)}), "held");
    }
}
