//! Strategic merge, kustomize's way (kyaml `merge2` over `walk`, 0.21).
//!
//! object + patch ─► per field: map → recurse, merged list → by key, anything else → replace
//!
//! Two habits of the reference shape this file. The whole object is walked, also where the patch
//! says nothing: empty nulls go, and lists with doubled keys collapse. And what a patch adds is
//! merged with itself, which is how nulls and directives inside it take effect.

use std::sync::Arc;

use nave_object::yaml::{Map, Node, Scalar, SmolStr, Style, Tag};

use crate::edit::{self, raw_text};
use crate::schema::{Schema, Schemas};

/// The key of a directive: `replace`, `delete` or `merge`.
const DIRECTIVE: &str = "$patch";

/// Merges `patch` into `object`; `None` when the patch deletes the object.
///
/// # Errors
/// A map in the patch where the object has a list, and so on; an unknown directive; the text names
/// the field.
pub(crate) fn merge(object: Node, patch: Node, schemas: &Schemas) -> Result<Option<Node>, String> {
    // Kustomize takes changes of the object in place only, and this one gives another object: nothing
    // comes of it.
    if patch.get(DIRECTIVE).map(raw_text) == Some("replace") {
        return Ok(Some(object));
    }
    let mut walker = Walker {
        path: Vec::new(),
        prepend: true,
        schemas: Some(schemas),
    };
    let merged = walker.walk(Some(object), Patch::Other(patch), None)?;
    Ok(merged.filter(|node| !edit::is_nil_or_empty(node)))
}

/// Merges without schema, as kustomize does with Helm values: lists are replaced.
pub(crate) fn merge_values(base: Node, over: Node) -> Result<Option<Node>, String> {
    Walker {
        path: Vec::new(),
        prepend: false,
        schemas: None,
    }
    .walk(Some(base), Patch::Other(over), None)
}

/// What stands against the object.
enum Patch {
    /// Nothing.
    Missing,
    /// A node of the patch.
    Other(Node),
    /// The object itself: it came from the patch and is merged with itself.
    Same,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Map,
    Seq,
    Scalar,
    Nothing,
}

#[derive(Clone, Copy, PartialEq)]
enum Directive {
    Merge,
    Replace,
    Delete,
}

struct Walker<'s> {
    path: Vec<SmolStr>,
    /// New elements go before old ones.
    prepend: bool,
    schemas: Option<&'s Schemas>,
}

impl<'s> Walker<'s> {
    fn walk(&mut self, dest: Option<Node>, patch: Patch, schema: Option<Schema<'s>>) -> Result<Option<Node>, String> {
        let origin = match &patch {
            Patch::Other(node) => Some(node),
            _ => None,
        };
        let schema = self.schema_of(schema, [dest.as_ref(), origin]);
        let kind = match (kind_of(dest.as_ref()), kind_of(origin)) {
            (Kind::Nothing, kind) => kind,
            (kind, Kind::Nothing) => kind,
            (kind, other) if kind == other => kind,
            _ => {
                let names = (
                    dest.as_ref().map_or("nothing", Node::type_name),
                    origin.map_or("nothing", Node::type_name),
                );
                return Err(format!(
                    "field {}: the patch has {} where the object has {}",
                    self.path.join("."),
                    names.1,
                    names.0
                ));
            }
        };
        match kind {
            Kind::Map | Kind::Nothing => self.walk_map(dest, patch, schema),
            Kind::Seq => match schema.as_ref().and_then(|schema| schema.merge_keys()) {
                Some(keys) => self.walk_list(dest, patch, &keys, schema.and_then(|s| s.elements())),
                None => Ok(replaced(dest, patch)),
            },
            Kind::Scalar => Ok(replaced(dest, patch)),
        }
    }

    /// The schema of a place; where the one above says nothing, objects inside of objects say what they are.
    fn schema_of(&self, known: Option<Schema<'s>>, nodes: [Option<&Node>; 2]) -> Option<Schema<'s>> {
        let of = |node: &Node| {
            let text = |key: &str| node.get(key).map(raw_text).filter(|text| !text.is_empty());
            self.schemas?.of(text("apiVersion")?, text("kind")?)
        };
        known.or_else(|| nodes.into_iter().flatten().find_map(of))
    }

    fn walk_map(
        &mut self,
        dest: Option<Node>,
        patch: Patch,
        schema: Option<Schema<'s>>,
    ) -> Result<Option<Node>, String> {
        let (mut base, other) = match (dest, patch) {
            (Some(mut node), Patch::Same) => {
                match take_map_directive(&mut node)? {
                    Directive::Delete => return Ok(None),
                    Directive::Merge | Directive::Replace => {}
                }
                if node.is_null() {
                    return Ok(Some(node));
                }
                (node, Patch::Same)
            }
            (None, Patch::Same) => return Ok(None),
            (dest, Patch::Missing) => match dest {
                None => return Ok(None),
                Some(Node::Scalar(null)) => {
                    // A null that was spelt out stays; one that was left open goes.
                    return Ok((!null.text.is_empty()).then_some(Node::Scalar(null)));
                }
                Some(node) => (node, Patch::Missing),
            },
            (dest, Patch::Other(mut origin)) => {
                let present = dest.filter(|node| !node.is_null());
                match present {
                    None => {
                        if take_map_directive(&mut origin).unwrap_or(Directive::Merge) == Directive::Delete {
                            return Ok(None);
                        }
                        if origin.is_null() {
                            return Ok(None);
                        }
                        (origin, Patch::Same)
                    }
                    Some(_) if origin.is_null() => return Ok(None),
                    Some(node) => match take_map_directive(&mut origin)? {
                        Directive::Delete => return Ok(None),
                        Directive::Replace => (origin, Patch::Same),
                        Directive::Merge => (node, Patch::Other(origin)),
                    },
                }
            }
        };
        let Some(base_map) = base.as_map() else {
            return Ok(Some(base));
        };
        // A key that the patch adds keeps its quotes, but not its tag.
        let unquoted = |key: &Scalar| Scalar {
            tag: Tag::Implicit,
            ..key.clone()
        };
        let mut names: Vec<Scalar> = base_map.iter().map(|(key, _)| unquoted(key)).collect();
        let mut other = match other {
            Patch::Other(Node::Map(map)) => {
                for (key, _) in map.iter() {
                    if !base_map.contains(&key.text) {
                        names.push(unquoted(key));
                    }
                }
                Some(Arc::unwrap_or_clone(map))
            }
            Patch::Same => None,
            _ => {
                if !self.needs_care(&base, schema) {
                    return Ok(Some(base));
                }
                Some(Map::new())
            }
        };
        for key in names {
            let name = key.text.clone();
            let field_schema = schema.as_ref().and_then(|schema| schema.field(&name));
            let value = base.get(&name).cloned();
            let patch = match &mut other {
                None => Patch::Same,
                Some(other) => other.remove(&name).map_or(Patch::Missing, Patch::Other),
            };
            if matches!(patch, Patch::Missing)
                && value
                    .as_ref()
                    .is_some_and(|value| !self.needs_care(value, field_schema))
                && !value.as_ref().is_some_and(Node::is_null)
            {
                // What is there is set again, and a text that a transformer wrote gets its quotes by that.
                if let Some(Node::Scalar(scalar)) = &value
                    && edit::lacks_quotes(scalar)
                    && let Some(Node::Scalar(scalar)) = base.as_map_mut().and_then(|map| map.get_mut(&name))
                {
                    scalar.style = Style::Double;
                }
                continue;
            }
            let spelt_null = matches!(patch, Patch::Missing);
            self.path.push(name.clone());
            let merged = self.walk(value, patch, field_schema)?;
            self.path.pop();
            let map = base.as_map_mut().expect("checked to be a map above");
            match merged {
                Some(node) if !node.is_null() || spelt_null => edit::put_with_key(map, key, node),
                _ => {
                    map.remove(&name);
                }
            }
        }
        Ok(Some(base))
    }

    /// Whether walking a node that the patch does not touch could change it.
    fn needs_care(&self, node: &Node, schema: Option<Schema<'s>>) -> bool {
        match node {
            Node::Scalar(_) => false,
            Node::Map(map) => {
                let schema = self.schema_of(schema, [Some(node), None]);
                map.iter().any(|(key, value)| match value {
                    Node::Scalar(scalar) => {
                        scalar.tag == Tag::Null && scalar.text.is_empty() || edit::lacks_quotes(scalar)
                    }
                    value => self.needs_care(value, schema.and_then(|schema| schema.field(&key.text))),
                })
            }
            Node::Seq(items) => {
                let Some(schema) = schema else { return false };
                let Some(keys) = schema.merge_keys() else { return false };
                let elements = schema.elements();
                items.iter().any(|item| self.needs_care(item, elements)) || !is_tidy(items, &keys)
            }
        }
    }

    fn walk_list(
        &mut self,
        dest: Option<Node>,
        patch: Patch,
        keys: &[&str],
        elements: Option<Schema<'s>>,
    ) -> Result<Option<Node>, String> {
        let (mut dest, origin) = match (dest, patch) {
            (dest, Patch::Missing) => (dest, None),
            (Some(mut node), Patch::Same) => match take_list_directive(&mut node)? {
                Directive::Delete => return Ok(None),
                Directive::Merge | Directive::Replace => (Some(node.clone()), Some(Source::Same)),
            },
            (None, Patch::Same) => return Ok(None),
            (dest, Patch::Other(mut origin)) => match dest.filter(|node| !node.is_null()) {
                None if origin.is_null() => return Ok(None),
                // A directive in a list that is new is an element like others.
                None => (Some(origin), Some(Source::Same)),
                Some(_) if origin.is_null() => return Ok(None),
                Some(node) => match take_list_directive(&mut origin)? {
                    Directive::Delete => return Ok(None),
                    Directive::Replace => (Some(origin), Some(Source::Same)),
                    Directive::Merge => (Some(node), Some(Source::Other(origin))),
                },
            },
        };
        let Some(list) = dest.as_mut().and_then(Node::as_seq_mut) else {
            return Ok(dest);
        };
        let list = std::mem::take(list);
        let keyed = values_of(&list, &origin, keys, self.prepend);
        let primitive = keys.is_empty() || keyed.is_empty() && keys == [""];
        let merged = if primitive {
            let values = primitive_values(&list, &origin, self.prepend);
            self.merge_elements(list, origin, values, &[""], elements)?
        } else {
            self.merge_elements(list, origin, keyed, keys, elements)?
        };
        Ok(Some(Node::seq(merged)))
    }

    fn merge_elements(
        &mut self,
        mut dest: Vec<Node>,
        origin: Option<Source>,
        mut values: Vec<Vec<SmolStr>>,
        keys: &[&str],
        schema: Option<Schema<'s>>,
    ) -> Result<Vec<Node>, String> {
        if keys.len() > 1 {
            fill_values(&mut values);
        }
        let used = used_keys(&values, keys);
        let mut added: Vec<Node> = Vec::new();
        for value in &values {
            if value.is_empty() {
                continue;
            }
            let wanted: Vec<SmolStr> = if used.len() == keys.len() {
                value.clone()
            } else {
                let pairs = value.iter().zip(keys);
                pairs
                    .filter(|(_, key)| used.contains(key))
                    .map(|(v, _)| v.clone())
                    .collect()
            };
            let found = find_element(&dest, &used, &wanted);
            let (ours, theirs) = match &origin {
                None => (found, Patch::Missing),
                Some(Source::Same) => (found, Patch::Same),
                Some(Source::Other(node)) => {
                    let other = find_element(node.as_seq().unwrap_or_default(), &used, &wanted);
                    (found, other.map_or(Patch::Missing, Patch::Other))
                }
            };
            self.path.push(format!("[{}]", wanted.join(",")).into());
            let element = self.walk(ours, theirs, schema)?;
            self.path.pop();
            let mut element = match element {
                Some(node) if !is_missing_or_empty_map(&node) => node,
                _ => {
                    set_element(&mut dest, None, &used, &wanted)?;
                    continue;
                }
            };
            for (key, value) in used.iter().zip(&wanted) {
                if let Node::Map(map) = &element
                    && !map.contains(key)
                    && !value.is_empty()
                {
                    edit::set_field(&mut element, key, Node::implicit(value.clone()))?;
                }
            }
            // Elements of the object are changed in place; what it adds to is only their copy.
            if let Some(place) = dest_place(&dest, &used, &wanted)
                && matches!(origin, Some(Source::Same) | None)
            {
                dest[place] = element.clone();
            } else if let Some(place) = dest_place(&dest, &used, &wanted)
                && !replaced_by_directive(&origin, &used, &wanted)
            {
                dest[place] = element.clone();
            }
            set_element(&mut added, Some(element), &used, &wanted)?;
        }
        if values.is_empty() {
            return Ok(dest);
        }
        let (mut into, from) = if self.prepend { (added, dest) } else { (dest, added) };
        append_elements(&mut into, from, &used)?;
        Ok(into)
    }
}

/// The patch's side of a list.
enum Source {
    Same,
    Other(Node),
}

fn kind_of(node: Option<&Node>) -> Kind {
    match node {
        None | Some(Node::Scalar(Scalar { tag: Tag::Null, .. })) => Kind::Nothing,
        Some(Node::Map(_)) => Kind::Map,
        Some(Node::Seq(_)) => Kind::Seq,
        Some(Node::Scalar(_)) => Kind::Scalar,
    }
}

/// Scalars and lists without keys: the patch's wins, null included.
fn replaced(dest: Option<Node>, patch: Patch) -> Option<Node> {
    match patch {
        Patch::Other(node) => Some(node),
        Patch::Missing | Patch::Same => dest,
    }
}

/// Whether merging a list with nothing leaves it as it is: every key is there, and none twice.
fn is_tidy(items: &[Node], keys: &[&str]) -> bool {
    let value = |item: &Node, key: &str| -> Option<SmolStr> {
        item.get(key)
            .map(|node| SmolStr::from(raw_text(node)))
            .filter(|text| !text.is_empty())
    };
    let [first, rest @ ..] = keys else {
        let mut seen: Vec<&str> = Vec::new();
        return items.iter().all(|item| {
            let text = raw_text(item);
            let new = !text.is_empty() && !item.is_null() && !seen.contains(&text);
            seen.push(text);
            new && item.as_scalar().is_some()
        });
    };
    let mut seen: Vec<Vec<Option<SmolStr>>> = Vec::new();
    items.iter().all(|item| {
        let values: Vec<_> = keys.iter().map(|key| value(item, key)).collect();
        let whole = values[0].is_some() && (rest.is_empty() || values.iter().all(Option::is_some));
        // With a secondary key left out, elements are compared by what is there.
        let new = !seen.contains(&values);
        seen.push(values);
        let _ = first;
        whole && new
    })
}

fn take_map_directive(node: &mut Node) -> Result<Directive, String> {
    let Some(directive) = node.get(DIRECTIVE) else {
        return Ok(Directive::Merge);
    };
    let directive = parse_directive(raw_text(directive))?;
    if let Some(map) = node.as_map_mut() {
        map.remove(DIRECTIVE);
    }
    Ok(directive)
}

/// A list's directive is an element that is nothing else.
fn take_list_directive(node: &mut Node) -> Result<Directive, String> {
    let items = node.as_seq().unwrap_or_default();
    let Some(element) = items.iter().find(|item| item.get(DIRECTIVE).is_some()) else {
        return Ok(Directive::Merge);
    };
    if element.as_map().is_none_or(|map| map.len() > 1) {
        return Ok(Directive::Merge);
    }
    let text: SmolStr = element.get(DIRECTIVE).map(raw_text).unwrap_or_default().into();
    let directive = parse_directive(&text)?;
    if let Some(items) = node.as_seq_mut() {
        set_element(items, None, &[DIRECTIVE], &[text])?;
    }
    Ok(directive)
}

fn parse_directive(text: &str) -> Result<Directive, String> {
    match text {
        "merge" => Ok(Directive::Merge),
        "replace" => Ok(Directive::Replace),
        "delete" => Ok(Directive::Delete),
        other => Err(format!(
            "the $patch directive `{other}` is none of replace, delete, merge"
        )),
    }
}

fn is_missing_or_empty_map(node: &Node) -> bool {
    node.is_null() || node.as_map().is_some_and(Map::is_empty)
}

/// The values of the keys in every element, the patch's first; each combination once.
fn values_of(dest: &[Node], origin: &Option<Source>, keys: &[&str], prepend: bool) -> Vec<Vec<SmolStr>> {
    let mut values: Vec<Vec<SmolStr>> = Vec::new();
    let mut collect = |items: &[Node]| {
        for item in items {
            let value: Vec<SmolStr> = keys
                .iter()
                .map(|key| match item.get(key) {
                    Some(node) if !edit::is_nil_or_empty(node) => raw_text(node).into(),
                    _ => SmolStr::default(),
                })
                .collect();
            if !value.is_empty() && !values.contains(&value) {
                values.push(value);
            }
        }
    };
    each_source(dest, origin, prepend, &mut collect);
    values
}

fn primitive_values(dest: &[Node], origin: &Option<Source>, prepend: bool) -> Vec<Vec<SmolStr>> {
    let mut values: Vec<Vec<SmolStr>> = Vec::new();
    let mut collect = |items: &[Node]| {
        for item in items {
            let value = vec![SmolStr::from(raw_text(item))];
            if !values.contains(&value) {
                values.push(value);
            }
        }
    };
    each_source(dest, origin, prepend, &mut collect);
    values
}

fn each_source(dest: &[Node], origin: &Option<Source>, prepend: bool, collect: &mut dyn FnMut(&[Node])) {
    let other = match origin {
        Some(Source::Other(node)) => node.as_seq().unwrap_or_default(),
        _ => &[],
    };
    if prepend {
        collect(other);
        collect(dest);
    } else {
        collect(dest);
        collect(other);
    }
}

/// Combinations that agree where both say something, and share a value, become one.
fn fill_values(values: &mut [Vec<SmolStr>]) {
    for i in 0..values.len() {
        for j in 0..values.len() {
            let (a, b) = (&values[i], &values[j]);
            let compatible = a.iter().zip(b).all(|(a, b)| a == b || a.is_empty() || b.is_empty());
            if compatible && a.iter().zip(b).any(|(a, b)| a == b) {
                let filled: Vec<SmolStr> = a
                    .iter()
                    .zip(b)
                    .map(|(a, b)| if a.is_empty() { b.clone() } else { a.clone() })
                    .collect();
                values[i] = filled.clone();
                values[j] = filled;
            }
        }
    }
}

/// The keys that any element uses; all of them when none is used.
fn used_keys<'k>(values: &[Vec<SmolStr>], keys: &[&'k str]) -> Vec<&'k str> {
    let used: Vec<&str> = keys
        .iter()
        .enumerate()
        .filter(|(index, _)| {
            values
                .iter()
                .any(|value| value.get(*index).is_some_and(|text| !text.is_empty()))
        })
        .map(|(_, key)| *key)
        .collect();
    if used.is_empty() { keys.to_vec() } else { used }
}

/// The element whose keys have these values; keys without a value are not looked at.
fn find_element(items: &[Node], keys: &[&str], values: &[SmolStr]) -> Option<Node> {
    place_of(items, keys, values).map(|place| items[place].clone())
}

fn dest_place(items: &[Node], keys: &[&str], values: &[SmolStr]) -> Option<usize> {
    place_of(items, keys, values)
}

fn place_of(items: &[Node], keys: &[&str], values: &[SmolStr]) -> Option<usize> {
    if keys == [""] {
        return items.iter().position(|item| raw_text(item) == values[0]);
    }
    let anything = values.iter().all(|value| value.is_empty());
    items.iter().position(|item| {
        item.as_map().is_some()
            && keys.iter().zip(values).all(|(key, value)| {
                if value.is_empty() && !anything {
                    return true;
                }
                item.get(key).is_some_and(|node| raw_text(node) == value)
            })
    })
}

/// Whether the patch's element replaces the object's as a whole; the object's own element then
/// stays what it was, and takes its place back when the lists are joined.
fn replaced_by_directive(origin: &Option<Source>, keys: &[&str], values: &[SmolStr]) -> bool {
    match origin {
        Some(Source::Other(node)) => find_element(node.as_seq().unwrap_or_default(), keys, values)
            .is_some_and(|element| element.get(DIRECTIVE).is_some_and(|d| raw_text(d) == "replace")),
        _ => false,
    }
}

/// Replaces elements that match, or appends; with no element, removes those that match.
fn set_element(items: &mut Vec<Node>, element: Option<Node>, keys: &[&str], values: &[SmolStr]) -> Result<(), String> {
    let keyed = !keys.is_empty() && !keys[0].is_empty() && values.first().is_some_and(|v| !v.is_empty());
    let mut found = false;
    let mut kept = Vec::with_capacity(items.len() + 1);
    for item in items.drain(..) {
        if is_missing_or_empty_map(&item) {
            continue;
        }
        if item.as_map().is_none() && keyed {
            kept.push(item);
            continue;
        }
        // A key without a value in the list repeats the answer of the key before it.
        let matches = if keys == [""] {
            match item.as_scalar() {
                Some(scalar) => scalar.text == values.first().map_or("", |value| value.as_str()),
                None => return Err(format!("expected a scalar in the list, found {}", item.type_name())),
            }
        } else {
            keys.iter().zip(values).all(|(key, value)| {
                item.get(key)
                    .is_some_and(|node| value.is_empty() || raw_text(node) == value)
            })
        };
        if !matches {
            kept.push(item);
            continue;
        }
        found = true;
        if let Some(element) = &element {
            kept.push(element.clone());
        }
    }
    *items = kept;
    if let Some(element) = element
        && !found
        && !element.is_null()
    {
        items.push(element);
    }
    Ok(())
}

/// Adds elements to a list, each in the place of the one with its keys, if there is one.
fn append_elements(into: &mut Vec<Node>, from: Vec<Node>, keys: &[&str]) -> Result<(), String> {
    for element in from {
        if keys == [""] {
            let text = SmolStr::from(raw_text(&element));
            set_element(into, Some(element), &[""], &[text])?;
            continue;
        }
        let mut values: Vec<SmolStr> = Vec::new();
        for key in keys {
            match element.get(key) {
                Some(node) => values.push(raw_text(node).into()),
                None => into.push(element.clone()),
            }
        }
        if keys.len() > 1 {
            set_element(into, None, keys, &values)?;
        }
        if values.is_empty() && keys.len() == 1 {
            // An element without the key: kyaml's setter then drops every element before it.
            into.clear();
            into.push(element);
            continue;
        }
        set_element(into, Some(element), keys, &values)?;
    }
    Ok(())
}
