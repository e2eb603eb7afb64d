//! Hash suffixes of generated names, to the letter.

use nave_object::digest::sha256_hex;
use nave_object::yaml::{Dialect, Node};
use serde_json::{Value, json};

use crate::error::BuildError;
use crate::resource::{ResMap, Resource};
use crate::schema::Schemas;

/// Appends the hash to every name that wants one.
pub(crate) fn add_hashes(resources: &mut ResMap, schemas: &Schemas) -> Result<(), BuildError> {
    for resource in &mut resources.list {
        if resource.needs_hash {
            let hash = hash(resource)?;
            resource.store_previous(schemas);
            let name = format!("{}-{hash}", resource.name());
            resource.set_name(&name).map_err(|problem| resource.error(problem))?;
        }
    }
    Ok(())
}

/// Ten letters and digits from the SHA-256 of the content, without those that could spell words.
fn hash(resource: &Resource) -> Result<String, BuildError> {
    let field = |name: &str| -> Result<Value, BuildError> {
        match resource.node.get(name) {
            None => Ok(json!("")),
            Some(Node::Scalar(scalar)) => Ok(json!(scalar.text.as_str())),
            Some(node) => match node.to_value(Dialect::Kyaml) {
                Ok(value) => Ok(floats(value)),
                Err(error) => Err(resource.error(error.problem)),
            },
        }
    };
    // Kustomize looks for a field called `metadata/name`, which is never there: the name that is
    // hashed is empty. It is kept that way upstream, because hashes must not change.
    let content = match resource.kind() {
        "ConfigMap" => {
            let mut content = json!({"kind": "ConfigMap", "name": "", "data": field("data")?});
            let binary = field("binaryData")?;
            if binary.is_object() {
                content["binaryData"] = binary;
            }
            content
        }
        "Secret" => {
            let mut content = json!({"kind": "Secret", "type": field("type")?, "name": "", "data": field("data")?});
            let plain = field("stringData")?;
            if plain.is_object() {
                content["stringData"] = plain;
            }
            content
        }
        kind => {
            return Err(resource.error(format!(
                "a name suffix hash is supported for ConfigMap and Secret, not for {kind}"
            )));
        }
    };
    let hexadecimal = sha256_hex(go_json(&content));
    Ok(hexadecimal[..10]
        .chars()
        .map(|digit| match digit {
            '0' => 'g',
            '1' => 'h',
            '3' => 'k',
            'a' => 'm',
            'e' => 't',
            other => other,
        })
        .collect())
}

/// Numbers as they are after Go has read them into an empty interface: all of them are floats.
fn floats(value: Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().map_or(Value::Null, |float| json!(float)),
        Value::Array(items) => items.into_iter().map(floats).collect(),
        Value::Object(map) => map.into_iter().map(|(key, item)| (key, floats(item))).collect(),
        other => other,
    }
}

/// JSON as Go's `encoding/json` writes it: sorted keys, and `<`, `>`, `&` and two line separators
/// escaped.
pub(crate) fn go_json(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => write_text(text, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            out.push('{');
            for (index, key) in keys.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_text(key, out);
                out.push(':');
                write(&map[key], out);
            }
            out.push('}');
        }
        Value::Number(number) if number.is_f64() => {
            let float = number.as_f64().unwrap_or_default();
            out.push_str(&nave_object::yaml::format_float_json(float));
        }
        other => out.push_str(&other.to_string()),
    }
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_escaped_as_in_go() {
        let value = json!({"b": "<a>&\u{2028}\u{1}\n", "a": [1, true, null]});
        assert_eq!(
            go_json(&value),
            r#"{"a":[1,true,null],"b":"\u003ca\u003e\u0026\u2028\u0001\n"}"#
        );
    }
}
