//! Private keys: age identities and OpenPGP keys.

use std::fmt;
use std::io::Read;

use pgp::composed::{Deserializable, Message, SignedSecretKey};
use pgp::types::{KeyDetails, Password};
use zeroize::Zeroizing;

/// A data key is far shorter; what is longer is none.
const MAX_DATA_KEY: u64 = 64 * 1024;
/// Encrypted packets in encrypted or compressed packets.
const MAX_NESTING: usize = 4;

/// Private keys to open data keys with.
#[derive(Default)]
pub struct Keys {
    age: Vec<Box<dyn age::Identity + Send + Sync>>,
    pgp: Vec<SignedSecretKey>,
}

/// A private key that cannot be used. Shows nothing of the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A line that is neither an identity nor a comment.
    #[error("line {line} is no age identity")]
    Age {
        /// From 1.
        line: usize,
    },
    /// An identity that another program holds.
    #[error("line {line} is an identity of an age plugin, which is not supported")]
    AgePlugin {
        /// From 1.
        line: usize,
    },
    /// An SSH key that is broken or of a kind that age does not use.
    #[error("the SSH key is not one that age can use: an ed25519 or RSA key in OpenSSH or PEM form")]
    Ssh,
    /// A key with a passphrase.
    #[error("the {0} key is protected by a passphrase, which is not supported")]
    Passphrase(&'static str),
    /// Neither armour nor packets of private keys.
    #[error("there is no OpenPGP private key in it")]
    Pgp,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({} age, {} pgp)", self.age.len(), self.pgp.len())
    }
}

impl Keys {
    /// No keys.
    pub fn new() -> Keys {
        Keys::default()
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.age.is_empty() && self.pgp.is_empty()
    }

    /// Adds age identities: lines of `AGE-SECRET-KEY-1…` with empty lines and `#` comments, or one SSH private key.
    ///
    /// # Errors
    /// A line that is no identity, identities of plugins, SSH keys with a passphrase. Nothing is added then.
    pub fn add_age(&mut self, text: &str) -> Result<(), KeyError> {
        if text.trim_start().starts_with("-----BEGIN ") {
            return self.add_ssh(text);
        }
        let mut added = Vec::new();
        for (place, line) in text.lines().enumerate() {
            let content = line.trim();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            if content.starts_with("AGE-PLUGIN-") {
                return Err(KeyError::AgePlugin { line: place + 1 });
            }
            let identity: age::x25519::Identity = content.parse().map_err(|_| KeyError::Age { line: place + 1 })?;
            added.push(Box::new(identity) as Box<dyn age::Identity + Send + Sync>);
        }
        self.age.extend(added);
        Ok(())
    }

    fn add_ssh(&mut self, text: &str) -> Result<(), KeyError> {
        let mut text = text.trim_start().to_owned();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        match age::ssh::Identity::from_buffer(text.as_bytes(), None) {
            Ok(identity @ age::ssh::Identity::Unencrypted(_)) => {
                self.age.push(Box::new(identity));
                Ok(())
            }
            Ok(age::ssh::Identity::Encrypted(_)) => Err(KeyError::Passphrase("SSH")),
            Ok(age::ssh::Identity::Unsupported(_)) | Err(_) => Err(KeyError::Ssh),
        }
    }

    /// Adds OpenPGP private keys, with armour or without; one or several.
    ///
    /// # Errors
    /// There is no private key in it, or one has a passphrase. Nothing is added then.
    pub fn add_pgp(&mut self, bytes: &[u8]) -> Result<(), KeyError> {
        let mut added = Vec::new();
        let mut add = |keys: &mut dyn Iterator<Item = pgp::errors::Result<SignedSecretKey>>| {
            for key in keys {
                added.push(key.map_err(|_| KeyError::Pgp)?);
            }
            Ok(())
        };
        // Several armoured keys may stand one after another.
        const BEGIN: &[u8] = b"-----BEGIN PGP ";
        let starts: Vec<usize> = bytes
            .windows(BEGIN.len())
            .enumerate()
            .filter(|(_, window)| *window == BEGIN)
            .map(|(place, _)| place)
            .collect();
        if starts.is_empty() {
            add(&mut SignedSecretKey::from_bytes_many(bytes).map_err(|_| KeyError::Pgp)?)?;
        }
        for (place, start) in starts.iter().enumerate() {
            let end = starts.get(place + 1).copied().unwrap_or(bytes.len());
            let block = &bytes[*start..end];
            if !block.starts_with(b"-----BEGIN PGP PRIVATE KEY") {
                continue;
            }
            let (mut keys, _) = SignedSecretKey::from_armor_many(block).map_err(|_| KeyError::Pgp)?;
            add(&mut keys)?;
        }
        if added.is_empty() {
            return Err(KeyError::Pgp);
        }
        let locked = |key: &SignedSecretKey| {
            key.primary_key.secret_params().is_encrypted()
                || key
                    .secret_subkeys
                    .iter()
                    .any(|key| key.key.secret_params().is_encrypted())
        };
        if added.iter().any(locked) {
            return Err(KeyError::Passphrase("OpenPGP"));
        }
        self.pgp.extend(added);
        Ok(())
    }

    /// Fingerprints of the OpenPGP keys, in capital hexadecimal.
    pub fn pgp_fingerprints(&self) -> Vec<String> {
        self.pgp.iter().map(|key| format!("{:X}", key.fingerprint())).collect()
    }

    pub(crate) fn open_age(&self, sealed: &str) -> Result<Zeroizing<Vec<u8>>, String> {
        if self.age.is_empty() {
            return Err("there is no age identity at hand".to_owned());
        }
        let reader = age::armor::ArmoredReader::new(sealed.as_bytes());
        let broken = |_| "the encrypted data key is no age file".to_owned();
        let decryptor = age::Decryptor::new_buffered(reader_buffered(reader)).map_err(broken)?;
        let identities = self.age.iter().map(|identity| &**identity as &dyn age::Identity);
        let plain = decryptor.decrypt(identities).map_err(|error| match error {
            age::DecryptError::NoMatchingKeys => "no identity at hand matches".to_owned(),
            age::DecryptError::ExcessiveWork { .. } => "it asks for too much work".to_owned(),
            _ => "the encrypted data key is damaged".to_owned(),
        })?;
        read_short(plain)
    }

    pub(crate) fn open_pgp(&self, sealed: &str) -> Result<Zeroizing<Vec<u8>>, String> {
        if self.pgp.is_empty() {
            return Err("there is no OpenPGP private key at hand".to_owned());
        }
        let mut problem = "no OpenPGP private key at hand matches";
        for key in &self.pgp {
            let Ok((message, _)) = Message::from_armor(sealed.as_bytes()) else {
                return Err("the encrypted data key is no OpenPGP message".to_owned());
            };
            let Ok(mut message) = message.decrypt(&Password::empty(), key) else {
                continue;
            };
            for _ in 0..MAX_NESTING {
                if !message.is_compressed() {
                    break;
                }
                message = match message.decompress() {
                    Ok(message) => message,
                    Err(_) => return Err("the encrypted data key cannot be decompressed".to_owned()),
                };
            }
            match read_short(&mut message) {
                Ok(plain) => return Ok(plain),
                Err(_) => problem = "the encrypted data key is damaged",
            }
        }
        Err(problem.to_owned())
    }
}

fn reader_buffered<R: Read>(reader: R) -> std::io::BufReader<R> {
    std::io::BufReader::new(reader)
}

fn read_short(reader: impl Read) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut plain = Zeroizing::new(Vec::new());
    match reader.take(MAX_DATA_KEY).read_to_end(&mut plain) {
        Ok(_) => Ok(plain),
        Err(_) => Err("the encrypted data key is damaged".to_owned()),
    }
}
