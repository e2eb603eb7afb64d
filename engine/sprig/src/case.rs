//! Changes of case and of word boundaries.
//!
//! `camelcase`, `snakecase` and `kebabcase` follow `github.com/huandu/xstrings` 1.5.0, the others
//! `github.com/Masterminds/goutils` 1.1.1.

use nave_gotemplate::{Str, Value};

use crate::table::{Result, STRING, Table, str_at};
use crate::text::{first_rune, is_title, map_runes, runes, to_lower, to_title, to_upper};

pub(crate) fn register(table: &mut Table<'_>) {
    let mut text = |name: &str, f: fn(&Str) -> Value| {
        table.add(name, &[STRING], move |caller, args| -> Result {
            let text = str_at(args, 0);
            caller.charge(text.len() as u64)?;
            caller.charge_bytes(text.len().saturating_mul(2))?;
            Ok(f(&text))
        });
    };
    text("nospace", nospace);
    text("initials", initials);
    text("untitle", |text| {
        let mut next = true;
        map_runes(text.as_bytes(), |c| {
            if c.is_whitespace() {
                next = true;
                c
            } else if std::mem::take(&mut next) {
                to_lower(c)
            } else {
                c
            }
        })
        .into()
    });
    text("swapcase", |text| {
        let mut after_space = true;
        map_runes(text.as_bytes(), |c| {
            if c.is_uppercase() || is_title(c) {
                after_space = false;
                to_lower(c)
            } else if c.is_lowercase() {
                if std::mem::take(&mut after_space) {
                    to_title(c)
                } else {
                    to_upper(c)
                }
            } else {
                after_space = c.is_whitespace();
                c
            }
        })
        .into()
    });
    text("camelcase", |text| pascal_case(text.as_bytes()).into());
    text("snakecase", |text| joined_case(text.as_bytes(), '_').into());
    text("kebabcase", |text| joined_case(text.as_bytes(), '-').into());
}

/// Bytes count as runes here, so a text that is not ASCII is mangled as soon as there is a space in it.
fn nospace(text: &Str) -> Value {
    let kept: String = text
        .as_bytes()
        .iter()
        .map(|byte| char::from(*byte))
        .filter(|c| !c.is_whitespace())
        .collect();
    if kept.chars().count() == text.len() {
        Value::Str(text.clone())
    } else {
        kept.into()
    }
}

/// Bytes count as runes here too.
fn initials(text: &Str) -> Value {
    let mut after_gap = true;
    let mut out = String::new();
    for c in text.as_bytes().iter().map(|byte| char::from(*byte)) {
        if c.is_whitespace() {
            after_gap = true;
        } else if std::mem::take(&mut after_gap) {
            out.push(c);
        }
    }
    out.into()
}

fn is_connector(c: char) -> bool {
    c == '-' || c == '_' || c.is_whitespace()
}

/// `ToPascalCase`: `http_server` to `HttpServer`; connectors at the start and all but one of several are kept.
fn pascal_case(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    let mut chars = runes(bytes).map(|(c, _)| c);
    let mut first_upper = false;
    let mut current = None;
    for c in chars.by_ref() {
        if is_connector(c) {
            // The last connector of a text that has nothing else is written twice.
            out.push(c);
            current = Some(c);
        } else {
            first_upper = c.is_uppercase();
            current = Some(to_upper(c));
            break;
        }
    }
    let Some(mut current) = current else { return out };
    for c in chars {
        let previous = current;
        current = c;
        if is_connector(c) && is_connector(previous) {
            out.push(previous);
            continue;
        }
        if is_connector(previous) {
            first_upper = c.is_uppercase();
            current = to_upper(c);
        } else {
            if first_upper {
                if c.is_uppercase() {
                    current = to_lower(c);
                } else {
                    first_upper = false;
                }
            }
            out.push(previous);
        }
    }
    out.push(current);
    out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Invalid,
    Number,
    Upper,
    Alphabet,
    Connector,
    Punctuation,
    Other,
}

/// `ToSnakeCase` and `ToKebabCase`.
fn joined_case(bytes: &[u8], connector: char) -> String {
    let mut out = String::with_capacity(bytes.len() + 8);
    let (mut kind, mut word, mut rest) = next_word(bytes);
    while !rest.is_empty() {
        if kind != Word::Connector {
            lower(&mut out, kind, word, connector);
        }
        let (previous, last) = (kind, word);
        (kind, word, rest) = next_word(rest);
        match previous {
            Word::Number => {
                while matches!(kind, Word::Alphabet | Word::Number) {
                    lower(&mut out, kind, word, connector);
                    (kind, word, rest) = next_word(rest);
                }
                if !matches!(kind, Word::Invalid | Word::Punctuation | Word::Connector) {
                    out.push(connector);
                }
            }
            Word::Connector => lower(&mut out, previous, last, connector),
            Word::Punctuation => {}
            _ if kind != Word::Number => {
                if !matches!(kind, Word::Connector | Word::Punctuation) {
                    out.push(connector);
                }
            }
            _ if rest.is_empty() => {}
            _ => {
                let last = word;
                (kind, word, rest) = next_word(rest);
                if kind == Word::Alphabet {
                    out.push(connector);
                    lower(&mut out, Word::Number, last, connector);
                    while matches!(kind, Word::Alphabet | Word::Number) {
                        lower(&mut out, kind, word, connector);
                        (kind, word, rest) = next_word(rest);
                    }
                    if !matches!(kind, Word::Invalid | Word::Connector | Word::Punctuation) {
                        out.push(connector);
                    }
                } else {
                    lower(&mut out, Word::Number, last, connector);
                    if !matches!(kind, Word::Connector | Word::Punctuation) {
                        out.push(connector);
                    }
                }
            }
        }
    }
    lower(&mut out, kind, word, connector);
    out
}

fn lower(out: &mut String, kind: Word, word: &[u8], connector: char) {
    if !matches!(kind, Word::Upper | Word::Connector) {
        out.push_str(&String::from_utf8_lossy(word));
        return;
    }
    out.extend(runes(word).map(|(c, _)| match c {
        c if is_connector(c) => connector,
        c if c.is_uppercase() => to_lower(c),
        c => c,
    }));
}

/// `unicode.IsPunct`, as far as it differs from symbols within ASCII.
fn is_punctuation(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_punctuation() && !matches!(c, '$' | '+' | '<' | '=' | '>' | '^' | '`' | '|' | '~');
    }
    matches!(u32::from(c), 0xA1 | 0xA7 | 0xAB | 0xB6 | 0xB7 | 0xBB | 0xBF | 0x2010..=0x2027 | 0x2030..=0x205E | 0x3001..=0x3003 | 0x3008..=0x3011)
}

/// Letters but for the ideographs.
fn is_alphabet(c: char) -> bool {
    c.is_alphabetic()
        && !matches!(u32::from(c), 0x3400..=0x4DB5 | 0x4E00..=0x9FCC | 0xF900..=0xFAD9 | 0x20000..=0x2FA1D)
}

/// The length of the run of runes from the start of `bytes` that `belongs` takes.
fn run(bytes: &[u8], belongs: impl Fn(char) -> bool) -> usize {
    let mut len = 0;
    for (c, size) in runes(bytes) {
        if c != char::REPLACEMENT_CHARACTER && !belongs(c) {
            break;
        }
        len += size;
    }
    len
}

fn next_word(bytes: &[u8]) -> (Word, &[u8], &[u8]) {
    let Some((c, size)) = first_rune(bytes) else {
        return (Word::Invalid, b"", b"");
    };
    let rest = &bytes[size..];
    let (kind, len) = if c == char::REPLACEMENT_CHARACTER {
        (Word::Invalid, size)
    } else if is_connector(c) {
        (Word::Connector, size + run(rest, is_connector))
    } else if is_punctuation(c) {
        (Word::Punctuation, size + run(rest, is_punctuation))
    } else if c.is_uppercase() {
        (Word::Upper, size + upper_run(rest))
    } else if is_alphabet(c) {
        (
            Word::Alphabet,
            size + run(rest, |c| is_alphabet(c) && !c.is_uppercase()),
        )
    } else if c.is_numeric() {
        (Word::Number, size + run(rest, char::is_numeric))
    } else {
        let other = |c: char| !(is_connector(c) || is_alphabet(c) || c.is_numeric() || is_punctuation(c));
        (Word::Other, size + run(rest, other))
    };
    (kind, &bytes[..len], &bytes[len..])
}

/// What follows a capital in its word: `TTP` of `HTTPServer`, `erver` of `Server`.
fn upper_run(rest: &[u8]) -> usize {
    let Some((second, _)) = first_rune(rest) else { return 0 };
    if !second.is_uppercase() {
        return if is_alphabet(second) {
            run(rest, |c| is_alphabet(c) && !c.is_uppercase())
        } else {
            0
        };
    }
    let capitals = run(rest, char::is_uppercase);
    match first_rune(&rest[capitals..]) {
        // The last capital belongs to the next word.
        Some((c, _)) if is_alphabet(c) => capitals - runes(&rest[..capitals]).last().map_or(0, |(_, len)| len),
        _ => capitals,
    }
}
