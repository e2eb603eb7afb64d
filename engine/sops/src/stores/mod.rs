//! The formats: bytes to trees and back.

mod comments;
mod dotenv;
mod flat;
mod ini;
mod json;
mod yaml_read;
mod yaml_write;

use crate::detect::Format;
use crate::value::{Branch, Item, Value, get, take};

pub(crate) use json::{from_json, to_json};

/// The key of the metadata.
const NOTES: &str = "sops";

/// Text that is not of its format. Quotes nothing of it.
#[derive(Debug)]
pub(crate) struct StoreError {
    /// From 1; 0 when not known.
    pub(crate) line: usize,
    pub(crate) problem: String,
}

impl StoreError {
    fn new(line: usize, problem: impl Into<String>) -> StoreError {
        StoreError {
            line,
            problem: problem.into(),
        }
    }
}

/// Reads an encrypted file: its documents, and the metadata taken out of them.
pub(crate) fn read(bytes: &[u8], format: Format) -> Result<(Vec<Branch>, Option<Value>), StoreError> {
    let mut branches = match format {
        Format::Yaml => yaml_read::read(utf8(bytes)?)?,
        Format::Json | Format::Binary => vec![json::read(bytes)?],
        Format::Dotenv => return dotenv::read(bytes),
        Format::Ini => vec![ini::read(utf8(bytes)?)?],
    };
    let mut notes = None;
    for (place, branch) in branches.iter_mut().enumerate() {
        let taken = take(branch, NOTES);
        if place == 0 {
            notes = taken;
        }
    }
    if format == Format::Ini {
        notes = match notes {
            Some(Value::Map(fields)) => Some(flat::unflatten(&fields)?),
            other => other,
        };
    }
    Ok((branches, notes))
}

/// Writes a decrypted file.
///
/// The error names the key that cannot be written.
pub(crate) fn write(branches: &[Branch], format: Format) -> Result<Vec<u8>, String> {
    match format {
        Format::Yaml => Ok(yaml_write::write(branches)?.into_bytes()),
        Format::Json => Ok(json::write(only(branches)?)),
        Format::Dotenv => dotenv::write(only(branches)?),
        Format::Ini => ini::write(branches),
        Format::Binary => match get(only(branches)?, "data") {
            Some(Value::Text(bytes)) => Ok(bytes.clone()),
            Some(other) => Err(format!("data is {}, but bytes are needed", other.type_name())),
            None => Err("there is no data in it".to_owned()),
        },
    }
}

/// The first document: formats with one take no notice of others, as in SOPS.
fn only(branches: &[Branch]) -> Result<&[Item], String> {
    branches
        .first()
        .map(Vec::as_slice)
        .ok_or_else(|| "there is no document in it".to_owned())
}

fn utf8(bytes: &[u8]) -> Result<&str, StoreError> {
    std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        StoreError::new(line, "it is not UTF-8")
    })
}

/// A value as text where the format has only texts.
fn plain_text(value: &Value) -> Option<Vec<u8>> {
    Some(match value {
        Value::Text(text) => text.clone(),
        Value::Null => b"<nil>".to_vec(),
        Value::Bool(flag) => flag.to_string().into_bytes(),
        Value::Int(number) => number.to_string().into_bytes(),
        Value::Float(number) => {
            let text = nave_object::yaml::format_float(*number).to_uppercase();
            match text.contains(['.', 'E']) {
                true => text.into_bytes(),
                // It must not look like a whole number.
                false => format!("{text}.0").into_bytes(),
            }
        }
        Value::Time(text) => crate::moment::Moment::parse(text)?.short().into_bytes(),
        Value::Comment(_) | Value::List(_) | Value::Map(_) => return None,
    })
}
