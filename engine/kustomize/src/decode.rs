//! Nodes to typed values, as Go's JSON decoder makes them, with the place of every error.

use std::collections::BTreeMap;

use nave_object::yaml::{Dialect, Node, Tag};
use serde_json::Value;

/// How strict to be: kustomization files are read strictly, plugins' configurations leniently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Unknown fields and numbers where texts belong are errors.
    Strict,
    /// Unknown fields are skipped, numbers and booleans become texts.
    Lenient,
}

/// Where the decoder stands.
pub(crate) struct Context {
    pub mode: Mode,
    path: String,
}

/// What does not fit, and where.
#[derive(Debug)]
pub(crate) struct DecodeError {
    pub line: usize,
    pub column: usize,
    pub field: String,
    pub problem: String,
}

/// A type that can be read from a node. Null reads as the default, as in Go.
pub(crate) trait Decode: Sized {
    fn decode(node: &Node, context: &mut Context) -> Result<Self, DecodeError>;
}

impl Context {
    pub fn new(mode: Mode) -> Context {
        Context {
            mode,
            path: String::new(),
        }
    }

    /// Decodes a part, with its name in the path of errors.
    pub fn at<T: Decode>(&mut self, part: &str, node: &Node) -> Result<T, DecodeError> {
        let length = self.path.len();
        if length > 0 && !part.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(part);
        let decoded = T::decode(node, self)?;
        self.path.truncate(length);
        Ok(decoded)
    }

    pub fn error(&self, node: &Node, problem: impl Into<String>) -> DecodeError {
        DecodeError {
            line: node.line() as usize,
            column: node.column() as usize,
            field: self.path.clone(),
            problem: problem.into(),
        }
    }

    fn expected(&self, what: &str, node: &Node) -> DecodeError {
        let mut problem = format!("expected {what}, found {}", node.type_name());
        if let Some(scalar) = node.as_scalar() {
            problem.push_str(&format!(" `{}`", scalar.text));
            if what == "a text" {
                problem.push_str("; put it in quotes");
            }
        }
        self.error(node, problem)
    }
}

/// Decodes a whole document.
pub(crate) fn decode<T: Decode>(node: &Node, mode: Mode) -> Result<T, DecodeError> {
    T::decode(node, &mut Context::new(mode))
}

impl Decode for String {
    fn decode(node: &Node, context: &mut Context) -> Result<String, DecodeError> {
        match node.as_scalar() {
            Some(scalar) => match scalar.tag {
                Tag::Null => Ok(String::new()),
                Tag::Str | Tag::Other | Tag::Timestamp | Tag::Merge => Ok(scalar.text.to_string()),
                _ => match node.to_value(Dialect::K8s) {
                    Ok(Value::String(text)) => Ok(text),
                    Ok(value) if context.mode == Mode::Lenient => Ok(value.to_string()),
                    Ok(_) => Err(context.expected("a text", node)),
                    Err(error) => Err(context.error(node, error.problem)),
                },
            },
            None => Err(context.expected("a text", node)),
        }
    }
}

impl Decode for bool {
    fn decode(node: &Node, context: &mut Context) -> Result<bool, DecodeError> {
        match value(node, context)? {
            Value::Null => Ok(false),
            Value::Bool(flag) => Ok(flag),
            _ => Err(context.expected("true or false", node)),
        }
    }
}

impl Decode for i64 {
    fn decode(node: &Node, context: &mut Context) -> Result<i64, DecodeError> {
        match value(node, context)? {
            Value::Null => Ok(0),
            value => value.as_i64().ok_or_else(|| context.expected("a whole number", node)),
        }
    }
}

impl Decode for Value {
    fn decode(node: &Node, context: &mut Context) -> Result<Value, DecodeError> {
        value(node, context)
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(node: &Node, context: &mut Context) -> Result<Option<T>, DecodeError> {
        if node.is_null() {
            Ok(None)
        } else {
            T::decode(node, context).map(Some)
        }
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node, context: &mut Context) -> Result<Vec<T>, DecodeError> {
        if node.is_null() {
            return Ok(Vec::new());
        }
        let items = node.as_seq().ok_or_else(|| context.expected("a list", node))?;
        items
            .iter()
            .enumerate()
            .map(|(index, item)| context.at(&format!("[{index}]"), item))
            .collect()
    }
}

impl<T: Decode> Decode for BTreeMap<String, T> {
    fn decode(node: &Node, context: &mut Context) -> Result<BTreeMap<String, T>, DecodeError> {
        if node.is_null() {
            return Ok(BTreeMap::new());
        }
        let map = node.as_map().ok_or_else(|| context.expected("a map", node))?;
        map.iter()
            .map(|(key, item)| {
                let name = key_text(key);
                Ok((name.clone(), context.at(&name, item)?))
            })
            .collect()
    }
}

fn value(node: &Node, context: &Context) -> Result<Value, DecodeError> {
    node.to_value(Dialect::K8s)
        .map_err(|error| context.error(node, error.problem))
}

/// A key as YAML 1.1 gives it to JSON: `on: x` is `true: x`.
pub(crate) fn key_text(key: &nave_object::yaml::Scalar) -> String {
    match key.tag {
        Tag::Bool | Tag::Int | Tag::Float => match nave_object::yaml::scalar_value(key, Dialect::K8s) {
            Ok(Value::String(text)) => text,
            Ok(value) => value.to_string(),
            Err(_) => key.text.to_string(),
        },
        _ => key.text.to_string(),
    }
}

/// Declares a struct and how it is read: each field with its name in YAML. Names match without
/// regard to case, as in Go, an exact match first.
macro_rules! decode_struct {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $( $(#[$field_meta:meta])* $field:ident : $type:ty = $key:literal ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        $vis struct $name { $( $(#[$field_meta])* pub $field: $type ),* }

        impl $crate::decode::Decode for $name {
            fn decode(
                node: &nave_object::yaml::Node,
                context: &mut $crate::decode::Context,
            ) -> Result<$name, $crate::decode::DecodeError> {
                let mut made = <$name as Default>::default();
                if node.is_null() {
                    return Ok(made);
                }
                let Some(map) = node.as_map() else {
                    return Err(context.error(node, format!("expected a map, found {}", node.type_name())));
                };
                const KEYS: &[&str] = &[$($key),*];
                for (key, item) in map.iter() {
                    let text = $crate::decode::key_text(key);
                    let Some(known) = $crate::decode::find_key(KEYS, &text) else {
                        if context.mode == $crate::decode::Mode::Strict {
                            return Err($crate::decode::unknown(context, key, &text, KEYS));
                        }
                        continue;
                    };
                    $( if known == $key { made.$field = context.at(&text, item)?; continue; } )*
                }
                Ok(made)
            }
        }
    };
}
pub(crate) use decode_struct;

pub(crate) fn find_key(keys: &[&'static str], text: &str) -> Option<&'static str> {
    keys.iter()
        .find(|key| **key == text)
        .or_else(|| keys.iter().find(|key| key.eq_ignore_ascii_case(text)))
        .copied()
}

pub(crate) fn unknown(context: &Context, key: &nave_object::yaml::Scalar, text: &str, keys: &[&str]) -> DecodeError {
    let mut problem = format!("unknown field `{text}`");
    let nearest = keys.iter().min_by_key(|known| distance(known, text));
    if let Some(nearest) = nearest.filter(|known| distance(known, text) <= 3) {
        problem.push_str(&format!("; did you mean `{nearest}`?"));
    }
    DecodeError {
        line: key.line as usize,
        column: key.column as usize,
        field: if context.path.is_empty() {
            text.to_owned()
        } else {
            context.path.clone()
        },
        problem,
    }
}

/// Edits between two short texts (Levenshtein); far more than 3 for long ones, which is enough.
fn distance(a: &str, b: &str) -> usize {
    if a.len().abs_diff(b.len()) > 3 {
        return usize::MAX;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let edited = before + usize::from(x != *y);
            before = row[j + 1];
            row[j + 1] = edited.min(before + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
