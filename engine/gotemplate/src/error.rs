//! What can go wrong with templates, in Go's words.

use crate::format::quote;
use crate::limits::LimitExceeded;

/// A text that is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template: {name}:{line}: {message}")]
pub struct ParseError {
    /// The template's name.
    pub name: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// A template that failed while it was executed:
/// `template: NAME:LINE:COLUMN: executing "NAME" at <EXPRESSION>: MESSAGE`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template: {parse_name}:{line}:{column}: executing {} at <{expression}>: {message}", quote(.name.as_bytes()))]
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
    /// What is wrong; when a function had something rendered that failed, the inner error's whole text is part of it.
    pub message: String,
    /// The limit that ended the render, if it was one.
    pub limit: Option<LimitExceeded>,
}

/// Why there is no text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The text given to a function is no template.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The template failed.
    #[error(transparent)]
    Exec(#[from] Box<ExecError>),
    /// There is no template with this name.
    #[error("template: no template {} associated with template {}", quote(.name.as_bytes()), quote(.set.as_bytes()))]
    NotFound {
        /// The name asked for.
        name: String,
        /// The name of the set.
        set: String,
    },
    /// A limit was reached before anything could be executed.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
}

impl RenderError {
    /// The limit that ended the render, wherever in it that was.
    #[must_use]
    pub fn limit(&self) -> Option<LimitExceeded> {
        match self {
            Self::Limit(limit) => Some(*limit),
            Self::Exec(error) => error.limit,
            _ => None,
        }
    }
}
