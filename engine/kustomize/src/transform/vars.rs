//! `vars`: `$(NAME)` in some fields becomes a value from some object.

use std::collections::BTreeMap;

use nave_object::yaml::{Dialect, Node, Scalar, Style, Tag, scalar_value};
use serde_json::Value;

use crate::config::{Create, FieldSpec};
use crate::error::BuildError;
use crate::fieldpath;
use crate::ids::{Gvk, Id};
use crate::kustomization::Var;
use crate::resource::ResMap;
use crate::schema::Schemas;

const DEFAULT_PATH: &str = "metadata.name";

/// Variables by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct VarSet(BTreeMap<String, Var>);

impl VarSet {
    /// Adds the variables of one kustomization file, and marks the objects that they read.
    ///
    /// # Errors
    /// A name that is taken, or an object that is not one.
    pub fn add(&mut self, vars: &[Var], resources: &mut ResMap, schemas: &Schemas) -> Result<(), BuildError> {
        for var in vars {
            // What kinds have no namespace is not asked here: a namespace given to one of them matches nothing.
            let wanted = Id {
                gvk: gvk_of(var),
                name: var.obj_ref.name.as_str().into(),
                namespace: var.obj_ref.namespace.as_str().into(),
                cluster_scoped: false,
            };
            let by_namespace = !wanted.namespace.is_empty();
            let matching = resources.matching_any(
                |id| {
                    if by_namespace {
                        wanted.same(id)
                    } else {
                        wanted.same_kind_and_name(id)
                    }
                },
                schemas,
            );
            match matching.as_slice() {
                [] => {}
                [index] => resources.list[*index].vars.push(var.name.clone()),
                several => {
                    return Err(BuildError::selection(format!(
                        "vars: {} objects are {wanted}, which `{}` reads",
                        several.len(),
                        var.name
                    )));
                }
            }
        }
        for var in vars {
            self.insert(var.clone())?;
        }
        Ok(())
    }

    /// Adds the variables of a base.
    pub fn add_set(&mut self, other: VarSet) -> Result<(), BuildError> {
        other.0.into_values().try_for_each(|var| self.insert(var))
    }

    fn insert(&mut self, var: Var) -> Result<(), BuildError> {
        if self.0.contains_key(&var.name) {
            return Err(BuildError::collision(format!("vars: `{}` is there twice", var.name)));
        }
        self.0.insert(var.name.clone(), var);
        Ok(())
    }
}

/// Puts the values of all variables where they are used.
///
/// # Errors
/// A variable whose object or field does not exist, whether it is used or not.
pub(crate) fn resolve_vars(resources: &mut ResMap, vars: &VarSet, fields: &[FieldSpec]) -> Result<(), BuildError> {
    let mut values: BTreeMap<&str, Value> = BTreeMap::new();
    for (name, var) in &vars.0 {
        values.insert(name, value_of(resources, var)?);
    }
    if values.is_empty() {
        return Ok(());
    }
    for resource in &mut resources.list {
        let gvk = resource.gvk();
        for field in fields {
            let mut set = |node: &mut Node| set(node, &values);
            let applied = field.apply(&gvk, &mut resource.node, Create::Nothing, &mut set);
            applied.map_err(|problem| resource.error(problem))?;
        }
    }
    Ok(())
}

fn gvk_of(var: &Var) -> Gvk {
    let target = &var.obj_ref;
    if target.api_version.is_empty() {
        return Gvk::new(&target.group, &target.version, &target.kind);
    }
    match target.api_version.split_once('/') {
        Some((group, version)) => Gvk::new(group, version, &target.kind),
        None => Gvk::new(&target.group, &target.api_version, &target.kind),
    }
}

fn value_of(resources: &ResMap, var: &Var) -> Result<Value, BuildError> {
    let path = match var.field_ref.field_path.as_str() {
        "" => DEFAULT_PATH,
        path => path,
    };
    let object = resources.list.iter().find(|resource| resource.vars.contains(&var.name));
    let object = object.ok_or_else(|| {
        BuildError::selection(format!(
            "vars: `{}` reads {} `{}`, which does not exist",
            var.name, var.obj_ref.kind, var.obj_ref.name
        ))
    })?;
    let parts = fieldpath::with_list_indexes(path);
    let node = fieldpath::lookup(&object.node, &parts).ok().flatten().ok_or_else(|| {
        object.error(format!(
            "vars: `{}` reads the field {path}, which does not exist",
            var.name
        ))
    })?;
    node.to_value(Dialect::Kyaml)
        .map_err(|error| object.error(error.problem))
}

fn set(node: &mut Node, values: &BTreeMap<&str, Value>) -> Result<(), String> {
    match node {
        Node::Scalar(scalar) => {
            replace(scalar, values);
            Ok(())
        }
        Node::Map(_) => {
            for (_, value) in node.as_map_mut().expect("matched a map").entries_mut() {
                if let Node::Scalar(scalar) = value {
                    replace(scalar, values);
                }
            }
            Ok(())
        }
        Node::Seq(_) => {
            for item in node.as_seq_mut().expect("matched a list") {
                match item {
                    Node::Scalar(scalar) if is_text(scalar) => replace(scalar, values),
                    other => {
                        return Err(format!("expected texts in the list, found {}", other.type_name()));
                    }
                }
            }
            Ok(())
        }
    }
}

fn is_text(scalar: &Scalar) -> bool {
    matches!(scalar.tag, Tag::Str | Tag::Implicit)
}

fn replace(scalar: &mut Scalar, values: &BTreeMap<&str, Value>) {
    if !is_text(scalar) {
        return;
    }
    let (line, twin) = (scalar.line, scalar.twin);
    let replaced = match expand(&scalar.text, values) {
        Expanded::Text(text) => Scalar {
            style: Style::Plain,
            ..Scalar::str(text)
        },
        Expanded::Value(Value::String(text)) => Scalar::str(text.as_str()),
        Expanded::Value(Value::Bool(flag)) => Scalar {
            tag: Tag::Bool,
            ..Scalar::str(flag.to_string())
        },
        Expanded::Value(value) => {
            let text = value.to_string();
            let tag = if value.is_f64() { Tag::Float } else { Tag::Int };
            Scalar {
                tag,
                ..Scalar::str(text)
            }
        }
    };
    *scalar = Scalar { line, twin, ..replaced };
    debug_assert!(
        scalar_value(scalar, Dialect::Kyaml).is_ok(),
        "values are written as they read"
    );
}

enum Expanded<'a> {
    Text(String),
    Value(&'a Value),
}

/// `$(NAME)` is replaced, `$$` is `$`, and everything else stays; unknown names stay, too.
///
/// A text that is one variable and nothing else becomes its value, number or boolean as it is.
fn expand<'a>(text: &str, values: &'a BTreeMap<&str, Value>) -> Expanded<'a> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        rest = if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            tail
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|t| t.split_once(')')) {
            match values.get(name) {
                Some(value) if !(value.is_object() || value.is_array() || value.is_null()) => {
                    if text.len() == name.len() + 3 {
                        return Expanded::Value(value);
                    }
                    match value {
                        Value::String(value) => out.push_str(value),
                        value => out.push_str(&value.to_string()),
                    }
                }
                _ => out.push_str(&format!("$({name})")),
            }
            tail
        } else {
            out.push('$');
            after
        };
    }
    out.push_str(rest);
    Expanded::Text(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn variables_expand_as_in_the_reference() {
        let values = BTreeMap::from([("A", json!("x")), ("N", json!(80))]);
        for (text, wanted) in [
            ("a $(A) b", json!("a x b")),
            ("$(N)", json!(80)),
            ("$(N)0", json!("800")),
            ("$$(A)", json!("$(A)")),
            ("$(B)", json!("$(B)")),
            ("$(A", json!("$(A")),
            ("$", json!("$")),
            ("$x", json!("$x")),
        ] {
            let expanded = match expand(text, &values) {
                Expanded::Text(text) => json!(text),
                Expanded::Value(value) => value.clone(),
            };
            assert_eq!(expanded, wanted, "{text}");
        }
    }
}
