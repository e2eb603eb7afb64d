//! Which fields of an object drifted, by path and without their values: these may be secrets.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::compare;

/// Deeper differences are named by the field at this depth.
const DEEPEST: usize = 32;

/// The paths at which `live` departs from `wanted`, sorted: `spec.template.spec.containers[app].image`, `metadata.labels.team`.
pub(crate) fn drifted(live: &Value, wanted: &Value) -> Vec<String> {
    let mut paths = BTreeSet::new();
    for field in ["labels", "annotations"] {
        let pointer = format!("/metadata/{field}");
        let (live, wanted) = (live.pointer(&pointer), wanted.pointer(&pointer));
        let empty = Value::Object(serde_json::Map::new());
        let (live, wanted) = (live.unwrap_or(&empty), wanted.unwrap_or(&empty));
        walk(live, wanted, format!("metadata.{field}"), 1, &mut paths);
    }
    let (live, wanted) = (compare::content(live), compare::content(wanted));
    walk(
        &Value::Object(live),
        &Value::Object(wanted),
        String::new(),
        0,
        &mut paths,
    );
    paths.into_iter().collect()
}

fn walk(live: &Value, wanted: &Value, path: String, depth: usize, paths: &mut BTreeSet<String>) {
    if live == wanted {
        return;
    }
    match (live, wanted) {
        (Value::Object(left), Value::Object(right)) if depth < DEEPEST => {
            let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            for name in names {
                let (left, right) = (
                    left.get(name).unwrap_or(&Value::Null),
                    right.get(name).unwrap_or(&Value::Null),
                );
                let path = match path.as_str() {
                    "" => name.clone(),
                    parent => format!("{parent}.{name}"),
                };
                walk(left, right, path, depth + 1, paths);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() && depth < DEEPEST => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                let name = right.get("name").and_then(Value::as_str);
                let item = match name {
                    Some(name) => format!("{path}[{name}]"),
                    None => format!("{path}[{index}]"),
                };
                walk(left, right, item, depth + 1, paths);
            }
        }
        _ => {
            paths.insert(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_named_by_path() {
        let wanted = json!({"kind": "X", "metadata": {"labels": {"a": "1"}, "resourceVersion": "2"}, "status": {"s": 1},
            "spec": {"replicas": 1, "list": [1, 2], "containers": [{"name": "app", "image": "x:1"}]}});
        let mut live = wanted.clone();
        live["metadata"]["resourceVersion"] = json!("1");
        live["status"] = json!({});
        assert_eq!(drifted(&live, &wanted), Vec::<String>::new());
        live["spec"]["replicas"] = json!(3);
        live["spec"]["containers"][0]["image"] = json!("x:2");
        live["spec"]["list"] = json!([1]);
        live["spec"]["paused"] = json!(true);
        live["metadata"]["labels"] = json!({"a": "2", "b": "1"});
        assert_eq!(
            drifted(&live, &wanted),
            [
                "metadata.labels.a",
                "metadata.labels.b",
                "spec.containers[app].image",
                "spec.list",
                "spec.paused",
                "spec.replicas"
            ]
        );
    }

    #[test]
    fn depth_is_bounded() {
        let (mut live, mut wanted) = (json!(1), json!(2));
        for _ in 0..100 {
            (live, wanted) = (json!({"d": live}), json!({"d": wanted}));
        }
        let paths = drifted(&json!({"spec": live}), &json!({"spec": wanted}));
        assert_eq!(paths.len(), 1);
        assert_eq!(paths[0].matches('d').count(), DEEPEST - 1);
    }
}
