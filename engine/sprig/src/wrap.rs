//! Texts of a limited width: `wrap`, `wrapWith`, `abbrev`, `abbrevboth`.
//!
//! The rules are those of `github.com/Masterminds/goutils` 1.1.1, which counts bytes.

use nave_gotemplate::{Caller, Str, Value};

use crate::table::{INT, Result, STRING, Table, int_at, str_at};

pub(crate) fn register(table: &mut Table<'_>) {
    table.add("wrap", &[INT, STRING], |caller, args| {
        wrap(caller, &str_at(args, 1), int_at(args, 0), b"\n", false)
    });
    table.add("wrapWith", &[INT, STRING, STRING], |caller, args| {
        let separator = str_at(args, 1);
        let separator: &[u8] = if separator.is_empty() {
            b"\n"
        } else {
            separator.as_bytes()
        };
        wrap(caller, &str_at(args, 2), int_at(args, 0), separator, true)
    });
    table.add("abbrev", &[INT, STRING], |_, args| {
        let (width, text) = (int_at(args, 0), str_at(args, 1));
        Ok(if width < 4 {
            Value::Str(text)
        } else {
            abbreviate(&text, 0, width)
        })
    });
    table.add("abbrevboth", &[INT, INT, STRING], |_, args| {
        let (left, right, text) = (int_at(args, 0), int_at(args, 1), str_at(args, 2));
        Ok(if right < 4 || left > 0 && right < 7 {
            Value::Str(text)
        } else {
            abbreviate(&text, left, right)
        })
    });
}

fn wrap(caller: &mut Caller<'_>, text: &Str, width: i64, separator: &[u8], long_words: bool) -> Result {
    let bytes = text.as_bytes();
    let width = usize::try_from(width.max(1)).unwrap_or(usize::MAX);
    caller.charge(bytes.len() as u64)?;
    caller.charge_bytes(
        bytes
            .len()
            .saturating_add((bytes.len() / width).saturating_mul(separator.len() + 1)),
    )?;
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while bytes.len() - at > width {
        if bytes[at] == b' ' {
            at += 1;
            continue;
        }
        let last_space = bytes[at..=at + width]
            .iter()
            .rposition(|byte| *byte == b' ')
            .map(|place| at + place);
        let next = match last_space {
            Some(space) => (space, space + 1),
            None if long_words => (at + width, at + width),
            None => match bytes[at + width..].iter().position(|byte| *byte == b' ') {
                Some(space) => (at + width + space, at + width + space + 1),
                None => break,
            },
        };
        out.extend_from_slice(&bytes[at..next.0]);
        out.extend_from_slice(separator);
        at = next.1;
    }
    out.extend_from_slice(&bytes[at..]);
    Ok(Value::string(out))
}

/// `AbbreviateFull`: at most `width` bytes, with dots where something was left out. Too narrow a width gives nothing.
fn abbreviate(text: &Str, offset: i64, width: i64) -> Value {
    let bytes = text.as_bytes();
    let len = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    if bytes.is_empty() || width < 4 {
        return "".into();
    }
    if len <= width {
        return Value::Str(text.clone());
    }
    let at = |place: i64| usize::try_from(place).unwrap_or_default();
    let mut offset = offset.min(len);
    if len - offset < width - 3 {
        offset = len - (width - 3);
    }
    if offset <= 4 {
        return Value::string([&bytes[..at(width - 3)], b"..."].concat());
    }
    if width < 7 {
        return "".into();
    }
    if offset + width - 3 < len {
        let rest = Str::from(&bytes[at(offset)..]);
        let rest = abbreviate(&rest, 0, width - 3).as_string().unwrap_or_default();
        return Value::string([b"...", rest.as_bytes()].concat());
    }
    Value::string([b"...", &bytes[at(len - (width - 3))..]].concat())
}
