//! Keys that are trusted to sign, as a Secret holds them.

use std::{collections::BTreeMap, fmt};

use pgp::composed::{Deserializable, SignedPublicKey};
use russh::keys::{PublicKey, ssh_key::authorized_keys::Entry};

/// PGP and SSH public keys.
#[derive(Clone, Default)]
pub struct TrustedKeys {
    pub(super) pgp: Vec<SignedPublicKey>,
    pub(super) ssh: Vec<PublicKey>,
}

/// Keys that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// Nothing is there.
    #[error("it holds no key")]
    Empty,
    /// Not a ring of PGP keys.
    #[error("key {name:?} is not a PGP public key: {detail}")]
    Pgp {
        /// The key of the Secret.
        name: String,
        /// What is wrong.
        detail: String,
    },
    /// Not in the form of `authorized_keys`.
    #[error("key {name:?}, line {line}, is not an SSH public key: {detail}")]
    Ssh {
        /// The key of the Secret.
        name: String,
        /// From one.
        line: usize,
        /// What is wrong.
        detail: String,
    },
}

const BEGIN: &[u8] = b"-----BEGIN PGP ";
const BEGIN_PUBLIC: &[u8] = b"-----BEGIN PGP PUBLIC KEY BLOCK";

impl TrustedKeys {
    /// Reads the data of a Secret: `*.sshpub` in the form of `authorized_keys`, everything else as PGP.
    ///
    /// # Errors
    /// A key cannot be read, or there is none.
    pub fn from_secret(data: &BTreeMap<String, Vec<u8>>) -> Result<Self, KeysError> {
        let mut keys = TrustedKeys::default();
        for (name, value) in data {
            if name.ends_with(".sshpub") {
                keys.add_ssh(name, value)?;
            } else {
                keys.add_pgp(name, value)?;
            }
        }
        if keys.pgp.is_empty() && keys.ssh.is_empty() {
            return Err(KeysError::Empty);
        }
        Ok(keys)
    }

    fn add_ssh(&mut self, name: &str, value: &[u8]) -> Result<(), KeysError> {
        let wrong = |line: usize, detail: String| KeysError::Ssh {
            name: name.to_owned(),
            line,
            detail,
        };
        let text = std::str::from_utf8(value).map_err(|_| wrong(1, "it is not text".to_owned()))?;
        let mut found = false;
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line.split_whitespace().any(crate::ssh::is_nested) {
                return Err(wrong(number, "it is a chain of certificates".to_owned()));
            }
            let entry: Entry = line
                .parse()
                .map_err(|error: russh::keys::ssh_key::Error| wrong(number, error.to_string()))?;
            self.ssh.push(entry.public_key().clone());
            found = true;
        }
        if found {
            Ok(())
        } else {
            Err(wrong(1, "it is empty".to_owned()))
        }
    }

    fn add_pgp(&mut self, name: &str, value: &[u8]) -> Result<(), KeysError> {
        let wrong = |detail: String| KeysError::Pgp {
            name: name.to_owned(),
            detail,
        };
        let before = self.pgp.len();
        let mut add = |keys: &mut dyn Iterator<Item = pgp::errors::Result<SignedPublicKey>>| {
            for key in keys {
                self.pgp.push(key.map_err(|error| wrong(error.to_string()))?);
            }
            Ok(())
        };
        // Several armoured keys may stand one after another.
        let starts: Vec<usize> = value
            .windows(BEGIN.len())
            .enumerate()
            .filter(|(_, window)| *window == BEGIN)
            .map(|(place, _)| place)
            .collect();
        if starts.is_empty() {
            add(&mut SignedPublicKey::from_bytes_many(value).map_err(|error| wrong(error.to_string()))?)?;
        }
        for (place, start) in starts.iter().enumerate() {
            let end = starts.get(place + 1).copied().unwrap_or(value.len());
            let block = &value[*start..end];
            if block.starts_with(BEGIN_PUBLIC) {
                let (mut keys, _) =
                    SignedPublicKey::from_armor_many(block).map_err(|error| wrong(error.to_string()))?;
                add(&mut keys)?;
            }
        }
        if self.pgp.len() == before {
            return Err(wrong("there is none in it".to_owned()));
        }
        Ok(())
    }
}

impl fmt::Debug for TrustedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustedKeys({} pgp, {} ssh)", self.pgp.len(), self.ssh.len())
    }
}
