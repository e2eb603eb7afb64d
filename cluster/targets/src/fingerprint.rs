//! What of a live object's metadata tells whether it still is as we applied it.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use kube::core::ObjectMeta;
use serde_json::Value;

/// Field manager of applied objects (Flux's).
pub const APPLY_MANAGER: &str = "kustomize-controller";

/// Labels or annotations by which an object asks to be left alone; whoever sets them need not be one of those whose fields
/// are taken over.
const RULES: [&str; 2] = [
    "kustomize.toolkit.fluxcd.io/reconcile",
    "kustomize.toolkit.fluxcd.io/ssa",
];

/// Whether an apply takes over the fields of an entry of the managed fields: those of kubectl and of earlier tools, and
/// those of `override_managers` (Flux's `--override-manager`).
pub fn is_taken_over(manager: &str, operation: &str, subresource: &str, override_managers: &[String]) -> bool {
    subresource.is_empty()
        && (manager.starts_with("kubectl")
            || manager == "before-first-apply" && operation == "Update"
            || manager == APPLY_MANAGER && operation == "Update"
            || override_managers.iter().any(|other| other == manager))
}

/// A few bytes that change whenever something changes that we applied.
///
/// Kinds with a generation change it with every change outside of metadata and status; beside it are digested the labels and
/// annotations that we own, the list of fields that we own, and those of the fields that an apply takes over
/// ([`is_taken_over`]), such as a label that `kubectl label` set. Kinds without a generation (ConfigMap, Service, …) are
/// known by their resource version alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    generation: Option<i64>,
    digest: u64,
}

impl Fingerprint {
    /// None when the object has no fields that we applied.
    pub fn of(meta: &ObjectMeta, override_managers: &[String]) -> Option<Self> {
        let entries = meta.managed_fields.iter().flatten().filter_map(|entry| {
            Some(Entry {
                manager: entry.manager.as_deref().unwrap_or_default(),
                operation: entry.operation.as_deref().unwrap_or_default(),
                subresource: entry.subresource.as_deref().unwrap_or_default(),
                fields: &entry.fields_v1.as_ref()?.0,
            })
        });
        let value_of = |values: &'_ Option<BTreeMap<String, String>>, key: &str| values.as_ref()?.get(key).cloned();
        let seen = Seen {
            uid: meta.uid.as_deref(),
            leaves: meta.deletion_timestamp.is_some(),
            generation: meta.generation,
            version: meta.resource_version.as_deref(),
            fields: Fields::of(entries, override_managers)?,
        };
        Some(seen.fingerprint(
            |key| value_of(&meta.labels, key),
            |key| value_of(&meta.annotations, key),
        ))
    }

    /// The same, from the metadata of an object as JSON.
    pub fn of_value(object: &Value, override_managers: &[String]) -> Option<Self> {
        fn text<'a>(entry: &'a Value, field: &str) -> &'a str {
            entry.get(field).and_then(Value::as_str).unwrap_or_default()
        }
        let meta = object.get("metadata")?;
        let entries = meta.get("managedFields")?.as_array()?.iter().filter_map(|entry| {
            Some(Entry {
                manager: text(entry, "manager"),
                operation: text(entry, "operation"),
                subresource: text(entry, "subresource"),
                fields: entry.get("fieldsV1").filter(|fields| !fields.is_null())?,
            })
        });
        let value_of = |values: &str, key: &str| meta.get(values)?.get(key)?.as_str().map(str::to_owned);
        let seen = Seen {
            uid: meta.get("uid").and_then(Value::as_str),
            leaves: meta.get("deletionTimestamp").is_some_and(|time| !time.is_null()),
            generation: meta.get("generation").and_then(Value::as_i64),
            version: meta.get("resourceVersion").and_then(Value::as_str),
            fields: Fields::of(entries, override_managers)?,
        };
        Some(seen.fingerprint(|key| value_of("labels", key), |key| value_of("annotations", key)))
    }
}

/// One entry of the managed fields.
struct Entry<'a> {
    manager: &'a str,
    operation: &'a str,
    subresource: &'a str,
    fields: &'a Value,
}

/// The fields that count.
struct Fields<'a> {
    /// Those that we own.
    own: &'a Value,
    /// Those that an apply takes over.
    foreign: Vec<Entry<'a>>,
}

impl<'a> Fields<'a> {
    /// None when we own no fields.
    fn of(entries: impl Iterator<Item = Entry<'a>>, override_managers: &[String]) -> Option<Self> {
        let (mut own, mut foreign) = (None, Vec::new());
        for entry in entries {
            let (manager, operation, subresource) = (entry.manager, entry.operation, entry.subresource);
            if manager == APPLY_MANAGER && operation == "Apply" && subresource.is_empty() {
                own = own.or(Some(entry.fields));
            } else if is_taken_over(manager, operation, subresource, override_managers) {
                foreign.push(entry);
            }
        }
        Some(Fields { own: own?, foreign })
    }
}

/// What counts, however it came.
struct Seen<'a> {
    uid: Option<&'a str>,
    leaves: bool,
    generation: Option<i64>,
    version: Option<&'a str>,
    fields: Fields<'a>,
}

impl Seen<'_> {
    fn fingerprint(
        &self,
        label: impl Fn(&str) -> Option<String>,
        annotation: impl Fn(&str) -> Option<String>,
    ) -> Fingerprint {
        let mut hasher = DefaultHasher::new();
        self.uid.hash(&mut hasher);
        self.leaves.hash(&mut hasher);
        let own = self.fields.own;
        hash_value(own, &mut hasher);
        for Entry {
            manager,
            operation,
            fields,
            ..
        } in &self.fields.foreign
        {
            (manager, operation).hash(&mut hasher);
            hash_value(fields, &mut hasher);
        }
        for key in own_keys(own, "/f:metadata/f:labels").chain(RULES) {
            (key, label(key)).hash(&mut hasher);
        }
        for key in own_keys(own, "/f:metadata/f:annotations").chain(RULES) {
            (key, annotation(key)).hash(&mut hasher);
        }
        if self.generation.is_none() {
            self.version.hash(&mut hasher);
        }
        Fingerprint {
            generation: self.generation,
            digest: hasher.finish(),
        }
    }
}

fn own_keys<'a>(fields: &'a Value, pointer: &str) -> impl Iterator<Item = &'a str> {
    fields
        .pointer(pointer)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, _)| key.strip_prefix("f:"))
}

/// Managed fields are nested maps of names; anything else in them is not expected and hashed as its text.
fn hash_value(value: &Value, hasher: &mut impl Hasher) {
    match value {
        Value::Object(fields) => {
            fields.len().hash(hasher);
            for (key, value) in fields {
                key.hash(hasher);
                hash_value(value, hasher);
            }
        }
        other => other.to_string().hash(hasher),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object() -> Value {
        json!({"metadata": {
            "name": "x", "uid": "u", "generation": 3, "resourceVersion": "7",
            "labels": {"own": "1", "other": "1"},
            "managedFields": [
                {"manager": "kubelet", "operation": "Update", "fieldsV1": {"f:status": {}}},
                {"manager": "kustomize-controller", "operation": "Apply", "fieldsV1": {
                    "f:metadata": {"f:labels": {"f:own": {}}, "f:annotations": {"f:note": {}}},
                    "f:spec": {"f:replicas": {}},
                }},
            ],
        }})
    }

    fn of_value(object: &Value) -> Option<Fingerprint> {
        Fingerprint::of_value(object, &["lens".to_owned()])
    }

    #[track_caller]
    fn check_entry(manager: &str, operation: &str, subresource: &str, changes: bool) {
        let mut changed = object();
        let entries = changed["metadata"]["managedFields"].as_array_mut().expect("a list");
        entries.push(
            json!({"manager": manager, "operation": operation, "subresource": subresource, "fieldsV1": {
                "f:metadata": {"f:labels": {"f:other": {}}}}}),
        );
        assert_eq!(
            of_value(&object()) != of_value(&changed),
            changes,
            "{manager} {operation} {subresource}"
        );
    }

    #[test]
    fn fields_that_an_apply_takes_over_count() {
        check_entry("kubectl-label", "Update", "", true);
        check_entry("kubectl", "Apply", "", true);
        check_entry("before-first-apply", "Update", "", true);
        check_entry("lens", "Update", "", true);
        check_entry("kube-controller-manager", "Update", "", false);
        check_entry("kubectl-edit", "Update", "status", false);
    }

    #[test]
    fn an_object_that_asks_to_be_left_alone_has_changed() {
        for field in ["labels", "annotations"] {
            let mut asking = object();
            asking["metadata"][field]["kustomize.toolkit.fluxcd.io/reconcile"] = json!("disabled");
            assert_ne!(of_value(&object()), of_value(&asking), "{field}");
        }
    }

    #[track_caller]
    fn check_change(pointer: &str, value: Value, changes: bool) {
        let mut changed = object();
        *changed.pointer_mut(pointer).expect("the field exists") = value;
        let same = of_value(&object()) == of_value(&changed);
        assert_eq!(same, !changes, "{pointer}");
    }

    #[test]
    fn only_what_we_applied_counts() {
        check_change("/metadata/resourceVersion", json!("8"), false); // a status was written
        check_change("/metadata/labels/other", json!("2"), false);
        check_change("/metadata/labels/own", json!("2"), true);
        check_change("/metadata/labels", json!({}), true);
        check_change("/metadata/generation", json!(4), true);
        check_change("/metadata/uid", json!("v"), true);
        check_change("/metadata/managedFields/1/fieldsV1/f:spec", json!({}), true);
        check_change("/metadata/managedFields/0/fieldsV1", json!({}), false);
        check_change("/metadata/managedFields/1/manager", json!("kubectl"), true);
    }

    #[test]
    fn an_object_has_the_fingerprint_of_its_metadata() {
        let mut object = object();
        object["metadata"]["annotations"] = json!({"note": "n", "other": "o"});
        for field in ["", "generation", "labels", "uid"] {
            let metadata = object["metadata"].as_object_mut().expect("metadata is a map");
            metadata.remove(field);
            let meta: ObjectMeta = serde_json::from_value(object["metadata"].clone()).expect("it is metadata");
            let found = of_value(&object);
            assert_eq!(found, Fingerprint::of(&meta, &[]), "without {field:?}");
            assert!(found.is_some());
        }
    }

    #[test]
    fn without_a_generation_the_resource_version_counts() {
        let at = |version: &str| {
            let mut object = object();
            let metadata = object["metadata"].as_object_mut().expect("metadata is a map");
            metadata.remove("generation");
            metadata.insert("resourceVersion".into(), json!(version));
            of_value(&object).expect("we applied it")
        };
        assert_eq!(at("1"), at("1"));
        assert_ne!(at("1"), at("2"));
    }
}
