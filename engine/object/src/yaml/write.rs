//! JSON to text as `sigs.k8s.io/yaml` prints it: libyaml's emitter with go-yaml 2's choices.
//!
//! Only what JSON needs is here: block maps and lists, four scalar styles. The `write_*` steps and
//! their flags follow libyaml's emitter, on which go-yaml's is modelled, because the places
//! where long lines are folded depend on them.

use std::cmp::Ordering;

use serde_json::Value;

use super::number::format_float;
use super::{Dialect, Tag, resolve};

/// Where libyaml starts to fold texts with spaces.
const WIDTH: usize = 80;
const STEP: usize = 2;
/// Longer keys are written `? key`.
const SIMPLE_KEY: usize = 128;

/// One document, with a line break at its end.
pub fn write(value: &Value) -> String {
    write_with(value, Writer::new())
}

/// [`write`] with keys in the order of their bytes, and not in go-yaml's, which takes digits for numbers.
pub fn write_sorted_by_bytes(value: &Value) -> String {
    write_with(
        value,
        Writer {
            by_bytes: true,
            ..Writer::new()
        },
    )
}

fn write_with(value: &Value, mut writer: Writer) -> String {
    writer.node(value, false);
    writer.indent = None;
    writer.write_indent();
    writer.out
}

/// One document as go-yaml 3 writes it with an indentation of two: lists stand deeper than their keys, nothing is folded,
/// and a float is written as one (`1e+06`) even if it is whole.
pub fn write_indented(value: &Value) -> String {
    let mut writer = Writer::new();
    writer.flush_lists = false;
    writer.width = usize::MAX;
    writer.node(value, false);
    writer.indent = None;
    writer.write_indent();
    writer.out
}

/// Documents one after another, `---` between them.
pub fn write_documents<'a>(values: impl IntoIterator<Item = &'a Value>) -> String {
    let mut out = String::new();
    for (index, value) in values.into_iter().enumerate() {
        if index > 0 {
            out.push_str("---\n");
        }
        out.push_str(&write(value));
    }
    out
}

struct Writer {
    out: String,
    /// Characters since the last line break.
    column: usize,
    /// `None` before the first collection.
    indent: Option<usize>,
    /// The last character was a space.
    whitespace: bool,
    /// Only indentation (spaces, `-`, `?`, `:`) stands on this line so far.
    indention: bool,
    /// Keys are sorted by their bytes.
    by_bytes: bool,
    /// Where folding begins.
    width: usize,
    /// A list stands no deeper than the key it belongs to.
    flush_lists: bool,
}

/// What libyaml learns about a text before it picks a style.
struct Analysis {
    multiline: bool,
    plain: bool,
    single: bool,
    block: bool,
}

impl Writer {
    fn new() -> Writer {
        Writer {
            out: String::new(),
            column: 0,
            indent: None,
            whitespace: true,
            indention: true,
            by_bytes: false,
            width: WIDTH,
            flush_lists: true,
        }
    }

    fn node(&mut self, value: &Value, in_map: bool) {
        match value {
            Value::Null => self.word("null"),
            Value::Bool(true) => self.word("true"),
            Value::Bool(false) => self.word("false"),
            Value::Number(number) => match number.as_f64() {
                Some(float) if number.is_f64() => self.word(&format_float(float)),
                _ => self.word(&number.to_string()),
            },
            Value::String(text) => self.text(text, false),
            Value::Array(items) if items.is_empty() => self.empty("[", "]"),
            Value::Array(items) => {
                let before = self.indent;
                if !self.flush_lists || !in_map || self.indention {
                    self.deepen();
                } else if self.indent.is_none() {
                    self.indent = Some(0);
                }
                for item in items {
                    self.write_indent();
                    self.indicator("-", true, false, true);
                    self.node(item, false);
                }
                self.indent = before;
            }
            Value::Object(entries) if entries.is_empty() => self.empty("{", "}"),
            Value::Object(entries) => {
                let before = self.indent;
                self.deepen();
                let mut pairs: Vec<(&str, &Value)> = entries.iter().map(|(key, item)| (key.as_str(), item)).collect();
                if self.by_bytes {
                    pairs.sort_unstable_by_key(|(key, _)| *key);
                } else {
                    pairs = sorted(pairs);
                }
                for (key, item) in pairs {
                    self.write_indent();
                    if key.len() <= SIMPLE_KEY && !key.contains(is_break) {
                        self.text(key, true);
                        self.indicator(":", false, false, false);
                    } else {
                        self.indicator("?", true, false, true);
                        self.text(key, false);
                        self.write_indent();
                        self.indicator(":", true, false, true);
                    }
                    self.node(item, true);
                }
                self.indent = before;
            }
        }
    }

    fn deepen(&mut self) {
        self.indent = Some(self.indent.map_or(0, |indent| indent + STEP));
    }

    fn empty(&mut self, left: &str, right: &str) {
        self.indicator(left, true, true, false);
        self.indicator(right, false, false, false);
    }

    /// A plain scalar without spaces.
    fn word(&mut self, text: &str) {
        if !self.whitespace {
            self.put(' ');
        }
        self.out.push_str(text);
        self.column += text.len();
        self.whitespace = false;
        self.indention = false;
    }

    fn text(&mut self, text: &str, key: bool) {
        let literal = text.contains('\n');
        let quote = !literal && (resolve(text, Dialect::K8s) != Tag::Str || is_base_60(text));
        let analysis = analyze(text);
        let before = self.indent;
        // Scalars stand one step deeper than their parent; it shows where they are folded.
        self.indent = Some(self.indent.map_or(STEP, |indent| indent + STEP));
        if quote || (key && analysis.multiline) {
            self.double_quoted(text, !key);
        } else if literal {
            if analysis.block && !key {
                self.literal(text)
            } else {
                self.double_quoted(text, !key)
            }
        } else if analysis.plain {
            self.plain(text, !key);
        } else if analysis.single {
            self.single_quoted(text, !key);
        } else {
            self.double_quoted(text, !key);
        }
        self.indent = before;
    }

    fn put(&mut self, c: char) {
        self.out.push(c);
        self.column += 1;
    }

    fn put_break(&mut self) {
        self.out.push('\n');
        self.column = 0;
    }

    /// A break of the text itself; go-yaml writes all but `\n` as they are.
    fn write_break(&mut self, c: char) {
        self.out.push(c);
        self.column = 0;
    }

    fn write_indent(&mut self) {
        let indent = self.indent.unwrap_or(0);
        if !self.indention || self.column > indent || (self.column == indent && !self.whitespace) {
            self.put_break();
        }
        while self.column < indent {
            self.put(' ');
        }
        self.whitespace = true;
        self.indention = true;
    }

    fn indicator(&mut self, text: &str, needs_space: bool, is_space: bool, is_indention: bool) {
        if needs_space && !self.whitespace {
            self.put(' ');
        }
        self.out.push_str(text);
        self.column += text.len();
        self.whitespace = is_space;
        self.indention = self.indention && is_indention;
    }

    fn plain(&mut self, text: &str, fold: bool) {
        // Without a space there is nothing to fold, which is true of most texts.
        if !fold || !text.contains(' ') {
            if !self.whitespace {
                self.put(' ');
            }
            self.out.push_str(text);
            self.column += text.chars().count();
        } else {
            if !self.whitespace {
                self.put(' ');
            }
            self.folding(text, 0, |_, _| false);
        }
        self.whitespace = false;
        self.indention = false;
    }

    fn single_quoted(&mut self, text: &str, fold: bool) {
        self.indicator("'", true, false, false);
        let mut spaces = false;
        let mut breaks = false;
        let last = text.len().saturating_sub(1);
        for (place, c) in text.char_indices() {
            if c == ' ' {
                if fold
                    && !spaces
                    && self.column > self.width
                    && place > 0
                    && place < last
                    && !text[place + 1..].starts_with(' ')
                {
                    self.write_indent();
                } else {
                    self.put(c);
                }
                spaces = true;
            } else if is_break(c) {
                if !breaks && c == '\n' {
                    self.put_break();
                }
                self.write_break(c);
                self.indention = true;
                breaks = true;
            } else {
                if breaks {
                    self.write_indent();
                }
                if c == '\'' {
                    self.put('\'');
                }
                self.put(c);
                self.indention = false;
                spaces = false;
                breaks = false;
            }
        }
        self.indicator("'", false, false, false);
        self.whitespace = false;
        self.indention = false;
    }

    /// Writes text in which only spaces may become line breaks.
    fn folding(&mut self, text: &str, first: usize, skip: impl Fn(usize, char) -> bool) {
        let mut spaces = false;
        for (place, c) in text.char_indices() {
            if c == ' ' && place >= first && !skip(place, c) {
                if !spaces && self.column > self.width && !text[place + 1..].starts_with(' ') {
                    self.write_indent();
                } else {
                    self.put(c);
                }
                spaces = true;
            } else {
                self.put(c);
                self.indention = false;
                spaces = false;
            }
        }
    }

    fn double_quoted(&mut self, text: &str, fold: bool) {
        self.indicator("\"", true, false, false);
        // go-yaml looks for the byte order mark at the start of the text whatever character it
        // is at, so a text that starts with one is escaped from end to end.
        let escape_all = text.starts_with('\u{feff}');
        let mut spaces = false;
        let last = text.len().saturating_sub(1);
        for (place, c) in text.char_indices() {
            if escape_all || !is_printable(c) || is_break(c) || c == '"' || c == '\\' {
                self.escape(c);
                spaces = false;
            } else if c == ' ' {
                if fold && !spaces && self.column > self.width && place > 0 && place < last {
                    self.write_indent();
                    if text[place + 1..].starts_with(' ') {
                        self.put('\\');
                    }
                } else {
                    self.put(' ');
                }
                spaces = true;
            } else {
                self.put(c);
                spaces = false;
            }
        }
        self.indicator("\"", false, false, false);
        self.whitespace = false;
        self.indention = false;
    }

    fn escape(&mut self, c: char) {
        self.put('\\');
        let short = match c {
            '\0' => '0',
            '\u{7}' => 'a',
            '\u{8}' => 'b',
            '\t' => 't',
            '\n' => 'n',
            '\u{b}' => 'v',
            '\u{c}' => 'f',
            '\r' => 'r',
            '\u{1b}' => 'e',
            '"' => '"',
            '\\' => '\\',
            '\u{85}' => 'N',
            '\u{a0}' => '_',
            '\u{2028}' => 'L',
            '\u{2029}' => 'P',
            _ => {
                let code = match u32::from(c) {
                    code @ 0..=0xFF => format!("x{code:02X}"),
                    code @ 0x100..=0xFFFF => format!("u{code:04X}"),
                    code => format!("U{code:08X}"),
                };
                code.chars().for_each(|digit| self.put(digit));
                return;
            }
        };
        self.put(short);
    }

    fn literal(&mut self, text: &str) {
        self.indicator("|", true, false, false);
        if text.starts_with([' ', '\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']) {
            self.indicator("2", false, false, false);
        }
        let mut ends = text.chars().rev();
        let chomp = match (ends.next().is_some_and(is_break), ends.next()) {
            (false, _) => "-",
            (true, None) => "+",
            (true, Some(c)) if is_break(c) => "+",
            (true, Some(_)) => "",
        };
        if !chomp.is_empty() {
            self.indicator(chomp, false, false, false);
        }
        self.put_break();
        self.indention = true;
        self.whitespace = true;
        let mut breaks = true;
        for c in text.chars() {
            if is_break(c) {
                self.write_break(c);
                self.indention = true;
                breaks = true;
            } else {
                if breaks {
                    self.write_indent();
                }
                self.put(c);
                self.indention = false;
                breaks = false;
            }
        }
    }
}

fn analyze(text: &str) -> Analysis {
    if text.is_empty() {
        return Analysis {
            multiline: false,
            plain: true,
            single: true,
            block: false,
        };
    }
    let mut indicators = text.starts_with("---") || text.starts_with("...");
    let (mut multiline, mut special) = (false, false);
    let (mut edge_space, mut trailing_space) = (false, false);
    let (mut break_space, mut space_break) = (false, false);
    let (mut previous_space, mut previous_break) = (false, false);
    let mut blank_before = true;
    let mut chars = text.char_indices().peekable();
    while let Some((place, c)) = chars.next() {
        let next = chars.peek().map(|(_, next)| *next);
        let blank_after = next.is_none_or(|next| next == ' ' || next == '\t');
        indicators |= match c {
            ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => place == 0,
            '#' => blank_before,
            '?' | '-' => place == 0 && blank_after,
            ':' => blank_after,
            _ => false,
        };
        special |= !is_printable(c);
        let (is_space, is_break) = (c == ' ', is_break(c));
        if is_space || is_break {
            edge_space |= place == 0 || next.is_none();
            trailing_space |= is_space && next.is_none();
            break_space |= is_space && previous_break;
            space_break |= is_break && previous_space;
            multiline |= is_break;
        }
        previous_space = is_space;
        previous_break = is_break;
        blank_before = is_space || is_break || c == '\t' || c == '\0';
    }
    Analysis {
        multiline,
        plain: !(indicators || multiline || edge_space || break_space || space_break || special),
        single: !(break_space || space_break || special),
        block: !(trailing_space || space_break || special),
    }
}

/// What libyaml writes unescaped. Characters beyond 16 bits are not in go-yaml's table.
fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{fffd}') && c != '\u{feff}'
}

fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// `1:30` and its like: numbers to other YAML 1.1 readers, so go-yaml quotes them.
fn is_base_60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.starts_with(|c: char| c.is_ascii_digit()) || !unsigned.contains(':') {
        return false;
    }
    let (body, fraction) = match unsigned.split_once('.') {
        Some((body, fraction)) => (body, fraction),
        None => (unsigned, ""),
    };
    let mut parts = body.split(':');
    let head = parts.next().unwrap_or_default();
    head.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
        && fraction.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
        && parts.all(|part| match part.as_bytes() {
            [digit] => digit.is_ascii_digit(),
            [ten, digit] => (b'0'..=b'5').contains(ten) && digit.is_ascii_digit(),
            _ => false,
        })
}

/// Keys in go-yaml's order. It is not a total order in odd cases, so the standard sort, which may
/// panic on such a one, is not used; insertion and merging give some order for all of them.
fn sorted<T>(mut entries: Vec<(&str, T)>) -> Vec<(&str, T)> {
    if entries.is_sorted_by(|a, b| !key_less(b.0, a.0)) {
        return entries;
    }
    if entries.len() <= 12 {
        for place in 1..entries.len() {
            let mut at = place;
            while at > 0 && key_less(entries[at].0, entries[at - 1].0) {
                entries.swap(at, at - 1);
                at -= 1;
            }
        }
        return entries;
    }
    let right = sorted(entries.split_off(entries.len() / 2));
    let left = sorted(entries);
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        merged.extend(if key_less(b.0, a.0) { right.next() } else { left.next() });
    }
    merged.extend(left);
    merged.extend(right);
    merged
}

/// go-yaml's order of texts: letters after other characters, numbers by value (`k2` < `k10`).
pub(super) fn key_less(a: &str, b: &str) -> bool {
    let common = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    // Step back to where a character starts, and to the start of a number, for its zeros.
    let mut start = common;
    while !a.is_char_boundary(start) {
        start -= 1;
    }
    let (rest_a, rest_b) = (&a[start..], &b[start..]);
    let (Some(char_a), Some(char_b)) = (rest_a.chars().next(), rest_b.chars().next()) else {
        return a.len() < b.len();
    };
    match (char_a.is_alphabetic(), char_b.is_alphabetic()) {
        (true, true) => return char_a < char_b,
        (false, true) => return true,
        (true, false) => return false,
        (false, false) => {}
    }
    let before = &a[..start];
    let mut number = 0i64;
    if (char_a == '0' || char_b == '0')
        && before
            .chars()
            .rev()
            .take_while(char::is_ascii_digit)
            .any(|digit| digit != '0')
    {
        number = 1;
    }
    let value = |text: &str| {
        text.bytes()
            .take_while(u8::is_ascii_digit)
            .fold((number, 0), |(sum, length), digit| {
                (sum.wrapping_mul(10).wrapping_add(i64::from(digit - b'0')), length + 1)
            })
    };
    let ((value_a, length_a), (value_b, length_b)) = (value(rest_a), value(rest_b));
    match value_a.cmp(&value_b).then(length_a.cmp(&length_b)) {
        Ordering::Equal => char_a < char_b,
        order => order == Ordering::Less,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_look_like_go_s() {
        let value = json!({
            "b": [], "a": {}, "c": [1, 2.5, null, true, "x"], "k10": 1, "k2": 2,
            "nested": {"list": [{"a": 1, "b": [["x"]]}, []]}, "text": "a\nb\n", "open": "a\nb",
            "yes": "yes", "n": "123", "t": "2001-01-01", "colon": "a: b", "empty": "", "1": ":x",
        });
        assert_eq!(
            write(&value),
            "\"1\": :x\na: {}\nb: []\nc:\n- 1\n- 2.5\n- null\n- true\n- x\ncolon: 'a: b'\nempty: \"\"\nk2: 2\nk10: 1\n\
             \"n\": \"123\"\nnested:\n  list:\n  - a: 1\n    b:\n    - - x\n  - []\nopen: |-\n  a\n  b\nt: \"2001-01-01\"\n\
             text: |\n  a\n  b\n\"yes\": \"yes\"\n"
        );
    }

    #[test]
    fn long_texts_are_folded() {
        let text = ["word"; 30].join(" ");
        let written = write(&json!({"a": text}));
        assert!(
            written.lines().count() == 2 && written.contains("\n  word"),
            "{written}"
        );
    }

    #[test]
    fn documents_are_joined() {
        assert_eq!(write_documents([&json!({"a": 1}), &json!("x")]), "a: 1\n---\nx\n");
    }
}
