//! Sprig's functions of texts.

use nave_gotemplate::{Caller, FunctionError, GoType, Map, Str, Value};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::table::{ANY, INT, Result, STRING, Table, fail, int_at, str_at};
use crate::text::{
    display, find, first_rune, map_runes, quote, split, strslice, strval, to_lower, to_title, to_upper, trim,
    trim_space,
};

pub(crate) fn register(table: &mut Table<'_>) {
    table.add("hello", &[], |_, _| Ok("Hello!".into()));
    table.add("trim", &[STRING], |_, args| slice_of(&str_at(args, 0), trim_space));
    table.add("upper", &[STRING], |caller, args| {
        mapped(caller, &str_at(args, 0), to_upper)
    });
    table.add("lower", &[STRING], |caller, args| {
        mapped(caller, &str_at(args, 0), to_lower)
    });
    table.add("title", &[STRING], |caller, args| {
        let mut previous = ' ';
        mapped(caller, &str_at(args, 0), |c| {
            let out = if is_separator(previous) { to_title(c) } else { c };
            previous = c;
            out
        })
    });
    table.add("trimAll trimall", &[STRING, STRING], |_, args| {
        let cut = str_at(args, 0);
        let cut = cut.to_text();
        slice_of(&str_at(args, 1), |text| trim(text, |c| cut.contains(c)))
    });
    table.add("trimSuffix", &[STRING, STRING], |_, args| {
        let suffix = str_at(args, 0);
        slice_of(&str_at(args, 1), |text| {
            text.strip_suffix(suffix.as_bytes()).unwrap_or(text)
        })
    });
    table.add("trimPrefix", &[STRING, STRING], |_, args| {
        let prefix = str_at(args, 0);
        slice_of(&str_at(args, 1), |text| {
            text.strip_prefix(prefix.as_bytes()).unwrap_or(text)
        })
    });
    table.add("trunc", &[INT, STRING], |_, args| {
        Ok(trunc(int_at(args, 0), &str_at(args, 1)))
    });
    table.add("substr", &[INT, INT, STRING], |_, args| {
        substr(int_at(args, 0), int_at(args, 1), &str_at(args, 2))
    });
    table.add("repeat", &[INT, STRING], |caller, args| {
        repeat(caller, int_at(args, 0), &str_at(args, 1))
    });
    table.add("contains", &[STRING, STRING], |_, args| {
        Ok(find(str_at(args, 1).as_bytes(), str_at(args, 0).as_bytes())
            .is_some()
            .into())
    });
    table.add("hasPrefix", &[STRING, STRING], |_, args| {
        Ok(str_at(args, 1)
            .as_bytes()
            .starts_with(str_at(args, 0).as_bytes())
            .into())
    });
    table.add("hasSuffix", &[STRING, STRING], |_, args| {
        Ok(str_at(args, 1).as_bytes().ends_with(str_at(args, 0).as_bytes()).into())
    });
    table.rest("quote", &[ANY], |caller, args| {
        let mut words = Vec::new();
        for value in args.iter().filter(|value| !value.is_nil()) {
            let text = quote(&strval(caller, value)?);
            caller.charge_bytes(text.len())?;
            words.push(text);
        }
        Ok(words.join(" ").into())
    });
    table.rest("squote", &[ANY], |caller, args| {
        let mut out = Vec::new();
        for value in args.iter().filter(|value| !value.is_nil()) {
            if !out.is_empty() {
                out.push(b' ');
            }
            out.push(b'\'');
            out.extend_from_slice(display(caller, value)?.as_bytes());
            out.push(b'\'');
        }
        Ok(Value::string(out))
    });
    table.rest("cat", &[ANY], |caller, args| {
        let mut out = Vec::new();
        for (index, value) in args.iter().filter(|value| !value.is_nil()).enumerate() {
            if index > 0 {
                out.push(b' ');
            }
            out.extend_from_slice(display(caller, value)?.as_bytes());
        }
        Ok(Value::string(out))
    });
    table.add("indent", &[INT, STRING], |caller, args| {
        indent(caller, "", int_at(args, 0), &str_at(args, 1))
    });
    table.add("nindent", &[INT, STRING], |caller, args| {
        indent(caller, "\n", int_at(args, 0), &str_at(args, 1))
    });
    table.add("replace", &[STRING, STRING, STRING], |caller, args| {
        replace(caller, &str_at(args, 2), &str_at(args, 0), &str_at(args, 1)).map(Value::Str)
    });
    table.add("plural", &[STRING, STRING, INT], |_, args| {
        Ok(args[usize::from(int_at(args, 2) != 1)].clone())
    });
    table.add("toString", &[ANY], |caller, args| Ok(strval(caller, &args[0])?.into()));
    table.add("toStrings", &[ANY], |caller, args| match &args[0] {
        Value::List(list) if list.go_type() == GoType::STRING_LIST => Ok(args[0].clone()),
        value => Ok(Value::strings(strslice(caller, value)?)),
    });
    table.add("join", &[STRING, ANY], |caller, args| {
        let separator = str_at(args, 0);
        let parts = strslice(caller, &args[1])?;
        let total = parts.iter().map(Str::len).sum::<usize>() + separator.len().saturating_mul(parts.len());
        caller.charge_bytes(total)?;
        let parts: Vec<&[u8]> = parts.iter().map(Str::as_bytes).collect();
        Ok(Value::string(parts.join(separator.as_bytes())))
    });
    table.add("split", &[STRING, STRING], |caller, args| {
        let text = str_at(args, 1);
        numbered(caller, split(text.as_bytes(), str_at(args, 0).as_bytes(), -1))
    });
    table.add("splitn", &[STRING, INT, STRING], |caller, args| {
        let text = str_at(args, 2);
        numbered(
            caller,
            split(text.as_bytes(), str_at(args, 0).as_bytes(), int_at(args, 1)),
        )
    });
    table.add("splitList", &[STRING, STRING], |caller, args| {
        let text = str_at(args, 1);
        let parts = split(text.as_bytes(), str_at(args, 0).as_bytes(), -1);
        caller.charge_items(parts.len())?;
        Ok(Value::strings(parts))
    });
}

/// A text with every `old` replaced; an empty `old` stands before and after every rune.
fn replace(caller: &mut Caller<'_>, text: &Str, old: &Str, new: &Str) -> std::result::Result<Str, FunctionError> {
    let (bytes, old, new) = (text.as_bytes(), old.as_bytes(), new.as_bytes());
    caller.charge((bytes.len() / 64) as u64)?;
    if old == new {
        return Ok(text.clone());
    }
    if old.is_empty() {
        caller.charge_bytes(bytes.len().saturating_add((bytes.len() + 1).saturating_mul(new.len())))?;
        let mut out = new.to_vec();
        let mut rest = bytes;
        while let Some((_, len)) = first_rune(rest) {
            out.extend_from_slice(&rest[..len]);
            out.extend_from_slice(new);
            rest = &rest[len..];
        }
        return Ok(out.into());
    }
    let parts = split(bytes, old, -1);
    if parts.len() == 1 {
        return Ok(text.clone());
    }
    caller.charge_bytes(bytes.len().saturating_add(parts.len().saturating_mul(new.len())))?;
    Ok(parts.join(new).into())
}

fn indent(caller: &mut Caller<'_>, before: &str, spaces: i64, text: &Str) -> Result {
    let Ok(spaces) = usize::try_from(spaces) else {
        return fail("strings: negative Repeat count");
    };
    let lines = text.as_bytes().iter().filter(|byte| **byte == b'\n').count() + 1;
    let total = text
        .len()
        .saturating_add(lines.saturating_mul(spaces))
        .saturating_add(before.len());
    caller.charge_bytes(total)?;
    let pad = vec![b' '; spaces];
    let mut out = Vec::with_capacity(total);
    out.extend_from_slice(before.as_bytes());
    for (index, line) in text.as_bytes().split(|byte| *byte == b'\n').enumerate() {
        if index > 0 {
            out.push(b'\n');
        }
        out.extend_from_slice(&pad);
        out.extend_from_slice(line);
    }
    Ok(Value::string(out))
}

fn repeat(caller: &mut Caller<'_>, count: i64, text: &Str) -> Result {
    let Ok(count) = usize::try_from(count) else {
        return fail("strings: negative Repeat count");
    };
    let Some(total) = text
        .len()
        .checked_mul(count)
        .filter(|total| i64::try_from(*total).is_ok())
    else {
        return fail("strings: Repeat output length overflow");
    };
    caller.charge_bytes(total)?;
    Ok(Value::string(text.as_bytes().repeat(count)))
}

fn trunc(count: i64, text: &Str) -> Value {
    let len = i64::try_from(text.len()).unwrap_or(i64::MAX);
    let bytes = text.as_bytes();
    let at = |place: i64| usize::try_from(place).unwrap_or_default();
    if count < 0 && len.saturating_add(count) > 0 {
        Value::string(&bytes[at(len + count)..])
    } else if count >= 0 && len > count {
        Value::string(&bytes[..at(count)])
    } else {
        Value::Str(text.clone())
    }
}

/// Sprig's `substring`, which panics where Go's slicing does.
fn substr(start: i64, end: i64, text: &Str) -> Result {
    let bytes = text.as_bytes();
    let len = bytes.len();
    let index = |place: i64| usize::try_from(place).ok().filter(|place| *place <= len);
    if start < 0 {
        return match index(end) {
            Some(end) => Ok(Value::string(&bytes[..end])),
            None if end < 0 => fail(format!("runtime error: slice bounds out of range [:{end}]")),
            None => fail(format!(
                "runtime error: slice bounds out of range [:{end}] with length {len}"
            )),
        };
    }
    let (from, to) = (index(start), index(end));
    match (from, to) {
        (Some(from), None) => Ok(Value::string(&bytes[from..])),
        (Some(from), Some(to)) if from <= to => Ok(Value::string(&bytes[from..to])),
        (_, None) => fail(format!("runtime error: slice bounds out of range [{start}:{len}]")),
        _ => fail(format!("runtime error: slice bounds out of range [{start}:{end}]")),
    }
}

/// `_0`, `_1` and so on, as a `map[string]string`.
fn numbered(caller: &mut Caller<'_>, parts: Vec<&[u8]>) -> Result {
    caller.charge_items(parts.len())?;
    let entries: BTreeMap<Rc<str>, Value> = parts
        .into_iter()
        .enumerate()
        .map(|(index, part)| (Rc::from(format!("_{index}")), Value::string(part)))
        .collect();
    Ok(Value::Map(Rc::new(Map::with(GoType::STRING_MAP, entries))))
}

fn mapped(caller: &mut Caller<'_>, text: &Str, f: impl FnMut(char) -> char) -> Result {
    caller.charge_bytes(text.len())?;
    Ok(map_runes(text.as_bytes(), f).into())
}

fn slice_of(text: &Str, f: impl Fn(&[u8]) -> &[u8]) -> Result {
    let part = f(text.as_bytes());
    Ok(if part.len() == text.len() {
        Value::Str(text.clone())
    } else {
        Value::string(part)
    })
}

/// What `strings.Title` takes for the place between two words.
fn is_separator(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_alphanumeric() && c != '_';
    }
    !c.is_alphanumeric() && c.is_whitespace()
}
