//! The order of the result.

use crate::ids::{Gvk, Id};
use crate::kustomization::{LegacySortOptions, SortOptions};
use crate::resource::{ResMap, Resource};
use crate::schema::Schemas;

/// Kinds first in kustomize's legacy order.
const FIRST: [&str; 22] = [
    "Namespace",
    "ResourceQuota",
    "StorageClass",
    "CustomResourceDefinition",
    "ServiceAccount",
    "PodSecurityPolicy",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "Secret",
    "Endpoints",
    "Service",
    "LimitRange",
    "PriorityClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];
const LAST: [&str; 2] = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

/// The place of a kind in the legacy order: negative first, 0 for most, positive last.
pub(crate) fn rank(kind: &str) -> i32 {
    place(kind, &FIRST, &LAST)
}

/// Applies `sortOptions` as checked by [`check`].
pub(crate) fn apply(resources: &mut ResMap, options: &SortOptions, schemas: &Schemas) {
    if options.order != "legacy" {
        return;
    }
    match &options.legacy_sort_options {
        Some(LegacySortOptions {
            order_first,
            order_last,
        }) => {
            legacy(resources, order_first, order_last, schemas);
        }
        None => legacy(resources, &FIRST, &LAST, schemas),
    }
}

/// The legacy order with kustomize's own lists.
pub(crate) fn apply_default(resources: &mut ResMap, schemas: &Schemas) {
    legacy(resources, &FIRST, &LAST, schemas);
}

/// What is wrong with `sortOptions`, if anything.
pub(crate) fn check(options: &SortOptions) -> Result<(), String> {
    match (options.order.as_str(), &options.legacy_sort_options) {
        ("legacy", _) | ("fifo", None) => Ok(()),
        ("fifo", Some(_)) => Err("legacySortOptions is set, but the order is `fifo`, not `legacy`".to_owned()),
        (order, _) => Err(format!("order `{order}` is none of fifo, legacy")),
    }
}

fn legacy<S: AsRef<str>>(resources: &mut ResMap, first: &[S], last: &[S], schemas: &Schemas) {
    resources.list.sort_by_cached_key(|resource: &Resource| {
        let id = resource.current_id(schemas);
        let place = place(&id.gvk.kind, first, last);
        (place, group_key(&id.gvk, place), name_key(&id))
    });
}

fn group_key(gvk: &Gvk, place: i32) -> String {
    let or = |text: &str, none: &str| {
        if text.is_empty() {
            none.to_owned()
        } else {
            text.to_owned()
        }
    };
    let group = match (gvk.kind.as_str(), gvk.group.as_str()) {
        // Among namespaces, which have a place of their own unless the user's lists leave them out, the core
        // group's goes before those of others.
        ("Namespace", "") if place != 0 => String::new(),
        (_, group) => or(group, "~G"),
    };
    format!("{group}_{}_{}", or(&gvk.version, "~V"), or(&gvk.kind, "~K"))
}

fn name_key(id: &Id) -> String {
    let or = |text: &str, none: &str| {
        if text.is_empty() {
            none.to_owned()
        } else {
            text.to_owned()
        }
    };
    format!("{}|{}", or(&id.namespace, "~X"), or(&id.name, "~N"))
}

fn place<S: AsRef<str>>(kind: &str, first: &[S], last: &[S]) -> i32 {
    // Later entries win, as they overwrite earlier ones in kustomize's map.
    if let Some(index) = last.iter().rposition(|name| name.as_ref() == kind) {
        return index as i32 + 1;
    }
    match first.iter().rposition(|name| name.as_ref() == kind) {
        Some(index) => index as i32 - first.len() as i32,
        None => 0,
    }
}
