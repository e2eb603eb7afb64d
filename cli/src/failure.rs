//! Errors that carry more than their text.

use std::fmt;

/// An error and what its reader can do about it.
#[derive(Debug)]
pub struct Advised {
    message: String,
    hint: String,
}

/// Ends the program with a code and prints nothing, because everything was said already.
#[derive(Debug)]
pub struct Quiet {
    /// The exit code.
    pub code: u8,
}

/// An error with a hint.
pub fn advised(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Advised {
        message: message.into(),
        hint: hint.into(),
    })
}

/// Ends with code 1 after everything was said.
pub fn quiet() -> anyhow::Error {
    anyhow::Error::new(Quiet { code: 1 })
}

impl Advised {
    /// What the reader can do.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

impl fmt::Display for Advised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Display for Quiet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {}", self.code)
    }
}

impl std::error::Error for Advised {}
impl std::error::Error for Quiet {}
