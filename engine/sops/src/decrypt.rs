//! A whole file: read, opened, decrypted, checked, written.

use serde_json::Value as Json;
use zeroize::Zeroizing;

use crate::cipher::{self, CipherError};
use crate::data_key::{self, Answers, Found, Request};
use crate::detect::Format;
use crate::keys::Keys;
use crate::metadata::{Metadata, MetadataError};
use crate::stores::{self, StoreError};
use crate::value::{Branch, Value};
use crate::walk::{WalkError, WalkProblem, decrypt_tree};

/// The largest file that is read, as in Flux.
pub const MAX_SIZE: usize = 5 * 1024 * 1024;

/// What to do about the code over all values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mac {
    /// A file that was changed is refused.
    Verify,
    /// It is not looked at: what kustomize has patched has another one.
    Ignore,
}

/// Done, or what must be asked first.
#[derive(Debug)]
pub enum Step<T> {
    /// The decrypted file.
    Done(T),
    /// Key services must open these; call again with their answers.
    Needs(Vec<Request>),
}

/// A file that cannot be decrypted. Contains no value of it, decrypted or not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecryptError {
    /// Too large.
    #[error("the file has {size} bytes, which is more than {MAX_SIZE}")]
    TooLarge {
        /// In bytes.
        size: usize,
    },
    /// Not of the format it should have.
    #[error("reading it as {format}{}: {problem}", at_line(*.line))]
    Syntax {
        /// `yaml`, `json`, …
        format: &'static str,
        /// From 1; 0 when not known.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// Not encrypted by SOPS.
    #[error("it has no sops metadata")]
    NoMetadata,
    /// The metadata makes no sense.
    #[error("{path}: {problem}")]
    Metadata {
        /// Such as `sops.age[0].enc`.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// No key opens the data key.
    #[error("no key at hand opens the data key: {problems}")]
    NoKey {
        /// Each key and why it did not help.
        problems: String,
    },
    /// One value cannot be decrypted.
    #[error("decrypting {path}: {problem}")]
    Value {
        /// The keys that lead to it, with `.` between them.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// The code over all values is another one: the file was changed after it was encrypted.
    #[error("the MAC does not match: the file was changed after it was encrypted")]
    MacMismatch,
    /// What was decrypted cannot be written in the format asked for.
    #[error("writing it as {format}: {problem}")]
    Emit {
        /// `yaml`, `json`, …
        format: &'static str,
        /// The key in question and what is wrong.
        problem: String,
    },
}

fn at_line(line: usize) -> String {
    if line == 0 {
        String::new()
    } else {
        format!(", line {line}")
    }
}

/// Decrypts a file of one format and writes it in another, as `sops decrypt` does.
///
/// With answers to what was asked for it is called again; the same input gives the same result.
///
/// # Errors
/// See [`DecryptError`].
pub fn decrypt(
    file: &[u8],
    from: Format,
    to: Format,
    keys: &Keys,
    answers: &Answers,
    mac: Mac,
) -> Result<Step<Zeroizing<Vec<u8>>>, DecryptError> {
    if file.len() > MAX_SIZE {
        return Err(DecryptError::TooLarge { size: file.len() });
    }
    let (branches, notes) = stores::read(file, from).map_err(|error| syntax(from, error))?;
    let notes = notes.ok_or(DecryptError::NoMetadata)?;
    let branches = match open(branches, &notes, keys, answers, mac)? {
        Step::Done(branches) => branches,
        Step::Needs(requests) => return Ok(Step::Needs(requests)),
    };
    let bytes = stores::write(&branches, to).map_err(|problem| DecryptError::Emit {
        format: to.name(),
        problem,
    })?;
    Ok(Step::Done(Zeroizing::new(bytes)))
}

/// Decrypts an object that carries its metadata under `sops`; in the result it is gone.
///
/// # Errors
/// See [`DecryptError`].
pub fn decrypt_json(object: &Json, keys: &Keys, answers: &Answers, mac: Mac) -> Result<Step<Json>, DecryptError> {
    let Value::Map(mut branch) = stores::from_json(object) else {
        return Err(DecryptError::NoMetadata);
    };
    let notes = crate::value::take(&mut branch, "sops").ok_or(DecryptError::NoMetadata)?;
    Ok(match open(vec![branch], &notes, keys, answers, mac)? {
        Step::Done(mut branches) => Step::Done(stores::to_json(&Value::Map(branches.remove(0)))),
        Step::Needs(requests) => Step::Needs(requests),
    })
}

fn open(
    mut branches: Vec<Branch>,
    notes: &Value,
    keys: &Keys,
    answers: &Answers,
    mac: Mac,
) -> Result<Step<Vec<Branch>>, DecryptError> {
    let metadata =
        Metadata::parse(notes).map_err(|MetadataError { path, problem }| DecryptError::Metadata { path, problem })?;
    let key = match data_key::find(&metadata, keys, answers) {
        Ok(Found::Key(key)) => key,
        Ok(Found::Needs(requests)) => return Ok(Step::Needs(requests)),
        Err(problems) => return Err(DecryptError::NoKey { problems }),
    };
    let code = decrypt_tree(&mut branches, &key, &metadata.rule, metadata.only_encrypted).map_err(value_error)?;
    if mac == Mac::Verify {
        match cipher::decrypt(&metadata.mac, &key, &metadata.last_modified) {
            Ok(Value::Text(wanted)) if wanted == code.as_bytes() => {}
            Ok(_) | Err(CipherError::Forged) => return Err(DecryptError::MacMismatch),
            Err(error) => {
                return Err(DecryptError::Metadata {
                    path: "sops.mac".to_owned(),
                    problem: error.to_string(),
                });
            }
        }
    }
    Ok(Step::Done(branches))
}

fn value_error(WalkError { path, problem }: WalkError) -> DecryptError {
    let problem = match problem {
        WalkProblem::Cipher(error) => error.to_string(),
        WalkProblem::Plain(name) => format!("it is {name}, but an encrypted text should stand here"),
        WalkProblem::Long => "the keys that lead to it are too long".to_owned(),
    };
    DecryptError::Value { path, problem }
}

fn syntax(format: Format, StoreError { line, problem }: StoreError) -> DecryptError {
    DecryptError::Syntax {
        format: format.name(),
        line,
        problem,
    }
}
