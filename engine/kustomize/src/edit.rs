//! Changes to nodes with kyaml's side effects: the style of what is replaced stays.
//!
//! Styles matter because a quoted number is a text: kustomize copies the quotes of the old value to
//! the new one (kyaml, `FieldSetter`).

use nave_object::yaml::{Map, Node, Scalar, SmolStr, Style, Tag, is_yaml_1_1_non_string};

/// Replaces a scalar in place.
///
/// # Errors
/// The node is a map or a list.
pub(crate) fn set_scalar(node: &mut Node, mut scalar: Scalar) -> Result<(), String> {
    match node {
        Node::Scalar(old) => {
            if old.tag != Tag::Null {
                scalar.style = old.style;
            }
            scalar.line = old.line;
            scalar.twin = old.twin;
            *old = scalar;
            Ok(())
        }
        _ => Err(format!("expected a scalar, found {}", node.type_name())),
    }
}

/// Replaces a scalar in place by one that is what it looks like.
pub(crate) fn set_implicit(node: &mut Node, text: impl Into<SmolStr>) -> Result<(), String> {
    set_scalar(
        node,
        Scalar {
            tag: Tag::Implicit,
            ..Scalar::str(text)
        },
    )
}

/// Sets a field of a map.
///
/// # Errors
/// The node is no map.
pub(crate) fn set_field(node: &mut Node, key: &str, value: Node) -> Result<(), String> {
    let found = node.type_name();
    let map = node
        .as_map_mut()
        .ok_or_else(|| format!("expected a map, found {found}"))?;
    put(map, key, value);
    Ok(())
}

/// Sets a field; the style of the old value, if there is one, stays.
///
/// A key that is new has neither quotes nor tag: one that looks like a number becomes a number, and the
/// object is then no JSON any more, which is an error of kustomize's, too.
pub(crate) fn put(map: &mut Map, key: &str, value: Node) {
    put_with_key(map, Scalar::implicit(key), value);
}

/// Sets a field as [`put`] does; a key that is new is written as given.
pub(crate) fn put_with_key(map: &mut Map, key: Scalar, mut value: Node) {
    match map.get_mut(&key.text) {
        Some(old) => {
            if let (Node::Scalar(value), Node::Scalar(old)) = (&mut value, &*old) {
                value.style = old.style;
                value.twin = old.twin;
            } else if let Node::Scalar(value) = &mut value {
                value.style = Style::Plain;
            }
            *old = value;
        }
        None => {
            if let Node::Scalar(scalar) = &mut value
                && lacks_quotes(scalar)
            {
                scalar.style = Style::Double;
            }
            map.push(key, value);
        }
    }
}

/// Whether it is a text without quotes that YAML 1.1 reads as something else; kyaml quotes it when it sets a field
/// to it.
pub(crate) fn lacks_quotes(scalar: &Scalar) -> bool {
    matches!(scalar.tag, Tag::Str | Tag::Implicit)
        && scalar.style == Style::Plain
        && is_yaml_1_1_non_string(&scalar.text)
}

/// The map at a path of keys, made where missing.
///
/// # Errors
/// Something on the way is neither missing, null nor a map.
pub(crate) fn map_at<'a>(node: &'a mut Node, path: &[&str]) -> Result<&'a mut Map, String> {
    let mut here = node;
    for key in path {
        let found = here.type_name();
        let map = here
            .as_map_mut()
            .ok_or_else(|| format!("expected a map where `{key}` is looked up, found {found}"))?;
        here = map.entry(key, Node::map);
        if here.is_null() {
            *here = Node::map();
        }
    }
    let found = here.type_name();
    here.as_map_mut()
        .ok_or_else(|| format!("expected {} to be a map, found {found}", path.join(".")))
}

/// Whether kyaml takes the node for absent: null, an empty map or an empty list.
pub(crate) fn is_nil_or_empty(node: &Node) -> bool {
    match node {
        Node::Scalar(scalar) => scalar.tag == Tag::Null,
        Node::Seq(items) => items.is_empty(),
        Node::Map(map) => map.is_empty(),
    }
}

/// The text of any scalar as it stands in the file, null too; empty for maps and lists.
pub(crate) fn raw_text(node: &Node) -> &str {
    node.as_scalar().map_or("", |scalar| scalar.text.as_str())
}
