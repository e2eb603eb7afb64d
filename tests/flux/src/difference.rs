//! Where two looks differ, and which differences are meant.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::Value;

/// One place with what each side has there; nothing when it is not there.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// `Kustomization/app > status > conditions > Ready > message`.
    pub at: String,
    /// What Flux has.
    pub flux: Option<Value>,
    /// What Nave has.
    pub nave: Option<Value>,
}

/// A difference that is meant.
#[derive(Debug, Clone)]
pub struct Expected {
    /// The places, as a pattern for all of `at`.
    pub at: Regex,
    /// The reason, for whoever reads the table.
    pub why: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let side = |value: &Option<Value>| value.as_ref().map_or("(nothing)".to_owned(), Value::to_string);
        write!(
            f,
            "{}\n      flux: {}\n      nave: {}",
            self.at,
            side(&self.flux),
            side(&self.nave)
        )
    }
}

/// All places where the two differ.
pub fn differences(flux: &Value, nave: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", Some(flux), Some(nave), &mut found);
    found
}

/// Those that nobody expects.
pub fn unexpected(found: Vec<Difference>, expected: &[Expected]) -> Vec<Difference> {
    found
        .into_iter()
        .filter(|difference| !expected.iter().any(|expected| expected.at.is_match(&difference.at)))
        .collect()
}

fn compare(at: &str, flux: Option<&Value>, nave: Option<&Value>, found: &mut Vec<Difference>) {
    match (flux, nave) {
        (Some(Value::Object(left)), Some(Value::Object(right))) => {
            let keys: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            for key in keys {
                let at = if at.is_empty() {
                    key.clone()
                } else {
                    format!("{at} > {key}")
                };
                compare(&at, left.get(key), right.get(key), found);
            }
        }
        (Some(Value::Array(left)), Some(Value::Array(right))) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                compare(&format!("{at} > {index}"), Some(left), Some(right), found);
            }
        }
        (flux, nave) if flux == nave => {}
        (flux, nave) => found.push(Difference {
            at: at.to_owned(),
            flux: flux.cloned(),
            nave: nave.cloned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn places_are_named() {
        let found = differences(
            &json!({"a": {"b": [1, 2], "c": 3}}),
            &json!({"a": {"b": [1, 4], "d": 3}}),
        );
        let places: Vec<&str> = found.iter().map(|difference| difference.at.as_str()).collect();
        assert_eq!(places, ["a > b > 1", "a > c", "a > d"]);
        let expected = Expected {
            at: Regex::new("^a > (c|d)$").unwrap(),
            why: "as an example".into(),
        };
        assert_eq!(unexpected(found, &[expected]).len(), 1);
    }
}
