//! Lines of `NAME=value`; line breaks in values are written `\n`.

use super::{StoreError, flat, plain_text};
use crate::value::{Branch, Item, Value};

const PREFIX: &str = "sops_";

/// The lines, and the metadata that stands in lines of its own.
pub(super) fn read(bytes: &[u8]) -> Result<(Vec<Branch>, Option<Value>), StoreError> {
    let mut branch = Vec::new();
    let mut notes = Vec::new();
    for (place, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        if let Some(comment) = line.strip_prefix(b"#") {
            branch.push(Item::Comment(comment.to_vec()));
            continue;
        }
        let Some(equals) = line.iter().position(|byte| *byte == b'=') else {
            return Err(StoreError::new(place + 1, "there is no = in the line"));
        };
        let Ok(name) = std::str::from_utf8(&line[..equals]) else {
            return Err(StoreError::new(place + 1, "the name is not UTF-8"));
        };
        let value = Value::Text(replace(&line[equals + 1..], b"\\n", b"\n"));
        match name.strip_prefix(PREFIX) {
            Some(name) => notes.push(Item::Entry(name.to_owned(), value)),
            None => branch.push(Item::Entry(name.to_owned(), value)),
        }
    }
    let notes = (!notes.is_empty()).then(|| flat::unflatten(&notes)).transpose()?;
    Ok((vec![branch], notes))
}

pub(super) fn write(branch: &[Item]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    for item in branch {
        match item {
            Item::Comment(comment) => {
                out.push(b'#');
                out.extend_from_slice(comment);
            }
            Item::Entry(name, value) => {
                let Some(text) = plain_text(value) else {
                    return Err(format!("{name} is {}, which a line cannot hold", value.type_name()));
                };
                out.extend_from_slice(name.as_bytes());
                out.push(b'=');
                out.extend_from_slice(&replace(&text, b"\n", b"\\n"));
            }
        }
        out.push(b'\n');
    }
    Ok(out)
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        if let Some(behind) = rest.strip_prefix(from) {
            out.extend_from_slice(to);
            rest = behind;
        } else {
            out.push(rest[0]);
            rest = &rest[1..];
        }
    }
    out
}
