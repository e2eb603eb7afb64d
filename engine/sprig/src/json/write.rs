//! Values to JSON text.

use nave_gotemplate::{Caller, LimitExceeded, Str, Value};
use nave_object::yaml::format_float_json;

use super::MAX_DEPTH;
use crate::dates::GoTime;
use crate::encoding::encode_base64;
use crate::text::runes;

/// How the text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `json.Marshal`: no space, and `<`, `>`, `&` escaped.
    Compact,
    /// `json.MarshalIndent` with two spaces.
    Pretty,
    /// As [`Form::Compact`], without those escapes.
    Raw,
}

/// The outer error ends the render, the inner one is the function's.
pub(crate) fn write(
    caller: &mut Caller<'_>,
    value: &Value,
    form: Form,
) -> Result<Result<String, String>, LimitExceeded> {
    let mut writer = Writer {
        caller,
        out: String::new(),
        form,
        charged: 0,
    };
    let done = match writer.value(value, 0) {
        Ok(()) => Ok(()),
        Err(Stop::Failed(message)) => Err(message),
        Err(Stop::Limit(limit)) => return Err(limit),
    };
    writer.account()?;
    Ok(done.map(|()| writer.out))
}

/// Whether a whole float becomes an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whole {
    /// Where one holds it, as by way of the text of `encoding/json`.
    Integer,
    /// Never.
    Float,
}

/// The value as `serde_json` has it.
pub(crate) fn to_serde(
    caller: &mut Caller<'_>,
    value: &Value,
    whole: Whole,
) -> Result<Result<serde_json::Value, String>, LimitExceeded> {
    match serde(caller, value, whole, 0) {
        Ok(value) => Ok(Ok(value)),
        Err(Stop::Failed(message)) => Ok(Err(message)),
        Err(Stop::Limit(limit)) => Err(limit),
    }
}

enum Stop {
    Failed(String),
    Limit(LimitExceeded),
}

impl From<LimitExceeded> for Stop {
    fn from(limit: LimitExceeded) -> Self {
        Self::Limit(limit)
    }
}

struct Writer<'a, 'b> {
    caller: &'a mut Caller<'b>,
    out: String,
    form: Form,
    /// How much of `out` has been charged.
    charged: usize,
}

impl Writer<'_, '_> {
    fn account(&mut self) -> Result<(), LimitExceeded> {
        self.caller.charge_bytes(self.out.len() - self.charged)?;
        self.charged = self.out.len();
        Ok(())
    }

    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Stop> {
        if depth > MAX_DEPTH {
            return Err(LimitExceeded::Nesting(MAX_DEPTH).into());
        }
        self.caller.charge(1)?;
        if self.out.len() - self.charged > 1 << 16 {
            self.account()?;
        }
        match value {
            Value::Nil => self.out.push_str("null"),
            Value::Bool(b) => self.out.push_str(if *b { "true" } else { "false" }),
            Value::Int(kind, bits) if kind.is_signed() => self.out.push_str(&bits.cast_signed().to_string()),
            Value::Int(_, bits) => self.out.push_str(&bits.to_string()),
            Value::Float(f) => self.out.push_str(&float(*f)?),
            Value::Str(text) => self.string(text.as_bytes()),
            Value::Bytes(bytes) => self.string(encode_base64(bytes).as_bytes()),
            Value::List(list) if list.is_nil() => self.out.push_str("null"),
            Value::List(list) => {
                self.out.push('[');
                for (index, item) in list.items().iter().enumerate() {
                    self.separate(index, depth + 1);
                    self.value(item, depth + 1)?;
                }
                self.close(list.is_empty(), depth, ']');
            }
            Value::Map(map) if map.is_nil() => self.out.push_str("null"),
            Value::Map(map) => {
                self.out.push('{');
                for (index, (key, item)) in map.entries().iter().enumerate() {
                    self.separate(index, depth + 1);
                    self.string(key.as_bytes());
                    self.out.push_str(if self.form == Form::Pretty { ": " } else { ":" });
                    self.value(item, depth + 1)?;
                }
                self.close(map.is_empty(), depth, '}');
            }
            Value::Complex(..) | Value::Func(_) => return Err(unsupported(value)),
            Value::Object(_) => {
                let json = object(value)?;
                self.value(&Value::from_json(&json), depth + 1)?;
            }
        }
        Ok(())
    }

    fn separate(&mut self, index: usize, depth: usize) {
        if index > 0 {
            self.out.push(',');
        }
        self.new_line(depth);
    }

    fn close(&mut self, empty: bool, depth: usize, bracket: char) {
        if !empty {
            self.new_line(depth);
        }
        self.out.push(bracket);
    }

    fn new_line(&mut self, depth: usize) {
        if self.form == Form::Pretty {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n("  ", depth));
        }
    }

    fn string(&mut self, bytes: &[u8]) {
        self.out.push('"');
        for (c, len) in runes(bytes) {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\x08' => self.out.push_str("\\b"),
                '\x0c' => self.out.push_str("\\f"),
                '<' | '>' | '&' if self.form != Form::Raw => self.out.push_str(&format!("\\u{:04x}", u32::from(c))),
                '\u{2028}' | '\u{2029}' => self.out.push_str(&format!("\\u{:04x}", u32::from(c))),
                char::REPLACEMENT_CHARACTER if len == 1 => self.out.push_str("\\ufffd"),
                c if c < ' ' => self.out.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}

fn float(f: f64) -> Result<String, Stop> {
    if f.is_finite() {
        return Ok(format_float_json(f));
    }
    let name = if f.is_nan() {
        "NaN"
    } else if f > 0.0 {
        "+Inf"
    } else {
        "-Inf"
    };
    Err(Stop::Failed(format!("json: unsupported value: {name}")))
}

fn unsupported(value: &Value) -> Stop {
    Stop::Failed(format!("json: unsupported type: {}", value.type_name()))
}

/// What a host object is in JSON.
fn object(value: &Value) -> Result<serde_json::Value, Stop> {
    if let Some(time) = GoTime::of(value) {
        return Ok(time.rfc3339().into());
    }
    value.to_json().map_err(|error| Stop::Failed(error.to_string()))
}

fn serde(caller: &mut Caller<'_>, value: &Value, whole: Whole, depth: usize) -> Result<serde_json::Value, Stop> {
    if depth > MAX_DEPTH {
        return Err(LimitExceeded::Nesting(MAX_DEPTH).into());
    }
    caller.charge(1)?;
    Ok(match value {
        Value::Nil => serde_json::Value::Null,
        Value::Bool(b) => (*b).into(),
        Value::Int(kind, bits) if kind.is_signed() => bits.cast_signed().into(),
        Value::Int(_, bits) => (*bits).into(),
        Value::Float(f) if whole == Whole::Integer => number(*f)?,
        Value::Float(f) => {
            float(*f)?;
            (*f).into()
        }
        Value::Str(text) => string(caller, text)?,
        Value::Bytes(bytes) => encode_base64(bytes).into(),
        Value::List(list) if list.is_nil() => serde_json::Value::Null,
        Value::List(list) => {
            caller.charge_items(list.len())?;
            list.items()
                .iter()
                .map(|item| serde(caller, item, whole, depth + 1))
                .collect::<Result<_, _>>()?
        }
        Value::Map(map) if map.is_nil() => serde_json::Value::Null,
        Value::Map(map) => {
            caller.charge_items(map.len())?;
            let mut out = serde_json::Map::new();
            for (key, item) in map.entries() {
                out.insert(key.to_string(), serde(caller, &item, whole, depth + 1)?);
            }
            serde_json::Value::Object(out)
        }
        Value::Complex(..) | Value::Func(_) => return Err(unsupported(value)),
        Value::Object(_) => object(value)?,
    })
}

fn string(caller: &mut Caller<'_>, text: &Str) -> Result<serde_json::Value, Stop> {
    caller.charge_bytes(text.len())?;
    Ok(text.to_text().into_owned().into())
}

/// A whole number is written without a fraction, and so read back as an integer where one holds it.
fn number(f: f64) -> Result<serde_json::Value, Stop> {
    #[expect(clippy::cast_possible_truncation, reason = "a whole number of less than 70 bits")]
    if f.fract() == 0.0 && f.abs() < 1e21 {
        let whole = f as i128;
        if let Ok(n) = i64::try_from(whole) {
            return Ok(n.into());
        }
        if let Ok(n) = u64::try_from(whole) {
            return Ok(n.into());
        }
    }
    float(f)?;
    Ok(f.into())
}
