//! What leaves the cluster: objects without managed fields, rows for people, and never a Secret.

use bytes::Bytes;
use nave_proto::wire::LiveEndCode;
use serde_json::{Value, json};

use super::{Ended, kinds::Kind};

/// Secrets are not read at all, whatever RBAC says: not their data, and not their names.
pub fn refuse_secrets(kind: &Kind) -> Result<(), Ended> {
    if kind.group.is_empty() && kind.plural == "secrets" {
        return Err(no_secrets());
    }
    Ok(())
}

fn no_secrets() -> Ended {
    Ended::new(
        LiveEndCode::Forbidden,
        "Secrets are not read through the link, whatever rights there are",
    )
}

/// An answer of the API server as lines of JSON: a table is one line, a list one for each object.
pub fn lines(answer: Value, kind: &Kind) -> Result<Bytes, Ended> {
    let mut lines = Vec::new();
    if answer["kind"] == "Table" {
        write(&mut lines, &table(&answer));
        return Ok(lines.into());
    }
    if answer["items"].is_array() && answer["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) {
        let (version, mut answer) = (answer["apiVersion"].clone(), answer);
        let Value::Array(items) = answer["items"].take() else {
            return Ok(Bytes::new());
        };
        for mut item in items {
            // Items of a list do not say what they are.
            if item.get("kind").is_none() {
                item["kind"] = json!(kind.kind);
                item["apiVersion"] = version.clone();
            }
            write(&mut lines, &object(item)?);
        }
        return Ok(lines.into());
    }
    write(&mut lines, &object(answer)?);
    Ok(lines.into())
}

fn object(mut object: Value) -> Result<Value, Ended> {
    // An API server that answers with something else than it was asked for.
    if object["kind"] == "Secret" && object["apiVersion"] == "v1" {
        return Err(no_secrets());
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    Ok(object)
}

/// Columns, and of each row its cells and where its object is.
fn table(answer: &Value) -> Value {
    let columns = answer["columnDefinitions"].as_array().into_iter().flatten();
    let columns: Vec<Value> = columns
        .map(|column| json!({"name": column["name"], "priority": column["priority"]}))
        .collect();
    let rows = answer["rows"].as_array().into_iter().flatten();
    let rows: Vec<Value> = rows
        .map(|row| {
            let metadata = &row["object"]["metadata"];
            json!({"cells": row["cells"], "name": metadata["name"], "namespace": metadata["namespace"]})
        })
        .collect();
    json!({"kind": "Table", "columns": columns, "rows": rows})
}

fn write(lines: &mut Vec<u8>, value: &Value) {
    serde_json::to_writer(&mut *lines, value).expect("JSON into memory cannot fail");
    lines.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(group: &str, plural: &str, name: &str) -> Kind {
        let list = json!({"items": [{"metadata": {"name": group}, "versions": [{"version": "v1", "resources": [{
            "resource": plural, "responseKind": {"kind": name}, "scope": "Namespaced", "verbs": ["get"],
        }]}]}]});
        super::super::kinds::of(&serde_json::from_value(list).expect("a discovery list")).remove(0)
    }

    fn text(answer: Value) -> Result<String, Ended> {
        let bytes = lines(answer, &kind("", "pods", "Pod"))?;
        Ok(String::from_utf8(bytes.to_vec()).expect("JSON is text"))
    }

    #[test]
    fn secrets_are_refused_by_name_and_by_content() {
        assert!(refuse_secrets(&kind("", "secrets", "Secret")).is_err());
        assert!(refuse_secrets(&kind("external-secrets.io", "secrets", "Secret")).is_ok());
        assert!(refuse_secrets(&kind("", "pods", "Pod")).is_ok());
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": "Yg=="}});
        let refused = text(secret.clone()).expect_err("refused");
        assert_eq!(refused.code, LiveEndCode::Forbidden);
        assert!(!refused.message.contains("Yg=="));
        assert!(text(json!({"apiVersion": "v1", "kind": "List", "items": [secret]})).is_err());
    }

    #[test]
    fn objects_lose_managed_fields_and_items_say_what_they_are() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "managedFields": [1]}});
        let one = text(pod).ok().expect("shown");
        assert_eq!(
            one,
            "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\"}}\n"
        );
        let list = json!({"apiVersion": "v1", "kind": "PodList", "items": [
            {"metadata": {"name": "a", "managedFields": [1]}}, {"metadata": {"name": "b"}},
        ]});
        let two = text(list).ok().expect("shown");
        assert_eq!(two.lines().count(), 2);
        assert!(
            two.lines()
                .all(|line| line.contains("\"kind\":\"Pod\"") && !line.contains("managed")),
            "{two}"
        );
    }

    #[test]
    fn tables_hold_cells_and_places_alone() {
        let answer = json!({"kind": "Table", "columnDefinitions": [{"name": "Name", "priority": 0, "type": "string"}],
            "rows": [{"cells": ["a"], "object": {"metadata": {"name": "a", "namespace": "n", "annotations": {"x": "y"}}}}]});
        let table = text(answer).ok().expect("shown");
        assert!(
            table.contains("\"cells\":[\"a\"]") && table.contains("\"namespace\":\"n\""),
            "{table}"
        );
        assert!(!table.contains("annotations"), "{table}");
    }
}
