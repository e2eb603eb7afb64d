//! Label selectors with the meaning that Kubernetes gives them.

use std::collections::{BTreeMap, BTreeSet};

/// A label selector. Empty matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

/// One condition on one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What is asked of its value.
    pub operator: Operator,
    /// The values to compare with.
    pub values: BTreeSet<String>,
}

/// What a requirement asks of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// The value is one of those given.
    In,
    /// The value is none of those given, or the label is missing.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is missing.
    DoesNotExist,
}

/// A selector that Kubernetes would not take either.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// No such operator.
    #[error("label {key:?} has the operator {operator:?}; expected In, NotIn, Exists or DoesNotExist")]
    Operator {
        /// The label.
        key: String,
        /// What was given.
        operator: String,
    },
    /// The number of values does not fit the operator.
    #[error("label {key:?}: {operator} takes {expected}")]
    Values {
        /// The label.
        key: String,
        /// The operator.
        operator: String,
        /// What fits.
        expected: &'static str,
    },
}

impl Selector {
    /// The selector of `matchLabels` and of `matchExpressions` as (key, operator, values).
    pub fn new<'a>(
        match_labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        match_expressions: impl IntoIterator<Item = (&'a str, &'a str, Vec<String>)>,
    ) -> Result<Self, SelectorError> {
        let mut requirements: Vec<Requirement> = match_labels
            .into_iter()
            .map(|(key, value)| Requirement {
                key: key.to_owned(),
                operator: Operator::In,
                values: BTreeSet::from([value.to_owned()]),
            })
            .collect();
        for (key, operator, values) in match_expressions {
            let error = |expected| SelectorError::Values {
                key: key.to_owned(),
                operator: operator.to_owned(),
                expected,
            };
            let operator = match operator {
                "In" | "NotIn" if values.is_empty() => return Err(error("at least one value")),
                "Exists" | "DoesNotExist" if !values.is_empty() => return Err(error("no values")),
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                _ => {
                    return Err(SelectorError::Operator {
                        key: key.to_owned(),
                        operator: operator.to_owned(),
                    });
                }
            };
            requirements.push(Requirement {
                key: key.to_owned(),
                operator,
                values: values.into_iter().collect(),
            });
        }
        Ok(Self { requirements })
    }

    /// Whether labels meet every requirement.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            match requirement.operator {
                Operator::In => value.is_some_and(|value| requirement.values.contains(value)),
                Operator::NotIn => !value.is_some_and(|value| requirement.values.contains(value)),
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expression: (&str, &str, &[&str]), label: Option<&str>, want: bool) {
        let (key, operator, values) = expression;
        let values = values.iter().map(|value| value.to_string()).collect();
        let selector = Selector::new([], [(key, operator, values)]).expect("valid");
        let labels = label
            .map(|value| ("env".to_owned(), value.to_owned()))
            .into_iter()
            .collect();
        assert_eq!(selector.matches(&labels), want, "{expression:?} on {label:?}");
    }

    #[test]
    fn operators_mean_what_kubernetes_means() {
        check(("env", "In", &["a", "b"]), Some("b"), true);
        check(("env", "In", &["a", "b"]), Some("c"), false);
        check(("env", "In", &["a"]), None, false);
        check(("env", "NotIn", &["a"]), Some("b"), true);
        check(("env", "NotIn", &["a"]), Some("a"), false);
        check(("env", "NotIn", &["a"]), None, true);
        check(("env", "Exists", &[]), Some(""), true);
        check(("env", "Exists", &[]), None, false);
        check(("env", "DoesNotExist", &[]), Some("x"), false);
        check(("env", "DoesNotExist", &[]), None, true);
    }

    #[test]
    fn an_empty_selector_matches_everything() {
        let selector = Selector::new([], []).expect("valid");
        assert!(selector.matches(&BTreeMap::new()));
    }

    #[test]
    fn selectors_that_make_no_sense_are_refused() {
        for (operator, values) in [("In", 0), ("NotIn", 0), ("Exists", 1), ("Gt", 1), ("in", 1)] {
            let values = vec!["x".to_owned(); values];
            assert!(Selector::new([], [("env", operator, values)]).is_err(), "{operator}");
        }
    }
}
