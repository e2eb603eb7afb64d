//! From what the derives make to what the API server takes and the contract says.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

/// Durations of hours and less.
pub(crate) const DURATION_PATTERN: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$";
/// Durations of minutes and less: timeouts of sources.
pub(crate) const SHORT_DURATION_PATTERN: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m))+$";
/// `<algorithm>:<checksum>` as OCI writes digests.
pub(crate) const DIGEST_PATTERN: &str = r"^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$";
/// A SHA-256 digest or fingerprint.
pub(crate) const SHA256_PATTERN: &str = "^sha256:[0-9a-f]{64}$";
/// A DNS label: names of namespaces and clusters.
pub(crate) const DNS_LABEL_PATTERN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// `[]metav1.Condition` with the limits that kubebuilder writes for it.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {
            "type": "object",
            "description": "One aspect of the current state.",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "lastTransitionTime": {
                    "type": "string",
                    "format": "date-time",
                    "description": "When the status last changed.",
                },
                "message": {
                    "type": "string",
                    "maxLength": 32768,
                    "description": "Details for people; may be empty.",
                },
                "observedGeneration": {
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                    "description": "Generation of the object that the condition is about.",
                },
                "reason": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                    "description": "Why, for programs.",
                },
                "status": {
                    "type": "string",
                    "enum": ["True", "False", "Unknown"],
                    "description": "Whether it holds.",
                },
                "type": {
                    "type": "string",
                    "maxLength": 316,
                    "pattern": "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
                    "description": "Which aspect.",
                },
            },
        },
    })
}

/// An integer without limits, as Go's `int` is described.
pub(crate) fn integer(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer"})
}

/// An object with any fields.
pub(crate) fn free_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// Any value.
pub(crate) fn free_value(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"x-kubernetes-preserve-unknown-fields": true})
}

/// What a definition needs beyond its derive.
pub(crate) struct Finish {
    /// Whether `spec` must be there; Flux's kinds do without.
    pub spec_required: bool,
    /// Default of `status`.
    pub status_default: Option<Value>,
    /// Rules over the whole object.
    pub rules: Vec<Value>,
}

/// Turns a derived definition into the one that is served.
///
/// - `nullable` goes: Go's API types have none, and a null in an optional field is dropped.
/// - `apiVersion`, `kind` and `metadata` are described, as kubebuilder does.
/// - Formats and limits of Rust's own integers go.
pub(crate) fn finish(crd: CustomResourceDefinition, finish: &Finish) -> CustomResourceDefinition {
    let mut value = serde_json::to_value(crd).expect("a definition is JSON");
    let kind = value["spec"]["names"]["kind"].as_str().unwrap_or_default();
    value["spec"]["names"]["listKind"] = json!(format!("{kind}List"));
    let root = value
        .pointer_mut("/spec/versions/0/schema/openAPIV3Schema")
        .expect("a derived definition has one version with a schema");
    clean(root);
    let root = root.as_object_mut().expect("a schema is an object");
    if finish.spec_required {
        root.insert("required".into(), json!(["spec"]));
    } else {
        root.remove("required");
    }
    if !finish.rules.is_empty() {
        root.insert("x-kubernetes-validations".into(), json!(finish.rules));
    }
    let properties = root
        .get_mut("properties")
        .and_then(Value::as_object_mut)
        .expect("a root schema has properties");
    for (name, description) in [
        ("apiVersion", "Group and version of this object's schema."),
        ("kind", "Kind of this object."),
    ] {
        properties.insert(name.into(), json!({"type": "string", "description": description}));
    }
    properties.insert("metadata".into(), json!({"type": "object"}));
    if let Some(default) = &finish.status_default
        && let Some(status) = properties.get_mut("status").and_then(Value::as_object_mut)
    {
        status.insert("default".into(), default.clone());
    }
    serde_json::from_value(value).expect("cleaning keeps a definition a definition")
}

/// Cleans a schema and everything below it.
fn clean(schema: &mut Value) {
    let Some(schema) = schema.as_object_mut() else {
        return;
    };
    schema.remove("nullable");
    one_line(schema);
    let keeps = ["int32", "int64", "date-time", "double"];
    if schema
        .get("format")
        .and_then(Value::as_str)
        .is_some_and(|format| !keeps.contains(&format))
    {
        schema.remove("format");
    }
    // As in Kubernetes' own types: without it, server-side apply from a selector with content to an
    // empty one leaves a null, which the schema refuses.
    if is_label_selector(schema) {
        schema.insert("x-kubernetes-map-type".into(), json!("atomic"));
    }
    // An enum of one value is written as `const` by some versions of schemars.
    if let Some(value) = schema.remove("const") {
        schema.insert("enum".into(), json!([value]));
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    for key in ["items", "additionalProperties", "not"] {
        if let Some(child) = schema.get_mut(key) {
            clean(child);
        }
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for child in properties.values_mut() {
            clean(child);
        }
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        if let Some(Value::Array(children)) = schema.get_mut(key) {
            children.iter_mut().for_each(clean);
        }
    }
}

fn is_label_selector(schema: &Map<String, Value>) -> bool {
    schema
        .get("properties")
        .and_then(Value::as_object)
        .is_some_and(|known| known.contains_key("matchLabels") && known.contains_key("matchExpressions"))
}

/// Joins the lines of a doc comment; paragraphs stay.
fn one_line(schema: &mut Map<String, Value>) {
    let Some(Value::String(text)) = schema.get_mut("description") else {
        return;
    };
    let paragraphs: Vec<String> = text
        .split("\n\n")
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    *text = paragraphs.join("\n");
}
