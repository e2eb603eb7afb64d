//! YAML into values.

use nave_object::yaml::{Dialect, Node, YamlError};
use serde_json::{Number, Value};

use super::merge_maps;
use crate::decode::{Fields, first_document};
use crate::{DecodeError, Values};

/// Reads a values file: its documents are laid over each other in order.
///
/// # Errors
/// A document that is no YAML or no map, and a `---` with something other than a comment behind it.
pub fn load_values(text: &[u8]) -> Result<Values, DecodeError> {
    let mut values = Values::new();
    let mut start = 0;
    let mut line_start = 0;
    let mut line = 0;
    let mut first_line = 0;
    while line_start < text.len() {
        let end = text[line_start..].iter().position(|byte| *byte == b'\n');
        let end = end.map_or(text.len(), |end| line_start + end + 1);
        line += 1;
        if let Some(rest) = text[line_start..end].strip_prefix(b"---") {
            let rest = rest.trim_ascii();
            if !rest.is_empty() && !rest.starts_with(b"#") {
                return Err(DecodeError::Yaml(YamlError {
                    line,
                    column: 0,
                    problem: format!("invalid Yaml document separator: {}", String::from_utf8_lossy(rest)),
                }));
            }
            merge_maps(&mut values, read_document(&text[start..line_start], first_line)?);
            start = end;
            first_line = line;
        }
        line_start = end;
    }
    merge_maps(&mut values, read_document(&text[start..], first_line)?);
    Ok(values)
}

fn read_document(text: &[u8], lines_before: usize) -> Result<Values, DecodeError> {
    let read = || {
        let Some(document) = first_document(text)? else {
            return Ok(Values::new());
        };
        read_map(&document)
    };
    read().map_err(|error| match error {
        DecodeError::Yaml(mut error) => {
            error.line += lines_before;
            DecodeError::Yaml(error)
        }
        DecodeError::Type {
            line,
            found,
            place,
            expected,
        } => DecodeError::Type {
            line: line + u32::try_from(lines_before).unwrap_or(u32::MAX),
            found,
            place,
            expected,
        },
        other => other,
    })
}

/// A map with floats for all its numbers; an empty one for null.
fn read_map(document: &Node) -> Result<Values, DecodeError> {
    if Fields::of(document, "values")?.is_none() {
        return Ok(Values::new());
    }
    match document.to_value(Dialect::K8s).map_err(DecodeError::Yaml)? {
        Value::Object(map) => Ok(map.into_iter().map(|(key, value)| (key, with_floats(value))).collect()),
        _ => Ok(Values::new()),
    }
}

/// Makes all numbers floats, as Go's JSON decoder does.
pub(crate) fn with_floats(value: Value) -> Value {
    match value {
        Value::Number(number) => {
            let float = number.as_f64().and_then(Number::from_f64);
            Value::Number(float.unwrap_or(number))
        }
        Value::Array(items) => Value::Array(items.into_iter().map(with_floats).collect()),
        Value::Object(map) => Value::Object(map.into_iter().map(|(key, value)| (key, with_floats(value))).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_are_laid_over_each_other_and_numbers_are_floats() {
        let text = b"a: 1\nb: {c: 0o10, d: x}\n--- # second\nb: {d: null}\n---\n";
        let values = Value::Object(load_values(text).unwrap());
        assert_eq!(values, json!({"a": 1.0, "b": {"c": 8.0, "d": null}}));
    }

    #[test]
    fn errors_have_the_line_of_the_file() {
        for (text, problem) in [
            ("a: 1\n---\nb: 2\nc: [\n", "line "),
            ("a: 1\n---\n\n- x\n", "line 4: cannot unmarshal array into values"),
            ("a: 1\n--- b: 2\n", "line 2: invalid Yaml document separator: b: 2"),
        ] {
            let error = load_values(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
