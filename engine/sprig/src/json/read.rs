//! JSON text to values: numbers are `float64`, errors are in Go's words.

use std::collections::BTreeMap;
use std::rc::Rc;

use nave_gotemplate::{Caller, LimitExceeded, Map, Value};

use super::MAX_DEPTH;
use crate::table::MAP;
use crate::text::runes;

/// The outer error ends the render, the inner one is the function's.
pub(crate) fn read(caller: &mut Caller<'_>, text: &[u8]) -> Result<Result<Value, String>, LimitExceeded> {
    caller.charge((text.len() / 16) as u64)?;
    caller.charge_bytes(text.len())?;
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(caller, 0).and_then(|value| {
        reader.space();
        match reader.peek() {
            None => Ok(value),
            Some(_) => Err(Stop::Failed(reader.invalid("after top-level value"))),
        }
    });
    match value {
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

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// The complaint about the byte that comes next, or about the end of the text.
    fn invalid(&self, context: &str) -> String {
        let Some(byte) = self.peek() else {
            // Go tries a space after the end, which only some places refuse.
            let refused = [
                "in literal",
                "in numeric",
                "after decimal",
                "in exponent",
                "in string escape",
                "in \\u",
            ];
            return if refused.iter().any(|place| context.starts_with(place)) {
                format!("invalid character ' ' {context}")
            } else {
                "unexpected end of JSON input".to_owned()
            };
        };
        let shown = match byte {
            b'\'' => "\\'".to_owned(),
            b'"' => "\"".to_owned(),
            byte => {
                // The byte stands for the character with its number.
                let quoted = crate::text::quote(&nave_gotemplate::Str::from(char::from(byte).to_string()));
                quoted[1..quoted.len() - 1].to_owned()
            }
        };
        format!("invalid character '{shown}' {context}")
    }

    fn fail<T>(&self, context: &str) -> Result<T, Stop> {
        Err(Stop::Failed(self.invalid(context)))
    }

    fn value(&mut self, caller: &mut Caller<'_>, depth: usize) -> Result<Value, Stop> {
        if depth > MAX_DEPTH {
            return Err(Stop::Failed("exceeded max depth".to_owned()));
        }
        caller.charge_items(1)?;
        self.space();
        match self.peek() {
            Some(b'{') => self.object(caller, depth),
            Some(b'[') => self.array(caller, depth),
            Some(b'"') => Ok(self.string()?.into()),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true", Value::Bool(true)),
            Some(b'f') => self.literal("false", Value::Bool(false)),
            Some(b'n') => self.literal("null", Value::Nil),
            _ => self.fail("looking for beginning of value"),
        }
    }

    fn literal(&mut self, word: &str, value: Value) -> Result<Value, Stop> {
        for letter in word.bytes() {
            if self.peek() != Some(letter) {
                return self.fail(&format!("in literal {word} (expecting '{}')", char::from(letter)));
            }
            self.at += 1;
        }
        Ok(value)
    }

    fn object(&mut self, caller: &mut Caller<'_>, depth: usize) -> Result<Value, Stop> {
        self.at += 1;
        let mut entries: BTreeMap<Rc<str>, Value> = BTreeMap::new();
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Map(Rc::new(Map::with(MAP, entries))));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return self.fail("looking for beginning of object key string");
            }
            let key = self.string()?;
            self.space();
            if self.peek() != Some(b':') {
                return self.fail("after object key");
            }
            self.at += 1;
            let value = self.value(caller, depth + 1)?;
            entries.insert(key.into(), value);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::Map(Rc::new(Map::with(MAP, entries))));
                }
                _ => return self.fail("after object key:value pair"),
            }
        }
    }

    fn array(&mut self, caller: &mut Caller<'_>, depth: usize) -> Result<Value, Stop> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::list(items));
        }
        loop {
            items.push(self.value(caller, depth + 1)?);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::list(items));
                }
                _ => return self.fail("after array element"),
            }
        }
    }

    fn number(&mut self) -> Result<Value, Stop> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return self.fail("in numeric literal"),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
                return self.fail("after decimal point in numeric literal");
            }
            self.digits();
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
                return self.fail("in exponent of numeric literal");
            }
            self.digits();
        }
        let text = String::from_utf8_lossy(&self.text[start..self.at]);
        match text.parse::<f64>() {
            Ok(f) if f.is_finite() => Ok(Value::Float(f)),
            _ => Err(Stop::Failed(format!(
                "json: cannot unmarshal number {text} into Go value of type float64"
            ))),
        }
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn string(&mut self) -> Result<String, Stop> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let start = self.at;
            while self
                .peek()
                .is_some_and(|byte| byte >= b' ' && byte != b'"' && byte != b'\\')
            {
                self.at += 1;
            }
            out.extend(runes(&self.text[start..self.at]).map(|(c, _)| c));
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    out.push(self.escape()?);
                }
                _ => return self.fail("in string literal"),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Stop> {
        let c = match self.peek() {
            Some(b'b') => '\x08',
            Some(b'f') => '\x0c',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'u') => {
                self.at += 1;
                return self.unicode();
            }
            _ => return self.fail("in string escape code"),
        };
        self.at += 1;
        Ok(c)
    }

    /// `\uNNNN`; half a surrogate pair is U+FFFD.
    fn unicode(&mut self) -> Result<char, Stop> {
        let first = self.hex()?;
        if (0xD800..0xDC00).contains(&first) && self.text[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 2;
            let second = self.hex()?;
            if (0xDC00..0xE000).contains(&second) {
                let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = back;
        }
        Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex(&mut self) -> Result<u32, Stop> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            let Some(digit) = digit else {
                return self.fail("in \\u hexadecimal character escape");
            };
            code = code << 4 | digit;
            self.at += 1;
        }
        Ok(code)
    }
}
