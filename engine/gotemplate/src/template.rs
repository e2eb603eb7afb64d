//! A set of templates, and what can go wrong with them.

use std::collections::HashMap;
use std::rc::Rc;

use crate::func::FunctionError;
use crate::limits::LimitExceeded;

/// What to do when a map has no entry for the key asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingKey {
    /// The result is the untyped nil, which prints as `<no value>`.
    #[default]
    Default,
    /// The result is the zero of the map's element type.
    Zero,
    /// The render ends with an error.
    Error,
}

/// A text that is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template: {name}:{line}: {message}")]
pub struct ParseError {
    /// The template's name.
    pub name: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, in Go's words.
    pub message: String,
}

/// A template that failed while it was executed, in Go's words and form:
/// `template: NAME:LINE:COLUMN: executing "NAME" at <EXPRESSION>: MESSAGE`.
#[derive(Debug, thiserror::Error)]
#[error("template: {parse_name}:{line}:{column}: executing {} at <{expression}>: {message}", crate::format::quote(.name.as_bytes()))]
pub struct ExecError {
    /// The template that was being executed, which may be one defined within a file.
    pub name: String,
    /// The name under which the text was parsed: the file.
    pub parse_name: String,
    /// The line, from 1.
    pub line: usize,
    /// The byte within the line, from 0.
    pub column: usize,
    /// The expression being evaluated.
    pub expression: String,
    /// What is wrong.
    pub message: String,
    /// The function whose error this is, if it is one's.
    pub cause: Option<Box<FunctionError>>,
}

/// Why there is no text.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The text given to a function is no template.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The template failed.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// There is no template with this name. `associated` is the template that the set is known by.
    #[error("template: no template {} associated with template {}", crate::format::quote(.name.as_bytes()), crate::format::quote(.associated.as_bytes()))]
    NotFound {
        /// The name asked for.
        name: String,
        /// The name of the set.
        associated: String,
    },
    /// The session's limits do not allow it.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
}

impl RenderError {
    /// The limit that ended the render, wherever in it that was.
    #[must_use]
    pub fn limit(&self) -> Option<LimitExceeded> {
        match self {
            Self::Limit(limit) => Some(*limit),
            Self::Exec(error) => match error.cause.as_deref() {
                Some(FunctionError::Limit(limit)) => Some(*limit),
                _ => None,
            },
            _ => None,
        }
    }
}

/// The templates that one text defines.
#[derive(Default)]
pub(crate) struct Layer {
    pub(crate) templates: HashMap<Rc<str>, ()>,
}

/// The templates that a template sees: those of its own text first, then those around it.
pub(crate) struct Scope {
    pub(crate) layer: Rc<Layer>,
    pub(crate) around: Option<Rc<Scope>>,
}

impl Scope {
    pub(crate) fn lookup(&self, name: &str) -> Option<()> {
        self.layer
            .templates
            .get(name)
            .copied()
            .or_else(|| self.around.as_ref().and_then(|scope| scope.lookup(name)))
    }
}
