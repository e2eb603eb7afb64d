//! What of a live object's metadata tells whether it still is as we applied it.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use kube::core::ObjectMeta;
use serde_json::Value;

/// Field manager of applied objects (Flux's).
pub const APPLY_MANAGER: &str = "kustomize-controller";

/// A few bytes that change whenever something changes that we applied.
///
/// Kinds with a generation change it with every change outside of metadata and status; the labels and annotations that we
/// own, and the list of fields that we own, are digested beside it. Kinds without a generation (ConfigMap, Service, …)
/// are known by their resource version alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    generation: Option<i64>,
    digest: u64,
}

impl Fingerprint {
    /// None when the object has no fields that we applied.
    pub fn of(meta: &ObjectMeta) -> Option<Self> {
        let own = meta
            .managed_fields
            .iter()
            .flatten()
            .find(|entry| {
                entry.manager.as_deref() == Some(APPLY_MANAGER)
                    && entry.operation.as_deref() == Some("Apply")
                    && entry.subresource.as_deref().unwrap_or_default().is_empty()
            })?
            .fields_v1
            .as_ref()?;
        let value_of = |values: &'_ Option<BTreeMap<String, String>>, key: &str| values.as_ref()?.get(key).cloned();
        let seen = Seen {
            uid: meta.uid.as_deref(),
            leaves: meta.deletion_timestamp.is_some(),
            generation: meta.generation,
            version: meta.resource_version.as_deref(),
            own: &own.0,
        };
        Some(seen.fingerprint(
            |key| value_of(&meta.labels, key),
            |key| value_of(&meta.annotations, key),
        ))
    }

    /// The same, from the metadata of an object as JSON.
    pub fn of_value(object: &Value) -> Option<Self> {
        let meta = object.get("metadata")?;
        let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let own = meta
            .get("managedFields")?
            .as_array()?
            .iter()
            .find(|entry| {
                text(entry, "manager") == APPLY_MANAGER
                    && text(entry, "operation") == "Apply"
                    && text(entry, "subresource").is_empty()
            })?
            .get("fieldsV1")
            .filter(|fields| !fields.is_null())?;
        let value_of = |values: &str, key: &str| meta.get(values)?.get(key)?.as_str().map(str::to_owned);
        let seen = Seen {
            uid: meta.get("uid").and_then(Value::as_str),
            leaves: meta.get("deletionTimestamp").is_some_and(|time| !time.is_null()),
            generation: meta.get("generation").and_then(Value::as_i64),
            version: meta.get("resourceVersion").and_then(Value::as_str),
            own,
        };
        Some(seen.fingerprint(|key| value_of("labels", key), |key| value_of("annotations", key)))
    }
}

/// What counts, however it came.
struct Seen<'a> {
    uid: Option<&'a str>,
    leaves: bool,
    generation: Option<i64>,
    version: Option<&'a str>,
    /// The fields that we own.
    own: &'a Value,
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
        hash_value(self.own, &mut hasher);
        for key in own_keys(self.own, "/f:metadata/f:labels") {
            (key, label(key)).hash(&mut hasher);
        }
        for key in own_keys(self.own, "/f:metadata/f:annotations") {
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

    #[track_caller]
    fn check_change(pointer: &str, value: Value, changes: bool) {
        let mut changed = object();
        *changed.pointer_mut(pointer).expect("the field exists") = value;
        let same = Fingerprint::of_value(&object()) == Fingerprint::of_value(&changed);
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
            let found = Fingerprint::of_value(&object);
            assert_eq!(found, Fingerprint::of(&meta), "without {field:?}");
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
            Fingerprint::of_value(&object).expect("we applied it")
        };
        assert_eq!(at("1"), at("1"));
        assert_ne!(at("1"), at("2"));
    }
}
