//! What labels and annotations of an object say about applying and deleting it.

use nave_crds::annotations::{DISABLED, ENABLED, KUSTOMIZE_FORCE, KUSTOMIZE_PRUNE, KUSTOMIZE_RECONCILE, KUSTOMIZE_SSA};
use nave_object::pointer::at;
use serde_json::Value;

/// How an object is applied (`kustomize.toolkit.fluxcd.io/ssa`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Fields that kubectl owns are taken over, and removed if Git does not have them.
    Override,
    /// Such fields stay.
    Merge,
    /// Applied only when it does not exist.
    IfNotPresent,
    /// Never applied.
    Ignore,
}

/// Whether a label or annotation has a value, whatever its case.
fn says(object: &Value, key: &str, value: &str) -> bool {
    ["/metadata/labels", "/metadata/annotations"]
        .iter()
        .filter_map(|pointer| at(object, pointer)?.get(key)?.as_str())
        .any(|found| found.eq_ignore_ascii_case(value))
}

pub(crate) fn mode(object: &Value) -> Mode {
    [
        ("Ignore", Mode::Ignore),
        ("IfNotPresent", Mode::IfNotPresent),
        ("Merge", Mode::Merge),
    ]
    .into_iter()
    .find(|(value, _)| says(object, KUSTOMIZE_SSA, value))
    .map_or(Mode::Override, |(_, mode)| mode)
}

/// Whether an object, as Git or as the cluster has it, asks to be left alone.
pub(crate) fn is_left_alone(object: &Value) -> bool {
    says(object, KUSTOMIZE_RECONCILE, DISABLED) || mode(object) == Mode::Ignore
}

/// Whether the desired object allows re-creation when an immutable field changed.
pub(crate) fn is_forced(object: &Value) -> bool {
    says(object, KUSTOMIZE_FORCE, ENABLED)
}

/// Whether deleting the live object loses what a new one of its name does not have: data, or the objects in it.
pub(crate) fn loses_data(live: &Value) -> bool {
    let text = |pointer: &str| at(live, pointer).and_then(Value::as_str).unwrap_or_default();
    let group = text("/apiVersion").rsplit_once('/').map_or("", |(group, _)| group);
    match (group, text("/kind")) {
        ("", "Namespace" | "PersistentVolumeClaim" | "PersistentVolume")
        | ("apiextensions.k8s.io", "CustomResourceDefinition") => true,
        // Its claims go with it only where it says so.
        ("apps", "StatefulSet") => text("/spec/persistentVolumeClaimRetentionPolicy/whenDeleted") == "Delete",
        _ => false,
    }
}

/// Why the live object must not be pruned.
pub(crate) fn kept_from_pruning(live: &Value) -> Option<&'static str> {
    if says(live, KUSTOMIZE_PRUNE, DISABLED) {
        Some("it is marked prune: disabled")
    } else if says(live, KUSTOMIZE_RECONCILE, DISABLED) {
        Some("it is marked reconcile: disabled")
    } else if mode(live) == Mode::Ignore {
        Some("it is marked ssa: Ignore")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_and_annotations_count_whatever_their_case() {
        let with = |field: &str, key: &str, value: &str| json!({"metadata": {field: {key: value}}});
        assert!(is_left_alone(&with("labels", KUSTOMIZE_RECONCILE, "Disabled")));
        assert!(is_left_alone(&with("annotations", KUSTOMIZE_SSA, "ignore")));
        assert!(!is_left_alone(&with("annotations", KUSTOMIZE_SSA, "merge")));
        assert_eq!(
            mode(&with("annotations", KUSTOMIZE_SSA, "ifnotpresent")),
            Mode::IfNotPresent
        );
        assert_eq!(mode(&with("annotations", KUSTOMIZE_SSA, "merge")), Mode::Merge);
        assert_eq!(mode(&json!({})), Mode::Override);
        assert!(is_forced(&with("annotations", KUSTOMIZE_FORCE, "enabled")));
        assert!(!is_forced(&with("annotations", KUSTOMIZE_FORCE, "true")));
        assert!(kept_from_pruning(&with("labels", KUSTOMIZE_PRUNE, "disabled")).is_some());
        assert!(kept_from_pruning(&json!({"metadata": {"labels": null}})).is_none());
    }

    #[test]
    fn what_a_new_object_does_not_bring_back() {
        for (version, kind, spec, wanted) in [
            ("v1", "PersistentVolumeClaim", json!({}), true),
            ("v1", "Namespace", json!({}), true),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition", json!({}), true),
            ("example.com/v1", "Namespace", json!({}), false),
            ("batch/v1", "Job", json!({}), false),
            ("apps/v1", "StatefulSet", json!({}), false),
            (
                "apps/v1",
                "StatefulSet",
                json!({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}}),
                true,
            ),
        ] {
            let live = json!({"apiVersion": version, "kind": kind, "spec": spec});
            assert_eq!(loses_data(&live), wanted, "{live}");
        }
    }
}
