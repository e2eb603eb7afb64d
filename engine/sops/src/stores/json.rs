//! JSON with the order of its keys, as Go's `encoding/json` reads and writes it.

use nave_object::yaml::format_float_json;
use serde_json::Value as Json;

use super::StoreError;
use crate::value::{Branch, Item, Value};

/// Lists and maps in each other.
const MAX_LEVELS: usize = 250;

/// An object at the top.
pub(super) fn read(bytes: &[u8]) -> Result<Branch, StoreError> {
    let mut reader = Reader { bytes, at: 0 };
    reader.blanks();
    if reader.peek() != Some(b'{') {
        return Err(reader.error("an object is needed at the top"));
    }
    match reader.value(0)? {
        Value::Map(branch) => Ok(branch),
        _ => unreachable!("a value that begins with a brace is a map"),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn error(&self, problem: &str) -> StoreError {
        let end = self.at.min(self.bytes.len());
        let line = self.bytes[..end].iter().filter(|byte| **byte == b'\n').count() + 1;
        StoreError::new(line, problem)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// Skips blanks, then one of these characters.
    fn one_of(&mut self, wanted: &[u8], problem: &str) -> Result<u8, StoreError> {
        self.blanks();
        match self.peek() {
            Some(byte) if wanted.contains(&byte) => {
                self.at += 1;
                Ok(byte)
            }
            _ => Err(self.error(problem)),
        }
    }

    fn value(&mut self, level: usize) -> Result<Value, StoreError> {
        if level > MAX_LEVELS {
            return Err(self.error("lists and maps are nested too deep"));
        }
        self.blanks();
        match self.peek() {
            Some(b'{') => {
                self.at += 1;
                let mut branch = Vec::new();
                self.blanks();
                if self.peek() == Some(b'}') {
                    self.at += 1;
                    return Ok(Value::Map(branch));
                }
                loop {
                    self.blanks();
                    if self.peek() != Some(b'"') {
                        return Err(self.error("a key is needed here"));
                    }
                    let key = String::from_utf8(self.text()?).expect("texts are made valid");
                    self.one_of(b":", "a colon is needed here")?;
                    let value = self.value(level + 1)?;
                    branch.push(Item::Entry(key, value));
                    if self.one_of(b",}", "a comma or the end of the object is needed here")? == b'}' {
                        return Ok(Value::Map(branch));
                    }
                }
            }
            Some(b'[') => {
                self.at += 1;
                let mut items = Vec::new();
                self.blanks();
                if self.peek() == Some(b']') {
                    self.at += 1;
                    return Ok(Value::List(items));
                }
                loop {
                    items.push(self.value(level + 1)?);
                    if self.one_of(b",]", "a comma or the end of the list is needed here")? == b']' {
                        return Ok(Value::List(items));
                    }
                }
            }
            Some(b'"') => Ok(Value::Text(self.text()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                for (word, value) in [
                    ("null", Value::Null),
                    ("true", Value::Bool(true)),
                    ("false", Value::Bool(false)),
                ] {
                    if self.bytes[self.at..].starts_with(word.as_bytes()) {
                        self.at += word.len();
                        return Ok(value);
                    }
                }
                Err(self.error("a value is needed here"))
            }
        }
    }

    /// Every number is a float to Go here.
    fn number(&mut self) -> Result<Value, StoreError> {
        let rest = &self.bytes[self.at..];
        let end = rest
            .iter()
            .position(|byte| !matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'))
            .unwrap_or(rest.len());
        let text = std::str::from_utf8(&rest[..end]).expect("digits and signs are ASCII");
        let digits = text.trim_start_matches('-');
        let zero = digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit();
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() && !zero && !text.ends_with('.') => {
                self.at += end;
                Ok(Value::Float(number))
            }
            _ => Err(self.error("this is no number")),
        }
    }

    /// A text as valid UTF-8: what is not becomes U+FFFD, as in Go.
    fn text(&mut self) -> Result<Vec<u8>, StoreError> {
        self.at += 1;
        let mut out = Vec::new();
        loop {
            let Some(byte) = self.peek() else {
                return Err(self.error("the text has no end"));
            };
            self.at += 1;
            match byte {
                b'"' => break,
                b'\\' => {
                    let escaped = self.peek().unwrap_or(0);
                    self.at += 1;
                    let c = match escaped {
                        b'"' | b'\\' | b'/' => escaped as char,
                        b'b' => '\u{8}',
                        b'f' => '\u{c}',
                        b'n' => '\n',
                        b'r' => '\r',
                        b't' => '\t',
                        b'u' => self.unicode()?,
                        _ => return Err(self.error("an unknown escape stands here")),
                    };
                    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                0..=0x1f => return Err(self.error("a control character stands in a text")),
                other => out.push(other),
            }
        }
        Ok(match String::from_utf8(out) {
            Ok(text) => text.into_bytes(),
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned().into_bytes(),
        })
    }

    fn unicode(&mut self) -> Result<char, StoreError> {
        let first = self.hex()?;
        if (0xd800..0xdc00).contains(&first) && self.bytes[self.at..].starts_with(b"\\u") {
            let before = self.at;
            self.at += 2;
            let second = self.hex()?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or('\u{fffd}'));
            }
            self.at = before;
        }
        Ok(char::from_u32(first).unwrap_or('\u{fffd}'))
    }

    fn hex(&mut self) -> Result<u32, StoreError> {
        let digits = self.bytes.get(self.at..self.at + 4);
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let Some(digits) = digits.and_then(|digits| std::str::from_utf8(digits).ok()) else {
            return Err(self.error("four hexadecimal digits are needed here"));
        };
        self.at += 4;
        Ok(u32::from_str_radix(digits, 16).expect("four hexadecimal digits fit"))
    }
}

/// With tabs, and a line break at the end.
pub(super) fn write(branch: &[Item]) -> Vec<u8> {
    let mut out = String::new();
    map(branch, 0, &mut out);
    out.push('\n');
    out.into_bytes()
}

fn map(branch: &[Item], level: usize, out: &mut String) {
    let entries = branch.iter().filter_map(|item| match item {
        Item::Entry(key, value) => Some((key, value)),
        Item::Comment(_) => None,
    });
    block('{', '}', entries, level, out, |(key, value), out| {
        text(key.as_bytes(), out);
        out.push_str(": ");
        write_value(value, level + 1, out);
    });
}

fn block<T>(
    open: char,
    close: char,
    items: impl Iterator<Item = T>,
    level: usize,
    out: &mut String,
    mut one: impl FnMut(T, &mut String),
) {
    out.push(open);
    let mut empty = true;
    for item in items {
        if !empty {
            out.push(',');
        }
        empty = false;
        out.push('\n');
        out.push_str(&"\t".repeat(level + 1));
        one(item, out);
    }
    if !empty {
        out.push('\n');
        out.push_str(&"\t".repeat(level));
    }
    out.push(close);
}

fn write_value(value: &Value, level: usize, out: &mut String) {
    match value {
        Value::Null | Value::Comment(_) => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Int(number) => out.push_str(&number.to_string()),
        Value::Float(number) => out.push_str(&format_float_json(*number)),
        Value::Text(bytes) => text(bytes, out),
        Value::Time(moment) => text(moment.as_bytes(), out),
        Value::List(items) => {
            let items = items.iter().filter(|item| !matches!(item, Value::Comment(_)));
            block('[', ']', items, level, out, |item, out| {
                write_value(item, level + 1, out)
            });
        }
        Value::Map(branch) => map(branch, level, out),
    }
}

/// Go escapes what could end a script, and shows what is not UTF-8 as U+FFFD.
fn text(bytes: &[u8], out: &mut String) {
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    out.push_str(&format!("\\u{:04x}", u32::from(c)));
                }
                c => out.push(c),
            }
        }
        // One for each byte.
        for _ in chunk.invalid() {
            out.push_str("\\ufffd");
        }
    }
    out.push('"');
}

/// A tree of a value that is JSON already.
pub(crate) fn from_json(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Int(number),
            None => Value::Float(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::text(text.as_str()),
        Json::Array(items) => Value::List(items.iter().map(from_json).collect()),
        Json::Object(fields) => {
            let entry = |(key, value): (&String, &Json)| Item::Entry(key.clone(), from_json(value));
            Value::Map(fields.iter().map(entry).collect())
        }
    }
}

/// A tree as JSON; comments are left out.
pub(crate) fn to_json(value: &Value) -> Json {
    match value {
        Value::Null | Value::Comment(_) => Json::Null,
        Value::Bool(flag) => Json::Bool(*flag),
        Value::Int(number) => Json::from(*number),
        Value::Float(number) if number.fract() == 0.0 && number.abs() < 1e15 => Json::from(*number as i64),
        Value::Float(number) => serde_json::Number::from_f64(*number).map_or(Json::Null, Json::Number),
        Value::Text(text) => Json::String(String::from_utf8_lossy(text).into_owned()),
        Value::Time(text) => Json::String(text.clone()),
        Value::List(items) => {
            let items = items.iter().filter(|item| !matches!(item, Value::Comment(_)));
            Json::Array(items.map(to_json).collect())
        }
        Value::Map(branch) => {
            let entries = branch.iter().filter_map(|item| match item {
                Item::Entry(key, value) => Some((key.clone(), to_json(value))),
                Item::Comment(_) => None,
            });
            Json::Object(entries.collect())
        }
    }
}
