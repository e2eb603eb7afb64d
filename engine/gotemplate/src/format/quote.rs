//! Go's string literals: writing them, and reading them back.

use super::runes;

/// `strconv.Quote`: in double quotes, with escapes where a character does not print.
pub(crate) fn quote(bytes: &[u8]) -> String {
    quote_with(bytes, '"', false)
}

/// As [`quote`] with the given quotes, and with escapes for everything outside of ASCII on demand.
pub(crate) fn quote_with(bytes: &[u8], mark: char, ascii: bool) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push(mark);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (c, len) = runes::first(rest);
        if c == runes::ERROR && len == 1 {
            out.push_str(&format!("\\x{:02x}", rest[0]));
        } else {
            push_escaped(&mut out, c, mark, ascii);
        }
        rest = &rest[len..];
    }
    out.push(mark);
    out
}

/// `strconv.QuoteRune`.
pub(crate) fn quote_rune(c: char, ascii: bool) -> String {
    let mut out = String::from('\'');
    push_escaped(&mut out, c, '\'', ascii);
    out.push('\'');
    out
}

fn push_escaped(out: &mut String, c: char, mark: char, ascii: bool) {
    if c == mark || c == '\\' {
        out.push('\\');
        out.push(c);
        return;
    }
    if (c.is_ascii() || !ascii) && runes::is_print(c) {
        out.push(c);
        return;
    }
    match c {
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        c if c < ' ' || c == '\x7f' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
        c if u32::from(c) < 0x10000 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
        c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
    }
}

/// `strconv.CanBackquote`: whether the text can stand between back quotes as it is.
pub(crate) fn can_backquote(bytes: &[u8]) -> bool {
    runes::iter(bytes).all(|(c, len)| {
        !(c == runes::ERROR && len == 1) && c != '\u{feff}' && c != '`' && c != '\x7f' && (c >= ' ' || c == '\t')
    })
}

/// `strconv.Unquote` for a literal in double or back quotes; `None` when it is none.
pub(crate) fn unquote(literal: &[u8]) -> Option<Vec<u8>> {
    let (mark, inner) = match literal {
        [b'"', inner @ .., b'"'] => (b'"', inner),
        [b'`', inner @ .., b'`'] => (b'`', inner),
        _ => return None,
    };
    if mark == b'`' {
        // Carriage returns are not part of a raw string.
        return (!inner.contains(&b'`')).then(|| inner.iter().copied().filter(|b| *b != b'\r').collect());
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(first) = rest.first() {
        if *first == b'\n' {
            return None;
        }
        let (unit, tail) = unquote_char(rest, mark)?;
        match unit {
            Unit::Byte(b) => out.push(b),
            Unit::Rune(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        rest = tail;
    }
    Some(out)
}

/// One unit of a literal.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    /// A byte: from ASCII, `\xNN` or `\NNN`.
    Byte(u8),
    /// A character beyond ASCII, or from `\u` and `\U`.
    Rune(char),
}

/// `strconv.UnquoteChar`: the first unit of a literal, and the rest of it.
pub(crate) fn unquote_char(text: &[u8], mark: u8) -> Option<(Unit, &[u8])> {
    let first = *text.first()?;
    if first == mark {
        return None;
    }
    if !first.is_ascii() {
        let (c, len) = runes::first(text);
        return Some((Unit::Rune(c), &text[len..]));
    }
    if first != b'\\' {
        return Some((Unit::Byte(first), &text[1..]));
    }
    let (kind, rest) = text[1..].split_first()?;
    let simple = |b: u8| Some((Unit::Byte(b), rest));
    match kind {
        b'a' => simple(7),
        b'b' => simple(8),
        b'f' => simple(12),
        b'n' => simple(b'\n'),
        b'r' => simple(b'\r'),
        b't' => simple(b'\t'),
        b'v' => simple(11),
        b'\\' => simple(b'\\'),
        b'\'' | b'"' if *kind == mark => simple(mark),
        b'x' | b'u' | b'U' => {
            let digits = match kind {
                b'x' => 2,
                b'u' => 4,
                _ => 8,
            };
            let mut code: u32 = 0;
            for b in rest.get(..digits)? {
                code = code << 4 | char::from(*b).to_digit(16)?;
            }
            let unit = match (kind, u8::try_from(code)) {
                (b'x', Ok(b)) => Unit::Byte(b),
                _ => Unit::Rune(char::from_u32(code)?),
            };
            Some((unit, &rest[digits..]))
        }
        b'0'..=b'7' => {
            let mut code = u32::from(kind - b'0');
            for b in rest.get(..2)? {
                code = code << 3 | char::from(*b).to_digit(8)?;
            }
            Some((Unit::Byte(u8::try_from(code).ok()?), &rest[2..]))
        }
        _ => None,
    }
}
