//! Values from JSON and to JSON.

use std::rc::Rc;

use serde_json::Value as Json;

use super::{GoType, List, Map, Shape, Value};

/// How deep values may nest where they are walked by recursion: printing, converting.
pub(crate) const MAX_NESTING: usize = 200;

impl Value {
    /// A value as Go's `encoding/json` decodes it into an `interface {}`: every number becomes a `float64`.
    ///
    /// `serde_json` itself refuses to read documents nested deeper than 128 levels.
    #[must_use]
    pub fn from_json(json: &Json) -> Self {
        match json {
            Json::Null => Self::Nil,
            Json::Bool(b) => Self::Bool(*b),
            Json::Number(n) => Self::Float(n.as_f64().unwrap_or(f64::NAN)),
            Json::String(s) => Self::string(s.as_str()),
            Json::Array(items) => Self::list(items.iter().map(Self::from_json).collect()),
            Json::Object(fields) => {
                let entries = fields
                    .iter()
                    .map(|(k, v)| (Rc::from(k.as_str()), Self::from_json(v)))
                    .collect();
                Self::Map(Rc::new(Map::with(GoType::ANY_MAP, entries)))
            }
        }
    }

    /// JSON for this value as Go's `encoding/json` sees it: bytes in base64, nil slices and maps as null, text that is
    /// not UTF-8 with U+FFFD. A host object is what its text says, or else its shape.
    ///
    /// # Errors
    ///
    /// A value that JSON cannot hold (a function, a complex number, NaN, an infinity), or one nested too deeply, such as
    /// a map that holds itself.
    pub fn to_json(&self) -> Result<Json, JsonError> {
        to_json(self, 0)
    }
}

/// Why a value has no JSON.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// A type that JSON has no form for.
    #[error("json: unsupported type: {0}")]
    UnsupportedType(String),
    /// A number that JSON has no form for.
    #[error("json: unsupported value: {0}")]
    UnsupportedValue(String),
    /// Nested too deeply.
    #[error("json: value is nested more than {MAX_NESTING} levels deep")]
    TooDeep,
}

fn to_json(value: &Value, depth: usize) -> Result<Json, JsonError> {
    if depth > MAX_NESTING {
        return Err(JsonError::TooDeep);
    }
    Ok(match value {
        Value::Nil => Json::Null,
        Value::Bool(b) => Json::Bool(*b),
        Value::Int(kind, bits) if kind.is_signed() => Json::from(bits.cast_signed()),
        Value::Int(_, bits) => Json::from(*bits),
        Value::Float(f) => float(*f)?,
        Value::Str(s) => Json::String(s.to_text().into_owned()),
        Value::Bytes(bytes) => Json::String(base64(bytes)),
        Value::List(list) if list.is_nil() => Json::Null,
        Value::List(list) => array(list, depth)?,
        Value::Map(map) if map.is_nil() => Json::Null,
        Value::Map(map) => object(map.entries(), depth)?,
        Value::Complex(..) | Value::Func(_) => return Err(JsonError::UnsupportedType(value.type_name())),
        Value::Object(o) => match (o.text(), o.shape()) {
            (_, Shape::Basic(basic)) => to_json(&basic, depth + 1)?,
            (Some(text), _) => Json::String(text),
            (None, Shape::Struct(fields)) => {
                object(fields.into_iter().map(|(k, v)| (Rc::from(k), v)).collect(), depth)?
            }
            (None, Shape::Map(entries)) => object(entries, depth)?,
            (None, Shape::List(items)) => array(&List::new(GoType::ANY_LIST, items), depth)?,
            (None, Shape::Opaque) => Json::Object(serde_json::Map::new()),
        },
    })
}

fn array(list: &List, depth: usize) -> Result<Json, JsonError> {
    list.items()
        .iter()
        .map(|item| to_json(item, depth + 1))
        .collect::<Result<_, _>>()
        .map(Json::Array)
}

fn object(entries: Vec<(Rc<str>, Value)>, depth: usize) -> Result<Json, JsonError> {
    let mut out = serde_json::Map::new();
    for (key, value) in entries {
        out.insert(key.to_string(), to_json(&value, depth + 1)?);
    }
    Ok(Json::Object(out))
}

/// A float: whole numbers that fit are written without a fraction, as Go writes them.
fn float(f: f64) -> Result<Json, JsonError> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "only within the range where a float64 is exact"
    )]
    if f.fract() == 0.0 && f.abs() < 1e15 {
        return Ok(Json::from(f as i64));
    }
    serde_json::Number::from_f64(f).map(Json::Number).ok_or_else(|| {
        JsonError::UnsupportedValue(
            if f.is_nan() {
                "NaN"
            } else if f > 0.0 {
                "+Inf"
            } else {
                "-Inf"
            }
            .into(),
        )
    })
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0u32, |acc, b| acc << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            if i <= chunk.len() {
                out.push(char::from(DIGITS[(group >> (18 - 6 * i)) as usize & 63]));
            } else {
                out.push('=');
            }
        }
    }
    out
}
