//! YAML as `sigs.k8s.io/yaml` reads and writes it.

use nave_gotemplate::{Caller, LimitExceeded, Value};
use nave_object::yaml::{Dialect, parse_nodes};

use crate::json::{Whole, to_serde};

/// What `yaml.Marshal` gives, without the line break at its end.
pub(crate) fn write(caller: &mut Caller<'_>, value: &Value) -> Result<Result<String, String>, LimitExceeded> {
    let json = match to_serde(caller, value, Whole::Integer)? {
        Ok(json) => json,
        Err(message) => return Ok(Err(format!("error marshaling into JSON: {message}"))),
    };
    let text = nave_object::yaml::write(&json);
    caller.charge_bytes(text.len())?;
    Ok(Ok(without_break(text)))
}

/// What go-yaml 3 gives with an indentation of two, without the line break at its end.
pub(crate) fn write_pretty(caller: &mut Caller<'_>, value: &Value) -> Result<Result<String, String>, LimitExceeded> {
    let json = match to_serde(caller, value, Whole::Float)? {
        Ok(json) => json,
        Err(message) => return Ok(Err(message)),
    };
    let text = nave_object::yaml::write_indented(&json);
    caller.charge_bytes(text.len())?;
    Ok(Ok(without_break(text)))
}

/// The first document of a text; numbers are `float64`.
pub(crate) fn read(caller: &mut Caller<'_>, text: &str) -> Result<Result<Value, String>, LimitExceeded> {
    caller.charge((text.len() / 8) as u64)?;
    caller.charge_bytes(text.len().saturating_mul(4))?;
    let problem = |error: nave_object::yaml::YamlError| {
        format!(
            "error converting YAML to JSON: yaml: line {}: {}",
            error.line, error.problem
        )
    };
    let nodes = match parse_nodes(text, Dialect::K8s) {
        Ok(nodes) => nodes,
        Err(error) => return Ok(Err(problem(error))),
    };
    let Some(node) = nodes.first() else {
        return Ok(Ok(Value::Nil));
    };
    Ok(node
        .to_value(Dialect::K8s)
        .map(|json| Value::from_json(&json))
        .map_err(problem))
}

fn without_break(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
    }
    text
}
