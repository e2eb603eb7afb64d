//! Definitions as YAML text, the same on every machine.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

/// The text of a definition: keys sorted, sequences flush with their key, ends with a line break.
pub fn render(crd: &CustomResourceDefinition) -> String {
    let value = serde_json::to_value(crd).expect("a definition is JSON");
    let mut text = String::from("---\n");
    write_block(&mut text, &value, 0);
    text
}

/// The file name of a definition in `crds/yaml/`: `<group>_<plural>.yaml`.
pub fn file_name(crd: &CustomResourceDefinition) -> String {
    format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural)
}

/// Writes a value whose first line begins at the current position, which is at `indent`.
fn write_block(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            // serde_json keeps the order of insertion when any crate of the build asks for it.
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            for (index, key) in keys.into_iter().enumerate() {
                if index > 0 {
                    pad(out, indent);
                }
                out.push_str(&scalar(key));
                out.push(':');
                write_child(out, &map[key], indent);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    pad(out, indent);
                }
                out.push_str("- ");
                write_block(out, item, indent + 2);
            }
        }
        other => {
            out.push_str(&flat(other));
            out.push('\n');
        }
    }
}

/// Writes what follows a key and its colon.
fn write_child(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            pad(out, indent + 2);
            write_block(out, value, indent + 2);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            pad(out, indent);
            write_block(out, value, indent);
        }
        other => {
            out.push(' ');
            out.push_str(&flat(other));
            out.push('\n');
        }
    }
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// A value that fits on one line: scalars and empty collections.
fn flat(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        // Limits are floating point in the API's types; nobody writes `minLength: 1.0`.
        Value::Number(number) => match number.as_f64() {
            Some(float) if float.fract() == 0.0 && float.abs() < 1e15 => (float as i64).to_string(),
            _ => number.to_string(),
        },
        // Booleans, null, `{}` and `[]` are the same in JSON and YAML.
        other => other.to_string(),
    }
}

/// A string as plain scalar where no reader could take it for anything else, else as JSON string.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || " _-./(),;<>'".contains(c);
    let words = [
        "null", "true", "false", "yes", "no", "on", "off", "y", "n", "inf", "nan",
    ];
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '.' || c == ')')
        && text.chars().all(plain)
        && !text.contains("  ")
        && !words.contains(&text.to_ascii_lowercase().as_str());
    if is_plain {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(value: Value, want: &str) {
        let mut text = String::new();
        write_block(&mut text, &value, 0);
        assert_eq!(text, want);
    }

    #[test]
    fn nesting_is_indented_as_kubectl_does() {
        check(
            json!({"b": [{"y": 1, "x": []}, "s"], "a": {"c": {}, "d": [["n"]]}}),
            "a:\n  c: {}\n  d:\n  - - \"n\"\nb:\n- x: []\n  \"y\": 1\n- s\n",
        );
    }

    #[test]
    fn strings_that_could_be_read_as_something_else_are_quoted() {
        for text in [
            "", "true", "No", "1", "-x", "a: b", "a #b", "a\nb", "0x1", "~", "x ", "é",
        ] {
            assert!(scalar(text).starts_with('"'), "{text:?} → {}", scalar(text));
        }
        for text in ["v1", "sha256", "One (of two).", "fleet.nave.dev/kind"] {
            assert_eq!(scalar(text), text);
        }
    }
}
