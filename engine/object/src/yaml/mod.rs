//! YAML as the Go tools of Kubernetes read and write it.
//!
//! text ─events─► [`Node`] ─resolve─► Value ─► text
//!
//! Two dialects exist because the tools use two readers: [`Dialect::K8s`] is
//! `sigs.k8s.io/yaml` over go-yaml 2 (kubectl, API machinery, Flux), where `yes`, `on` and `y` are
//! booleans; [`Dialect::Kyaml`] is kustomize's reader over go-yaml 3, where they are texts.

mod colons;
mod fold;
mod node;
mod number;
mod parse;
mod quotes;
mod read;
mod scalar;
mod simple;
mod write;

pub use node::{Map, Node, Scalar, Style, Tag};
pub use number::{format_float, format_float_json};
pub use parse::{parse_nodes, split_documents};
pub use read::{ReadObjectsError, read_documents, read_objects};
pub use scalar::{is_yaml_1_1_non_string, resolve, scalar_value};
pub use smol_str::SmolStr;
pub use write::{write, write_documents, write_indented, write_sorted_by_bytes};

/// Which of Go's readers is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `sigs.k8s.io/yaml`: YAML 1.1 booleans, the last of two equal keys wins.
    K8s,
    /// `sigs.k8s.io/kustomize/kyaml`: YAML 1.2 booleans, two equal keys are an error.
    Kyaml,
}

/// Text that is not YAML, or YAML that is not JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct YamlError {
    /// The line in the text, from 1.
    pub line: usize,
    /// The column in that line, from 1; 0 when not known.
    pub column: usize,
    /// What is wrong there.
    pub problem: String,
}

impl YamlError {
    pub(crate) fn new(line: usize, problem: impl Into<String>) -> YamlError {
        YamlError {
            line,
            column: 0,
            problem: problem.into(),
        }
    }

    pub(crate) fn at_column(mut self, column: usize) -> YamlError {
        self.column = column;
        self
    }
}
