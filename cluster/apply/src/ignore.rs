//! `spec.ignore`: fields that are neither compared nor corrected.

use std::borrow::Cow;

use nave_crds::kustomize::IgnoreRule;
use nave_object::Object;
use nave_targets::APPLY_MANAGER;
use serde_json::Value;

use crate::selector::Matcher;

/// A rule that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("spec.ignore[{index}].{field}: {problem}")]
pub struct IgnoreError {
    index: usize,
    field: String,
    problem: String,
}

/// Compiled rules.
#[derive(Debug, Clone, Default)]
pub struct IgnoreRules(Vec<Rule>);

#[derive(Debug, Clone)]
struct Rule {
    paths: Vec<String>,
    target: Option<Matcher>,
}

impl IgnoreRules {
    /// # Errors
    /// A path is no JSON pointer, or a target no selector.
    pub fn new(rules: &[IgnoreRule]) -> Result<Self, IgnoreError> {
        let mut compiled = Vec::with_capacity(rules.len());
        for (index, rule) in rules.iter().enumerate() {
            let error = |field: String, problem: String| IgnoreError { index, field, problem };
            for (position, path) in rule.paths.iter().enumerate() {
                if !path.starts_with('/') {
                    let problem = format!("{path:?} is no JSON pointer, it must start with /");
                    return Err(error(format!("paths[{position}]"), problem));
                }
            }
            let target = rule
                .target
                .as_ref()
                .map(Matcher::new)
                .transpose()
                .map_err(|(field, problem)| error(format!("target.{field}"), problem))?;
            compiled.push(Rule {
                paths: rule.paths.clone(),
                target,
            });
        }
        Ok(IgnoreRules(compiled))
    }

    /// The object to write when something else in it has to change: ignored fields keep their live values.
    pub fn spare(&self, object: &Object, live: &Value) -> Value {
        keep_live(object.as_value(), live, &self.paths(object))
    }

    /// The ignored paths of one object.
    pub(crate) fn paths(&self, object: &Object) -> Vec<&str> {
        self.0
            .iter()
            .filter(|rule| rule.target.as_ref().is_none_or(|target| target.matches(object)))
            .flat_map(|rule| rule.paths.iter().map(String::as_str))
            .collect()
    }
}

/// Takes the ignored fields out of an object before it is compared.
pub(crate) fn without<'a>(object: &'a Value, paths: &[&str]) -> Cow<'a, Value> {
    let mut object = Cow::Borrowed(object);
    for path in paths {
        remove(object.to_mut(), path);
    }
    object
}

/// The object to apply when something else has to change: an ignored field that drifted is left out if somebody else applies
/// it, and otherwise keeps its live value, so that this apply does not correct it.
pub(crate) fn keep_live(desired: &Value, live: &Value, paths: &[&str]) -> Value {
    let mut object = desired.clone();
    for path in paths {
        let live_value = live.pointer(path);
        if desired.pointer(path).is_none() || desired.pointer(path) == live_value {
            continue;
        }
        match live_value {
            Some(value) if !is_applied_by_another(live, path) => {
                if let Some(place) = object.pointer_mut(path) {
                    *place = value.clone();
                }
            }
            _ => remove(&mut object, path),
        }
    }
    object
}

pub(crate) fn remove(object: &mut Value, path: &str) {
    let Some((parent, key)) = path.rsplit_once('/') else {
        return;
    };
    let key = key.replace("~1", "/").replace("~0", "~");
    match object.pointer_mut(parent) {
        Some(Value::Object(fields)) => {
            fields.remove(&key);
        }
        Some(Value::Array(items)) => {
            if let Ok(index) = key.parse::<usize>()
                && index < items.len()
            {
                items.remove(index);
            }
        }
        _ => {}
    }
}

/// Whether another manager's Apply entry holds the field.
fn is_applied_by_another(live: &Value, path: &str) -> bool {
    let segments: Vec<String> = path
        .split('/')
        .skip(1)
        .map(|segment| segment.replace("~1", "/").replace("~0", "~"))
        .collect();
    live.pointer("/metadata/managedFields")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|entry| {
            entry.get("operation").and_then(Value::as_str) == Some("Apply")
                && entry.get("manager").and_then(Value::as_str) != Some(APPLY_MANAGER)
        })
        .filter_map(|entry| entry.get("fieldsV1"))
        .any(|fields| holds(fields, live, &segments))
}

/// Walks a set of fields and the object side by side: list items are named by their keys or values in the one and by their
/// position in the other.
fn holds(fields: &Value, value: &Value, segments: &[String]) -> bool {
    let Some((segment, rest)) = segments.split_first() else {
        return true;
    };
    let Some(set) = fields.as_object() else {
        return false;
    };
    match value {
        Value::Object(map) => match (set.get(&format!("f:{segment}")), map.get(segment)) {
            (Some(fields), Some(value)) => holds(fields, value, rest),
            _ => false,
        },
        Value::Array(items) => {
            let Some(item) = segment.parse::<usize>().ok().and_then(|index| items.get(index)) else {
                return false;
            };
            set.iter().any(|(name, fields)| {
                let named = if let Some(keys) = name.strip_prefix("k:") {
                    serde_json::from_str::<Value>(keys).is_ok_and(|keys| {
                        keys.as_object()
                            .is_some_and(|keys| keys.iter().all(|(key, wanted)| item.get(key) == Some(wanted)))
                    })
                } else if let Some(value) = name.strip_prefix("v:") {
                    serde_json::from_str::<Value>(value).is_ok_and(|value| value == *item)
                } else {
                    *name == format!("i:{segment}")
                };
                named && holds(fields, item, rest)
            })
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use nave_crds::kustomize::Selector;
    use serde_json::json;

    use super::*;

    #[test]
    fn rules_apply_to_their_targets() {
        let rules = IgnoreRules::new(&[
            IgnoreRule {
                paths: vec!["/spec/replicas".into()],
                target: Some(Selector {
                    kind: "Deployment".into(),
                    ..Selector::default()
                }),
            },
            IgnoreRule {
                paths: vec!["/data/a".into()],
                target: None,
            },
        ])
        .expect("they are valid");
        let object = |kind: &str| {
            Object::from_value(json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}})).expect("valid")
        };
        assert_eq!(rules.paths(&object("Deployment")), ["/spec/replicas", "/data/a"]);
        assert_eq!(rules.paths(&object("Job")), ["/data/a"]);
        let error = IgnoreRules::new(&[IgnoreRule {
            paths: vec!["spec".into()],
            target: None,
        }])
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "spec.ignore[0].paths[0]: \"spec\" is no JSON pointer, it must start with /"
        );
    }

    #[test]
    fn drifted_fields_keep_their_live_value_or_are_left_to_their_applier() {
        let desired = json!({"spec": {"replicas": 1, "containers": [{"name": "a", "image": "x:1"}], "paused": true}});
        let mut live = json!({"spec": {"replicas": 5, "containers": [{"name": "a", "image": "x:2"}], "paused": true}});
        let paths = [
            "/spec/replicas",
            "/spec/containers/0/image",
            "/spec/absent",
            "/spec/paused",
        ];
        assert_eq!(
            keep_live(&desired, &live, &paths),
            json!({"spec": {"replicas": 5, "containers": [{"name": "a", "image": "x:2"}], "paused": true}})
        );
        live["metadata"] = json!({"managedFields": [
            {"manager": "scaler", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}, "f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:image": {}}}}}},
            {"manager": "kustomize-controller", "operation": "Apply", "fieldsV1": {"f:spec": {"f:paused": {}}}},
        ]});
        assert_eq!(
            keep_live(&desired, &live, &paths),
            json!({"spec": {"containers": [{"name": "a"}], "paused": true}})
        );
    }

    #[test]
    fn removal_reaches_lists_and_escaped_names() {
        let object = json!({"metadata": {"annotations": {"a/b": 1, "c": 2}}, "l": [1, 2]});
        assert_eq!(
            *without(&object, &["/metadata/annotations/a~1b", "/l/0", "/l/9", "/x/y"]),
            json!({"metadata": {"annotations": {"c": 2}}, "l": [2]})
        );
    }
}
