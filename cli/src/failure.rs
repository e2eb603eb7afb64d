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

/// An error that ends the program with a code of its own.
#[derive(Debug)]
pub struct Coded {
    /// The exit code.
    pub code: u8,
    /// What went wrong; printed as any error.
    pub error: anyhow::Error,
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

/// An error with an exit code.
pub fn coded(code: u8, error: anyhow::Error) -> anyhow::Error {
    anyhow::Error::new(Coded { code, error })
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

impl fmt::Display for Coded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Advised {}
impl std::error::Error for Coded {}
impl std::error::Error for Quiet {}
