//! Why a function failed.

use crate::error::RenderError;
use crate::limits::LimitExceeded;

/// The error of a function, which becomes `error calling NAME: …` in the error of the template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FunctionError {
    /// In the function's own words.
    #[error("{0}")]
    Failed(String),
    /// The work is too large. This ends the whole render; no function can go on from it.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
}

impl FunctionError {
    /// An error with this text.
    pub fn new(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    /// The error of a template which the function had rendered, with `prefix` before its text (may be empty).
    ///
    /// A limit stays a limit.
    #[must_use]
    pub fn rendering(prefix: &str, error: &RenderError) -> Self {
        match error.limit() {
            Some(limit) => Self::Limit(limit),
            None => Self::Failed(format!("{prefix}{error}")),
        }
    }
}

impl From<String> for FunctionError {
    fn from(message: String) -> Self {
        Self::Failed(message)
    }
}

impl From<&str> for FunctionError {
    fn from(message: &str) -> Self {
        Self::Failed(message.to_owned())
    }
}
