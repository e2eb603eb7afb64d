//! `html js urlquery`.

use crate::format::runes;
use crate::func::{Caller, FunctionError};
use crate::value::{Str, Value};

/// The text of the arguments, as an action prints them.
fn text(caller: &mut Caller<'_>, args: &[Value]) -> Result<Str, FunctionError> {
    if let [Value::Str(text)] = args {
        return Ok(text.clone());
    }
    let printable: Vec<_> = args
        .iter()
        .map(|v| {
            if v.is_nil() {
                Value::string("<no value>")
            } else {
                v.clone()
            }
        })
        .collect();
    Ok(caller.sprint(&printable)?)
}

/// Writes each byte or what stands for it.
fn escape(
    caller: &mut Caller<'_>,
    args: &[Value],
    mut write: impl FnMut(&mut Vec<u8>, &[u8]) -> usize,
) -> Result<Value, FunctionError> {
    let text = text(caller, args)?;
    let mut rest = text.as_bytes();
    // No character becomes longer than ten bytes.
    caller.charge_bytes(rest.len().saturating_mul(10))?;
    let mut out = Vec::with_capacity(rest.len());
    while !rest.is_empty() {
        let used = write(&mut out, rest);
        rest = &rest[used..];
    }
    Ok(Value::string(out))
}

/// Text for HTML.
pub(super) fn html(caller: &mut Caller<'_>, args: &[Value]) -> Result<Value, FunctionError> {
    escape(caller, args, |out, rest| {
        match rest[0] {
            0 => out.extend_from_slice("\u{fffd}".as_bytes()),
            b'"' => out.extend_from_slice(b"&#34;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b => out.push(b),
        }
        1
    })
}

/// Text for a JavaScript string.
pub(super) fn js(caller: &mut Caller<'_>, args: &[Value]) -> Result<Value, FunctionError> {
    escape(caller, args, |out, rest| {
        match rest[0] {
            b @ (b'\\' | b'\'' | b'"') => out.extend_from_slice(&[b'\\', b]),
            b @ (b'<' | b'>' | b'&' | b'=' | 0..=31) => out.extend_from_slice(format!("\\u{b:04X}").as_bytes()),
            b if b.is_ascii() => out.push(b),
            _ => {
                let (c, len) = runes::first(rest);
                if runes::is_print(c) {
                    out.extend_from_slice(&rest[..len]);
                } else {
                    out.extend_from_slice(format!("\\u{:04X}", u32::from(c)).as_bytes());
                }
                return len;
            }
        }
        1
    })
}

/// Text for the query of a URL.
pub(super) fn urlquery(caller: &mut Caller<'_>, args: &[Value]) -> Result<Value, FunctionError> {
    escape(caller, args, |out, rest| {
        match rest[0] {
            b' ' => out.push(b'+'),
            b @ (b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~') => out.push(b),
            b => out.extend_from_slice(format!("%{b:02X}").as_bytes()),
        }
        1
    })
}
