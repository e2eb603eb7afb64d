//! Substitution in one built object, by way of its YAML text.

use nave_object::{
    Object, ObjectError,
    yaml::{self, Dialect},
};
use serde_json::Value;

use crate::{ExpandError, Strategy, VariableNameError, Variables, expand};

/// Label or annotation that turns substitution off for one object; only the exact value `disabled` does.
const SUBSTITUTE: &str = "kustomize.toolkit.fluxcd.io/substitute";

/// Why an object could not be substituted in.
#[derive(Debug, thiserror::Error)]
pub enum SubstituteError {
    /// No manifest could refer to this variable.
    #[error(transparent)]
    Name(#[from] VariableNameError),
    /// An expression in the object is malformed or a variable missing.
    #[error("substituting variables in {object}")]
    Expand {
        /// `<Kind>/<namespace>/<name>`.
        object: String,
        /// What is wrong.
        #[source]
        source: ExpandError,
    },
    /// The values made the object's YAML invalid.
    #[error("{object} is no valid YAML after substituting variables")]
    Parse {
        /// `<Kind>/<namespace>/<name>`.
        object: String,
        /// Where.
        #[source]
        source: yaml::YamlError,
    },
    /// The values made it something else than one object.
    #[error("{object} is no single object after substituting variables")]
    NotOne {
        /// `<Kind>/<namespace>/<name>`.
        object: String,
    },
    /// The values emptied a field that names the object.
    #[error("{object} is no valid object after substituting variables")]
    Invalid {
        /// `<Kind>/<namespace>/<name>`.
        object: String,
        /// Which field.
        #[source]
        source: ObjectError,
    },
}

/// Whether the object's label or annotation turns substitution off.
pub fn is_disabled(object: &Object) -> bool {
    object.label(SUBSTITUTE) == Some("disabled") || object.annotation(SUBSTITUTE) == Some("disabled")
}

/// Expands the variables in one object. A value may change its type: `${n}` with `n=3` becomes a number unless the
/// manifest quotes it in a way that survives, such as `${n:="3"}`.
///
/// # Errors
/// Names the object and what is wrong. Variable names are checked even when the object opts out.
pub fn substitute(
    object: Object,
    variables: &Variables,
    strategy: Strategy,
    strict: bool,
) -> Result<Object, SubstituteError> {
    variables.validate()?;
    if variables.is_empty() && strategy == Strategy::WithVariables
        || is_disabled(&object)
        || !mentions_dollar(object.as_value())
    {
        return Ok(object);
    }
    let text = yaml::write(object.as_value());
    let expanded = expand(&text, variables, strict).map_err(|source| SubstituteError::Expand {
        object: object.to_string(),
        source,
    })?;
    let mut documents = yaml::read_documents(&expanded, Dialect::K8s).map_err(|source| SubstituteError::Parse {
        object: object.to_string(),
        source,
    })?;
    let (Some(value), None) = (documents.pop(), documents.pop()) else {
        return Err(SubstituteError::NotOne {
            object: object.to_string(),
        });
    };
    Object::from_value(value).map_err(|source| SubstituteError::Invalid {
        object: object.to_string(),
        source,
    })
}

/// Without a dollar sign the text has nothing to expand; most objects stop here and never become text.
fn mentions_dollar(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('$'),
        Value::Array(items) => items.iter().any(mentions_dollar),
        Value::Object(fields) => fields
            .iter()
            .any(|(key, value)| key.contains('$') || mentions_dollar(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
