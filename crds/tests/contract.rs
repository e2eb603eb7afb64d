//! The definitions of Flux kinds are Flux's, field by field.
//!
//! `contract/*.json` holds the facts of Flux 2.9's definitions: names, columns, and for each field
//! its type, whether it is required, default, enum, pattern, limits and CEL rules. Both sides are
//! brought into that form and compared in both directions; descriptions are our own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value, json};

/// Facts about a field that are compared.
const KEYS: [&str; 15] = [
    "type",
    "format",
    "default",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "nullable",
    "x-kubernetes-preserve-unknown-fields",
];

#[test]
fn git_repository_is_flux_s() {
    check("GitRepository", "source.toolkit.fluxcd.io.gitrepositories");
}

#[test]
fn oci_repository_is_flux_s() {
    check("OCIRepository", "source.toolkit.fluxcd.io.ocirepositories");
}

#[test]
fn helm_repository_is_flux_s() {
    check("HelmRepository", "source.toolkit.fluxcd.io.helmrepositories");
}

#[test]
fn helm_chart_is_flux_s() {
    check("HelmChart", "source.toolkit.fluxcd.io.helmcharts");
}

#[test]
fn bucket_is_flux_s() {
    check("Bucket", "source.toolkit.fluxcd.io.buckets");
}

#[test]
fn artifact_generator_is_flux_s() {
    check("ArtifactGenerator", "source.extensions.fluxcd.io.artifactgenerators");
}

#[test]
fn external_artifact_is_flux_s() {
    check("ExternalArtifact", "source.toolkit.fluxcd.io.externalartifacts");
}

#[test]
fn kustomization_is_flux_s() {
    check("Kustomization", "kustomize.toolkit.fluxcd.io.kustomizations");
}

#[test]
fn helm_release_is_flux_s() {
    check("HelmRelease", "helm.toolkit.fluxcd.io.helmreleases");
}

fn check(kind: &str, file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/contract")
        .join(format!("{file}.json"));
    let text = std::fs::read_to_string(&path).expect("the contract is checked in");
    let want: Value = serde_json::from_str(&text).expect("the contract is JSON");
    let definition = nave_crds::definitions::flux()
        .into_iter()
        .find(|definition| definition.spec.names.kind == kind)
        .expect("the definition exists");
    let have = facts(&serde_json::to_value(&definition).expect("a definition is JSON"));

    let (want, have) = (flatten(&want), flatten(&have));
    let keys: BTreeSet<&String> = want.keys().chain(have.keys()).collect();
    let differences: Vec<String> = keys
        .into_iter()
        .filter(|key| want.get(*key) != have.get(*key))
        .map(|key| {
            let show = |side: Option<&Value>| side.map_or("absent".into(), Value::to_string);
            format!("{key}\n  want {}\n  have {}", show(want.get(key)), show(have.get(key)))
        })
        .collect();
    assert!(
        differences.is_empty(),
        "{kind} differs from Flux's definition in {} places:\n{}",
        differences.len(),
        differences.join("\n")
    );
    assert!(want.len() > 30, "{kind}: the contract is suspiciously small");
}

/// One entry per fact at the top, and one per field.
fn flatten(facts: &Value) -> BTreeMap<String, Value> {
    let mut flat = BTreeMap::new();
    for (key, value) in facts.as_object().expect("facts are an object") {
        match (key.as_str(), value) {
            ("fields", Value::Object(fields)) => {
                for (path, field) in fields {
                    flat.insert(format!("field {path:?}"), field.clone());
                }
            }
            _ => {
                flat.insert(key.clone(), value.clone());
            }
        }
    }
    flat
}

/// A definition in the form of the contract.
fn facts(definition: &Value) -> Value {
    let at = |pointer: &str| definition.pointer(pointer).cloned().unwrap_or(Value::Null);
    let versions = definition["spec"]["versions"].as_array().expect("versions");
    assert_eq!(versions.len(), 1, "one version");
    let version = &versions[0];
    assert_eq!(version["served"], true);
    assert_eq!(version["storage"], true);
    let columns: Vec<Value> = version["additionalPrinterColumns"]
        .as_array()
        .expect("columns")
        .iter()
        .map(|column| json!([column["name"], column["type"], column["jsonPath"]]))
        .collect();
    let mut fields = Map::new();
    collect(&version["schema"]["openAPIV3Schema"], "", None, &mut fields);
    json!({
        "name": at("/metadata/name"),
        "group": at("/spec/group"),
        "kind": at("/spec/names/kind"),
        "listKind": at("/spec/names/listKind"),
        "plural": at("/spec/names/plural"),
        "singular": at("/spec/names/singular"),
        "shortNames": at("/spec/names/shortNames"),
        "categories": at("/spec/names/categories"),
        "scope": at("/spec/scope"),
        "annotations": at("/metadata/annotations"),
        "version": version["name"],
        "subresources": version["subresources"],
        "columns": columns,
        "fields": fields,
    })
}

/// Adds the facts of a schema at `path` and of everything below it.
fn collect(schema: &Value, path: &str, required: Option<bool>, fields: &mut Map<String, Value>) {
    let mut field = Map::new();
    for key in KEYS {
        if let Some(value) = schema.get(key) {
            // The contract writes numbers as integers; a definition may hold `0.0`.
            let value = match value.as_f64() {
                Some(number) if number.fract() == 0.0 => json!(number as i64),
                _ => value.clone(),
            };
            field.insert(key.into(), value);
        }
    }
    if let Some(rules) = schema.get("x-kubernetes-validations").and_then(Value::as_array) {
        let rules: Vec<Value> = rules
            .iter()
            .map(|rule| json!([rule["rule"], rule["message"]]))
            .collect();
        field.insert("rules".into(), json!(rules));
    }
    if let Some(required) = required {
        field.insert("required".into(), json!(required));
    }
    fields.insert(path.into(), Value::Object(field));

    let needed: BTreeSet<&str> = schema["required"]
        .as_array()
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        for (name, child) in properties {
            let below = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            collect(child, &below, Some(needed.contains(name.as_str())), fields);
        }
    }
    if let Some(items) = schema.get("items") {
        collect(items, &format!("{path}[]"), None, fields);
    }
    if let Some(values) = schema.get("additionalProperties").filter(|v| v.is_object()) {
        collect(values, &format!("{path}{{}}"), None, fields);
    }
}
