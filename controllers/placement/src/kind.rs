//! The two kinds of fleet objects, and what each makes on the hub for kubeconfig clusters.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use nave_crds::fleet::FleetResource;
use nave_crds::{Condition, FleetHelmRelease, FleetKustomization, HelmRelease, Kustomization, conditions, reasons};
use nave_placement::ClusterKey;
use nave_runtime::{Conditions, Watched};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::ports::{ClusterState, ClusterStatus, Ports};

/// A kind of fleet objects.
pub(crate) trait FleetKind: FleetResource {
    /// The Flux kind that it is a template of.
    type Product: Product;

    /// The fleet objects of this kind.
    fn fleets(ports: &Ports) -> &Watched<Self>;

    /// The Flux objects on the hub; those of fleet objects are ours.
    fn products(ports: &Ports) -> &Watched<Self::Product>;
}

impl FleetKind for FleetKustomization {
    type Product = Kustomization;

    fn fleets(ports: &Ports) -> &Watched<Self> {
        &ports.fleets
    }

    fn products(ports: &Ports) -> &Watched<Kustomization> {
        &ports.kustomizations
    }
}

impl FleetKind for FleetHelmRelease {
    type Product = HelmRelease;

    fn fleets(ports: &Ports) -> &Watched<Self> {
        &ports.charts.fleets
    }

    fn products(ports: &Ports) -> &Watched<HelmRelease> {
        &ports.charts.helm_releases
    }
}

/// A Flux object that stands for one fleet object on one kubeconfig cluster.
pub(crate) trait Product:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
    /// The merge patch after which its deletion leaves what it applied.
    fn orphan() -> Value;

    /// What it says of its cluster, if `target` is the revision that it should have.
    fn says(&self, target: &str) -> Said;
}

/// What a product says.
pub(crate) struct Said {
    suspended: bool,
    held: bool,
    ready: Option<Condition>,
    /// Whether the target is what was tried last.
    has_target: bool,
    revision: String,
}

impl Product for Kustomization {
    fn orphan() -> Value {
        json!({"spec": {"deletionPolicy": "Orphan"}})
    }

    fn says(&self, target: &str) -> Said {
        let status = self.status.clone().unwrap_or_default();
        Said {
            suspended: self.spec.suspend,
            held: is_held(&status.conditions),
            ready: status.conditions.get_condition(conditions::READY).cloned(),
            has_target: status.last_applied_revision == target || status.last_attempted_revision == target,
            revision: status.last_applied_revision,
        }
    }
}

impl Product for HelmRelease {
    /// Deleting a suspended HelmRelease leaves its release.
    fn orphan() -> Value {
        json!({"spec": {"suspend": true}})
    }

    fn says(&self, target: &str) -> Said {
        let status = self.status.clone().unwrap_or_default();
        Said {
            suspended: self.spec.suspend,
            held: is_held(&status.conditions),
            ready: status.conditions.get_condition(conditions::READY).cloned(),
            has_target: status.has_attempted(target),
            revision: match status.history.first() {
                Some(newest) if status.is_deployed() => newest.chart_version.clone(),
                _ => String::new(),
            },
        }
    }
}

fn is_held(conditions: &[Condition]) -> bool {
    conditions
        .iter()
        .any(|one| one.reason == reasons::kustomize::PRUNE_HELD)
}

/// What a product on the hub says of its cluster. `target` is the revision that it should have.
pub(crate) fn status<P: Product>(one: &P, cluster: &ClusterKey, target: &str) -> ClusterStatus {
    let said = one.says(target);
    let generation = one.meta().generation.unwrap_or_default();
    let ready = said.ready.as_ref();
    let seen = ready.is_some_and(|ready| ready.observed_generation.is_none_or(|observed| observed >= generation));
    let state = match ready.map(|ready| (ready.status.as_str(), ready.reason.as_str())) {
        _ if said.suspended => ClusterState::Suspended,
        _ if said.held => ClusterState::Held,
        Some(("True", _)) if seen => ClusterState::Ready,
        // Of either kind.
        Some(("False", reasons::kustomize::DEPENDENCY_NOT_READY)) => ClusterState::Progressing,
        Some(("False", _)) if seen => ClusterState::Failed,
        _ => ClusterState::Progressing,
    };
    ClusterStatus {
        cluster: cluster.clone(),
        current: seen && said.has_target,
        revision: said.revision,
        state,
        object: format!(
            "{}/{}/{}",
            P::kind(&()),
            one.namespace().unwrap_or_default(),
            one.name_any()
        ),
        reason: ready.map(|ready| ready.reason.clone()).unwrap_or_default(),
        message: said.ready.map(|ready| ready.message).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "main@sha1:1";
    const NEW: &str = "main@sha1:2";

    fn ready(status: &str, reason: &str, generation: i64) -> Value {
        json!({"type": "Ready", "status": status, "reason": reason, "message": "m",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": generation})
    }

    fn check_kustomization(suspend: bool, ready: Value, applied: &str, want: &str) {
        let conditions = if ready.is_null() { json!([]) } else { json!([ready]) };
        let one: Kustomization = serde_json::from_value(json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "apps-x", "namespace": "platform", "generation": 2},
            "spec": {"interval": "1m", "prune": true, "suspend": suspend,
                "sourceRef": {"kind": "GitRepository", "name": "apps"}},
            "status": {"lastAppliedRevision": applied, "conditions": conditions},
        }))
        .expect("readable");
        let status = status(&one, &ClusterKey::new("platform", "x"), NEW);
        assert_eq!(format!("{:?} current={}", status.state, status.current), want);
        assert_eq!(status.object, "Kustomization/platform/apps-x");
    }

    #[test]
    fn a_kustomization_speaks_for_its_cluster() {
        let check = check_kustomization;
        let succeeded = |generation| ready("True", "ReconciliationSucceeded", generation);
        check(false, Value::Null, "", "Progressing current=false");
        check(false, succeeded(2), NEW, "Ready current=true");
        check(false, succeeded(2), OLD, "Ready current=false");
        check(false, succeeded(1), NEW, "Progressing current=false");
        let failed = |reason, generation| ready("False", reason, generation);
        check(false, failed("BuildFailed", 2), OLD, "Failed current=false");
        check(false, failed("BuildFailed", 1), OLD, "Progressing current=false");
        check(false, failed("DependencyNotReady", 2), OLD, "Progressing current=false");
        check(
            false,
            ready("Unknown", "Progressing", 2),
            OLD,
            "Progressing current=false",
        );
        check(true, succeeded(2), NEW, "Suspended current=true");
    }

    fn check_release(suspend: bool, ready: Value, attempted: &str, want: &str) {
        let one: HelmRelease = serde_json::from_value(json!({
            "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": "web-x", "namespace": "platform", "generation": 2},
            "spec": {"interval": "1m", "suspend": suspend, "chartRef": {"kind": "HelmChart", "name": "web"}},
            "status": {"lastAttemptedRevision": attempted, "conditions": [ready], "history": [{
                "name": "web", "namespace": "shop", "version": 1, "digest": "sha256:0", "status": "deployed",
                "chartName": "web", "chartVersion": "1.0.0", "configDigest": "sha256:0",
                "firstDeployed": "2026-01-01T00:00:00Z", "lastDeployed": "2026-01-01T00:00:00Z",
            }]},
        }))
        .expect("readable");
        let status = status(&one, &ClusterKey::new("platform", "x"), "1.1.0");
        let line = format!("{:?} current={} {}", status.state, status.current, status.revision);
        assert_eq!(line, want);
        assert_eq!(status.object, "HelmRelease/platform/web-x");
    }

    #[test]
    fn a_release_speaks_for_its_cluster() {
        let check = check_release;
        check(
            false,
            ready("True", "UpgradeSucceeded", 2),
            "1.1.0",
            "Ready current=true 1.0.0",
        );
        check(
            false,
            ready("True", "InstallSucceeded", 2),
            "1.0.0",
            "Ready current=false 1.0.0",
        );
        check(
            false,
            ready("True", "UpgradeSucceeded", 1),
            "1.1.0",
            "Progressing current=false 1.0.0",
        );
        check(
            false,
            ready("False", "UpgradeFailed", 2),
            "1.1.0",
            "Failed current=true 1.0.0",
        );
        check(
            false,
            ready("False", "DependencyNotReady", 2),
            "1.0.0",
            "Progressing current=false 1.0.0",
        );
        check(
            false,
            ready("Unknown", "Progressing", 2),
            "1.1.0",
            "Progressing current=true 1.0.0",
        );
        check(
            true,
            ready("True", "UpgradeSucceeded", 2),
            "1.1.0",
            "Suspended current=true 1.0.0",
        );
    }
}
