//! Text into items: what stands outside of actions, and the words within them.

use super::item::{Item, Kind};
use crate::format::{quote, runes};

const LEFT: &[u8] = b"{{";
const RIGHT: &[u8] = b"}}";

/// The scanner. It gives one item after the other, then [`Kind::Eof`] for ever.
pub(super) struct Lexer<'t> {
    text: &'t [u8],
    pos: usize,
    start: usize,
    line: usize,
    start_line: usize,
    parens: usize,
    inside: bool,
    failed: bool,
    /// `break` and `continue` are keywords unless functions have these names.
    pub(super) break_is_keyword: bool,
    pub(super) continue_is_keyword: bool,
}

fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\n')
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || runes::is_letter_or_digit(c)
}

fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    // Both needles are two bytes long.
    text.windows(2).position(|w| w == needle)
}

fn newlines(text: &[u8]) -> usize {
    text.iter().filter(|b| **b == b'\n').count()
}

/// How Go's `%#U` shows a character.
fn show_char(c: Option<char>) -> String {
    match c {
        // Go prints its end-of-file rune, -1.
        None => "U+FFFFFFFFFFFFFFFF".to_owned(),
        Some(c) if runes::is_print(c) => format!("U+{:04X} '{c}'", u32::from(c)),
        Some(c) => format!("U+{:04X}", u32::from(c)),
    }
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t [u8]) -> Self {
        Self {
            text,
            pos: 0,
            start: 0,
            line: 1,
            start_line: 1,
            parens: 0,
            inside: false,
            failed: false,
            break_is_keyword: true,
            continue_is_keyword: true,
        }
    }

    /// The next item.
    pub(super) fn next(&mut self) -> Item {
        if self.failed {
            return Item {
                kind: Kind::Eof,
                pos: 0,
                end: 0,
                line: self.start_line,
                error: None,
            };
        }
        if self.inside {
            self.inside_action()
        } else {
            self.outside()
        }
    }

    fn rest(&self) -> &'t [u8] {
        &self.text[self.pos..]
    }

    fn peek(&self) -> Option<char> {
        let (c, len) = runes::first(self.rest());
        (len > 0).then_some(c)
    }

    fn advance(&mut self) -> Option<char> {
        let (c, len) = runes::first(self.rest());
        self.pos += len;
        if c == '\n' {
            self.line += 1;
        }
        (len > 0).then_some(c)
    }

    fn item(&mut self, kind: Kind) -> Item {
        let item = Item {
            kind,
            pos: self.start,
            end: self.pos,
            line: self.start_line,
            error: None,
        };
        self.start = self.pos;
        self.start_line = self.line;
        item
    }

    /// Passes over what has not been counted yet.
    fn skip(&mut self) {
        self.line += newlines(&self.text[self.start..self.pos]);
        self.start = self.pos;
        self.start_line = self.line;
    }

    fn error(&mut self, message: impl Into<String>) -> Item {
        self.failed = true;
        Item {
            kind: Kind::Error,
            pos: self.start,
            end: self.start,
            line: self.start_line,
            error: Some(message.into().into_boxed_str()),
        }
    }

    /// Text up to the next action, or the action's delimiter; comments are passed over.
    fn outside(&mut self) -> Item {
        loop {
            match find(self.rest(), LEFT) {
                None => {
                    self.pos = self.text.len();
                    if self.pos > self.start {
                        self.line += newlines(&self.text[self.start..]);
                        return self.item(Kind::Text);
                    }
                    return self.item(Kind::Eof);
                }
                Some(0) => {}
                Some(found) => {
                    self.pos += found;
                    let after = &self.text[self.pos + LEFT.len()..];
                    let own = &self.text[self.start..self.pos];
                    let trimmed = if has_left_trim(after) {
                        own.trim_ascii_end_spaces()
                    } else {
                        own.len()
                    };
                    let delim = self.pos;
                    self.pos = self.start + trimmed;
                    self.line += newlines(&self.text[self.start..self.pos]);
                    let item = self.item(Kind::Text);
                    self.pos = delim;
                    self.skip();
                    if item.end > item.pos {
                        return item;
                    }
                }
            }
            // At a left delimiter.
            self.pos += LEFT.len();
            let marker = if has_left_trim(self.rest()) { 2 } else { 0 };
            if self.text[self.pos + marker..].starts_with(b"/*") {
                self.pos += marker;
                self.skip();
                if let Some(error) = self.comment() {
                    return error;
                }
                continue;
            }
            let item = self.item(Kind::LeftDelim);
            self.inside = true;
            self.pos += marker;
            self.skip();
            self.parens = 0;
            return item;
        }
    }

    fn comment(&mut self) -> Option<Item> {
        self.pos += 2;
        let Some(end) = find(self.rest(), b"*/") else {
            return Some(self.error("unclosed comment"));
        };
        self.pos += end + 2;
        let Some(trim) = self.right_delim() else {
            return Some(self.error("comment ends before closing delimiter"));
        };
        self.pos += RIGHT.len();
        if trim {
            self.pos += 2;
            self.pos += self.rest().iter().take_while(|b| is_space(**b)).count();
        }
        self.skip();
        None
    }

    /// Whether a right delimiter is here, and whether it has a trim marker.
    fn right_delim(&self) -> Option<bool> {
        let rest = self.rest();
        if has_right_trim(rest) && rest[2..].starts_with(RIGHT) {
            Some(true)
        } else if rest.starts_with(RIGHT) {
            Some(false)
        } else {
            None
        }
    }

    fn take_right_delim(&mut self) -> Item {
        let trim = self.right_delim() == Some(true);
        if trim {
            self.pos += 2;
            self.skip();
        }
        self.pos += RIGHT.len();
        let item = self.item(Kind::RightDelim);
        if trim {
            self.pos += self.rest().iter().take_while(|b| is_space(**b)).count();
            self.skip();
        }
        self.inside = false;
        item
    }

    fn inside_action(&mut self) -> Item {
        if self.right_delim().is_some() {
            if self.parens == 0 {
                return self.take_right_delim();
            }
            return self.error("unclosed left paren");
        }
        let Some(c) = self.peek() else {
            return self.error("unclosed action");
        };
        if c.is_ascii() && is_space(c as u8) {
            return self.space();
        }
        if matches!(c, '+' | '-' | '0'..='9') {
            return self.number();
        }
        if is_alphanumeric(c) {
            return self.identifier();
        }
        self.advance();
        match c {
            '=' => self.item(Kind::Assign),
            ':' => {
                if self.advance() == Some('=') {
                    self.item(Kind::Declare)
                } else {
                    self.error("expected :=")
                }
            }
            '|' => self.item(Kind::Pipe),
            '"' => self.quoted('"', Kind::String, "unterminated quoted string"),
            '\'' => self.quoted('\'', Kind::CharConstant, "unterminated character constant"),
            '`' => self.raw_string(),
            '$' => self.field_or_variable(Kind::Variable),
            '.' => match self.rest().first() {
                Some(b'0'..=b'9') | None => {
                    self.pos -= 1;
                    self.number()
                }
                Some(_) => self.field_or_variable(Kind::Field),
            },
            '(' => {
                self.parens += 1;
                self.item(Kind::LeftParen)
            }
            ')' => match self.parens.checked_sub(1) {
                Some(left) => {
                    self.parens = left;
                    self.item(Kind::RightParen)
                }
                None => self.error("unexpected right paren"),
            },
            c if c.is_ascii() && runes::is_print(c) => self.item(Kind::Char),
            c => self.error(format!("unrecognized character in action: {}", show_char(Some(c)))),
        }
    }

    /// A run of spaces; the last one may belong to a trim marker.
    fn space(&mut self) -> Item {
        let mut count = 0;
        while self.rest().first().is_some_and(|b| is_space(*b)) {
            self.advance();
            count += 1;
        }
        let last = &self.text[self.pos - 1..];
        if has_right_trim(last) && last[2..].starts_with(RIGHT) {
            self.pos -= 1;
            if last[0] == b'\n' {
                self.line -= 1;
            }
            if count == 1 {
                return self.take_right_delim();
            }
        }
        self.item(Kind::Space)
    }

    fn identifier(&mut self) -> Item {
        while self.peek().is_some_and(is_alphanumeric) {
            self.advance();
        }
        if !self.at_terminator() {
            let c = self.advance();
            return self.error(format!("bad character {}", show_char(c)));
        }
        let kind = match &self.text[self.start..self.pos] {
            b"block" => Kind::Block,
            b"break" if self.break_is_keyword => Kind::Break,
            b"continue" if self.continue_is_keyword => Kind::Continue,
            b"define" => Kind::Define,
            b"else" => Kind::Else,
            b"end" => Kind::End,
            b"if" => Kind::If,
            b"nil" => Kind::Nil,
            b"range" => Kind::Range,
            b"template" => Kind::Template,
            b"true" | b"false" => Kind::Bool,
            b"with" => Kind::With,
            _ => Kind::Identifier,
        };
        self.item(kind)
    }

    /// `.name` or `$name` after its first character; without a name it is the dot, or the variable `$`.
    fn field_or_variable(&mut self, kind: Kind) -> Item {
        if self.at_terminator() {
            return self.item(if kind == Kind::Variable { kind } else { Kind::Dot });
        }
        while self.peek().is_some_and(is_alphanumeric) {
            self.advance();
        }
        if !self.at_terminator() {
            let c = self.advance();
            return self.error(format!("bad character {}", show_char(c)));
        }
        self.item(kind)
    }

    /// Whether what is here may follow a name.
    fn at_terminator(&self) -> bool {
        match self.rest() {
            []
            | [
                b' ' | b'\t' | b'\r' | b'\n' | b'.' | b',' | b'|' | b':' | b')' | b'(',
                ..,
            ] => true,
            rest => rest.starts_with(RIGHT),
        }
    }

    fn quoted(&mut self, mark: char, kind: Kind, unterminated: &str) -> Item {
        loop {
            match self.advance() {
                Some('\\') => {
                    if matches!(self.advance(), None | Some('\n')) {
                        return self.error(unterminated);
                    }
                }
                None | Some('\n') => return self.error(unterminated),
                Some(c) if c == mark => return self.item(kind),
                Some(_) => {}
            }
        }
    }

    fn raw_string(&mut self) -> Item {
        loop {
            match self.advance() {
                None => return self.error("unterminated raw quoted string"),
                Some('`') => return self.item(Kind::RawString),
                Some(_) => {}
            }
        }
    }

    fn number(&mut self) -> Item {
        let mut kind = Kind::Number;
        let mut good = self.scan_number();
        if good && matches!(self.rest().first(), Some(b'+' | b'-')) {
            kind = Kind::Complex;
            good = self.scan_number() && self.text[self.pos - 1] == b'i';
        }
        if good {
            return self.item(kind);
        }
        let bad = quote(&self.text[self.start..self.pos]);
        self.error(format!("bad number syntax: {bad}"))
    }

    fn accept(&mut self, valid: &[u8]) -> bool {
        let found = self.rest().first().is_some_and(|b| valid.contains(b));
        self.pos += usize::from(found);
        found
    }

    fn accept_run(&mut self, valid: &[u8]) {
        while self.accept(valid) {}
    }

    /// Passes over a number; whether it is one is found out when it is read.
    fn scan_number(&mut self) -> bool {
        const DECIMAL: &[u8] = b"0123456789_";
        const HEX: &[u8] = b"0123456789abcdefABCDEF_";
        self.accept(b"+-");
        let mut digits = DECIMAL;
        if self.accept(b"0") {
            if self.accept(b"xX") {
                digits = HEX;
            } else if self.accept(b"oO") {
                digits = b"01234567_";
            } else if self.accept(b"bB") {
                digits = b"01_";
            }
        }
        self.accept_run(digits);
        if self.accept(b".") {
            self.accept_run(digits);
        }
        if digits.len() == DECIMAL.len() && self.accept(b"eE") || digits.len() == HEX.len() && self.accept(b"pP") {
            self.accept(b"+-");
            self.accept_run(DECIMAL);
        }
        self.accept(b"i");
        if self.peek().is_some_and(is_alphanumeric) {
            self.advance();
            return false;
        }
        true
    }
}

fn has_left_trim(text: &[u8]) -> bool {
    matches!(text, [b'-', b, ..] if is_space(*b))
}

fn has_right_trim(text: &[u8]) -> bool {
    matches!(text, [b, b'-', ..] if is_space(*b))
}

trait TrimEnd {
    fn trim_ascii_end_spaces(&self) -> usize;
}

impl TrimEnd for [u8] {
    /// The length without the spaces at the end.
    fn trim_ascii_end_spaces(&self) -> usize {
        self.iter().rposition(|b| !is_space(*b)).map_or(0, |last| last + 1)
    }
}
