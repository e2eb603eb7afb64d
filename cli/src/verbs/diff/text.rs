//! Two states of an object as a YAML diff that a person can read.

use nave_object::yaml;
use serde_json::{Map, Value, json};
use similar::{ChangeTag, TextDiff};

use crate::build::{MASKS, is_masked};

/// Lines around a change.
const CONTEXT: usize = 2;
/// Fields of metadata that the API server keeps, and that nobody changes.
const SERVER_FIELDS: [&str; 5] = [
    "managedFields",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "uid",
];

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// In both.
    Same(String),
    /// Only in the live object.
    Removed(String),
    /// Only in what it would become.
    Added(String),
    /// Lines left out.
    Gap,
}

/// The changed lines with those around them and the keys above them; empty when nothing that is shown differs.
pub fn changes(mut live: Value, mut applied: Value) -> Vec<Change> {
    for object in [&mut live, &mut applied] {
        reduce(object);
    }
    if live.get("kind").and_then(Value::as_str) == Some("Secret") {
        hide(&mut live, &mut applied);
    }
    let (old, new) = (yaml::write(&live), yaml::write(&applied));
    let diff = TextDiff::from_lines(&old, &new);
    let old_lines: Vec<&str> = old.lines().collect();
    let mut changes = Vec::new();
    let mut shown = 0;
    for group in diff.grouped_ops(CONTEXT) {
        let Some(first) = group.first().map(|op| op.old_range().start) else {
            continue;
        };
        // The keys that lead here, unless they were printed already; at the end of the text there is none.
        let above: Vec<usize> = ancestors(&old_lines, first)
            .into_iter()
            .filter(|line| *line >= shown)
            .collect();
        for line in above {
            if line > shown {
                changes.push(Change::Gap);
            }
            changes.push(Change::Same(old_lines[line].to_owned()));
            shown = line + 1;
        }
        if first > shown {
            changes.push(Change::Gap);
        }
        for op in &group {
            for change in diff.iter_changes(op) {
                let text = change.value().trim_end_matches('\n').to_owned();
                changes.push(match change.tag() {
                    ChangeTag::Equal => Change::Same(text),
                    ChangeTag::Delete => Change::Removed(text),
                    ChangeTag::Insert => Change::Added(text),
                });
            }
            shown = op.old_range().end;
        }
    }
    changes
}

fn reduce(object: &mut Value) {
    let Some(fields) = object.as_object_mut() else { return };
    fields.remove("status");
    if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|field, _| !SERVER_FIELDS.contains(&field.as_str()));
    }
}

/// Hides the values of a Secret in a way that still shows which of them change.
fn hide(live: &mut Value, applied: &mut Value) {
    for field in ["data", "stringData"] {
        let before = values(live, field).cloned().unwrap_or_default();
        let after = values(applied, field).cloned().unwrap_or_default();
        let shown = |mine: &Map<String, Value>, other: &Map<String, Value>, side: &str| {
            mine.iter()
                .map(|(key, value)| {
                    let text = match other.get(key) {
                        // What is encrypted in git cannot be compared.
                        _ if after.get(key).is_some_and(is_masked) => json!(MASKS[0]),
                        Some(other) if other != value => json!(format!("***** ({side})")),
                        Some(_) | None => json!("*****"),
                    };
                    (key.clone(), text)
                })
                .collect::<Map<_, _>>()
        };
        let (before_shown, after_shown) = (shown(&before, &after, "before"), shown(&after, &before, "after"));
        for (object, shown) in [(&mut *live, before_shown), (&mut *applied, after_shown)] {
            if let Some(place) = object.get_mut(field).filter(|place| place.is_object()) {
                *place = Value::Object(shown);
            }
        }
    }
}

fn values<'a>(object: &'a Value, field: &str) -> Option<&'a Map<String, Value>> {
    object.get(field).and_then(Value::as_object)
}

/// The lines that a line stands below, the outermost first.
fn ancestors(lines: &[&str], of: usize) -> Vec<usize> {
    let Some(line) = lines.get(of) else { return Vec::new() };
    let mut above = Vec::new();
    let (mut indent, mut is_item) = place(line);
    for (number, line) in lines[..of].iter().enumerate().rev() {
        let (its_indent, its_item) = place(line);
        // A list stands no deeper than its key.
        if its_indent < indent || (its_indent == indent && is_item && !its_item) {
            above.push(number);
            (indent, is_item) = (its_indent, its_item);
        }
    }
    above.reverse();
    above
}

fn place(line: &str) -> (usize, bool) {
    let text = line.trim_start_matches(' ');
    (line.len() - text.len(), text.starts_with("- ") || text == "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(live: Value, applied: Value, wanted: &str) {
        let lines: Vec<String> = changes(live, applied)
            .into_iter()
            .map(|change| match change {
                Change::Same(text) => format!("  {text}"),
                Change::Removed(text) => format!("- {text}"),
                Change::Added(text) => format!("+ {text}"),
                Change::Gap => "  …".to_owned(),
            })
            .collect();
        let wanted: Vec<&str> = wanted.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines, wanted, "\n{}", lines.join("\n"));
    }

    #[test]
    fn keys_above_a_change_are_shown() {
        let object = |image: &str, replicas: u32| {
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "generation": replicas, "uid": "u"},
            "spec": {"replicas": replicas, "template": {"spec": {"containers": [
                {"name": "a", "image": "a:1", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
                {"name": "b", "args": ["1", "2", "3"], "image": image}]}}},
            "status": {"replicas": replicas}})
        };
        check(
            object("b:1", 1),
            object("b:2", 1),
            "
  …
  spec:
  …
    template:
      spec:
        containers:
  …
        - args:
  …
          - \"2\"
          - \"3\"
-         image: b:1
+         image: b:2
          name: b
",
        );
        check(object("b:1", 1), object("b:1", 1), "");
    }

    #[test]
    fn values_of_secrets_are_hidden() {
        let secret = |data: Value| json!({"kind": "Secret", "data": data});
        check(
            secret(json!({"a": "MQ==", "b": "Mg==", "c": "Mw=="})),
            secret(json!({"a": "MQ==", "b": "eA==", "d": "NA=="})),
            "
  data:
    a: '*****'
-   b: '***** (before)'
-   c: '*****'
+   b: '***** (after)'
+   d: '*****'
  kind: Secret
",
        );
        // Encrypted in git: only the keys count.
        check(secret(json!({"a": "MQ=="})), secret(json!({"a": MASKS[0]})), "");
    }
}
