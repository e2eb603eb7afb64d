//! Kustomizations on the hub, for clusters that it reaches with a kubeconfig.

use std::collections::BTreeMap;

use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use nave_crds::{Kustomization, conditions, labels, managers, reasons};
use nave_object::Object;
use nave_placement::{ClusterKey, OwnerKey, Policy};
use nave_runtime::{Conditions, Watched};
use serde_json::json;

use crate::ports::{ClusterState, ClusterStatus, Ports};

/// The Kustomizations of a fleet object: name and cluster.
pub(crate) fn observe(watched: &Watched<Kustomization>, owner: &OwnerKey) -> BTreeMap<String, ClusterKey> {
    watched
        .store()
        .state()
        .into_iter()
        .filter(|one| {
            one.namespace().as_deref() == Some(&owner.namespace)
                && one.labels().get(labels::FLEET_UID) == Some(&owner.uid)
        })
        .filter_map(|one| {
            let labels = one.labels();
            let cluster = ClusterKey::new(
                labels.get(labels::FLEET_CLUSTER_NAMESPACE)?,
                labels.get(labels::FLEET_CLUSTER)?,
            );
            Some((one.name_any(), cluster))
        })
        .collect()
}

/// Whether someone else's Kustomization has this name.
pub(crate) fn is_foreign(watched: &Watched<Kustomization>, owner: &OwnerKey, name: &str) -> bool {
    watched
        .get(&owner.namespace, name)
        .is_some_and(|one| one.labels().get(labels::FLEET_UID) != Some(&owner.uid))
}

/// Applies one. The answer is its generation afterwards.
pub(crate) async fn apply(ports: &Ports, object: &Object) -> kube::Result<Option<i64>> {
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<Kustomization> = Api::namespaced(ports.client.clone(), namespace);
    let parameters = PatchParams::apply(managers::FLEET).force().validation_strict();
    let applied = api
        .patch(object.name(), &parameters, &Patch::Apply(object.as_value()))
        .await?;
    Ok(applied.metadata.generation)
}

/// Deletes one. With [`Policy::Orphan`] the workloads stay on the cluster.
///
/// Nothing waits for the cluster: its Kustomization goes when the cluster was pruned, and its
/// fleet object is gone by then.
pub(crate) async fn delete(ports: &Ports, namespace: &str, name: &str, policy: Policy) -> kube::Result<()> {
    let api: Api<Kustomization> = Api::namespaced(ports.client.clone(), namespace);
    let gone = |error: &kube::Error| matches!(error, kube::Error::Api(status) if status.code == 404);
    if policy == Policy::Orphan {
        let patch = json!({"spec": {"deletionPolicy": "Orphan"}});
        let parameters = PatchParams {
            field_manager: Some(managers::FLEET.to_owned()),
            ..PatchParams::default()
        };
        match api.patch(name, &parameters, &Patch::Merge(patch)).await {
            Err(error) if gone(&error) => return Ok(()),
            other => other?,
        };
    }
    match api.delete(name, &DeleteParams::default()).await {
        Err(error) if gone(&error) => Ok(()),
        other => other.map(|_| ()),
    }
}

/// What a Kustomization says of its cluster. `target` is the revision that it should have.
pub(crate) fn status(one: &Kustomization, cluster: &ClusterKey, target: &str) -> ClusterStatus {
    let status = one.status.clone().unwrap_or_default();
    let generation = one.metadata.generation.unwrap_or_default();
    let ready = status.conditions.get_condition(conditions::READY);
    let seen = ready.is_some_and(|ready| ready.observed_generation.is_none_or(|observed| observed >= generation));
    let held = status
        .conditions
        .iter()
        .any(|one| one.reason == reasons::kustomize::PRUNE_HELD);
    let state = match ready.map(|ready| (ready.status.as_str(), ready.reason.as_str())) {
        _ if one.spec.suspend => ClusterState::Suspended,
        _ if held => ClusterState::Held,
        Some(("True", _)) if seen => ClusterState::Ready,
        Some(("False", reasons::kustomize::DEPENDENCY_NOT_READY)) => ClusterState::Progressing,
        Some(("False", _)) if seen => ClusterState::Failed,
        _ => ClusterState::Progressing,
    };
    ClusterStatus {
        cluster: cluster.clone(),
        current: seen && (status.last_applied_revision == target || status.last_attempted_revision == target),
        revision: status.last_applied_revision.clone(),
        state,
        object: format!(
            "Kustomization/{}/{}",
            one.namespace().unwrap_or_default(),
            one.name_any()
        ),
        reason: ready.map(|ready| ready.reason.clone()).unwrap_or_default(),
        message: ready.map(|ready| ready.message.clone()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn check(suspend: bool, ready: Value, applied: &str, want: &str) {
        let conditions = if ready.is_null() { json!([]) } else { json!([ready]) };
        let one: Kustomization = serde_json::from_value(json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "apps-x", "namespace": "platform", "generation": 2},
            "spec": {"interval": "1m", "prune": true, "suspend": suspend,
                "sourceRef": {"kind": "GitRepository", "name": "apps"}},
            "status": {"lastAppliedRevision": applied, "conditions": conditions},
        }))
        .expect("readable");
        let status = status(&one, &ClusterKey::new("platform", "x"), "main@sha1:2");
        assert_eq!(format!("{:?} current={}", status.state, status.current), want);
    }

    #[test]
    fn a_kustomization_speaks_for_its_cluster() {
        let ready = |status: &str, reason: &str, generation: i64| {
            json!({"type": "Ready", "status": status, "reason": reason, "message": "m",
                "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": generation})
        };
        let (old, new) = ("main@sha1:1", "main@sha1:2");
        check(false, Value::Null, "", "Progressing current=false");
        check(
            false,
            ready("True", "ReconciliationSucceeded", 2),
            new,
            "Ready current=true",
        );
        check(
            false,
            ready("True", "ReconciliationSucceeded", 2),
            old,
            "Ready current=false",
        );
        check(
            false,
            ready("True", "ReconciliationSucceeded", 1),
            new,
            "Progressing current=false",
        );
        check(false, ready("False", "BuildFailed", 2), old, "Failed current=false");
        check(
            false,
            ready("False", "BuildFailed", 1),
            old,
            "Progressing current=false",
        );
        check(
            false,
            ready("False", "DependencyNotReady", 2),
            old,
            "Progressing current=false",
        );
        check(
            false,
            ready("Unknown", "Progressing", 2),
            old,
            "Progressing current=false",
        );
        check(
            true,
            ready("True", "ReconciliationSucceeded", 2),
            new,
            "Suspended current=true",
        );
    }
}
