//! `crds`: OpenAPI definitions of custom types, whose extensions say which fields hold names.

use nave_object::yaml::SmolStr;
use serde_json::Value;

use super::{FieldSpec, NameReference, TransformerConfig, add_reference, merge_one};

/// Definitions that refer to each other are followed this deep; deeper is a cycle.
const MAX_DEPTH: usize = 32;

/// The tables that a file of definitions (`{name: {Schema: {...}}}`) asks for.
///
/// # Errors
/// Contradicting fields, and definitions nested in a cycle.
pub(crate) fn from_crds(definitions: &Value) -> Result<TransformerConfig, String> {
    let mut config = TransformerConfig::default();
    for (name, definition) in definitions.as_object().into_iter().flatten() {
        let properties = &schema(definition)["properties"];
        if ["kind", "apiVersion", "metadata"]
            .iter()
            .all(|field| !properties[field].is_null())
        {
            let kind = name.rsplit('.').next().unwrap_or(name);
            let mut found = TransformerConfig::default();
            visit(definitions, name, kind, &mut Vec::new(), &mut found)?;
            config = config.merge(&found)?;
        }
    }
    Ok(config)
}

fn visit(
    definitions: &Value,
    name: &str,
    kind: &str,
    path: &mut Vec<SmolStr>,
    config: &mut TransformerConfig,
) -> Result<(), String> {
    if path.len() > MAX_DEPTH {
        return Err(format!("the definition {name} refers to itself at {}", path.join("/")));
    }
    let Some(definition) = definitions.get(name) else {
        return Ok(());
    };
    for (field, property) in schema(definition)["properties"].as_object().into_iter().flatten() {
        let extension = |name: &str| property[name].as_str();
        path.push(field.into());
        let spec = |path: &[SmolStr]| FieldSpec::new("", "", kind, &path.join("/"), false);
        if extension("x-kubernetes-annotation").is_some() {
            merge_one(&mut config.common_annotations, &spec(path))?;
        }
        if extension("x-kubernetes-label-selector").is_some() {
            merge_one(&mut config.common_labels, &spec(path))?;
        }
        if extension("x-kubernetes-identity").is_some() {
            merge_one(&mut config.name_prefix, &spec(path))?;
        }
        if let (Some(version), Some(target)) = (
            extension("x-kubernetes-object-ref-api-version"),
            extension("x-kubernetes-object-ref-kind"),
        ) {
            path.push(extension("x-kubernetes-object-ref-name-key").unwrap_or("name").into());
            let reference = NameReference::new("", version, target, vec![spec(path)]);
            add_reference(&mut config.name_reference, &reference)?;
            path.pop();
        }
        if let Some(other) = property["$ref"].as_str() {
            visit(definitions, other, kind, path, config)?;
        }
        path.pop();
    }
    Ok(())
}

/// Go matches the name of the field without regard to case.
fn schema(definition: &Value) -> &Value {
    let found = definition
        .as_object()
        .and_then(|fields| fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("schema")));
    found.map_or(&Value::Null, |(_, schema)| schema)
}
