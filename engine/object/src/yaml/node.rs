//! A YAML document as a tree that keeps order, scalar text, tag and style.

use std::sync::Arc;

use serde_json::Value;
use smol_str::SmolStr;

use super::number::format_float_json;
use super::{Dialect, YamlError, resolve, scalar_value};

/// What a scalar is, by its explicit tag or by its look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tag {
    /// `!!str`, and everything quoted.
    Str,
    /// `!!int`.
    Int,
    /// `!!float`.
    Float,
    /// `!!bool`.
    Bool,
    /// `!!null`, and the empty plain scalar.
    Null,
    /// `!!timestamp`.
    Timestamp,
    /// `!!binary`.
    Binary,
    /// The plain key `<<`.
    Merge,
    /// Any tag of the user's own.
    Other,
    /// None yet: a scalar made by a program, which is what it looks like once written.
    Implicit,
}

/// How a scalar was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Style {
    /// Without quotes.
    Plain,
    /// `'…'`.
    Single,
    /// `"…"`.
    Double,
    /// `|`.
    Literal,
    /// `>`.
    Folded,
}

/// A scalar with its text after escapes and folding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    /// The text, such as `0644` or `web`.
    pub text: SmolStr,
    /// What it is.
    pub tag: Tag,
    /// How it was written.
    pub style: Style,
    /// The line it was read from, from 1; 0 when it was made by a program.
    pub line: u32,
    /// The column of its start in that line, from 1; 0 when it was made by a program.
    pub column: u32,
    /// Scalars of one document with the same number, other than 0, are one scalar in several places to a
    /// program that says so; nothing here reads it.
    pub twin: u32,
}

/// A node of the tree. Cloning is cheap: lists and maps are shared until one side is changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// A text, number, boolean or null.
    Scalar(Scalar),
    /// A list.
    Seq(Arc<Vec<Node>>),
    /// A map.
    Map(Arc<Map>),
}

/// Keys and values in the order of the text. Keys are few, so lookup is a linear search.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Map {
    entries: Vec<(Scalar, Node)>,
}

impl Scalar {
    /// A text, to be quoted where it looks like something else.
    pub fn str(text: impl Into<SmolStr>) -> Scalar {
        Scalar {
            text: text.into(),
            tag: Tag::Str,
            style: Style::Plain,
            line: 0,
            column: 0,
            twin: 0,
        }
    }

    /// A scalar without a tag: what it is shows when it is written.
    pub fn implicit(text: impl Into<SmolStr>) -> Scalar {
        Scalar {
            tag: Tag::Implicit,
            ..Scalar::str(text)
        }
    }

    /// A plain scalar: what it is follows from its look in `dialect`.
    pub fn plain(text: impl Into<SmolStr>, dialect: Dialect) -> Scalar {
        let text = text.into();
        let tag = resolve(&text, dialect);
        Scalar {
            text,
            tag,
            style: Style::Plain,
            line: 0,
            column: 0,
            twin: 0,
        }
    }
}

impl Node {
    /// A text node.
    pub fn str(text: impl Into<SmolStr>) -> Node {
        Node::Scalar(Scalar::str(text))
    }

    /// The null node.
    pub fn null() -> Node {
        Node::Scalar(Scalar {
            text: SmolStr::new_static("null"),
            tag: Tag::Null,
            style: Style::Plain,
            line: 0,
            column: 0,
            twin: 0,
        })
    }

    /// A scalar without a tag: what it is shows when it is written.
    pub fn implicit(text: impl Into<SmolStr>) -> Node {
        Node::Scalar(Scalar::implicit(text))
    }

    /// A list node.
    pub fn seq(items: Vec<Node>) -> Node {
        Node::Seq(Arc::new(items))
    }

    /// An empty map node.
    pub fn map() -> Node {
        Node::Map(Arc::default())
    }

    /// The scalar, when it is one.
    pub fn as_scalar(&self) -> Option<&Scalar> {
        match self {
            Node::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// The text of a scalar of any tag, `None` for null, lists and maps.
    pub fn text(&self) -> Option<&str> {
        self.as_scalar()
            .filter(|scalar| scalar.tag != Tag::Null)
            .map(|scalar| scalar.text.as_str())
    }

    /// The map, when it is one.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Node::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The map for editing, unshared first; `None` when it is none.
    pub fn as_map_mut(&mut self) -> Option<&mut Map> {
        match self {
            Node::Map(map) => Some(Arc::make_mut(map)),
            _ => None,
        }
    }

    /// The list, when it is one.
    pub fn as_seq(&self) -> Option<&[Node]> {
        match self {
            Node::Seq(items) => Some(items),
            _ => None,
        }
    }

    /// The list for editing, unshared first; `None` when it is none.
    pub fn as_seq_mut(&mut self) -> Option<&mut Vec<Node>> {
        match self {
            Node::Seq(items) => Some(Arc::make_mut(items)),
            _ => None,
        }
    }

    /// The value of a key, `None` when this is no map or has no such key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?.get(key)
    }

    /// The node below a path of keys.
    pub fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// Whether this is the null scalar.
    pub fn is_null(&self) -> bool {
        matches!(self, Node::Scalar(Scalar { tag: Tag::Null, .. }))
    }

    /// The first line known in this node; 0 when none is.
    pub fn line(&self) -> u32 {
        match self {
            Node::Scalar(scalar) => scalar.line,
            Node::Seq(items) => items.first().map_or(0, Node::line),
            Node::Map(map) => map.entries.first().map_or(0, |(key, _)| key.line),
        }
    }

    /// The column of its first scalar, from 1; 0 when it was made by a program.
    pub fn column(&self) -> u32 {
        match self {
            Node::Scalar(scalar) => scalar.column,
            Node::Seq(items) => items.first().map_or(0, Node::column),
            Node::Map(map) => map.entries.first().map_or(0, |(key, _)| key.column),
        }
    }

    /// The number of levels, a scalar being one.
    pub fn height(&self) -> usize {
        1 + match self {
            Node::Scalar(_) => 0,
            Node::Seq(items) => items.iter().map(Node::height).max().unwrap_or_default(),
            Node::Map(map) => map.iter().map(|(_, node)| node.height()).max().unwrap_or_default(),
        }
    }

    /// Whether it has at most so many scalars, lists and maps, and at most so many levels.
    ///
    /// Shared parts count each time; the work is bounded by what is allowed.
    pub fn is_within(&self, nodes: &mut usize, levels: usize) -> bool {
        if *nodes == 0 || levels == 0 {
            return false;
        }
        *nodes -= 1;
        match self {
            Node::Scalar(_) => true,
            Node::Seq(items) => items.iter().all(|item| item.is_within(nodes, levels - 1)),
            Node::Map(map) => map.iter().all(|(_, node)| node.is_within(nodes, levels - 1)),
        }
    }

    /// Whether both are one shared list or map; `false` for scalars.
    pub fn is_same(&self, other: &Node) -> bool {
        match (self, other) {
            (Node::Seq(ours), Node::Seq(other)) => Arc::ptr_eq(ours, other),
            (Node::Map(ours), Node::Map(other)) => Arc::ptr_eq(ours, other),
            _ => false,
        }
    }

    /// What it is, in words with an article: "a map", "a list", "a text", …
    pub fn type_name(&self) -> &'static str {
        match self {
            Node::Map(_) => "a map",
            Node::Seq(_) => "a list",
            Node::Scalar(scalar) => match scalar.tag {
                Tag::Int | Tag::Float => "a number",
                Tag::Bool => "a boolean",
                Tag::Null => "null",
                _ => "a text",
            },
        }
    }

    /// The JSON that Go's reader makes of this node.
    ///
    /// # Errors
    /// A scalar that its explicit tag does not fit, `.inf` and `.nan`, which JSON has not; in
    /// [`Dialect::K8s`] a null key, in [`Dialect::Kyaml`] a key that is no text, except at the top.
    pub fn to_value(&self, dialect: Dialect) -> Result<Value, YamlError> {
        self.value_at(dialect, true)
    }

    fn value_at(&self, dialect: Dialect, top: bool) -> Result<Value, YamlError> {
        Ok(match self {
            Node::Scalar(scalar) => scalar_value(scalar, dialect)?,
            Node::Seq(items) => Value::Array(
                items
                    .iter()
                    .map(|item| item.value_at(dialect, false))
                    .collect::<Result<_, _>>()?,
            ),
            Node::Map(map) => {
                let mut value = serde_json::Map::new();
                for (key, item) in map.iter() {
                    value.insert(key_text(key, dialect, top)?, item.value_at(dialect, false)?);
                }
                Value::Object(value)
            }
        })
    }

    /// A node that reads back as this JSON; texts that look like something else are quoted.
    pub fn from_value(value: &Value) -> Node {
        let plain = |text: String, tag| {
            Node::Scalar(Scalar {
                text: text.into(),
                tag,
                style: Style::Plain,
                line: 0,
                column: 0,
                twin: 0,
            })
        };
        match value {
            Value::Null => Node::null(),
            Value::Bool(flag) => plain(flag.to_string(), Tag::Bool),
            Value::Number(number) => match number.as_f64() {
                Some(float) if number.is_f64() => plain(format_float_json(float), Tag::Float),
                _ => plain(number.to_string(), Tag::Int),
            },
            Value::String(text) => {
                let style = match resolve(text, Dialect::K8s) {
                    Tag::Str if text.contains('\n') => Style::Literal,
                    Tag::Str => Style::Plain,
                    _ => Style::Double,
                };
                Node::Scalar(Scalar {
                    style,
                    ..Scalar::str(text.as_str())
                })
            }
            Value::Array(items) => Node::seq(items.iter().map(Node::from_value).collect()),
            Value::Object(entries) => Node::Map(Arc::new(
                entries
                    .iter()
                    .map(|(key, item)| (Scalar::str(key.as_str()), Node::from_value(item)))
                    .collect(),
            )),
        }
    }
}

impl Map {
    /// An empty map.
    pub fn new() -> Map {
        Map::default()
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries
            .iter()
            .find(|(name, _)| name.text == key)
            .map(|(_, node)| node)
    }

    /// The value of a key for editing.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries
            .iter_mut()
            .find(|(name, _)| name.text == key)
            .map(|(_, node)| node)
    }

    /// The place of a key.
    pub fn position(&self, key: &str) -> Option<usize> {
        self.entries.iter().position(|(name, _)| name.text == key)
    }

    /// Whether the key is there.
    pub fn contains(&self, key: &str) -> bool {
        self.position(key).is_some()
    }

    /// Replaces the value of a key in its place, or appends it.
    pub fn insert(&mut self, key: impl AsRef<str> + Into<SmolStr>, node: Node) {
        match self.get_mut(key.as_ref()) {
            Some(place) => *place = node,
            None => self.entries.push((Scalar::implicit(key), node)),
        }
    }

    /// Appends without looking for an equal key.
    pub fn push(&mut self, key: Scalar, node: Node) {
        self.entries.push((key, node));
    }

    /// The value of a key for editing; appended as `default()` when absent.
    pub fn entry(&mut self, key: &str, default: impl FnOnce() -> Node) -> &mut Node {
        let place = self.position(key).unwrap_or_else(|| {
            self.entries.push((Scalar::implicit(key), default()));
            self.entries.len() - 1
        });
        &mut self.entries[place].1
    }

    /// Removes a key; the order of the others stays.
    pub fn remove(&mut self, key: &str) -> Option<Node> {
        self.position(key).map(|place| self.entries.remove(place).1)
    }

    /// Entries in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &(Scalar, Node)> + ExactSizeIterator {
        self.entries.iter()
    }

    /// Values in order, for editing.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        self.entries.iter_mut().map(|(_, node)| node)
    }

    /// Entries in order, for editing.
    pub fn entries_mut(&mut self) -> &mut Vec<(Scalar, Node)> {
        &mut self.entries
    }
}

impl FromIterator<(Scalar, Node)> for Map {
    fn from_iter<T: IntoIterator<Item = (Scalar, Node)>>(entries: T) -> Map {
        Map {
            entries: entries.into_iter().collect(),
        }
    }
}

/// A key as JSON has it.
fn key_text(key: &Scalar, dialect: Dialect, top: bool) -> Result<String, YamlError> {
    let refuse = |what: &str| {
        let problem = format!("the key `{}` is {what}, not a text", key.text);
        Err(YamlError::new(key.line as usize, problem).at_column(key.column as usize))
    };
    let tag = match key.tag {
        Tag::Implicit if key.style == Style::Plain => resolve(&key.text, dialect),
        Tag::Implicit => Tag::Str,
        tag => tag,
    };
    match (dialect, tag) {
        (_, Tag::Str | Tag::Implicit) => Ok(key.text.to_string()),
        (Dialect::K8s, Tag::Other | Tag::Binary | Tag::Timestamp) => Ok(key.text.to_string()),
        (Dialect::K8s, Tag::Merge) | (_, Tag::Null) => refuse("null"),
        (Dialect::K8s, Tag::Int | Tag::Bool) => Ok(match scalar_value(key, dialect)? {
            Value::String(text) => text,
            value => value.to_string(),
        }),
        (Dialect::K8s, Tag::Float) => {
            // Infinities may be keys, though not values.
            let name = key.text.trim_start_matches('+').to_ascii_lowercase();
            if name.trim_start_matches('-') == ".inf" {
                return Ok(name);
            }
            let number: f64 = key.text.replace('_', "").parse().unwrap_or(f64::NAN);
            // Go formats float keys with 32 bits of precision.
            Ok(super::number::format_float32(number as f32))
        }
        // Go decodes the top into a map of texts, which takes keys as they are written; below
        // it, a map with such a key is no longer JSON.
        (Dialect::Kyaml, _) if top => Ok(key.text.to_string()),
        (Dialect::Kyaml, Tag::Merge) => Ok(key.text.to_string()),
        (Dialect::Kyaml, Tag::Bool) => refuse("a boolean"),
        (Dialect::Kyaml, Tag::Timestamp) => refuse("a date"),
        (Dialect::Kyaml, Tag::Binary | Tag::Other) => refuse("a scalar with a tag of its own"),
        (Dialect::Kyaml, _) => refuse("a number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_keep_their_order_and_share_until_changed() {
        let mut map = Map::new();
        map.insert("b", Node::str("1"));
        map.insert("a", Node::str("2"));
        map.insert("b", Node::str("3"));
        let first = Node::Map(Arc::new(map));
        let mut second = first.clone();
        second.as_map_mut().unwrap().remove("b");
        assert_eq!(first.get("b").and_then(Node::text), Some("3"));
        assert_eq!(second.get("b"), None);
        let keys: Vec<_> = first
            .as_map()
            .unwrap()
            .iter()
            .map(|(key, _)| key.text.as_str())
            .collect();
        assert_eq!(keys, ["b", "a"]);
    }

    #[test]
    fn json_goes_through_nodes_unchanged() {
        let value = serde_json::json!({"a": [1, -2, 1.5, true, null, "yes", "1"], "b": {"c": {}}});
        for dialect in [Dialect::K8s, Dialect::Kyaml] {
            assert_eq!(Node::from_value(&value).to_value(dialect).as_ref(), Ok(&value));
        }
    }
}
