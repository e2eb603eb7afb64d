//! Why a build failed, with the place in the user's files.

use std::fmt;

use nave_object::yaml::YamlError;

/// Kustomization files on the way that are shown, besides the one that was built.
const SHOWN: usize = 8;

/// A failed build: where, what, and by which kustomization files the build got there.
///
/// Displayed as `<file>:<line>:<column>: <what> (from <kustomization> < <kustomization>)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildError {
    /// The file at fault, relative to the root of the tree; empty when no file is.
    pub file: String,
    /// The line in that file, from 1; 0 when not known.
    pub line: usize,
    /// The column in that line, from 1; 0 when not known.
    pub column: usize,
    /// What is wrong and what was expected.
    pub problem: Problem,
    /// The kustomization files that led here, the innermost first.
    pub from: Vec<String>,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A file or directory that is named somewhere is not there.
    #[error("{what} `{path}` does not exist")]
    Missing {
        /// What it was to be: "resource", "patch file", …
        what: &'static str,
        /// As it was written.
        path: String,
    },
    /// The user asked for something that the options forbid.
    #[error("{what} is not allowed here: {why}")]
    Forbidden {
        /// What was asked for.
        what: String,
        /// Which rule forbids it.
        why: &'static str,
    },
    /// A file is not what it should be.
    #[error("{0}")]
    Syntax(String),
    /// A field of a kustomization file or of a plugin's configuration.
    #[error("field {field}: {problem}")]
    Field {
        /// The path of the field, such as `patches[0].target`.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Two resources have one identity.
    #[error("{0}")]
    Collision(String),
    /// Something selects no resource, or too many.
    #[error("{0}")]
    Selection(String),
    /// A transformation cannot be applied to a resource.
    #[error("{object}: {problem}")]
    Transform {
        /// The resource as `Kind/namespace/name`.
        object: String,
        /// What is wrong.
        problem: String,
    },
    /// A limit that keeps work and memory bounded.
    #[error("{0}")]
    Limit(String),
    /// A part of kustomize that is not supported, in a whole sentence.
    #[error("{0}")]
    Unsupported(String),
}

impl BuildError {
    pub(crate) fn new(file: impl Into<String>, line: usize, problem: Problem) -> BuildError {
        BuildError {
            file: file.into(),
            line,
            column: 0,
            problem,
            from: Vec::new(),
        }
    }

    /// A transformation that cannot be applied; the caller adds the file.
    pub(crate) fn transform(object: impl Into<String>, problem: impl Into<String>) -> BuildError {
        let problem = Problem::Transform {
            object: object.into(),
            problem: problem.into(),
        };
        BuildError::new("", 0, problem)
    }

    pub(crate) fn selection(problem: impl Into<String>) -> BuildError {
        BuildError::new("", 0, Problem::Selection(problem.into()))
    }

    pub(crate) fn collision(problem: impl Into<String>) -> BuildError {
        BuildError::new("", 0, Problem::Collision(problem.into()))
    }

    pub(crate) fn syntax(problem: impl Into<String>) -> BuildError {
        BuildError::new("", 0, Problem::Syntax(problem.into()))
    }

    /// Notes the column of the line.
    pub(crate) fn at_column(mut self, column: usize) -> BuildError {
        self.column = column;
        self
    }

    /// A file that is no YAML.
    pub(crate) fn yaml(file: impl Into<String>, error: YamlError) -> BuildError {
        BuildError::new(file, error.line, Problem::Syntax(error.problem)).at_column(error.column)
    }

    pub(crate) fn limit(problem: impl Into<String>) -> BuildError {
        BuildError::new("", 0, Problem::Limit(problem.into()))
    }

    /// Names the file, unless one is named already.
    pub(crate) fn in_file(mut self, file: &str) -> BuildError {
        if self.file.is_empty() {
            self.file = file.to_owned();
        }
        self
    }

    /// Notes that `kustomization` led here, unless it is the file at fault itself.
    pub(crate) fn via(mut self, kustomization: &str) -> BuildError {
        if self.file.is_empty() {
            self.file = kustomization.to_owned();
        } else if self.file != kustomization && self.from.last().is_none_or(|last| last != kustomization) {
            self.from.push(kustomization.to_owned());
        }
        self
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.file.as_str(), self.line) {
            ("", _) => {}
            (file, 0) => write!(f, "{file}: ")?,
            (file, line) if self.column == 0 => write!(f, "{file}:{line}: ")?,
            (file, line) => write!(f, "{file}:{line}:{}: ", self.column)?,
        }
        write!(f, "{}", self.problem)?;
        if !self.from.is_empty() {
            let (inner, outer) = self.from.split_at(SHOWN.min(self.from.len()));
            write!(f, " (from {}", inner.join(" < "))?;
            match outer {
                [] => write!(f, ")")?,
                [last] => write!(f, " < {last})")?,
                [left_out @ .., last] => write!(f, " < {} more < {last})", left_out.len())?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for BuildError {}
