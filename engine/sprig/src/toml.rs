//! TOML as `github.com/BurntSushi/toml` 1.6.0 writes it; read by the `toml` crate.

use std::collections::BTreeMap;
use std::rc::Rc;

use nave_gotemplate::{Caller, LimitExceeded, Map, Shape, Value};
use nave_object::yaml::format_float;

use crate::dates::GoTime;
use crate::table::MAP;

/// How deep values may nest.
const MAX_DEPTH: usize = 100;

type Step = Result<(), Stop>;

enum Stop {
    Failed(String),
    Limit(LimitExceeded),
}

/// The outer error ends the render, the inner one is the function's.
pub(crate) fn write(caller: &mut Caller<'_>, value: &Value) -> Result<Result<String, String>, LimitExceeded> {
    if value.is_nil() {
        return Ok(Err("reflect: call of reflect.Value.Type on zero Value".to_owned()));
    }
    let mut writer = Writer {
        caller,
        out: String::new(),
    };
    let done = writer.encode(&mut Vec::new(), value);
    let text = std::mem::take(&mut writer.out);
    caller.charge_bytes(text.len())?;
    match done {
        Ok(()) => Ok(Ok(text)),
        Err(Stop::Failed(message)) => Ok(Err(message)),
        Err(Stop::Limit(limit)) => Err(limit),
    }
}

/// A document; its dates without a zone are taken as UTC.
pub(crate) fn read(caller: &mut Caller<'_>, text: &str) -> Result<Result<Value, String>, LimitExceeded> {
    caller.charge((text.len() / 8) as u64)?;
    caller.charge_bytes(text.len().saturating_mul(4))?;
    Ok(match text.parse::<toml::Table>() {
        Ok(table) => table_value(table).map(|entries| Value::Map(Rc::new(Map::with(MAP, entries)))),
        Err(error) => Err(format!("toml: {}", error.to_string().trim_end().replace('\n', " "))),
    })
}

fn table_value(table: toml::Table) -> Result<BTreeMap<Rc<str>, Value>, String> {
    table
        .into_iter()
        .map(|(key, value)| Ok((Rc::from(key), from_toml(value)?)))
        .collect()
}

fn from_toml(value: toml::Value) -> Result<Value, String> {
    Ok(match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(n) => Value::int64(n),
        toml::Value::Float(f) => Value::Float(f),
        toml::Value::Boolean(b) => b.into(),
        toml::Value::Array(items) => Value::list(items.into_iter().map(from_toml).collect::<Result<_, _>>()?),
        toml::Value::Table(table) => Value::Map(Rc::new(Map::with(MAP, table_value(table)?))),
        toml::Value::Datetime(time) => {
            let text = time.to_string();
            let full = match (time.date, time.time, time.offset) {
                (Some(_), Some(_), Some(_)) => text,
                (Some(_), Some(_), None) => format!("{text}Z"),
                (Some(_), None, _) => format!("{text}T00:00:00Z"),
                _ => format!("0000-01-01T{text}Z"),
            };
            Value::object(GoTime::parse("2006-01-02T15:04:05Z07:00", &full)?)
        }
    })
}

struct Writer<'a, 'b> {
    caller: &'a mut Caller<'b>,
    out: String,
}

#[derive(PartialEq, Eq)]
enum Kind {
    Nil,
    Table,
    Tables,
    Plain,
}

impl Writer<'_, '_> {
    fn kind(&mut self, value: &Value, depth: usize) -> Result<Kind, Stop> {
        if depth > MAX_DEPTH {
            return Err(Stop::Limit(LimitExceeded::Nesting(MAX_DEPTH)));
        }
        self.caller.charge(1).map_err(Stop::Limit)?;
        if value.is_any_nil() {
            return Ok(Kind::Nil);
        }
        if scalar_object(value).is_some() {
            return Ok(Kind::Plain);
        }
        if value.entries().is_some() || fields(value).is_some() {
            return Ok(Kind::Table);
        }
        if let Value::Func(_) | Value::Complex(..) = value {
            return Err(Stop::Failed(format!("unsupported type: {}", value.kind().name())));
        }
        let Some(items) = value.items() else {
            return Ok(Kind::Plain);
        };
        let mut all = !items.is_empty();
        for item in &items {
            match self.kind(item, depth + 1)? {
                Kind::Nil => return Err(Stop::Failed("toml: cannot encode array with nil element".to_owned())),
                kind => all &= kind == Kind::Table,
            }
        }
        Ok(if all { Kind::Tables } else { Kind::Plain })
    }

    fn new_line(&mut self) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
    }

    fn indent(&mut self, key: &[String]) {
        self.out.extend(std::iter::repeat_n("  ", key.len().saturating_sub(1)));
    }

    fn encode(&mut self, key: &mut Vec<String>, value: &Value) -> Step {
        match self.kind(value, key.len())? {
            Kind::Nil => Ok(()),
            Kind::Plain if key.is_empty() => self.element(value, 0),
            Kind::Plain => {
                self.indent(key);
                let name = bare(key.last().map_or("", String::as_str));
                self.out.push_str(&format!("{name} = "));
                self.element(value, 0)?;
                self.new_line();
                Ok(())
            }
            Kind::Table => {
                if key.len() == 1 {
                    self.new_line();
                }
                if !key.is_empty() {
                    self.header(key, "[", "]");
                }
                self.table(key, value)
            }
            Kind::Tables if key.is_empty() => Err(Stop::Failed(
                "toml: top-level values must be Go maps or structs".to_owned(),
            )),
            Kind::Tables => {
                for item in value.items().unwrap_or_default() {
                    self.new_line();
                    self.header(key, "[[", "]]");
                    self.table(key, &item)?;
                }
                Ok(())
            }
        }
    }

    fn header(&mut self, key: &[String], open: &str, close: &str) {
        self.indent(key);
        let names: Vec<String> = key.iter().map(|name| bare(name)).collect();
        self.out.push_str(&format!("{open}{}{close}", names.join(".")));
        self.new_line();
    }

    fn table(&mut self, key: &mut Vec<String>, value: &Value) -> Step {
        let (direct, sub) = self.sorted(value, key.len())?;
        for (name, value) in direct.into_iter().chain(sub) {
            key.push(name);
            self.encode(key, &value)?;
            key.pop();
        }
        Ok(())
    }

    /// The entries of a table: what stands in it, and what gets a header of its own.
    fn sorted(&mut self, value: &Value, depth: usize) -> Result<(Entries, Entries), Stop> {
        let entries: Entries = match value.entries() {
            Some(entries) => entries
                .into_iter()
                .map(|(key, value)| (key.to_string(), value))
                .collect(),
            None => fields(value).unwrap_or_default(),
        };
        let mut direct = Vec::new();
        let mut sub = Vec::new();
        for (key, value) in entries {
            if matches!(self.kind(&value, depth + 1)?, Kind::Table | Kind::Tables) {
                sub.push((key, value));
            } else {
                direct.push((key, value));
            }
        }
        Ok((direct, sub))
    }

    fn element(&mut self, value: &Value, depth: usize) -> Step {
        if depth > MAX_DEPTH {
            return Err(Stop::Limit(LimitExceeded::Nesting(MAX_DEPTH)));
        }
        if let Some(text) = scalar_object(value) {
            self.out.push_str(&text);
            return Ok(());
        }
        match value {
            Value::Str(text) => self.out.push_str(&quoted(&text.to_text())),
            Value::Bool(b) => self.out.push_str(&b.to_string()),
            Value::Int(kind, bits) if kind.is_signed() => self.out.push_str(&bits.cast_signed().to_string()),
            Value::Int(_, bits) => self.out.push_str(&bits.to_string()),
            Value::Float(f) => self.out.push_str(&float(*f)),
            _ if value.items().is_some() => {
                self.out.push('[');
                for (index, item) in value.items().unwrap_or_default().iter().enumerate() {
                    if index > 0 {
                        self.out.push_str(", ");
                    }
                    self.element(item, depth + 1)?;
                }
                self.out.push(']');
            }
            _ => {
                let (direct, sub) = self.sorted(value, depth)?;
                self.out.push('{');
                let subs = sub.len();
                for (entries, trailing) in [(direct, subs > 0), (sub, false)] {
                    let count = entries.len();
                    for (index, (name, value)) in entries.into_iter().enumerate() {
                        if value.is_any_nil() {
                            continue;
                        }
                        self.out.push_str(&format!("{} = ", bare(&name)));
                        self.element(&value, depth + 1)?;
                        if trailing || index + 1 < count {
                            self.out.push_str(", ");
                        }
                    }
                }
                self.out.push('}');
            }
        }
        Ok(())
    }
}

type Entries = Vec<(String, Value)>;

/// Host objects that are written as one word: times as such, what has a text of its own in quotes.
fn scalar_object(value: &Value) -> Option<String> {
    let Value::Object(object) = value else { return None };
    if let Some(time) = GoTime::of(value) {
        return Some(time.rfc3339());
    }
    match (object.text(), object.shape()) {
        (Some(text), _) => Some(quoted(&text)),
        (None, Shape::Basic(Value::Str(text))) => Some(quoted(&text.to_text())),
        _ => None,
    }
}

fn fields(value: &Value) -> Option<Entries> {
    let Value::Object(object) = value else { return None };
    match object.shape() {
        Shape::Struct(fields) => Some(
            fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        ),
        _ => None,
    }
}

fn bare(name: &str) -> String {
    if !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
        name.to_owned()
    } else {
        quoted(name)
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\x08' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\x0c' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' || c == '\x7f' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn float(f: f64) -> String {
    if f.is_nan() {
        return "nan".to_owned();
    }
    if f.is_infinite() {
        return if f > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let text = format_float(f);
    if text.contains(['e', '.']) {
        text
    } else {
        format!("{text}.0")
    }
}
