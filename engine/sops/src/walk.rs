//! All encrypted values of a tree, and the code over what they hold.

use sha2::{Digest, Sha512};

use crate::cipher::{self, CipherError};
use crate::rules::Rule;
use crate::value::{Branch, Item, Value, fixed};

/// What a code over encrypted values alone begins with, so that it never equals one over all: the SHA-256 of `sops`.
const ONLY_ENCRYPTED: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b, 0x0b, 0x97, 0x5b,
    0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];

/// Bytes of the keys above a value. Each value below takes them into its own code, so that there must be an end to them.
const MAX_PATH: usize = 16 * 1024;

/// A value that cannot be decrypted.
#[derive(Debug)]
pub(crate) struct WalkError {
    /// The keys that lead to it, with `.` between them.
    pub(crate) path: String,
    pub(crate) problem: WalkProblem,
}

#[derive(Debug)]
pub(crate) enum WalkProblem {
    Cipher(CipherError),
    /// It should be encrypted, and is of a type that an encrypted value is not.
    Plain(&'static str),
    /// The keys above it are too long.
    Long,
}

/// Decrypts every document in place and returns the code over the values, in capital hexadecimal.
pub(crate) fn decrypt_tree(
    branches: &mut [Branch],
    key: &[u8; 32],
    rule: &Rule,
    only_encrypted: bool,
) -> Result<String, WalkError> {
    let mut walk = Walk {
        key,
        rule,
        only_encrypted,
        code: Sha512::new(),
        path: Vec::new(),
        named_keys: 0,
        comments: Vec::new(),
    };
    if only_encrypted {
        walk.code.update(ONLY_ENCRYPTED);
    }
    for branch in branches {
        walk.branch(branch)?;
    }
    Ok(walk.code.finalize().iter().map(|byte| format!("{byte:02X}")).collect())
}

struct Walk<'a> {
    key: &'a [u8; 32],
    rule: &'a Rule,
    only_encrypted: bool,
    code: Sha512,
    path: Vec<String>,
    /// Keys of the path that the rule names. Counted once for each key: a file may have long keys above many values.
    named_keys: usize,
    /// For each level, whether the rule names a comment since the last value of that level.
    comments: Vec<bool>,
}

impl Walk<'_> {
    fn branch(&mut self, branch: &mut Branch) -> Result<(), WalkError> {
        self.comments.push(false);
        for item in branch {
            match item {
                Item::Comment(text) => {
                    *text = match self.comment(text)? {
                        Value::Comment(text) | Value::Text(text) => text,
                        // A comment of another type is not one that was encrypted.
                        _ => continue,
                    };
                }
                Item::Entry(key, value) => {
                    let named = usize::from(self.rule.names_key(key));
                    self.path.push(key.clone());
                    self.named_keys += named;
                    self.value(value)?;
                    self.named_keys -= named;
                    self.path.pop();
                    self.forget();
                }
            }
        }
        self.comments.pop();
        Ok(())
    }

    fn list(&mut self, items: &mut [Value]) -> Result<(), WalkError> {
        self.comments.push(false);
        for item in items {
            if let Value::Comment(text) = item {
                *item = self.comment(&text.clone())?;
            } else {
                self.value(item)?;
                self.forget();
            }
        }
        self.comments.pop();
        Ok(())
    }

    fn forget(&mut self) {
        *self.comments.last_mut().expect("a level is open") = false;
    }

    fn is_encrypted(&self) -> bool {
        self.rule.encrypts(self.named_keys > 0 || self.comments.contains(&true))
    }

    /// A comment that cannot be decrypted was not encrypted, as in files of older versions.
    fn comment(&mut self, text: &[u8]) -> Result<Value, WalkError> {
        let before = self.is_encrypted();
        *self.comments.last_mut().expect("a level is open") |= self.rule.names_comment(text);
        let encrypted = if self.rule.counts_itself() {
            self.is_encrypted()
        } else {
            before
        };
        let plain = || Value::Comment(text.to_vec());
        let value = if encrypted {
            cipher::decrypt(text, self.key, &self.binding()?).unwrap_or_else(|_| plain())
        } else {
            plain()
        };
        self.sign(&value, encrypted);
        Ok(value)
    }

    fn value(&mut self, value: &mut Value) -> Result<(), WalkError> {
        match value {
            Value::Null => return Ok(()),
            Value::Map(branch) => return self.branch(branch),
            Value::List(items) => return self.list(items),
            _ => {}
        }
        let encrypted = self.is_encrypted();
        if encrypted {
            let problem = match &mut *value {
                Value::Text(text) => match cipher::decrypt(text, self.key, &self.binding()?) {
                    Ok(plain) => {
                        *value = plain;
                        None
                    }
                    Err(error) => Some(WalkProblem::Cipher(error)),
                },
                other => Some(WalkProblem::Plain(other.type_name())),
            };
            if let Some(problem) = problem {
                let path = self.path.join(".");
                return Err(WalkError { path, problem });
            }
        }
        self.sign(value, encrypted);
        Ok(())
    }

    /// What binds a value to its place. Items of a list share theirs.
    fn binding(&self) -> Result<String, WalkError> {
        if self.path.iter().map(String::len).sum::<usize>() > MAX_PATH {
            let path = self.path.join(".").chars().take(100).collect();
            let problem = WalkProblem::Long;
            return Err(WalkError { path, problem });
        }
        Ok(self.path.join(":") + ":")
    }

    fn sign(&mut self, value: &Value, encrypted: bool) {
        if self.only_encrypted && !encrypted {
            return;
        }
        match value {
            Value::Bool(flag) => self.code.update(if *flag { "True" } else { "False" }),
            Value::Int(number) => self.code.update(number.to_string()),
            Value::Float(number) => self.code.update(fixed(*number)),
            Value::Text(text) => self.code.update(text),
            Value::Time(text) => self.code.update(text),
            Value::Comment(_) | Value::Null | Value::List(_) | Value::Map(_) => {}
        }
    }
}
