//! `values.schema.json`.

mod outside;

use std::error::Error;
use std::sync::Arc;

use jsonschema::{PatternOptions, ReferencingError, ValidationError, error::TypeKind, error::ValidationErrorKind};
use serde_json::Value;

use self::outside::Outside;
use crate::text::quote;
use crate::{Chart, SchemaDocuments};

/// Bytes that a compiled pattern may take.
const PATTERN_BYTES: usize = 1 << 20;

type Documents<'a> = Option<&'a Arc<dyn SchemaDocuments>>;

/// Checks values against the schema of a chart and of the charts below it.
///
/// # Errors
/// Everything that does not fit, by chart, in the words of Helm's validator where a keyword has words of its own.
pub(crate) fn check(chart: &Chart, values: &Value, documents: Documents<'_>) -> Result<(), String> {
    let mut problems = String::new();
    collect(chart, &without_fractions(values), documents, &mut problems);
    match problems.is_empty() {
        true => Ok(()),
        false => Err(problems),
    }
}

fn collect(chart: &Chart, values: &Value, documents: Documents<'_>, problems: &mut String) {
    if let Some(schema) = &chart.schema
        && let Err(problem) = check_one(&schema.data, values, documents)
    {
        problems.push_str(&format!("{}:\n{problem}\n", chart.name()));
    }
    for below in &chart.dependencies {
        match values.get(below.name()) {
            None | Some(Value::Null) => {}
            Some(values @ Value::Object(_)) => collect(below, values, documents, problems),
            Some(other) => problems.push_str(&format!(
                "{}:\ninvalid type for values: expected object (map), got {}\n",
                below.name(),
                go_type(other)
            )),
        }
    }
}

fn check_one(schema: &[u8], values: &Value, documents: Documents<'_>) -> Result<(), String> {
    let schema: Value = serde_json::from_slice(schema).map_err(|error| format!("values.schema.json: {error}"))?;
    let validator = jsonschema::options()
        .with_retriever(Outside::new(documents.cloned()))
        .with_pattern_options(
            PatternOptions::regex()
                .size_limit(PATTERN_BYTES)
                .dfa_size_limit(PATTERN_BYTES),
        )
        .build(&schema)
        .map_err(|error| match error.kind() {
            ValidationErrorKind::Referencing(ReferencingError::Unretrievable { uri, source }) => {
                format!("failing loading {}: {}", quote(uri), chain(&**source))
            }
            _ => format!("values.schema.json: {}", chain(&error)),
        })?;
    let mut lines = Vec::new();
    let errors: Vec<_> = validator.iter_errors(values).collect();
    describe(errors.iter(), 0, &mut lines);
    match lines.is_empty() {
        true => Ok(()),
        false => Err(lines.join("\n")),
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

fn describe<'a>(errors: impl Iterator<Item = &'a ValidationError<'a>>, level: usize, lines: &mut Vec<String>) {
    // Properties that are missing in one place are one line.
    let mut missing: Vec<(String, usize, Vec<String>)> = Vec::new();
    for error in errors {
        let place = error.instance_path().to_string();
        if let ValidationErrorKind::Required { property } = error.kind() {
            let property = property.as_str().map_or_else(|| property.to_string(), single_quoted);
            match missing.iter_mut().find(|(known, ..)| *known == place) {
                Some((_, line, names)) => {
                    names.push(property);
                    lines[*line] = line_of(level, &place, &format!("missing properties {}", names.join(", ")));
                }
                None => {
                    lines.push(line_of(level, &place, &format!("missing property {property}")));
                    missing.push((place, lines.len() - 1, vec![property]));
                }
            }
            continue;
        }
        lines.push(line_of(level, &place, &words(error)));
        if let ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } = error.kind() {
            for branch in context {
                describe(branch.iter(), level + 1, lines);
            }
        }
    }
}

fn line_of(level: usize, place: &str, problem: &str) -> String {
    format!("{}- at {}: {problem}", "  ".repeat(level), single_quoted(place))
}

fn words(error: &ValidationError<'_>) -> String {
    let instance = error.instance();
    let size = || match &**instance {
        Value::Array(items) => items.len(),
        Value::Object(map) => map.len(),
        Value::String(text) => text.chars().count(),
        _ => 0,
    };
    let sizes = |keyword: &str, limit: u64| {
        #[expect(clippy::cast_precision_loss, reason = "a size in a message")]
        let (got, want) = (localized(size() as f64), localized(limit as f64));
        format!("{keyword}: got {got}, want {want}")
    };
    let numbers = |keyword: &str, limit: &Value| {
        let number = |value: &Value| value.as_f64().map_or_else(|| value.to_string(), localized);
        format!("{keyword}: got {}, want {}", number(instance), number(limit))
    };
    let not_allowed = |what: &str, names: &[String]| {
        let names: Vec<String> = names.iter().map(|name| single_quoted(name)).collect();
        format!("{what} {} not allowed", names.join(", "))
    };
    match error.kind() {
        ValidationErrorKind::Type { kind } => {
            let wanted = match kind {
                TypeKind::Single(kind) => kind.to_string(),
                TypeKind::Multiple(kinds) => {
                    let kinds: Vec<String> = kinds.iter().map(|kind| kind.to_string()).collect();
                    kinds.join(" or ")
                }
            };
            format!("got {}, want {wanted}", json_type(instance))
        }
        ValidationErrorKind::AdditionalProperties { unexpected } => not_allowed("additional properties", unexpected),
        ValidationErrorKind::UnevaluatedProperties { unexpected } => not_allowed("unevaluated properties", unexpected),
        ValidationErrorKind::Enum { options } => match options.as_array() {
            Some(options) if options.iter().any(|option| option.is_array() || option.is_object()) => {
                "'enum' failed".to_owned()
            }
            Some(options) if options.len() == 1 => format!("value must be {}", shown(&options[0])),
            Some(options) => {
                let options: Vec<String> = options.iter().map(shown).collect();
                format!("value must be one of {}", options.join(", "))
            }
            None => "'enum' failed".to_owned(),
        },
        ValidationErrorKind::Constant { expected_value } => match &**expected_value {
            Value::Array(_) | Value::Object(_) => "'const' failed".to_owned(),
            value => format!("value must be {}", shown(value)),
        },
        ValidationErrorKind::Pattern { pattern } => {
            let text = instance.as_str().unwrap_or_default();
            format!(
                "{} does not match pattern {}",
                single_quoted(text),
                single_quoted(pattern)
            )
        }
        ValidationErrorKind::Minimum { limit } => numbers("minimum", limit),
        ValidationErrorKind::Maximum { limit } => numbers("maximum", limit),
        ValidationErrorKind::ExclusiveMinimum { limit } => numbers("exclusiveMinimum", limit),
        ValidationErrorKind::ExclusiveMaximum { limit } => numbers("exclusiveMaximum", limit),
        ValidationErrorKind::MultipleOf { multiple_of } => numbers("multipleOf", &Value::from(*multiple_of)),
        ValidationErrorKind::MinItems { limit } => sizes("minItems", *limit),
        ValidationErrorKind::MaxItems { limit } => sizes("maxItems", *limit),
        ValidationErrorKind::MinLength { limit } => sizes("minLength", *limit),
        ValidationErrorKind::MaxLength { limit } => sizes("maxLength", *limit),
        ValidationErrorKind::MinProperties { limit } => sizes("minProperties", *limit),
        ValidationErrorKind::MaxProperties { limit } => sizes("maxProperties", *limit),
        ValidationErrorKind::AnyOf { .. } => "'anyOf' failed".to_owned(),
        ValidationErrorKind::OneOfNotValid { .. } => "'oneOf' failed, none matched".to_owned(),
        ValidationErrorKind::OneOfMultipleValid { .. } => "'oneOf' failed, more than one matched".to_owned(),
        ValidationErrorKind::Not { .. } => "'not' failed".to_owned(),
        ValidationErrorKind::FalseSchema => "false schema".to_owned(),
        ValidationErrorKind::Contains => "no items match contains schema".to_owned(),
        ValidationErrorKind::Format { format } => format!("{} is not valid {format}", shown(instance)),
        _ => error.to_string(),
    }
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => single_quoted(text),
        Value::Null => "<nil>".to_owned(),
        Value::Array(_) | Value::Object(_) => "value".to_owned(),
        other => other.to_string(),
    }
}

fn single_quoted(text: &str) -> String {
    let quoted = quote(text).replace("\\\"", "\"").replace('\'', "\\'");
    format!("'{}'", &quoted[1..quoted.len() - 1])
}

/// A number with commas between thousands.
fn localized(number: f64) -> String {
    let text = number.to_string();
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("-", rest));
    let (whole, fraction) = digits
        .split_once('.')
        .map_or((digits, None), |(whole, rest)| (whole, Some(rest)));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match fraction {
        Some(fraction) => format!("{sign}{grouped}.{fraction}"),
        None => format!("{sign}{grouped}"),
    }
}

/// Whole numbers as integers: to the oldest drafts, 1.0 is none.
fn without_fractions(value: &Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            #[expect(clippy::cast_possible_truncation, reason = "only where it is exact")]
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 9e15 => Value::from(float as i64),
            _ => value.clone(),
        },
        Value::Array(items) => Value::Array(items.iter().map(without_fractions).collect()),
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(key, value)| (key.clone(), without_fractions(value)))
                .collect(),
        ),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{File, LoadLimits, load_files};

    fn check_schema(schema: Value, values: Value, wanted: &[&str]) {
        let files = [
            File::new("Chart.yaml", &b"apiVersion: v2\nname: web\nversion: 1.0.0\n"[..]),
            File::new("values.schema.json", schema.to_string().into_bytes()),
        ];
        let chart = load_files(files, &LoadLimits::default()).unwrap();
        let problem = check(&chart, &values, None).err().unwrap_or_default();
        let mut expected = String::new();
        if !wanted.is_empty() {
            expected = format!("web:\n{}\n", wanted.join("\n"));
        }
        assert_eq!(problem, expected);
    }

    #[test]
    fn problems_are_said_in_the_words_of_helm() {
        check_schema(
            json!({"properties": {"a": {"type": "string"}, "b": {"required": ["x", "y"]}, "c": {"enum": ["p", 1]}}}),
            json!({"a": 1.0, "b": {}, "c": "q"}),
            &[
                "- at '/a': got number, want string",
                "- at '/b': missing properties 'x', 'y'",
                "- at '/c': value must be one of 'p', 1",
            ],
        );
        check_schema(
            json!({"additionalProperties": false, "properties": {"n": {"minimum": 1000}, "s": {"pattern": "^a'"}}}),
            json!({"n": 1.0, "s": "b", "z": null}),
            &[
                "- at '/n': minimum: got 1, want 1,000",
                "- at '/s': 'b' does not match pattern '^a\\''",
                "- at '': additional properties 'z' not allowed",
            ],
        );
        check_schema(
            json!({"properties": {"c": {"anyOf": [{"type": "string"}, {"minimum": 3}]}}}),
            json!({"c": 1.0}),
            &[
                "- at '/c': 'anyOf' failed",
                "  - at '/c': got number, want string",
                "  - at '/c': minimum: got 1, want 3",
            ],
        );
        let four = "http://json-schema.org/draft-04/schema#";
        check_schema(
            json!({"$schema": four, "properties": {"a": {"type": "integer"}}}),
            json!({"a": 2.0}),
            &[],
        );
    }

    #[test]
    fn circles_end() {
        check_schema(json!({"$ref": "#"}), json!({"a": 1}), &[]);
        check_schema(json!({"$ref": "urn:x:y"}), json!({"a": 1}), &[]);
    }
}
