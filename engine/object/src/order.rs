//! In which order objects are applied and deleted, as Flux does it.
//!
//! Definitions ─wait─► Classes ─wait─► Custom ─► Rest, and inside a stage [`apply_order`].

use std::cmp::Ordering;

use crate::object::{Gvk, Object};

/// Kinds that come first inside a stage, in this order (fluxcd/pkg `ssa`, sort order of 2026).
const FIRST: [&str; 23] = [
    "CustomResourceDefinition",
    "Namespace",
    "ClusterRole",
    "ClusterClass",
    "RuntimeClass",
    "PriorityClass",
    "StorageClass",
    "VolumeSnapshotClass",
    "IngressClass",
    "GatewayClass",
    "ClusterRoleBinding",
    "ResourceQuota",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "Secret",
    "Service",
    "LimitRange",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];

/// Kinds that come last: they can refuse everything that is applied after them.
const LAST: [&str; 2] = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

/// One step of an apply; each begins when the one before it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// CustomResourceDefinition, Namespace, ClusterRole; waited for.
    Definitions,
    /// Every kind whose name ends in `Class`; waited for.
    Classes,
    /// Kinds that the operator of Nave named (`--custom-apply-stage-kinds`).
    Custom,
    /// Everything else.
    Rest,
}

/// The stage of a kind; `custom` lists (group, kind).
pub fn stage_of(gvk: &Gvk, custom: &[(String, String)]) -> Stage {
    match gvk.kind.as_str() {
        "CustomResourceDefinition" | "Namespace" | "ClusterRole" => Stage::Definitions,
        kind if kind.ends_with("Class") => Stage::Classes,
        kind if custom.iter().any(|(group, name)| *group == gvk.group && name == kind) => Stage::Custom,
        _ => Stage::Rest,
    }
}

/// The order inside a stage: by kind, then group, namespace and name.
pub fn apply_order(a: &Object, b: &Object) -> Ordering {
    let key = |object: &Object| {
        let gvk = object.gvk();
        (rank(&gvk.kind), gvk.group, gvk.kind)
    };
    key(a)
        .cmp(&key(b))
        .then_with(|| a.namespace().cmp(&b.namespace()))
        .then_with(|| a.name().cmp(b.name()))
}

/// The order in which objects are deleted: the reverse of [`apply_order`].
pub fn delete_order(a: &Object, b: &Object) -> Ordering {
    apply_order(b, a)
}

/// Where a kind stands among all kinds; kinds without a place of their own share one.
fn rank(kind: &str) -> usize {
    if let Some(place) = FIRST.iter().position(|first| *first == kind) {
        return place;
    }
    match LAST.iter().position(|last| *last == kind) {
        Some(place) => FIRST.len() + 1 + place,
        None => FIRST.len(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(api_version: &str, kind: &str, namespace: &str, name: &str) -> Object {
        Object::from_value(json!({
            "apiVersion": api_version, "kind": kind,
            "metadata": {"name": name, "namespace": namespace},
        }))
        .unwrap()
    }

    #[test]
    fn objects_are_applied_by_kind_group_namespace_name() {
        let mut objects = [
            object(
                "admissionregistration.k8s.io/v1",
                "ValidatingWebhookConfiguration",
                "",
                "v",
            ),
            object("example.com/v1", "Zebra", "a", "z"),
            object("apps/v1", "Deployment", "b", "a"),
            object("apps/v1", "DaemonSet", "a", "d"),
            object("apps/v1", "Deployment", "a", "b"),
            object("v1", "Namespace", "", "a"),
            object("apps/v1", "Deployment", "a", "a"),
            object("v1", "Pod", "a", "p"),
        ];
        objects.sort_by(apply_order);
        let names: Vec<_> = objects.iter().map(ToString::to_string).collect();
        assert_eq!(
            names,
            [
                "Namespace/a",
                "Deployment/a/a",
                "Deployment/a/b",
                "Deployment/b/a",
                "Pod/a/p",
                "DaemonSet/a/d",
                "Zebra/a/z",
                "ValidatingWebhookConfiguration/v",
            ]
        );
        objects.sort_by(delete_order);
        assert_eq!(objects[0].kind(), "ValidatingWebhookConfiguration");
    }

    #[test]
    fn stages_are_told_by_kind() {
        let custom = [("example.com".to_owned(), "First".to_owned())];
        for (api_version, kind, stage) in [
            ("v1", "Namespace", Stage::Definitions),
            ("rbac.authorization.k8s.io/v1", "ClusterRole", Stage::Definitions),
            ("storage.k8s.io/v1", "StorageClass", Stage::Classes),
            ("example.com/v1", "AnyClass", Stage::Classes),
            ("example.com/v1", "First", Stage::Custom),
            ("other.com/v1", "First", Stage::Rest),
            ("apps/v1", "Deployment", Stage::Rest),
        ] {
            assert_eq!(stage_of(&Gvk::new(api_version, kind), &custom), stage, "{kind}");
        }
    }
}
