//! Client-side apply: what becomes of a live object when a release goes from one manifest to the next, without the
//! server's knowledge of who owns which field.
//!
//! ```text
//! original ─┐
//! modified ─┼─► three_way ─► the object as it should be ─┐
//! current ──┘                                            ├─► merge_patch
//! current ───────────────────────────────────────────────┘
//! ```

use serde_json::{Map, Value};

/// Deeper fields are replaced as a whole.
const DEEPEST: usize = 64;

/// By which keys the elements of a list are told apart, by the path of the list (elements do not count): none for a list
/// that is replaced as a whole, no keys for a list of scalars.
pub type ListKeys<'a> = &'a dyn Fn(&[&str]) -> Option<Vec<String>>;

/// The live object as it should be: what the original had and the modified one lacks goes, what the modified one has is
/// there, and everything else stays. The rules are those of a strategic merge patch that kubectl and Helm make from three
/// versions, applied.
///
/// Without an original nothing goes.
pub fn three_way(original: Option<&Value>, modified: &Value, current: &Value, keys: ListKeys<'_>) -> Value {
    let mut merge = Merge { keys, path: Vec::new() };
    merge.value(original, modified, current)
}

/// What Helm does with kinds that it has no types of: the difference between two manifests is made to the live object, and
/// what others changed stays.
pub fn two_way(original: &Value, modified: &Value, current: &Value) -> Value {
    let mut result = current.clone();
    apply_merge_patch(&mut result, &merge_patch(original, modified), 0);
    result
}

/// The JSON merge patch (RFC 7386) from one object to another; an empty map when they are equal.
pub fn merge_patch(from: &Value, to: &Value) -> Value {
    difference(from, to, 0).unwrap_or_else(|| Value::Object(Map::new()))
}

fn difference(from: &Value, to: &Value, depth: usize) -> Option<Value> {
    match (from, to) {
        _ if from == to => None,
        (Value::Object(from), Value::Object(to)) if depth < DEEPEST => {
            let mut patch = Map::new();
            for field in from.keys().filter(|field| !to.contains_key(*field)) {
                patch.insert(field.clone(), Value::Null);
            }
            for (field, value) in to {
                let changed = match from.get(field) {
                    Some(before) => difference(before, value, depth + 1),
                    None => Some(value.clone()),
                };
                if let Some(changed) = changed {
                    patch.insert(field.clone(), changed);
                }
            }
            Some(Value::Object(patch))
        }
        _ => Some(to.clone()),
    }
}

fn apply_merge_patch(into: &mut Value, patch: &Value, depth: usize) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    let Value::Object(into) = into else { return };
    for (field, value) in patch {
        match value {
            Value::Null => {
                into.remove(field);
            }
            Value::Object(_) if depth < DEEPEST => {
                apply_merge_patch(into.entry(field.clone()).or_insert(Value::Null), value, depth + 1);
            }
            _ => {
                into.insert(field.clone(), value.clone());
            }
        }
    }
}

struct Merge<'a, 'p> {
    keys: ListKeys<'a>,
    path: Vec<&'p str>,
}

impl<'p> Merge<'_, 'p> {
    fn value(&mut self, original: Option<&Value>, modified: &'p Value, current: &Value) -> Value {
        match (modified, current) {
            (Value::Object(wanted), Value::Object(live)) if self.path.len() < DEEPEST => {
                Value::Object(self.map(original.and_then(Value::as_object), wanted, live))
            }
            (Value::Array(wanted), Value::Array(live)) => {
                let before = original.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                match (self.keys)(&self.path) {
                    None => modified.clone(),
                    Some(keys) if keys.is_empty() => Value::Array(union(before, wanted, live)),
                    Some(keys) => Value::Array(self.list(before, wanted, live, &keys)),
                }
            }
            _ => without_nulls(modified, 0),
        }
    }

    fn map(
        &mut self,
        original: Option<&Map<String, Value>>,
        modified: &'p Map<String, Value>,
        current: &Map<String, Value>,
    ) -> Map<String, Value> {
        let mut result = current.clone();
        if self.retains_only_its_keys() {
            result.retain(|field, _| modified.contains_key(field));
        }
        for field in original.into_iter().flat_map(Map::keys) {
            if !modified.contains_key(field) {
                result.remove(field);
            }
        }
        for (field, wanted) in modified {
            if wanted.is_null() {
                result.remove(field);
                continue;
            }
            let before = original.and_then(|original| original.get(field));
            self.path.push(field);
            let merged = match current.get(field) {
                Some(live) => self.value(before, wanted, live),
                None => without_nulls(wanted, 0),
            };
            self.path.pop();
            result.insert(field.clone(), merged);
        }
        result
    }

    /// Fields that exclude each other: those of an old choice do not stay beside a new one.
    fn retains_only_its_keys(&self) -> bool {
        matches!(self.path.as_slice(), ["spec", "strategy"]) || self.path.last() == Some(&"volumes")
    }

    /// Elements in the order of the modified list, those that only the live one has among them.
    fn list(&mut self, original: &[Value], modified: &'p [Value], current: &[Value], keys: &[String]) -> Vec<Value> {
        let mut left: Vec<&Value> = current.iter().collect();
        let mut result = Vec::with_capacity(current.len().max(modified.len()));
        for wanted in modified {
            let live = left.iter().position(|live| is_same(live, wanted, keys));
            let before = original.iter().find(|before| is_same(before, wanted, keys));
            result.push(match live.map(|at| left.remove(at)) {
                Some(live) => self.value(before, wanted, live),
                None => without_nulls(wanted, 0),
            });
        }
        let stays = |live: &&&Value| !original.iter().any(|before| is_same(before, live, keys));
        let server_only = left.iter().filter(stays).map(|live| (*live).clone()).collect();
        let place = |element: &Value| current.iter().position(|live| is_same(live, element, keys));
        in_order(server_only, result, place)
    }
}

/// Whether two elements are the same one. A key that one of them leaves to its default says nothing, the first one apart.
fn is_same(one: &Value, other: &Value, keys: &[String]) -> bool {
    keys.iter()
        .enumerate()
        .all(|(index, key)| match (one.get(key), other.get(key)) {
            (Some(one), Some(other)) => one == other,
            _ => index > 0,
        })
}

fn union(original: &[Value], modified: &[Value], current: &[Value]) -> Vec<Value> {
    let others = current
        .iter()
        .filter(|live| !modified.contains(live) && !original.contains(live));
    let place = |element: &Value| current.iter().position(|live| live == element);
    in_order(others.cloned().collect(), modified.to_vec(), place)
}

/// What only the live list has comes first, but after what stands before it there: as the API server sorts a strategic merge
/// patch.
fn in_order(server_only: Vec<Value>, wanted: Vec<Value>, place: impl Fn(&Value) -> Option<usize>) -> Vec<Value> {
    let mut result = Vec::with_capacity(server_only.len() + wanted.len());
    let (mut left, mut right) = (server_only.into_iter().peekable(), wanted.into_iter().peekable());
    loop {
        let is_left_first = match (left.peek(), right.peek()) {
            (None, None) => return result,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(one), Some(other)) => !matches!((place(one), place(other)), (Some(one), Some(other)) if other < one),
        };
        result.extend(if is_left_first { left.next() } else { right.next() });
    }
}

/// An explicit null deletes, also where there is nothing.
fn without_nulls(value: &Value, depth: usize) -> Value {
    match value {
        Value::Object(fields) if depth < DEEPEST => Value::Object(
            fields
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(field, value)| (field.clone(), without_nulls(value, depth + 1)))
                .collect(),
        ),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn keys(path: &[&str]) -> Option<Vec<String>> {
        match path {
            ["spec", "containers"] => Some(vec!["name".to_owned()]),
            ["spec", "containers", "ports"] => Some(vec!["containerPort".to_owned(), "protocol".to_owned()]),
            ["metadata", "finalizers"] => Some(Vec::new()),
            _ => None,
        }
    }

    #[track_caller]
    fn check(original: Value, modified: Value, current: Value, wanted: Value) {
        let original = (!original.is_null()).then_some(&original);
        assert_eq!(three_way(original, &modified, &current, &keys), wanted);
    }

    #[test]
    fn fields_go_come_and_stay() {
        check(
            json!({"data": {"gone": "1", "kept": "1"}}),
            json!({"data": {"kept": "2", "new": "3"}}),
            json!({"data": {"gone": "9", "kept": "9", "other": "4"}, "metadata": {"uid": "u"}}),
            json!({"data": {"kept": "2", "new": "3", "other": "4"}, "metadata": {"uid": "u"}}),
        );
        check(
            Value::Null,
            json!({"data": {"a": "1"}}),
            json!({"data": {"b": "2"}}),
            json!({"data": {"a": "1", "b": "2"}}),
        );
        check(
            json!({}),
            json!({"spec": {"a": null, "b": {"c": null, "d": 1}}}),
            json!({"spec": {"a": 1}}),
            json!({"spec": {"b": {"d": 1}}}),
        );
    }

    #[test]
    fn elements_are_told_apart_by_their_keys() {
        check(
            json!({"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "gone", "image": "1"}]}}),
            json!({"spec": {"containers": [{"name": "b", "image": "1"}, {"name": "a", "image": "2"}]}}),
            json!({"spec": {"containers": [{"name": "a", "image": "9", "terminationMessagePath": "/x"},
                {"name": "gone", "image": "1"}, {"name": "injected", "image": "7"}]}}),
            json!({"spec": {"containers": [{"name": "injected", "image": "7"}, {"name": "b", "image": "1"},
                {"name": "a", "image": "2", "terminationMessagePath": "/x"}]}}),
        );
        // The protocol is a default of the server; two that say it are two.
        let ports = |list: Value| json!({"spec": {"containers": [{"name": "a", "ports": list}]}});
        check(
            ports(json!([{"containerPort": 80}])),
            ports(json!([{"containerPort": 80, "name": "http"}])),
            ports(json!([{"containerPort": 80, "protocol": "TCP"}])),
            ports(json!([{"containerPort": 80, "protocol": "TCP", "name": "http"}])),
        );
        check(
            ports(json!([{"containerPort": 80, "protocol": "TCP"}])),
            ports(json!([{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 80, "protocol": "UDP"}])),
            ports(json!([{"containerPort": 80, "protocol": "TCP", "hostPort": 8}])),
            ports(
                json!([{"containerPort": 80, "protocol": "TCP", "hostPort": 8}, {"containerPort": 80, "protocol": "UDP"}]),
            ),
        );
    }

    #[test]
    fn what_stands_before_others_stays_before_them() {
        let list = |names: &[&str]| {
            let items: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
            json!({"spec": {"containers": items}})
        };
        for (modified, current, wanted) in [
            (&["a"][..], &["first", "a", "last"][..], &["first", "a", "last"][..]),
            (&["b", "a"], &["a", "x", "b"], &["x", "b", "a"]),
            (&["new", "a"], &["x", "a"], &["x", "new", "a"]),
        ] {
            check(list(&["a", "b"]), list(modified), list(current), list(wanted));
        }
    }

    #[test]
    fn other_lists_are_united_or_replaced() {
        check(
            json!({"metadata": {"finalizers": ["a", "b"]}, "spec": {"args": ["1"]}}),
            json!({"metadata": {"finalizers": ["a", "c"]}, "spec": {"args": ["2"]}}),
            json!({"metadata": {"finalizers": ["b", "a", "x"]}, "spec": {"args": ["1", "3"]}}),
            json!({"metadata": {"finalizers": ["a", "x", "c"]}, "spec": {"args": ["2"]}}),
        );
    }

    #[test]
    fn an_old_choice_does_not_stay_beside_a_new_one() {
        check(
            json!({"spec": {}}),
            json!({"spec": {"strategy": {"type": "Recreate"}}}),
            json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}),
            json!({"spec": {"strategy": {"type": "Recreate"}}}),
        );
    }

    #[test]
    fn patches_lead_from_one_to_the_other() {
        let (from, to) = (
            json!({"a": {"b": 1, "c": [1]}, "d": 1, "same": {"x": 1}}),
            json!({"a": {"c": [2]}, "e": {"f": 1}, "same": {"x": 1}}),
        );
        let patch = merge_patch(&from, &to);
        assert_eq!(patch, json!({"a": {"b": null, "c": [2]}, "d": null, "e": {"f": 1}}));
        assert_eq!(two_way(&from, &to, &from), to);
        assert_eq!(merge_patch(&to, &to), json!({}));
        // What others changed stays, where both manifests agree.
        assert_eq!(
            two_way(
                &json!({"spec": {"a": 1, "b": 1}}),
                &json!({"spec": {"a": 1, "b": 2}}),
                &json!({"spec": {"a": 9, "b": 1}})
            ),
            json!({"spec": {"a": 9, "b": 2}})
        );
    }

    #[test]
    fn below_a_depth_everything_is_replaced() {
        let nested = |leaf: Value| (0..100).fold(leaf, |inner, _| json!({"a": inner, "b": 1}));
        let (live, wanted) = (nested(json!({"x": 1})), nested(json!({"y": 1})));
        let merged = three_way(Some(&json!({})), &wanted, &live, &keys);
        assert_eq!(merged, wanted, "the live one's field below is not kept");
        assert_eq!(two_way(&live, &wanted, &live), wanted);
    }
}
