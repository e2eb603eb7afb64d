//! Printing one operand with one verb.

use std::fmt::Display;

use super::quote::{can_backquote, quote_rune, quote_with};
use super::runes;
use crate::limits::LimitExceeded;
use crate::value::json::MAX_NESTING;
use crate::value::{IntKind, Object, Shape, Str, Value};

/// The flags, width and precision of a directive.
#[derive(Clone, Copy, Default)]
pub(super) struct Flags {
    pub(super) width: Option<usize>,
    pub(super) prec: Option<usize>,
    pub(super) minus: bool,
    pub(super) plus: bool,
    pub(super) sharp: bool,
    pub(super) space: bool,
    pub(super) zero: bool,
    /// `%+v`, which is not `plus`.
    pub(super) plus_v: bool,
    /// `%#v`, which is not `sharp`.
    pub(super) sharp_v: bool,
}

/// Text being made, up to a bound.
pub(super) struct Printer {
    out: Vec<u8>,
    max: usize,
    failed: Option<LimitExceeded>,
    pub(super) flags: Flags,
    /// Within a complaint nobody's `String` method is asked.
    complaining: bool,
}

/// Pointers print as this address: a real one would differ from run to run.
const ADDRESS: u64 = 0xc0_0001_0000;

impl Printer {
    pub(super) fn new(max: usize) -> Self {
        Self {
            out: Vec::new(),
            max,
            failed: None,
            flags: Flags::default(),
            complaining: false,
        }
    }

    pub(super) fn finish(self) -> Result<Str, LimitExceeded> {
        match self.failed {
            Some(limit) => Err(limit),
            None => Ok(Str::from(self.out)),
        }
    }

    /// Whether a bound was reached, so that going on is of no use.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    pub(super) fn bytes(&mut self, text: &[u8]) {
        if self.failed.is_some() {
        } else if text.len() > self.max - self.out.len() {
            self.failed = Some(LimitExceeded::Bytes(self.max as u64));
        } else {
            self.out.extend_from_slice(text);
        }
    }

    pub(super) fn byte(&mut self, b: u8) {
        self.bytes(&[b]);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// `count` bytes of padding, in zeros where the flags ask for them on the left.
    pub(super) fn padding(&mut self, count: usize) {
        let fill = if self.flags.zero && !self.flags.minus {
            b'0'
        } else {
            b' '
        };
        if count > self.max - self.out.len() {
            self.failed = self.failed.or(Some(LimitExceeded::Bytes(self.max as u64)));
        }
        if self.failed.is_none() {
            self.out.resize(self.out.len() + count, fill);
        }
    }

    /// Text brought to the width.
    pub(super) fn pad(&mut self, text: &[u8]) {
        let missing = self.flags.width.unwrap_or(0).saturating_sub(runes::count(text));
        if self.flags.minus {
            self.bytes(text);
            self.padding(missing);
        } else {
            self.padding(missing);
            self.bytes(text);
        }
    }

    /// One operand at the top level.
    pub(super) fn argument(&mut self, value: &Value, verb: char) {
        match (verb, value) {
            ('T' | 'v', Value::Nil) => self.pad(b"<nil>"),
            (_, Value::Nil) => self.bad_verb(verb, value, None),
            ('T', _) => {
                let name = value.type_name();
                self.string(name.as_bytes());
            }
            ('p', _) => self.pointer(value, 'p'),
            // Never wraps an error here.
            ('w', value) if !matches!(value, Value::Bytes(_)) => self.bad_verb(verb, value, None),
            ('d', Value::Bytes(bytes)) | ('v', Value::Bytes(bytes)) => self.byte_slice(bytes, verb),
            _ => self.value(value, verb, 0),
        }
    }

    /// `%!verb(type=value)`. The name is for a value that stands for another.
    fn bad_verb(&mut self, verb: char, value: &Value, type_name: Option<&str>) {
        self.complaining = true;
        self.text("%!");
        self.text(verb.encode_utf8(&mut [0; 4]));
        self.byte(b'(');
        if value.is_nil() {
            self.text("<nil>");
        } else {
            match type_name {
                Some(name) => self.text(name),
                None => self.text(&value.type_name()),
            }
            self.byte(b'=');
            self.value(value, 'v', 0);
        }
        self.byte(b')');
        self.complaining = false;
    }

    /// A value; `depth` is 0 for an operand itself.
    fn value(&mut self, value: &Value, verb: char, depth: usize) {
        if self.failed.is_some() {
            return;
        }
        if depth > MAX_NESTING {
            self.failed = Some(LimitExceeded::Nesting(MAX_NESTING));
            return;
        }
        match value {
            Value::Nil if self.flags.sharp_v => self.text("interface {}(nil)"),
            Value::Nil => self.text("<nil>"),
            Value::Object(object) => self.object(object.as_ref(), value, verb, depth),
            Value::List(list) => {
                self.elements(list.items(), &list.go_type(), list.is_nil(), verb, depth);
            }
            Value::Bytes(bytes) => match verb {
                's' => self.string(bytes),
                'x' | 'X' => self.hex_string(bytes, verb == 'X'),
                'q' => self.quoted(bytes),
                _ => {
                    let items: Vec<_> = bytes
                        .iter()
                        .map(|b| Value::Int(IntKind::Uint8, u64::from(*b)))
                        .collect();
                    self.elements(&items, &"[]uint8", false, verb, depth);
                }
            },
            Value::Map(map) => {
                self.map(&map.entries(), &map.go_type(), map.is_nil(), verb, depth);
            }
            Value::Func(_) => self.pointer(value, verb),
            _ => self.basic(value, value, None, verb),
        }
    }

    /// A value without parts. A complaint shows `whole`, called `name`.
    fn basic(&mut self, value: &Value, whole: &Value, name: Option<&str>, verb: char) {
        match (value, verb) {
            (Value::Bool(b), 't' | 'v') => self.pad(if *b { b"true" } else { b"false" }),
            (Value::Int(kind, bits), _) => {
                if !self.integer(*bits, kind.is_signed(), verb) {
                    self.bad_verb(verb, whole, name);
                }
            }
            (Value::Float(f), _) => {
                if !self.float(*f, verb) {
                    self.bad_verb(verb, whole, name);
                }
            }
            (Value::Complex(re, im), 'v' | 'b' | 'g' | 'G' | 'x' | 'X' | 'f' | 'F' | 'e' | 'E') => {
                let plus = self.flags.plus;
                self.byte(b'(');
                self.float(*re, verb);
                self.flags.plus = true;
                self.float(*im, verb);
                self.text("i)");
                self.flags.plus = plus;
            }
            (Value::Str(s), 'v') if self.flags.sharp_v => self.quoted(s.as_bytes()),
            (Value::Str(s), 'v' | 's') => self.string(s.as_bytes()),
            (Value::Str(s), 'x' | 'X') => self.hex_string(s.as_bytes(), verb == 'X'),
            (Value::Str(s), 'q') => self.quoted(s.as_bytes()),
            _ => self.bad_verb(verb, whole, name),
        }
    }

    fn elements(&mut self, items: &[Value], type_name: &dyn Display, nil: bool, verb: char, depth: usize) {
        let sharp = self.flags.sharp_v;
        if sharp {
            self.text(&type_name.to_string());
            if nil {
                return self.text("(nil)");
            }
        }
        self.byte(if sharp { b'{' } else { b'[' });
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.text(if sharp { ", " } else { " " });
            }
            self.value(item, verb, depth + 1);
            if self.failed.is_some() {
                return;
            }
        }
        self.byte(if sharp { b'}' } else { b']' });
    }

    fn map(
        &mut self,
        entries: &[(std::rc::Rc<str>, Value)],
        type_name: &dyn Display,
        nil: bool,
        verb: char,
        depth: usize,
    ) {
        let sharp = self.flags.sharp_v;
        if sharp {
            self.text(&type_name.to_string());
            if nil {
                return self.text("(nil)");
            }
            self.byte(b'{');
        } else {
            self.text("map[");
        }
        for (i, (key, item)) in entries.iter().enumerate() {
            if i > 0 {
                self.text(if sharp { ", " } else { " " });
            }
            self.value(&Value::string(&**key), verb, depth + 1);
            self.byte(b':');
            self.value(item, verb, depth + 1);
            if self.failed.is_some() {
                return;
            }
        }
        self.byte(if sharp { b'}' } else { b']' });
    }

    fn object(&mut self, object: &dyn Object, value: &Value, verb: char, depth: usize) {
        if !self.complaining
            && !self.flags.sharp_v
            && matches!(verb, 'v' | 's' | 'x' | 'X' | 'q')
            && let Some(text) = object.text()
        {
            return self.basic(&Value::string(text), value, None, verb);
        }
        let name = object.type_name();
        let shape = object.shape();
        let (name, depth) = if object.is_pointer() {
            if depth > 0 || matches!(shape, Shape::Basic(_)) {
                return self.pointer(value, verb);
            }
            self.byte(b'&');
            (name.trim_start_matches('*'), depth + 1)
        } else {
            (name, depth)
        };
        match shape {
            Shape::Basic(basic) => self.basic(&basic, value, Some(name), verb),
            Shape::List(items) => self.elements(&items, &name, false, verb, depth),
            Shape::Map(entries) => self.map(&entries, &name, false, verb, depth),
            Shape::Struct(fields) => self.fields(&fields, name, verb, depth),
            Shape::Opaque => self.fields(&[], name, verb, depth),
        }
    }

    fn fields(&mut self, fields: &[(&'static str, Value)], type_name: &str, verb: char, depth: usize) {
        let sharp = self.flags.sharp_v;
        if sharp {
            self.text(type_name);
        }
        self.byte(b'{');
        for (i, (name, field)) in fields.iter().enumerate() {
            if i > 0 {
                self.text(if sharp { ", " } else { " " });
            }
            if sharp || self.flags.plus_v {
                self.text(name);
                self.byte(b':');
            }
            self.value(field, verb, depth + 1);
        }
        self.byte(b'}');
    }

    fn pointer(&mut self, value: &Value, verb: char) {
        use crate::value::Kind;
        if !matches!(value.kind(), Kind::Func | Kind::Map | Kind::Ptr | Kind::Slice) {
            return self.bad_verb(verb, value, None);
        }
        let address = if value.is_any_nil() { 0 } else { ADDRESS };
        match verb {
            'v' if self.flags.sharp_v => {
                self.text(&format!("({})(", value.type_name()));
                self.hex_number(address, true);
                self.byte(b')');
            }
            'v' | 'p' => self.hex_number(address, !self.flags.sharp),
            'b' | 'o' | 'd' | 'x' | 'X' => {
                self.integer(address, false, verb);
            }
            _ => self.bad_verb(verb, value, None),
        }
    }

    /// `[]byte` as an operand with `%v` or `%d`.
    fn byte_slice(&mut self, bytes: &[u8], verb: char) {
        let sharp = self.flags.sharp_v;
        self.text(if sharp { "[]byte{" } else { "[" });
        for (i, b) in bytes.iter().enumerate() {
            if i > 0 {
                self.text(if sharp { ", " } else { " " });
            }
            if sharp {
                self.hex_number(u64::from(*b), true);
            } else {
                self.integer(u64::from(*b), false, verb);
            }
            if self.failed.is_some() {
                return;
            }
        }
        self.byte(if sharp { b'}' } else { b']' });
    }

    /// The text, cut to the precision.
    fn cut<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        match self.flags.prec {
            Some(prec) => &text[..runes::iter(text).take(prec).map(|(_, len)| len).sum()],
            None => text,
        }
    }

    fn string(&mut self, text: &[u8]) {
        let text = self.cut(text);
        self.pad(text);
    }

    fn quoted(&mut self, text: &[u8]) {
        let text = self.cut(text);
        if text.len() > self.max {
            self.failed = Some(LimitExceeded::Bytes(self.max as u64));
            return;
        }
        if self.flags.sharp && can_backquote(text) {
            let text = [b"`", text, b"`"].concat();
            self.pad(&text);
        } else {
            let text = quote_with(text, '"', self.flags.plus);
            self.pad(text.as_bytes());
        }
    }

    pub(super) fn quoted_rune(&mut self, c: char) {
        let text = quote_rune(c, self.flags.plus);
        self.pad(text.as_bytes());
    }

    fn hex_string(&mut self, text: &[u8], upper: bool) {
        let text = &text[..text.len().min(self.flags.prec.unwrap_or(usize::MAX))];
        let Flags {
            space,
            sharp,
            minus,
            width,
            ..
        } = self.flags;
        let width = width.unwrap_or(0);
        if text.is_empty() {
            return self.padding(width);
        }
        if text.len() > self.max {
            self.failed = Some(LimitExceeded::Bytes(self.max as u64));
            return;
        }
        let digits: &[u8; 16] = if upper {
            b"0123456789ABCDEF"
        } else {
            b"0123456789abcdef"
        };
        let prefix = if upper { "0X" } else { "0x" };
        let mut out = String::new();
        for (i, b) in text.iter().enumerate() {
            if space && i > 0 {
                out.push(' ');
            }
            if sharp && (space || i == 0) {
                out.push_str(prefix);
            }
            out.push(char::from(digits[usize::from(b >> 4)]));
            out.push(char::from(digits[usize::from(b & 15)]));
        }
        let missing = width.saturating_sub(out.len());
        if !minus {
            self.padding(missing);
        }
        self.text(&out);
        if minus {
            self.padding(missing);
        }
    }
}
