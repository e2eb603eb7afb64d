//! Values from flags, in the order in which Helm lays them over each other.

use super::{SetError, load_values, merge_maps, set, set_file, set_json, set_literal, set_string};
use crate::{DecodeError, Values};

/// What `--values` and the flags of `--set` were given; later ones win over earlier ones, and the fields below over
/// those above.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ValueFlags {
    /// `--values`: names of files.
    pub files: Vec<String>,
    /// `--set-json`.
    pub set_json: Vec<String>,
    /// `--set`.
    pub set: Vec<String>,
    /// `--set-string`.
    pub set_string: Vec<String>,
    /// `--set-file`.
    pub set_file: Vec<String>,
    /// `--set-literal`.
    pub set_literal: Vec<String>,
}

/// A flag does not give values.
#[derive(Debug, thiserror::Error)]
pub enum FlagError<E: std::error::Error + 'static> {
    /// A file cannot be had.
    #[error("reading values file {file}")]
    Read {
        /// Which.
        file: String,
        /// Why.
        #[source]
        source: E,
    },
    /// A file has no values.
    #[error("failed to parse {file}")]
    Parse {
        /// Which.
        file: String,
        /// Why.
        #[source]
        source: DecodeError,
    },
    /// A line of `--set` or one of its kin cannot be understood.
    #[error("failed parsing --{flag} data")]
    Set {
        /// Which flag.
        flag: &'static str,
        /// Why.
        #[source]
        source: SetError,
    },
}

impl ValueFlags {
    /// All values; `read` gives a file's content.
    ///
    /// # Errors
    /// The first flag that does not give values.
    pub fn merge<E: std::error::Error + 'static>(
        &self,
        mut read: impl FnMut(&str) -> Result<Vec<u8>, E>,
    ) -> Result<Values, FlagError<E>> {
        let mut values = Values::new();
        for file in &self.files {
            let content = read(file).map_err(|source| FlagError::Read {
                file: file.clone(),
                source,
            })?;
            let given = load_values(&content).map_err(|source| FlagError::Parse {
                file: file.clone(),
                source,
            })?;
            merge_maps(&mut values, given);
        }
        let wrong = |flag| move |source| FlagError::Set { flag, source };
        for line in &self.set_json {
            set_json(line, &mut values).map_err(wrong("set-json"))?;
        }
        for line in &self.set {
            set(line, &mut values).map_err(wrong("set"))?;
        }
        for line in &self.set_string {
            set_string(line, &mut values).map_err(wrong("set-string"))?;
        }
        for line in &self.set_file {
            let read = |file: &str| match read(file) {
                Ok(content) => Ok(String::from_utf8_lossy(&content).into_owned()),
                Err(error) => Err(SetError(format!("reading {file}: {error}"))),
            };
            set_file(line, &mut values, read).map_err(wrong("set-file"))?;
        }
        for line in &self.set_literal {
            set_literal(line, &mut values).map_err(wrong("set-literal"))?;
        }
        Ok(values)
    }
}
