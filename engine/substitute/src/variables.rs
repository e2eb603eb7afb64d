//! The variables of one build, merged from several places.

use std::collections::{BTreeMap, BTreeSet};

/// Names and values; a later [`Variables::set`] of the same name wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables {
    values: BTreeMap<String, String>,
    /// Values that no message may show.
    secrets: BTreeSet<String>,
}

/// When substitution runs at all (`postBuild.substituteStrategy`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Only when there is at least one variable; without any, `$${x}` stays as it is.
    #[default]
    WithVariables,
    /// Also without variables, so that defaults and `$${x}` are always processed.
    Always,
}

/// A variable that no manifest could refer to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "variable name {name:?} is invalid, it must consist of letters, digits and underscores and not start with a digit"
)]
pub struct VariableNameError {
    /// The name as it was given.
    pub name: String,
}

impl Variables {
    /// No variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or overwrites one. Newlines are removed from the value, since a value is inserted into YAML text.
    pub fn set(&mut self, name: impl Into<String>, value: &str) {
        self.values.insert(name.into(), value.replace('\n', ""));
    }

    /// The same for a value that [`Variables::hide`] keeps out of messages, whatever overwrites it later.
    pub fn set_secret(&mut self, name: impl Into<String>, value: &str) {
        self.set(name, value);
        self.secrets.insert(value.replace('\n', ""));
        self.secrets.remove("");
    }

    /// The text with `*****` for every secret value: an API server that refuses an object repeats what it refuses.
    pub fn hide(&self, text: &str) -> String {
        let mut secrets: Vec<&String> = self.secrets.iter().collect();
        // One may be a part of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.into_iter().fold(text.to_owned(), |text, secret| {
            // Texts are often quoted, with escapes.
            let quoted = format!("{secret:?}");
            text.replace(secret, "*****")
                .replace(&quoted[1..quoted.len() - 1], "*****")
        })
    }

    /// Adds or overwrites one with its newlines, for text that is not YAML.
    pub fn set_as_is(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.values.insert(name.into(), value.into());
    }

    /// The value of a variable, if it is set; it may be empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// All variables, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// # Errors
    /// The first name that is not `[_A-Za-z][_A-Za-z0-9]*`.
    pub fn validate(&self) -> Result<(), VariableNameError> {
        for name in self.values.keys() {
            let mut characters = name.chars();
            let starts_well = characters.next().is_some_and(|c| c == '_' || c.is_ascii_alphabetic());
            if !starts_well || !characters.all(|c| c == '_' || c.is_ascii_alphanumeric()) {
                return Err(VariableNameError { name: name.clone() });
            }
        }
        Ok(())
    }
}

impl<Name: Into<String>, Value: AsRef<str>> FromIterator<(Name, Value)> for Variables {
    fn from_iter<T: IntoIterator<Item = (Name, Value)>>(pairs: T) -> Self {
        let mut variables = Variables::new();
        for (name, value) in pairs {
            variables.set(name, value.as_ref());
        }
        variables
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secrets_are_hidden() {
        let mut variables = Variables::new();
        variables.set("region", "eu");
        variables.set_secret("short", "pass");
        variables.set_secret("long", "pass\nword \"x\"");
        variables.set_secret("none", "");
        variables.set("long", "overwritten");
        assert_eq!(
            variables.hide(r#"eu: Invalid value: "password \"x\"", pass, overwritten"#),
            r#"eu: Invalid value: "*****", *****, overwritten"#
        );
    }
}
