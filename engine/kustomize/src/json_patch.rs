//! JSON patches (RFC 6902) with the habits of the library that kustomize uses (evanphx, v4).

use serde_json::{Map, Value};

/// One step of a patch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operation {
    Add(Pointer, Value),
    Remove(Pointer),
    Replace(Pointer, Value),
    Move { from: Pointer, to: Pointer },
    Copy { from: Pointer, to: Pointer },
    Test(Pointer, Value),
}

/// A JSON pointer, taken apart; no parts name the whole value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pointer {
    text: String,
    parts: Vec<String>,
}

/// Reads a list of operations.
///
/// # Errors
/// Anything else, naming the operation by its place.
pub(crate) fn parse(value: &Value) -> Result<Vec<Operation>, String> {
    let list = value.as_array().ok_or("expected a list of operations")?;
    list.iter()
        .enumerate()
        .map(|(index, item)| parse_one(item).map_err(|problem| format!("operation {}: {problem}", index + 1)))
        .collect()
}

/// Applies operations in their order.
///
/// # Errors
/// The first operation that fails, with its place and path; the value is then half changed.
pub(crate) fn apply(value: &mut Value, operations: &[Operation]) -> Result<(), String> {
    for (index, operation) in operations.iter().enumerate() {
        if let Some(problem) = too_much(value, operation) {
            return Err(format!("operation {}: {problem}", index + 1));
        }
        apply_one(value, operation).map_err(|problem| format!("operation {}: {problem}", index + 1))?;
    }
    Ok(())
}

fn parse_one(item: &Value) -> Result<Operation, String> {
    let fields = item.as_object().ok_or("expected a map with `op` and `path`")?;
    let pointer = |field: &str| match fields.get(field) {
        Some(Value::String(text)) => Pointer::parse(text),
        Some(_) => Err(format!("`{field}` is no text")),
        None => Err(format!("`{field}` is missing")),
    };
    // An operation without a value sets null, as in the library.
    let value = || fields.get("value").cloned().unwrap_or(Value::Null);
    let operation = fields.get("op").and_then(Value::as_str).unwrap_or_default();
    Ok(match operation {
        "add" => Operation::Add(pointer("path")?, value()),
        "remove" => Operation::Remove(pointer("path")?),
        "replace" => Operation::Replace(pointer("path")?, value()),
        "move" => Operation::Move {
            from: pointer("from")?,
            to: pointer("path")?,
        },
        "copy" => Operation::Copy {
            from: pointer("from")?,
            to: pointer("path")?,
        },
        "test" => Operation::Test(pointer("path")?, value()),
        "" => return Err("`op` is missing".to_owned()),
        other => {
            return Err(format!("`{other}` is none of add, remove, replace, move, copy, test"));
        }
    })
}

/// Levels that a patch may make; walking deeper objects would need more stack than threads have.
const MAX_LEVELS: usize = 512;
/// Parts of an object that one operation may copy: copies of copies grow fast.
const MAX_COPIED: usize = 1 << 20;

fn too_much(value: &Value, operation: &Operation) -> Option<String> {
    let (to, new) = match operation {
        Operation::Add(to, new) | Operation::Replace(to, new) => (to, new),
        Operation::Copy { from, to } | Operation::Move { from, to } => (to, from.get(value)?),
        Operation::Remove(_) | Operation::Test(..) => return None,
    };
    let levels = MAX_LEVELS.saturating_sub(to.parts.len());
    let mut parts = MAX_COPIED;
    (!is_within(new, &mut parts, levels)).then(|| {
        format!(
            "{} would get more than {MAX_LEVELS} levels or {MAX_COPIED} parts",
            to.text
        )
    })
}

fn is_within(value: &Value, parts: &mut usize, levels: usize) -> bool {
    if *parts == 0 || levels == 0 {
        return false;
    }
    *parts -= 1;
    match value {
        Value::Array(items) => items.iter().all(|item| is_within(item, parts, levels - 1)),
        Value::Object(map) => map.values().all(|item| is_within(item, parts, levels - 1)),
        _ => true,
    }
}

fn apply_one(value: &mut Value, operation: &Operation) -> Result<(), String> {
    match operation {
        Operation::Add(path, new) => add(value, path, new.clone()),
        Operation::Remove(path) => remove(value, path).map(|_| ()),
        Operation::Replace(path, new) if path.parts.is_empty() => {
            *value = new.clone();
            Ok(())
        }
        Operation::Replace(path, new) => {
            let (parent, key) = path.parent(value)?;
            match parent {
                // The library lets a replacement make the last key, though the standard does not.
                Value::Object(map) => {
                    map.insert(key.to_owned(), new.clone());
                }
                Value::Array(items) => {
                    let index = index_in(items.len(), key, path)?;
                    items[index] = new.clone();
                }
                _ => return Err(path.missing()),
            }
            Ok(())
        }
        Operation::Move { from, to } => {
            let moved = remove(value, from)?;
            add(value, to, moved)
        }
        Operation::Copy { from, to } => {
            let (parent, key) = from.parent(value)?;
            let copied = match parent {
                // A key that is not there copies as null.
                Value::Object(map) => map.get(key).cloned().unwrap_or(Value::Null),
                _ => from.get(value).cloned().ok_or_else(|| from.missing())?,
            };
            add(value, to, copied)
        }
        Operation::Test(path, wanted) => match path.get(value) {
            Some(found) if same(found, wanted) => Ok(()),
            None if wanted.is_null() => Ok(()),
            Some(found) => Err(format!(
                "test of {} failed: found {found}, expected {wanted}",
                path.text
            )),
            None => Err(path.missing()),
        },
    }
}

fn add(value: &mut Value, path: &Pointer, new: Value) -> Result<(), String> {
    let (parent, key) = path.parent(value)?;
    match parent {
        Value::Object(map) => {
            map.insert(key.to_owned(), new);
        }
        Value::Array(items) if key == "-" => items.push(new),
        Value::Array(items) => {
            let index = place_in(items.len() + 1, key, path)?;
            items.insert(index, new);
        }
        _ => return Err(path.missing()),
    }
    Ok(())
}

fn remove(value: &mut Value, path: &Pointer) -> Result<Value, String> {
    let (parent, key) = path.parent(value)?;
    match parent {
        Value::Object(map) => map.remove(key).ok_or_else(|| path.missing()),
        Value::Array(items) => {
            let index = index_in(items.len(), key, path)?;
            Ok(items.remove(index))
        }
        _ => Err(path.missing()),
    }
}

/// The index of an element that is there; negative ones count from the end.
fn index_in(length: usize, key: &str, path: &Pointer) -> Result<usize, String> {
    place_in(length, key, path)
}

/// An index below `length`; -1 is the last.
fn place_in(length: usize, key: &str, path: &Pointer) -> Result<usize, String> {
    let number: i64 = key
        .parse()
        .map_err(|_| format!("{}: `{key}` is no index of a list", path.text))?;
    let index = if number < 0 { number + length as i64 } else { number };
    match usize::try_from(index) {
        Ok(index) if index < length => Ok(index),
        _ => Err(format!("{}: the list has no place {key}", path.text)),
    }
}

/// Equality of JSON, with numbers by value.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => same_maps(a, b),
        _ => a == b,
    }
}

fn same_maps(a: &Map<String, Value>, b: &Map<String, Value>) -> bool {
    a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
}

impl Pointer {
    fn parse(text: &str) -> Result<Pointer, String> {
        let parts: Vec<String> = match text.split_once('/') {
            // The library takes what stands before the first slash for nothing.
            Some((_, rest)) => rest
                .split('/')
                .map(|part| part.replace("~1", "/").replace("~0", "~"))
                .collect(),
            None if text.is_empty() => Vec::new(),
            None => return Err(format!("path `{text}` does not start with a slash")),
        };
        Ok(Pointer {
            text: text.to_owned(),
            parts,
        })
    }

    fn get<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        self.parts.iter().try_fold(value, |here, part| match here {
            Value::Object(map) => map.get(part),
            Value::Array(items) => index_in(items.len(), part, self).ok().map(|index| &items[index]),
            _ => None,
        })
    }

    /// The node that holds the last part, and that part.
    fn parent<'a>(&self, value: &'a mut Value) -> Result<(&'a mut Value, &str), String> {
        let Some((last, path)) = self.parts.split_last() else {
            return Err("the path is empty, and names the whole object".to_owned());
        };
        let mut here = value;
        for part in path {
            here = match here {
                Value::Object(map) => map.get_mut(part).ok_or_else(|| self.missing())?,
                Value::Array(items) => {
                    let index = index_in(items.len(), part, self)?;
                    &mut items[index]
                }
                _ => return Err(self.missing()),
            };
        }
        if here.is_null() {
            return Err(self.missing());
        }
        Ok((here, last))
    }

    fn missing(&self) -> String {
        format!("path {} does not exist", self.text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(value: Value, patch: Value, wanted: Result<Value, &str>) {
        let mut changed = value;
        let result = parse(&patch).and_then(|operations| apply(&mut changed, &operations));
        match wanted {
            Ok(wanted) => {
                assert_eq!(result, Ok(()), "{patch}");
                assert_eq!(changed, wanted, "{patch}");
            }
            Err(part) => {
                let error = result.expect_err("must fail");
                assert!(error.contains(part), "{error}");
            }
        }
    }

    #[test]
    fn operations_do_what_the_standard_says() {
        check(
            json!({"a": [1, 2]}),
            json!([{"op": "add", "path": "/a/1", "value": 9}]),
            Ok(json!({"a": [1, 9, 2]})),
        );
        check(
            json!({"a": [1]}),
            json!([{"op": "add", "path": "/a/-", "value": 2}]),
            Ok(json!({"a": [1, 2]})),
        );
        check(
            json!({"a": [1, 2]}),
            json!([{"op": "remove", "path": "/a/-1"}]),
            Ok(json!({"a": [1]})),
        );
        check(
            json!({"a/b": 1}),
            json!([{"op": "replace", "path": "/a~1b", "value": 2}]),
            Ok(json!({"a/b": 2})),
        );
        check(
            json!({"a": 1}),
            json!([{"op": "move", "from": "/a", "path": "/b"}]),
            Ok(json!({"b": 1})),
        );
        check(
            json!({"a": 1}),
            json!([{"op": "copy", "from": "/a", "path": "/b"}]),
            Ok(json!({"a": 1, "b": 1})),
        );
        check(
            json!({"a": 1}),
            json!([{"op": "test", "path": "/a", "value": 1.0}]),
            Ok(json!({"a": 1})),
        );
        check(
            json!({}),
            json!([{"op": "replace", "path": "/a", "value": 1}]),
            Ok(json!({"a": 1})),
        );
        check(json!({}), json!([{"op": "add", "path": "/a"}]), Ok(json!({"a": null})));
        check(
            json!({}),
            json!([{"op": "replace", "path": "", "value": {"b": 1}}]),
            Ok(json!({"b": 1})),
        );
    }

    #[test]
    fn failures_name_operation_and_path() {
        check(
            json!({}),
            json!([{"op": "remove", "path": "/a"}]),
            Err("operation 1: path /a does not exist"),
        );
        check(
            json!({}),
            json!([{"op": "replace", "path": "/a/b", "value": 1}]),
            Err("/a/b does not exist"),
        );
        check(
            json!({"a": []}),
            json!([{"op": "add", "path": "/a/5", "value": 1}]),
            Err("no place 5"),
        );
        check(
            json!({"a": 1}),
            json!([{"op": "test", "path": "/a", "value": 2}]),
            Err("test of /a failed"),
        );
        check(
            json!({}),
            json!([{"op": "jump", "path": "/a"}]),
            Err("`jump` is none of"),
        );
        check(
            json!({}),
            json!([{"op": "add", "path": "", "value": 1}]),
            Err("the path is empty"),
        );
        check(json!({}), json!({"op": "add"}), Err("expected a list"));
    }
}
