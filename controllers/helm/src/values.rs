//! The values of a release: from ConfigMaps and Secrets in order, then those in the spec, which win.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};
use nave_chart::{
    Values,
    values::{load_values, merge_maps, set, set_string},
};
use nave_crds::helm::{HelmRelease, ValuesKind, ValuesReference};
use serde_json::Value;

const DEFAULT_KEY: &str = "values.yaml";

/// Values cannot be put together.
#[derive(Debug, thiserror::Error)]
#[error("could not resolve {kind} chart values reference '{namespace}/{name}' with key '{key}': {problem}")]
pub(crate) struct ValuesError {
    kind: &'static str,
    namespace: String,
    name: String,
    key: String,
    problem: String,
}

/// What a reference holds: the content of its key, or why there is none.
pub(crate) type Content = Result<Option<String>, String>;

/// Reads what the spec refers to, and merges it.
pub(crate) async fn values_of(release: &HelmRelease, client: &Client) -> Result<Values, ValuesError> {
    let namespace = release.metadata.namespace.clone().unwrap_or_default();
    let mut contents = Vec::with_capacity(release.spec.values_from.len());
    for reference in &release.spec.values_from {
        contents.push(read(reference, &namespace, client).await);
    }
    merged(release, contents)
}

/// Merges what was read for each reference.
pub(crate) fn merged(release: &HelmRelease, contents: Vec<Content>) -> Result<Values, ValuesError> {
    let namespace = release.metadata.namespace.clone().unwrap_or_default();
    let inline = match &release.spec.values {
        Some(Value::Object(values)) => values.clone(),
        _ => Values::new(),
    };
    merge(&inline, &release.spec.values_from, contents, &namespace)
}

/// What a reference means, in the data of its object.
pub(crate) fn content_of(reference: &ValuesReference, data: Option<BTreeMap<String, Vec<u8>>>) -> Content {
    let key = key_of(reference);
    match data.map(|mut data| data.remove(key)) {
        None => Ok(None),
        Some(Some(bytes)) => String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| "it is not UTF-8 text".to_owned()),
        Some(None) if reference.optional => Ok(None),
        Some(None) => Err(format!("key not found: {key}")),
    }
}

fn key_of(reference: &ValuesReference) -> &str {
    match reference.values_key.as_str() {
        "" => DEFAULT_KEY,
        key => key,
    }
}

async fn read(reference: &ValuesReference, namespace: &str, client: &Client) -> Content {
    let (name, key) = (&reference.name, key_of(reference));
    let missing_key = || Err(format!("key not found: {key}"));
    match reference.kind {
        ValuesKind::ConfigMap => {
            let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
            match api.get_opt(name).await.map_err(|error| error.to_string())? {
                None => Ok(None),
                Some(found) => match found.data.unwrap_or_default().remove(key) {
                    Some(text) => Ok(Some(text)),
                    None if reference.optional => Ok(None),
                    None => missing_key(),
                },
            }
        }
        ValuesKind::Secret => {
            let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
            match api.get_opt(name).await.map_err(|error| error.to_string())? {
                None => Ok(None),
                Some(found) => match found.data.unwrap_or_default().remove(key) {
                    Some(bytes) => match String::from_utf8(bytes.0) {
                        Ok(text) => Ok(Some(text)),
                        Err(_) => Err("it is not UTF-8 text".to_owned()),
                    },
                    None if reference.optional => Ok(None),
                    None => missing_key(),
                },
            }
        }
    }
}

/// The order is Flux's: an inline value beats a `targetPath` too.
fn merge(
    inline: &Values,
    references: &[ValuesReference],
    contents: Vec<Content>,
    namespace: &str,
) -> Result<Values, ValuesError> {
    let inline = floats(inline.clone());
    let mut merged = Values::new();
    for (reference, content) in references.iter().zip(contents) {
        let failed = |problem: String| ValuesError {
            kind: match reference.kind {
                ValuesKind::ConfigMap => "ConfigMap",
                ValuesKind::Secret => "Secret",
            },
            namespace: namespace.to_owned(),
            name: reference.name.clone(),
            key: key_of(reference).to_owned(),
            problem,
        };
        let content = match content.map_err(failed)? {
            Some(content) => content,
            None if reference.optional => continue,
            None => return Err(failed("resource not found".to_owned())),
        };
        if reference.target_path.is_empty() {
            let values =
                load_values(content.as_bytes()).map_err(|error| failed(format!("unable to read values: {error}")))?;
            merge_maps(&mut merged, values);
            continue;
        }
        merge_maps(&mut merged, inline.clone());
        place(&mut merged, &reference.target_path, &content, reference.literal)
            .map_err(|error| failed(format!("unable to merge value: {error}")))?;
    }
    merge_maps(&mut merged, inline);
    Ok(merged)
}

/// Sets one value as `--set` does; a quoted one, or a literal one, is a text.
fn place(values: &mut Values, path: &str, content: &str, literal: bool) -> Result<(), String> {
    if literal {
        let mut escaped = String::with_capacity(content.len());
        for found in content.chars() {
            if matches!(found, '\\' | ',' | '[' | ']' | '{' | '}') {
                escaped.push('\\');
            }
            escaped.push(found);
        }
        return set_string(&format!("{path}={escaped}"), values).map_err(|error| error.to_string());
    }
    let quoted = |quote: char| content.len() > 1 && content.starts_with(quote) && content.ends_with(quote);
    if quoted('\'') || quoted('"') {
        let text = content.trim_matches(['\'', '"']);
        return set_string(&format!("{path}={text}"), values).map_err(|error| error.to_string());
    }
    set(&format!("{path}={content}"), values).map_err(|error| error.to_string())
}

/// Numbers of YAML and JSON are floats to Helm's templates.
fn floats(values: Values) -> Values {
    values.into_iter().map(|(key, value)| (key, float(value))).collect()
}

fn float(value: Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().map_or(Value::Number(number), Value::from),
        Value::Array(items) => Value::Array(items.into_iter().map(float).collect()),
        Value::Object(fields) => Value::Object(floats(fields)),
        other => other,
    }
}

/// The keys that references look at, for tests of the merge.
#[cfg(test)]
fn contents(map: &BTreeMap<&str, &str>, references: &[ValuesReference]) -> Vec<Content> {
    references
        .iter()
        .map(|reference| Ok(map.get(reference.name.as_str()).map(|text| (*text).to_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(inline: Value, references: Value, map: &[(&str, &str)], wanted: Result<Value, &str>) {
        let references: Vec<ValuesReference> = serde_json::from_value(references).expect("references");
        let contents = contents(&map.iter().copied().collect(), &references);
        let inline = inline.as_object().cloned().expect("a map");
        match (merge(&inline, &references, contents, "n"), wanted) {
            (Ok(found), Ok(wanted)) => {
                assert_eq!(nave_release::to_go_json(&found), nave_release::to_go_json(&wanted));
            }
            (Err(found), Err(wanted)) => assert!(found.to_string().contains(wanted), "{found}"),
            (found, wanted) => panic!("{found:?}, wanted {wanted:?}"),
        }
    }

    #[test]
    fn later_references_win_and_inline_values_win_over_all() {
        check(
            json!({"a": {"x": 1}, "l": [1]}),
            json!([{"kind": "ConfigMap", "name": "one"}, {"kind": "Secret", "name": "two"}]),
            &[("one", "a: {x: 5, z: 5}\nb: 1\nl: [7, 8]"), ("two", "b: 2\nc: null")],
            Ok(json!({"a": {"x": 1, "z": 5}, "b": 2, "c": null, "l": [1]})),
        );
    }

    #[test]
    fn a_target_path_sets_one_value_and_inline_beats_it() {
        let at = |path: &str, more: Value| {
            let mut reference = json!({"kind": "ConfigMap", "name": "one", "targetPath": path});
            reference
                .as_object_mut()
                .expect("a map")
                .extend(more.as_object().cloned().expect("a map"));
            json!([reference])
        };
        let none = || json!({});
        check(
            json!({}),
            at("a.b", none()),
            &[("one", "5")],
            Ok(json!({"a": {"b": 5}})),
        );
        check(
            json!({}),
            at("a.b", none()),
            &[("one", "'5'")],
            Ok(json!({"a": {"b": "5"}})),
        );
        check(
            json!({}),
            at("a.b", none()),
            &[("one", "\"true\"")],
            Ok(json!({"a": {"b": "true"}})),
        );
        check(json!({}), at("a[0]", none()), &[("one", "x")], Ok(json!({"a": ["x"]})));
        check(
            json!({}),
            at("a", none()),
            &[("one", "{x,y}")],
            Ok(json!({"a": ["x", "y"]})),
        );
        check(
            json!({}),
            at("a", json!({"literal": true})),
            &[("one", "{x,y}[1]\\")],
            Ok(json!({"a": "{x,y}[1]\\"})),
        );
        check(json!({"a": 1}), at("a", none()), &[("one", "2")], Ok(json!({"a": 1})));
    }

    #[test]
    fn what_is_missing_is_named_unless_it_may_be() {
        let optional = json!([{"kind": "Secret", "name": "one", "optional": true}]);
        check(json!({"a": 1}), optional, &[], Ok(json!({"a": 1})));
        check(
            json!({}),
            json!([{"kind": "Secret", "name": "one", "valuesKey": "k"}]),
            &[],
            Err("could not resolve Secret chart values reference 'n/one' with key 'k': resource not found"),
        );
        check(
            json!({}),
            json!([{"kind": "ConfigMap", "name": "one"}]),
            &[("one", "- a")],
            Err("unable to read values"),
        );
    }
}
