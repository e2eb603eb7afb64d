//! YAML into records by Go's rules: field names in any case, numbers and booleans where a text is wanted.

use std::collections::BTreeMap;

use nave_object::yaml::{Dialect, Map, Node, Scalar, Tag, YamlError, format_float, parse_nodes, scalar_value};
use serde_json::Value;

/// A document that is no YAML, or not the record it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It is no YAML.
    #[error("error converting YAML to JSON: yaml: {0}")]
    Yaml(YamlError),
    /// It has something of another type.
    #[error("line {line}: cannot unmarshal {found} into {place} of type {expected}")]
    Type {
        /// The line, from 1.
        line: u32,
        /// What stands there.
        found: &'static str,
        /// The record and field, such as `Metadata.keywords`.
        place: String,
        /// What should stand there.
        expected: &'static str,
    },
    /// It has something that is refused whatever its type.
    #[error("validation: {0}")]
    Validation(&'static str),
}

impl DecodeError {
    pub(crate) fn validation(problem: &'static str) -> DecodeError {
        DecodeError::Validation(problem)
    }
}

/// The first document of a text; nothing for an empty text.
pub(crate) fn first_document(text: &[u8]) -> Result<Option<Node>, DecodeError> {
    let text = std::str::from_utf8(text).map_err(|error| {
        let line = 1 + text[..error.valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        DecodeError::Yaml(YamlError {
            line,
            column: 0,
            problem: "invalid UTF-8".to_owned(),
        })
    })?;
    let documents = parse_nodes(text, Dialect::K8s).map_err(DecodeError::Yaml)?;
    Ok(documents.into_iter().next())
}

/// A record's fields in a document.
pub(crate) struct Fields<'a> {
    map: &'a Map,
    record: &'static str,
}

impl<'a> Fields<'a> {
    /// The fields of a map; nothing for null.
    pub(crate) fn of(node: &'a Node, record: &'static str) -> Result<Option<Fields<'a>>, DecodeError> {
        match node {
            Node::Map(map) => Ok(Some(Fields { map, record })),
            node if is_null(node) => Ok(None),
            node => Err(mismatch(node, record.to_owned(), "object")),
        }
    }

    /// A field that is there and not null. Go takes the exact name first and then any spelling in another case.
    pub(crate) fn get(&self, name: &str) -> Option<&'a Node> {
        let found = self.map.get(name).or_else(|| {
            let mut entries = self.map.iter();
            entries
                .find(|(key, _)| key.text.eq_ignore_ascii_case(name))
                .map(|(_, node)| node)
        });
        found.filter(|node| !is_null(node))
    }

    fn place(&self, name: &str) -> String {
        format!("{}.{name}", self.record)
    }

    pub(crate) fn text(&self, name: &str, into: &mut String) -> Result<(), DecodeError> {
        if let Some(node) = self.get(name) {
            *into = text_of(node, || self.place(name))?;
        }
        Ok(())
    }

    pub(crate) fn texts(&self, name: &str, into: &mut Vec<String>) -> Result<(), DecodeError> {
        self.list(name, into, |node| match is_null(node) {
            true => Ok(String::new()),
            false => text_of(node, || self.place(name)),
        })
    }

    pub(crate) fn flag(&self, name: &str, into: &mut bool) -> Result<(), DecodeError> {
        if let Some(node) = self.get(name) {
            let value = node.to_value(Dialect::K8s).map_err(DecodeError::Yaml)?;
            *into = value
                .as_bool()
                .ok_or_else(|| mismatch(node, self.place(name), "bool"))?;
        }
        Ok(())
    }

    pub(crate) fn list<T>(
        &self,
        name: &str,
        into: &mut Vec<T>,
        item: impl Fn(&Node) -> Result<T, DecodeError>,
    ) -> Result<(), DecodeError> {
        if let Some(node) = self.get(name) {
            let items = node.as_seq().ok_or_else(|| mismatch(node, self.place(name), "array"))?;
            *into = items.iter().map(item).collect::<Result<_, _>>()?;
        }
        Ok(())
    }

    pub(crate) fn values(&self, name: &str, into: &mut Vec<Value>) -> Result<(), DecodeError> {
        self.list(name, into, |node| {
            node.to_value(Dialect::K8s).map_err(DecodeError::Yaml)
        })
    }

    pub(crate) fn text_map(&self, name: &str, into: &mut BTreeMap<String, String>) -> Result<(), DecodeError> {
        if let Some(node) = self.get(name) {
            let map = node
                .as_map()
                .ok_or_else(|| mismatch(node, self.place(name), "map[string]string"))?;
            for (key, value) in map.iter() {
                let text = match is_null(value) {
                    true => String::new(),
                    false => text_of(value, || self.place(name))?,
                };
                into.insert(scalar_text(key)?, text);
            }
        }
        Ok(())
    }
}

fn is_null(node: &Node) -> bool {
    node.is_null()
}

fn text_of(node: &Node, place: impl FnOnce() -> String) -> Result<String, DecodeError> {
    match node {
        Node::Scalar(scalar) => scalar_text(scalar),
        node => Err(mismatch(node, place(), "string")),
    }
}

/// What Go's reader makes of a scalar where a text is wanted: numbers are written as Go writes them.
fn scalar_text(scalar: &Scalar) -> Result<String, DecodeError> {
    let value = scalar_value(scalar, Dialect::K8s).map_err(DecodeError::Yaml)?;
    Ok(match value {
        Value::String(text) => text,
        // An integer that was written as a float is one to Go, and large ones have an exponent.
        Value::Number(number) if scalar.tag == Tag::Float => {
            number.as_f64().map_or_else(|| number.to_string(), format_float)
        }
        Value::Number(number) if number.is_f64() => number.as_f64().map_or_else(|| number.to_string(), format_float),
        other => other.to_string(),
    })
}

fn mismatch(node: &Node, place: String, expected: &'static str) -> DecodeError {
    let found = match node {
        Node::Map(_) => "object",
        Node::Seq(_) => "array",
        Node::Scalar(scalar) => match scalar.tag {
            Tag::Int | Tag::Float => "number",
            Tag::Bool => "bool",
            Tag::Null => "null",
            _ => "string",
        },
    };
    DecodeError::Type {
        line: node.line(),
        found,
        place,
        expected,
    }
}
