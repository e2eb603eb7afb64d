//! Taking over fields that Helm's client-side merge wrote, so that what leaves a chart really goes.

use nave_crds::managers::HELM;
use serde_json::{Map, Value, json};

/// The name under which Helm's own command line writes.
const COMMAND_LINE: &str = "helm";

/// The JSON patch that folds the fields of Helm's updates, and of `others`, into our own entry; none when there are none.
pub(crate) fn fold(live: &Value, others: &[String]) -> Option<Value> {
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array)?;
    let is_ours = |entry: &Value| {
        text(entry, "manager") == HELM && text(entry, "operation") == "Apply" && text(entry, "subresource").is_empty()
    };
    let is_taken = |entry: &Value| {
        let manager = text(entry, "manager");
        let is_helm = [HELM, COMMAND_LINE].contains(&manager) && text(entry, "operation") == "Update";
        text(entry, "subresource").is_empty() && (is_helm || others.iter().any(|other| other == manager))
    };
    let (taken, mut kept): (Vec<Value>, Vec<Value>) = entries.iter().cloned().partition(is_taken);
    let first = taken.first()?;
    let mut own = match kept.iter().position(is_ours) {
        Some(at) => kept.remove(at),
        None => {
            let mut own = first.clone();
            own["manager"] = json!(HELM);
            own["operation"] = json!("Apply");
            own
        }
    };
    for entry in &taken {
        let fields = entry.get("fieldsV1").cloned().unwrap_or_else(|| json!({}));
        if let Some(own) = own.as_object_mut() {
            merge(own.entry("fieldsV1").or_insert_with(|| json!({})), fields);
        }
    }
    kept.push(own);
    // A change in between makes a conflict instead of undoing it.
    let version = live.pointer("/metadata/resourceVersion")?;
    Some(json!([
        {"op": "replace", "path": "/metadata/managedFields", "value": kept},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
    ]))
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

    #[test]
    fn updates_of_helm_become_ours() {
        let entry = |manager: &str, operation: &str, subresource: &str, field: &str| json!({"manager": manager, "operation": operation, "subresource": subresource, "fieldsV1": {"f:spec": {field: {}}}});
        let live = |entries: Value| json!({"metadata": {"resourceVersion": "7", "managedFields": entries}});
        assert_eq!(
            fold(
                &live(json!([
                    entry("kubectl", "Update", "", "f:a"),
                    entry(HELM, "Apply", "", "f:b")
                ])),
                &[]
            ),
            None
        );
        let patch = fold(
            &live(json!([
                entry("helm", "Update", "", "f:a"),
                entry("helm", "Update", "status", "f:c"),
                entry(HELM, "Apply", "", "f:b"),
                entry("other", "Apply", "", "f:d"),
            ])),
            &["other".to_owned()],
        )
        .expect("there is something to fold");
        let folded = patch[0]["value"].as_array().expect("a list");
        assert_eq!(folded.len(), 2);
        assert_eq!(folded[1]["manager"], HELM);
        assert_eq!(
            folded[1]["fieldsV1"]["f:spec"],
            json!({"f:a": {}, "f:b": {}, "f:d": {}})
        );
        let alone = fold(&live(json!([entry(HELM, "Update", "", "f:a")])), &[]).expect("there is something to fold");
        assert_eq!(alone[0]["value"][0]["operation"], "Apply");
    }
}
