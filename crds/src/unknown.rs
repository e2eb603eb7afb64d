//! Fields that a schema does not know.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::Value;

/// Paths of the fields of an object that its definition does not know, such as `spec.pruned`.
///
/// The API server drops such fields or refuses the object, depending on who asks. For a template
/// that is first read on a spoke, the person who wrote it should hear about it on the hub.
pub fn unknown_fields(crd: &CustomResourceDefinition, object: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let schema = crd
        .spec
        .versions
        .iter()
        .find(|version| version.storage)
        .and_then(|version| version.schema.as_ref())
        .and_then(|schema| schema.open_api_v3_schema.as_ref());
    if let (Some(schema), Value::Object(fields)) = (schema, object) {
        for name in ["spec", "status"] {
            if let (Some(schema), Some(value)) = (
                schema.properties.as_ref().and_then(|known| known.get(name)),
                fields.get(name),
            ) {
                walk(schema, value, name, &mut found);
            }
        }
    }
    found
}

fn walk(schema: &JSONSchemaProps, value: &Value, path: &str, found: &mut Vec<String>) {
    if schema.x_kubernetes_preserve_unknown_fields == Some(true) {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = format!("{path}.{name}");
                let known = schema.properties.as_ref().and_then(|known| known.get(name));
                match (known, &schema.additional_properties) {
                    (Some(schema), _) => walk(schema, value, &path, found),
                    (None, Some(JSONSchemaPropsOrBool::Schema(schema))) => {
                        walk(schema, value, &path, found);
                    }
                    (None, Some(JSONSchemaPropsOrBool::Bool(true))) => {}
                    (None, _) => found.push(path),
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
        let crd = &crate::definitions::flux()[2];
        assert_eq!(crd.spec.names.kind, "Kustomization");
        assert_eq!(unknown_fields(crd, &json!({"spec": spec})), want);
    }

    #[test]
    fn fields_that_the_definition_does_not_know_are_named() {
        check(json!({"interval": "5m", "prune": true, "path": "./x"}), &[]);
        check(json!({"pruned": true}), &["spec.pruned"]);
        check(
            json!({"images": [{"name": "a"}, {"name": "b", "tag": "1"}]}),
            &["spec.images[1].tag"],
        );
        check(json!({"postBuild": {"substitute": {"any": "x"}}}), &[]);
    }
}
