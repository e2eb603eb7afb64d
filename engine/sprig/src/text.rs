//! Go's view of text: bytes, runes, and what `%v` prints.

use nave_gotemplate::{Caller, FunctionError, Str, Value};

/// The longest text that printing one value may give, in bytes.
const MAX_PRINT: usize = 64 << 20;

/// Every rune of a text; a byte that is not UTF-8 counts as U+FFFD.
pub(crate) fn runes(bytes: &[u8]) -> impl Iterator<Item = (char, usize)> + '_ {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (rune, len) = first_rune(rest)?;
        rest = &rest[len..];
        Some((rune, len))
    })
}

/// The first rune and its length in bytes.
pub(crate) fn first_rune(bytes: &[u8]) -> Option<(char, usize)> {
    let first = *bytes.first()?;
    if first.is_ascii() {
        return Some((char::from(first), 1));
    }
    let len = match first {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => 1,
    };
    let rune = bytes
        .get(..len)
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .and_then(|text| text.chars().next());
    Some(rune.map_or((char::REPLACEMENT_CHARACTER, 1), |rune| (rune, len)))
}

/// Each rune mapped; invalid bytes become U+FFFD, as Go's `strings.Map` has it.
pub(crate) fn map_runes(bytes: &[u8], f: impl FnMut(char) -> char) -> String {
    let mut f = f;
    runes(bytes).map(|(rune, _)| f(rune)).collect()
}

/// `unicode.ToUpper`: one character for one.
pub(crate) fn to_upper(c: char) -> char {
    let code = u32::from(c);
    match code {
        0x1F80..=0x1F87 | 0x1F90..=0x1F97 | 0x1FA0..=0x1FA7 => char::from_u32(code + 8).unwrap_or(c),
        0x1FB3 | 0x1FC3 | 0x1FF3 => char::from_u32(code + 9).unwrap_or(c),
        _ => single(c.to_uppercase(), c),
    }
}

/// `unicode.ToLower`: one character for one.
pub(crate) fn to_lower(c: char) -> char {
    if c == '\u{130}' {
        'i'
    } else {
        single(c.to_lowercase(), c)
    }
}

/// `unicode.ToTitle`: upper case, but for the letters that are two in one.
pub(crate) fn to_title(c: char) -> char {
    match u32::from(c) {
        0x1C4..=0x1C6 => '\u{1C5}',
        0x1C7..=0x1C9 => '\u{1C8}',
        0x1CA..=0x1CC => '\u{1CB}',
        0x1F1..=0x1F3 => '\u{1F2}',
        _ => to_upper(c),
    }
}

/// `unicode.IsTitle`.
pub(crate) fn is_title(c: char) -> bool {
    matches!(u32::from(c), 0x1C5 | 0x1C8 | 0x1CB | 0x1F2 | 0x1F88..=0x1F8F | 0x1F98..=0x1F9F | 0x1FA8..=0x1FAF | 0x1FBC | 0x1FCC | 0x1FFC)
}

fn single(mut mapped: impl Iterator<Item = char>, otherwise: char) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(c), None) => c,
        _ => otherwise,
    }
}

/// What `%v` prints, charged.
pub(crate) fn display(caller: &mut Caller<'_>, value: &Value) -> Result<Str, FunctionError> {
    let text = nave_gotemplate::sprint(std::slice::from_ref(value), MAX_PRINT)?;
    caller.charge_bytes(text.len())?;
    Ok(text)
}

/// Sprig's `strval`: texts and bytes as they are, everything else as `%v` prints it.
pub(crate) fn strval(caller: &mut Caller<'_>, value: &Value) -> Result<Str, FunctionError> {
    match value {
        Value::Str(text) => Ok(text.clone()),
        Value::Bytes(bytes) => Ok(Str::from(bytes.clone())),
        _ => display(caller, value),
    }
}

/// Sprig's `strslice`: the texts of a list without its nils; anything else is a list of one.
pub(crate) fn strslice(caller: &mut Caller<'_>, value: &Value) -> Result<Vec<Str>, FunctionError> {
    if let Some(items) = value.items() {
        caller.charge_items(items.len())?;
        return items
            .iter()
            .filter(|item| !item.is_nil())
            .map(|item| strval(caller, item))
            .collect();
    }
    if value.is_nil() {
        Ok(Vec::new())
    } else {
        Ok(vec![strval(caller, value)?])
    }
}

/// `%q` of a text.
pub(crate) fn quote(text: &Str) -> String {
    nave_gotemplate::sprintf(b"%q", &[Value::Str(text.clone())], MAX_PRINT)
        .map_or_else(|_| "\"…\"".to_owned(), |text| text.to_text().into_owned())
}

/// Where `needle` first stands in `haystack`.
pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() {
        return Some(0);
    }
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// `strings.SplitN`: at most `n` parts if `n` is positive; an empty separator splits into runes.
pub(crate) fn split<'a>(text: &'a [u8], separator: &[u8], n: i64) -> Vec<&'a [u8]> {
    let limit = usize::try_from(n).unwrap_or(usize::MAX);
    if limit == 0 {
        return Vec::new();
    }
    let mut parts = Vec::new();
    let mut rest = text;
    if separator.is_empty() {
        while let Some((_, len)) = first_rune(rest) {
            let len = if parts.len() + 1 == limit { rest.len() } else { len };
            parts.push(&rest[..len]);
            rest = &rest[len..];
        }
        return parts;
    }
    while parts.len() + 1 < limit {
        let Some(at) = find(rest, separator) else { break };
        parts.push(&rest[..at]);
        rest = &rest[at + separator.len()..];
    }
    parts.push(rest);
    parts
}

/// `strings.TrimSpace`.
pub(crate) fn trim_space(text: &[u8]) -> &[u8] {
    trim(text, char::is_whitespace)
}

/// `strings.TrimFunc`.
pub(crate) fn trim(text: &[u8], drop: impl Fn(char) -> bool) -> &[u8] {
    let mut start = 0;
    let mut end = 0;
    let mut at = 0;
    let mut leading = true;
    for (rune, len) in runes(text) {
        let dropped = drop(rune);
        if leading && dropped {
            start = at + len;
        } else {
            leading = false;
        }
        at += len;
        if !dropped {
            end = at;
        }
    }
    &text[start.min(end.max(start))..end.max(start)]
}
