//! A field specification: which field of which kinds a transformer touches.

use std::sync::Arc;

use nave_object::yaml::{Map, Node, Scalar, SmolStr, Tag};

use crate::ids::Gvk;

/// Path of a field in the objects of some kinds. Lists on the way are entered silently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldSpec {
    pub gvk: Gvk,
    pub path: SmolStr,
    /// Create what is missing on the way.
    pub create: bool,
    pub(crate) parts: Arc<[SmolStr]>,
}

/// Parts of a path; what it creates is that deep.
const MAX_PARTS: usize = 256;

/// What is created where a path ends in nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Create {
    Nothing,
    Scalar,
    Map,
}

impl FieldSpec {
    pub fn new(group: &str, version: &str, kind: &str, path: &str, create: bool) -> FieldSpec {
        FieldSpec {
            gvk: Gvk::new(group, version, kind),
            path: path.into(),
            create,
            parts: split_path(path, '/').into_iter().map(SmolStr::from).collect(),
        }
    }

    /// Whether two specifications are about the same field, `other` not being narrower.
    pub fn covers(&self, other: &FieldSpec) -> bool {
        self.path == other.path && self.gvk.is_selected(&other.gvk)
    }

    /// Calls `set` on every node that the path leads to, if the object is of a kind it is for.
    ///
    /// # Errors
    /// A scalar on the way, an empty part in the path, and what `set` reports.
    pub fn apply(
        &self,
        gvk: &Gvk,
        object: &mut Node,
        create: Create,
        set: &mut dyn FnMut(&mut Node) -> Result<(), String>,
    ) -> Result<(), String> {
        if !gvk.is_selected(&self.gvk) {
            return Ok(());
        }
        if self.parts.len() > MAX_PARTS {
            return Err(format!("field {}: the path has more than {MAX_PARTS} parts", self.path));
        }
        let create = if self.create { create } else { Create::Nothing };
        if create == Create::Nothing && !leads_somewhere(object, &self.parts) {
            return Ok(());
        }
        walk(object, &self.parts, create, set).map_err(|problem| format!("field {}: {problem}", self.path))
    }
}

/// Splits at a delimiter that is not escaped with `\`; a leading delimiter is dropped.
pub(crate) fn split_path(path: &str, delimiter: char) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut pieces = path.split(delimiter).peekable();
    if path.starts_with(delimiter) {
        pieces.next();
    }
    for piece in pieces {
        match parts.last_mut().filter(|last| last.ends_with('\\')) {
            Some(last) => {
                last.pop();
                last.push(delimiter);
                last.push_str(piece);
            }
            None => parts.push(piece.to_owned()),
        }
    }
    parts
}

/// A look ahead without touching anything: unsharing nodes for nothing costs copies.
fn leads_somewhere(node: &Node, path: &[SmolStr]) -> bool {
    let Some((part, rest)) = path.split_first() else {
        return true;
    };
    match node {
        Node::Seq(items) => items.iter().any(|item| leads_somewhere(item, path)),
        Node::Map(map) => {
            let (name, is_list) = match part.strip_suffix("[]") {
                Some(name) => (name, true),
                None => (part.as_str(), false),
            };
            // A list that is null becomes an empty one.
            let leads = |child: &Node| is_list && child.is_null() || leads_somewhere(child, rest);
            name.is_empty() || map.get(name).is_some_and(leads)
        }
        // A scalar in the way is an error, which the walk reports.
        Node::Scalar(scalar) => scalar.tag != Tag::Null,
    }
}

fn walk(
    node: &mut Node,
    path: &[SmolStr],
    create: Create,
    set: &mut dyn FnMut(&mut Node) -> Result<(), String>,
) -> Result<(), String> {
    let Some((part, rest)) = path.split_first() else {
        return set(node);
    };
    match node {
        Node::Scalar(Scalar { tag: Tag::Null, .. }) => Ok(()),
        Node::Scalar(_) => Err(format!(
            "expected a map or a list where `{part}` is looked up, found {}",
            node.type_name()
        )),
        Node::Seq(items) => Arc::make_mut(items)
            .iter_mut()
            .try_for_each(|item| walk(item, path, create, set)),
        Node::Map(map) => {
            let (name, is_list) = match part.strip_suffix("[]") {
                Some(name) => (name, true),
                None => (part.as_str(), false),
            };
            if name.is_empty() {
                return Err("cannot set or create an empty field name".to_owned());
            }
            let made = match create {
                Create::Nothing => None,
                _ if is_list => None,
                Create::Scalar if rest.is_empty() => Some(Node::implicit("")),
                _ => Some(Node::map()),
            };
            let map: &mut Map = Arc::make_mut(map);
            let child = match (map.get_mut(name), made) {
                (Some(child), made) => {
                    // A field that is there but null becomes what would have been created.
                    if child.is_null() {
                        if let Some(made) = made {
                            *child = made;
                        } else if is_list {
                            *child = Node::seq(Vec::new());
                        }
                    }
                    child
                }
                (None, Some(_)) => {
                    let made = match create {
                        Create::Scalar if rest.is_empty() => Node::implicit(""),
                        _ => Node::map(),
                    };
                    return walk(map.entry(name, || made), rest, create, set);
                }
                (None, None) => return Ok(()),
            };
            walk(child, rest, create, set)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_split_at_slashes_that_are_not_escaped() {
        assert_eq!(split_path("a/b\\/c/d", '/'), ["a", "b/c", "d"]);
        assert_eq!(split_path("/a/b", '/'), ["a", "b"]);
        assert_eq!(split_path("a", '/'), ["a"]);
    }
}
