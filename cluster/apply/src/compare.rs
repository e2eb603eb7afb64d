//! Whether a dry run would change the live object.

use nave_object::pointer::at;
use serde_json::{Map, Value};

/// Labels, annotations and everything outside of metadata and status are compared, as in Flux. Managed fields are not:
/// owning a field without changing it is no change.
pub(crate) fn differs(live: &Value, dry_run: &Value) -> bool {
    for pointer in ["/metadata/labels", "/metadata/annotations"] {
        let map = |object| {
            at(object, pointer)
                .and_then(Value::as_object)
                .filter(|map| !map.is_empty())
        };
        if map(live) != map(dry_run) {
            return true;
        }
    }
    if has_lists_that_double(live) || has_lists_that_double(dry_run) {
        return content(live) != content(dry_run);
    }
    !fields(live).eq(fields(dry_run))
}

/// What is compared, in the order of the names.
fn fields(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let all = object.as_object().into_iter().flatten();
    all.filter(|(field, _)| !matches!(field.as_str(), "metadata" | "status"))
}

fn has_lists_that_double(object: &Value) -> bool {
    object.get("kind").and_then(Value::as_str) == Some("HorizontalPodAutoscaler")
}

pub(crate) fn content(object: &Value) -> Map<String, Value> {
    let mut content: Map<String, Value> = fields(object)
        .map(|(field, value)| (field.clone(), value.clone()))
        .collect();
    if has_lists_that_double(object)
        && let Some(metrics) = content
            .get_mut("spec")
            .and_then(|spec| spec.get_mut("metrics"))
            .and_then(Value::as_array_mut)
    {
        // The API server doubles equal metrics of a merged list.
        let mut unique: Vec<Value> = Vec::with_capacity(metrics.len());
        for metric in metrics.drain(..) {
            if !unique.contains(&metric) {
                unique.push(metric);
            }
        }
        *metrics = unique;
    }
    content
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check_differs(live: Value, dry_run: Value, wanted: bool) {
        assert_eq!(differs(&live, &dry_run), wanted, "{live} → {dry_run}");
    }

    #[test]
    fn what_counts_as_a_change() {
        let meta = |labels: Value| json!({"kind": "X", "metadata": {"labels": labels}});
        check_differs(meta(json!({"a": "1"})), meta(json!({"a": "1"})), false);
        check_differs(meta(json!({"a": "1"})), meta(json!({"a": "2"})), true);
        check_differs(meta(json!(null)), meta(json!({})), false);
        check_differs(
            json!({"metadata": {"resourceVersion": "1", "managedFields": []}, "status": {"a": 1}, "spec": {"b": 1}}),
            json!({"metadata": {"resourceVersion": "2"}, "spec": {"b": 1}}),
            false,
        );
        check_differs(json!({"spec": {"b": 1}}), json!({"spec": {"b": 2}}), true);
        check_differs(json!({"data": {"b": "1"}}), json!({}), true);
        let scaler = |metrics: Value| json!({"kind": "HorizontalPodAutoscaler", "spec": {"metrics": metrics}});
        check_differs(scaler(json!([{"a": 1}])), scaler(json!([{"a": 1}, {"a": 1}])), false);
        check_differs(scaler(json!([{"a": 1}])), scaler(json!([{"a": 1}, {"a": 2}])), true);
    }
}
