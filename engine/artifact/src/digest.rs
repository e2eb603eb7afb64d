//! Content digests in the form `<algorithm>:<hex>` that Flux statuses carry.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, de::Error as _};
use sha2::Digest as _;

/// A hash algorithm that artifacts may be named with (`--artifact-digest-algo`).
///
/// Flux also accepts `sha1`; it is left out because it no longer protects against forged content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Algorithm {
    /// SHA-256, the default.
    #[default]
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// BLAKE3 with its default output of 32 bytes.
    Blake3,
}

impl Algorithm {
    /// The name before the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha384 => "sha384",
            Algorithm::Sha512 => "sha512",
            Algorithm::Blake3 => "blake3",
        }
    }

    /// Digests `data` in one go.
    pub fn digest(self, data: &[u8]) -> Digest {
        let mut hasher = Hasher::new(self);
        hasher.update(data);
        hasher.finish()
    }
}

impl FromStr for Algorithm {
    type Err = DigestError;

    fn from_str(name: &str) -> Result<Self, DigestError> {
        match name {
            "sha256" => Ok(Algorithm::Sha256),
            "sha384" => Ok(Algorithm::Sha384),
            "sha512" => Ok(Algorithm::Sha512),
            "blake3" => Ok(Algorithm::Blake3),
            _ => Err(DigestError::Algorithm { name: bounded(name) }),
        }
    }
}

/// A digest with its algorithm; prints as `sha256:2cf2…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Digest {
    /// SHA-256.
    Sha256([u8; 32]),
    /// SHA-384.
    Sha384([u8; 48]),
    /// SHA-512.
    Sha512([u8; 64]),
    /// BLAKE3.
    Blake3([u8; 32]),
}

/// Text that is not a digest.
#[derive(Debug, thiserror::Error)]
pub enum DigestError {
    /// No colon.
    #[error("digest {text:?} is not of the form <algorithm>:<hex>")]
    Form {
        /// What was given, cut to a readable length.
        text: String,
    },
    /// An algorithm that is not known here.
    #[error("digest algorithm {name:?} is not one of sha256, sha384, sha512, blake3")]
    Algorithm {
        /// What was given, cut to a readable length.
        name: String,
    },
    /// Not hexadecimal, or not of the algorithm's length.
    #[error("digest {text:?} has no valid {algorithm} value of {bytes} bytes")]
    Value {
        /// What was given, cut to a readable length.
        text: String,
        /// The algorithm's name.
        algorithm: &'static str,
        /// How many bytes its output has.
        bytes: usize,
    },
}

impl Digest {
    /// SHA-256 of `data`, the algorithm of manifests and chunks.
    pub fn sha256(data: &[u8]) -> Digest {
        Algorithm::Sha256.digest(data)
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Digest::Sha256(_) => Algorithm::Sha256,
            Digest::Sha384(_) => Algorithm::Sha384,
            Digest::Sha512(_) => Algorithm::Sha512,
            Digest::Blake3(_) => Algorithm::Blake3,
        }
    }

    /// The raw value.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Digest::Sha256(bytes) | Digest::Blake3(bytes) => bytes,
            Digest::Sha384(bytes) => bytes,
            Digest::Sha512(bytes) => bytes,
        }
    }

    /// The value in lower-case hexadecimal, without the algorithm.
    pub fn hex(&self) -> String {
        self.bytes()
            .iter()
            .fold(String::with_capacity(2 * self.bytes().len()), |mut text, byte| {
                for nibble in [byte >> 4, byte & 15] {
                    text.push(char::from_digit(nibble.into(), 16).expect("a nibble is below 16"));
                }
                text
            })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm().as_str(), self.hex())
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let Some((algorithm, hex)) = text.split_once(':') else {
            return Err(DigestError::Form { text: bounded(text) });
        };
        fn value<const N: usize>(text: &str, algorithm: &'static str, hex: &str) -> Result<[u8; N], DigestError> {
            parse_hex(hex).ok_or_else(|| DigestError::Value {
                text: bounded(text),
                algorithm,
                bytes: N,
            })
        }
        let algorithm: Algorithm = algorithm.parse()?;
        let name = algorithm.as_str();
        Ok(match algorithm {
            Algorithm::Sha256 => Digest::Sha256(value(text, name, hex)?),
            Algorithm::Sha384 => Digest::Sha384(value(text, name, hex)?),
            Algorithm::Sha512 => Digest::Sha512(value(text, name, hex)?),
            Algorithm::Blake3 => Digest::Blake3(value(text, name, hex)?),
        })
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// A digest in the making, for content that comes in pieces.
#[derive(Debug, Clone)]
pub struct Hasher(State);

#[derive(Debug, Clone)]
enum State {
    Sha256(sha2::Sha256),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    /// Nothing hashed yet.
    pub fn new(algorithm: Algorithm) -> Self {
        Hasher(match algorithm {
            Algorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            Algorithm::Sha384 => State::Sha384(sha2::Sha384::new()),
            Algorithm::Sha512 => State::Sha512(sha2::Sha512::new()),
            Algorithm::Blake3 => State::Blake3(Box::new(blake3::Hasher::new())),
        })
    }

    /// Adds the next piece.
    pub fn update(&mut self, data: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(data),
            State::Sha384(state) => state.update(data),
            State::Sha512(state) => state.update(data),
            State::Blake3(state) => {
                state.update(data);
            }
        }
    }

    /// The digest of all pieces.
    pub fn finish(self) -> Digest {
        match self.0 {
            State::Sha256(state) => Digest::Sha256(state.finalize().into()),
            State::Sha384(state) => Digest::Sha384(state.finalize().into()),
            State::Sha512(state) => Digest::Sha512(state.finalize().into()),
            State::Blake3(state) => Digest::Blake3(state.finalize().into()),
        }
    }
}

impl std::io::Write for Hasher {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.update(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn parse_hex<const N: usize>(hex: &str) -> Option<[u8; N]> {
    let hex = hex.as_bytes();
    if hex.len() != 2 * N {
        return None;
    }
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(bytes)
}

/// Foreign text in an error stays readable.
fn bounded(text: &str) -> String {
    text.chars().take(160).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_of_the_empty_input() {
        for (algorithm, start) in [
            (Algorithm::Sha256, "sha256:e3b0c44298fc1c14"),
            (Algorithm::Sha384, "sha384:38b060a751ac9638"),
            (Algorithm::Sha512, "sha512:cf83e1357eefb8bd"),
            (Algorithm::Blake3, "blake3:af1349b9f5f9a1a6"),
        ] {
            let digest = algorithm.digest(b"");
            assert!(digest.to_string().starts_with(start), "{digest}");
            assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
            let json = serde_json::to_string(&digest).unwrap();
            assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        }
    }

    #[test]
    fn what_is_not_a_digest_says_so() {
        for (text, part) in [
            ("", "not of the form"),
            ("sha256", "not of the form"),
            ("md5:00", "not one of"),
            ("sha256:00", "32 bytes"),
            (&format!("sha256:{}", "g".repeat(64)), "32 bytes"),
            (&format!("sha256:{}", "A".repeat(64)), "32 bytes"),
            (&format!("sha256:{}", "é".repeat(32)), "32 bytes"),
        ] {
            let error = text.parse::<Digest>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
