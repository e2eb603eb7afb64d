//! Taking over fields that other tools applied before us, so that what Git lacks really goes.

use nave_object::pointer::at;
use nave_targets::APPLY_MANAGER;
use serde_json::{Map, Value, json};

/// Leavings of kubectl and of earlier Flux versions.
const ANNOTATIONS: [&str; 3] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "kustomize.toolkit.fluxcd.io/checksum",
    "fluxcd.io/sync-checksum",
];
const LABEL: &str = "fluxcd.io/sync-gc-mark";

/// The JSON patch that folds the fields of kubectl, of `before-first-apply` and of `override_managers` into our own entry
/// and removes leavings; none when the live object needs no clean-up.
pub(crate) fn patch(live: &Value, override_managers: &[String]) -> Option<Value> {
    let mut operations = Vec::new();
    for (field, keys) in [("annotations", &ANNOTATIONS[..]), ("labels", &[LABEL][..])] {
        for key in keys {
            let values = live.get("metadata").and_then(|metadata| metadata.get(field));
            if values.and_then(|values| values.get(*key)).is_some() {
                let path = format!("/metadata/{field}/{}", key.replace('~', "~0").replace('/', "~1"));
                operations.push(json!({"op": "remove", "path": path}));
            }
        }
    }
    let entries = at(live, "/metadata/managedFields").and_then(Value::as_array);
    if let Some(folded) = entries.and_then(|entries| fold(entries, override_managers)) {
        operations.push(json!({"op": "replace", "path": "/metadata/managedFields", "value": folded}));
    }
    if operations.is_empty() {
        return None;
    }
    // A change in between makes a conflict instead of undoing it.
    let version = at(live, "/metadata/resourceVersion")?;
    operations.push(json!({"op": "replace", "path": "/metadata/resourceVersion", "value": version}));
    Some(Value::Array(operations))
}

/// The JSON patch that moves every entry of the managed fields to `api_version`; none when all are there.
///
/// A definition that gets a new version with a field that has a default makes the API server refuse entries of the old
/// version ("field not declared in schema"), whoever they belong to.
pub(crate) fn migration(live: &Value, api_version: &str) -> Option<Value> {
    let entries = at(live, "/metadata/managedFields")?.as_array()?;
    if entries.iter().all(|entry| text(entry, "apiVersion") == api_version) {
        return None;
    }
    let version = at(live, "/metadata/resourceVersion")?;
    let mut moved = entries.clone();
    for entry in &mut moved {
        entry["apiVersion"] = json!(api_version);
    }
    Some(json!([
        {"op": "replace", "path": "/metadata/managedFields", "value": moved},
        // A change in between makes a conflict instead of undoing it.
        {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
    ]))
}

fn fold(entries: &[Value], override_managers: &[String]) -> Option<Vec<Value>> {
    if !entries.iter().any(|entry| is_taken_over(entry, override_managers)) {
        return None;
    }
    let (foreign, mut kept): (Vec<Value>, Vec<Value>) = entries
        .iter()
        .cloned()
        .partition(|entry| is_taken_over(entry, override_managers));
    let position = kept.iter().position(|entry| {
        text(entry, "manager") == APPLY_MANAGER
            && text(entry, "operation") == "Apply"
            && text(entry, "subresource").is_empty()
    });
    let mut own = match position {
        Some(position) => kept.remove(position),
        None => {
            let mut own = foreign[0].clone();
            own["manager"] = json!(APPLY_MANAGER);
            own["operation"] = json!("Apply");
            own
        }
    };
    for entry in &foreign {
        let fields = entry.get("fieldsV1").cloned().unwrap_or_else(|| json!({}));
        if let Some(own) = own.as_object_mut() {
            merge(own.entry("fieldsV1").or_insert_with(|| json!({})), fields);
        }
    }
    kept.push(own);
    Some(kept)
}

fn is_taken_over(entry: &Value, override_managers: &[String]) -> bool {
    nave_targets::is_taken_over(
        text(entry, "manager"),
        text(entry, "operation"),
        text(entry, "subresource"),
        override_managers,
    )
}

/// The union of two sets of fields.
fn merge(into: &mut Value, from: Value) {
    let Value::Object(from) = from else { return };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    let Value::Object(into) = into else { return };
    for (field, children) in from {
        merge(into.entry(field).or_insert_with(|| json!({})), children);
    }
}

fn text<'a>(entry: &'a Value, field: &str) -> &'a str {
    entry.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    fn live(entries: Vec<Value>) -> Value {
        json!({"metadata": {"name": "x", "resourceVersion": "5", "managedFields": entries}})
    }

    #[test]
    fn fields_of_kubectl_become_ours() {
        let object = live(vec![
            entry(
                "kubectl-client-side-apply",
                "Update",
                json!({"f:data": {"f:a": {}, "f:b": {}}}),
            ),
            entry(
                "kustomize-controller",
                "Apply",
                json!({"f:data": {"f:a": {}, "f:c": {}}}),
            ),
            entry("kubelet", "Update", json!({"f:x": {}})),
            json!({"manager": "kubectl", "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {}}}),
        ]);
        let patch = patch(&object, &[]).expect("there is something to fold");
        let value = &patch[0]["value"];
        assert_eq!(value.as_array().expect("a list").len(), 3);
        assert_eq!(
            value[2],
            entry(
                "kustomize-controller",
                "Apply",
                json!({"f:data": {"f:a": {}, "f:b": {}, "f:c": {}}})
            )
        );
        assert_eq!(
            patch[1],
            json!({"op": "replace", "path": "/metadata/resourceVersion", "value": "5"})
        );
    }

    #[test]
    fn without_an_entry_of_ours_one_is_made() {
        let object = live(vec![entry("kubectl-edit", "Update", json!({"f:spec": {}}))]);
        let patch = patch(&object, &[]).expect("there is something to fold");
        assert_eq!(
            patch[0]["value"],
            json!([entry("kustomize-controller", "Apply", json!({"f:spec": {}}))])
        );
    }

    #[track_caller]
    fn check_taken_over(manager: &str, operation: &str, wanted: bool) {
        let overrides = vec!["helm".to_owned()];
        let found = patch(&live(vec![entry(manager, operation, json!({}))]), &overrides).is_some();
        assert_eq!(found, wanted, "{manager} {operation}");
    }

    #[test]
    fn which_managers_are_taken_over() {
        check_taken_over("kubectl", "Apply", true);
        check_taken_over("kubectl-rollout", "Update", true);
        check_taken_over("before-first-apply", "Update", true);
        check_taken_over("before-first-apply", "Apply", false);
        check_taken_over("kustomize-controller", "Update", true);
        check_taken_over("kustomize-controller", "Apply", false);
        check_taken_over("helm", "Update", true);
        check_taken_over("helm", "Apply", true);
        check_taken_over("flux-client-side-apply", "Update", false);
    }

    #[test]
    fn every_entry_moves_to_the_applied_version() {
        let entry = |version: &str, subresource: &str| json!({"manager": "m", "operation": "Update", "apiVersion": version, "subresource": subresource, "fieldsV1": {}});
        let object = live(vec![entry("a/v1", ""), entry("a/v2", ""), entry("a/v1", "status")]);
        let patch = migration(&object, "a/v2").expect("two are of v1");
        assert_eq!(
            patch[0]["value"],
            json!([entry("a/v2", ""), entry("a/v2", ""), entry("a/v2", "status")])
        );
        assert_eq!(patch[1]["value"], "5");
        assert_eq!(migration(&live(vec![entry("a/v2", "")]), "a/v2"), None);
        assert_eq!(migration(&live(vec![]), "a/v2"), None);
        assert_eq!(migration(&json!({"metadata": {}}), "a/v2"), None);
    }

    #[test]
    fn leavings_are_removed() {
        let mut object = live(vec![]);
        object["metadata"]["annotations"] =
            json!({"kubectl.kubernetes.io/last-applied-configuration": "{}", "kept": "x"});
        object["metadata"]["labels"] = json!({"fluxcd.io/sync-gc-mark": "y"});
        let patch = patch(&object, &[]).expect("there is something to remove");
        assert_eq!(
            patch[0],
            json!({"op": "remove", "path": "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration"})
        );
        assert_eq!(
            patch[1],
            json!({"op": "remove", "path": "/metadata/labels/fluxcd.io~1sync-gc-mark"})
        );
        assert_eq!(patch.as_array().expect("a list").len(), 3);
    }
}
