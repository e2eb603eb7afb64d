//! What others changed of an object that was applied, and the patch that undoes just that.

use nave_object::Object;
use serde_json::{Value, json};

use crate::{IgnoreRules, compare, fields, ignore};

/// How deep objects are compared; below, a value is replaced as a whole.
const DEEPEST: usize = 32;

/// Fields that are not as they were applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Drift {
    /// Their paths, without values: these may be secrets.
    pub fields: Vec<String>,
    /// A JSON patch (RFC 6902) that makes the live object what an apply would make it. It fails on an object that somebody
    /// changed meanwhile.
    pub patch: Value,
}

impl Drift {
    /// Compares a live object with what the dry run of an apply made of it, ignored fields apart. None when nothing
    /// drifted.
    pub fn between(live: &Value, applied: &Value, object: &Object, rules: &IgnoreRules) -> Option<Drift> {
        let ignored = rules.paths(object);
        let (seen, wanted) = (ignore::without(live, &ignored), ignore::without(applied, &ignored));
        if !compare::differs(&seen, &wanted) {
            return None;
        }
        let fields = fields::drifted(&seen, &wanted);
        // What is ignored keeps its live value.
        let mut wanted = applied.clone();
        for path in ignored {
            take_over(&mut wanted, live, path);
        }
        let mut patch = Vec::new();
        for field in ["labels", "annotations"] {
            let pointer = format!("/metadata/{field}");
            changes(
                live.pointer(&pointer),
                wanted.pointer(&pointer),
                &pointer,
                0,
                &mut patch,
            );
        }
        let (before, after) = (compare::content(live), compare::content(&wanted));
        changes(
            Some(&Value::Object(before)),
            Some(&Value::Object(after)),
            "",
            0,
            &mut patch,
        );
        if patch.is_empty() {
            return None;
        }
        if let Some(version) = live.pointer("/metadata/resourceVersion") {
            patch.push(json!({"op": "replace", "path": "/metadata/resourceVersion", "value": version}));
        }
        Some(Drift {
            fields,
            patch: Value::Array(patch),
        })
    }
}

fn take_over(object: &mut Value, live: &Value, path: &str) {
    match (live.pointer(path), object.pointer_mut(path)) {
        (Some(value), Some(place)) => *place = value.clone(),
        (None, Some(_)) => ignore::remove(object, path),
        // A dry run drops nothing that others own, so that there is nothing to bring back.
        (_, None) => {}
    }
}

fn changes(before: Option<&Value>, after: Option<&Value>, path: &str, depth: usize, patch: &mut Vec<Value>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(_), None) => patch.push(json!({"op": "remove", "path": path})),
        (None, Some(after)) => patch.push(json!({"op": "add", "path": path, "value": after})),
        (Some(Value::Object(before)), Some(Value::Object(after))) if depth < DEEPEST => {
            let gone = before.keys().filter(|field| !after.contains_key(*field));
            for field in gone.chain(after.keys()) {
                let path = format!("{path}/{}", field.replace('~', "~0").replace('/', "~1"));
                changes(before.get(field), after.get(field), &path, depth + 1, patch);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) if before.len() == after.len() && depth < DEEPEST => {
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                changes(Some(before), Some(after), &format!("{path}/{index}"), depth + 1, patch);
            }
        }
        (_, Some(after)) => patch.push(json!({"op": "replace", "path": path, "value": after})),
        (None, None) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Object {
        Object::from_value(value).expect("an object")
    }

    #[test]
    fn only_what_drifted_is_patched() {
        let base = |labels: Value, spec: Value| {
            json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "resourceVersion": "7", "labels": labels}, "spec": spec, "status": {"x": 1}})
        };
        let live = base(
            json!({"by/hand": "1"}),
            json!({"replicas": 9, "list": [{"a": 1}, {"b": 1}], "extra": true}),
        );
        let applied = base(
            json!({"by/hand": "2"}),
            json!({"replicas": 1, "list": [{"a": 2}, {"b": 1}], "new": {"x": 1}}),
        );
        let desired = object(applied.clone());
        let drift = Drift::between(&live, &applied, &desired, &IgnoreRules::default()).expect("it drifted");
        assert_eq!(
            drift.patch,
            json!([
                {"op": "replace", "path": "/metadata/labels/by~1hand", "value": "2"},
                {"op": "remove", "path": "/spec/extra"},
                {"op": "replace", "path": "/spec/list/0/a", "value": 2},
                {"op": "add", "path": "/spec/new", "value": {"x": 1}},
                {"op": "replace", "path": "/spec/replicas", "value": 1},
                {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
            ])
        );
        assert!(
            drift.fields.contains(&"spec.replicas".to_owned())
                && drift.fields.contains(&"metadata.labels.by/hand".to_owned()),
            "{:?}",
            drift.fields
        );
        let mut same = live.clone();
        same["metadata"]["resourceVersion"] = json!("8");
        same["status"] = json!({});
        assert_eq!(Drift::between(&live, &same, &desired, &IgnoreRules::default()), None);
    }

    #[test]
    fn ignored_fields_keep_their_live_value() {
        let base = |replicas: i64, image: &str| {
            json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web"}, "spec": {"replicas": replicas, "image": image}})
        };
        let rules = serde_json::from_value(json!([{"paths": ["/spec/replicas"]}])).expect("rules");
        let rules: Vec<nave_crds::kustomize::IgnoreRule> = rules;
        let rules = IgnoreRules::new(&rules).expect("they are pointers");
        let (live, applied) = (base(9, "x"), base(1, "y"));
        let drift = Drift::between(&live, &applied, &object(applied.clone()), &rules).expect("it drifted");
        assert_eq!(drift.fields, ["spec.image"]);
        assert_eq!(
            drift.patch,
            json!([{"op": "replace", "path": "/spec/image", "value": "y"}])
        );
        assert_eq!(Drift::between(&live, &base(1, "x"), &object(applied), &rules), None);
    }
}
