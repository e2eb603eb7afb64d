//! What a definition's schema says about an object, without an API server.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::Value;

/// Problems with `spec`: fields that the definition does not know, that are missing, of another
/// type, or not among the values allowed. Each names its path, such as `spec.wait`.
///
/// For a template that is first read on a spoke, the person who wrote it should hear about it on
/// the hub. Patterns and CEL rules are left to the API server.
pub fn problems(crd: &CustomResourceDefinition, object: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let schema = crd
        .spec
        .versions
        .iter()
        .find(|version| version.storage)
        .and_then(|version| version.schema.as_ref())
        .and_then(|schema| schema.open_api_v3_schema.as_ref())
        .and_then(|schema| schema.properties.as_ref())
        .and_then(|known| known.get("spec"));
    if let (Some(schema), Some(spec)) = (schema, object.get("spec")) {
        walk(schema, spec, "spec", &mut found);
    }
    found
}

fn walk(schema: &JSONSchemaProps, value: &Value, path: &str, found: &mut Vec<String>) {
    let wanted = schema.type_.as_deref();
    let fits = match wanted {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        _ => true,
    };
    if !fits {
        let article = match wanted {
            Some("object" | "array" | "integer") => "an",
            _ => "a",
        };
        found.push(format!("{path} must be {article} {}", wanted.unwrap_or_default()));
        return;
    }
    if let Some(allowed) = &schema.enum_
        && !allowed.iter().any(|one| one.0 == *value)
    {
        let allowed: Vec<String> = allowed.iter().map(|one| one.0.to_string()).collect();
        found.push(format!("{path} must be one of {}", allowed.join(", ")));
        return;
    }
    if schema.x_kubernetes_preserve_unknown_fields == Some(true) {
        return;
    }
    match value {
        Value::Object(fields) => {
            for name in schema.required.iter().flatten() {
                if !fields.contains_key(name) {
                    found.push(format!("{path}.{name} is missing"));
                }
            }
            for (name, value) in fields {
                let path = format!("{path}.{name}");
                let known = schema.properties.as_ref().and_then(|known| known.get(name));
                match (known, &schema.additional_properties) {
                    (Some(schema), _) => walk(schema, value, &path, found),
                    (None, Some(JSONSchemaPropsOrBool::Schema(schema))) => {
                        walk(schema, value, &path, found);
                    }
                    (None, Some(JSONSchemaPropsOrBool::Bool(true))) => {}
                    (None, _) => found.push(format!("{path} is no known field")),
                }
            }
        }
        Value::Array(items) => {
            if let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items {
                for (index, item) in items.iter().enumerate() {
                    walk(schema, item, &format!("{path}[{index}]"), found);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(spec: Value, want: &[&str]) {
        let all = crate::definitions::flux();
        let crd = all
            .iter()
            .find(|crd| crd.spec.names.kind == "Kustomization")
            .expect("it is among Flux's");
        let mut whole = json!({"interval": "5m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "x"}});
        let fields = whole.as_object_mut().expect("an object");
        for (key, value) in spec.as_object().expect("an object") {
            fields.remove(key);
            if !value.is_null() {
                fields.insert(key.clone(), value.clone());
            }
        }
        assert_eq!(problems(crd, &json!({"spec": whole})), want, "{spec}");
    }

    #[test]
    fn what_the_schema_does_not_take_is_named() {
        check(json!({"path": "./x", "wait": true}), &[]);
        check(json!({"pruned": true}), &["spec.pruned is no known field"]);
        check(
            json!({"images": [{"name": "a"}, {"name": "b", "tag": "1"}]}),
            &["spec.images[1].tag is no known field"],
        );
        check(json!({"postBuild": {"substitute": {"any": "x"}}}), &[]);
        check(
            json!({"postBuild": {"substitute": {"any": 5}}}),
            &["spec.postBuild.substitute.any must be a string"],
        );
        check(json!({"wait": "yes"}), &["spec.wait must be a boolean"]);
        check(json!({"interval": null}), &["spec.interval is missing"]);
        check(
            json!({"deletionPolicy": "Keep"}),
            &["spec.deletionPolicy must be one of \"MirrorPrune\", \"Delete\", \"WaitForTermination\", \"Orphan\""],
        );
    }
}
