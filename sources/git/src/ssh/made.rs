//! New keys, and the host keys of a server that nobody knows yet: for people who set up a Secret.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nave_net::SecretText;
use russh::{
    Preferred, client,
    keys::{
        Algorithm, EcdsaCurve, HashAlg, PrivateKey, PublicKey, PublicKeyOrCertificate,
        ssh_key::{LineEnding, private::RsaKeypair},
    },
};
use tokio::net::TcpStream;

use super::auth::{SshAuthError, private_key};

/// What kind of key to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SshKeyKind {
    /// Of so many bits, at least 1024 and a multiple of 8.
    Rsa(usize),
    /// On the curve P-256.
    EcdsaP256,
    /// On the curve P-384.
    EcdsaP384,
    /// On the curve P-521.
    EcdsaP521,
    /// Ed25519.
    Ed25519,
}

/// A private key with its public half, as a Secret holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshKeyPair {
    /// The private key in PEM.
    pub identity: SecretText,
    /// `ssh-ed25519 AAAA…`.
    pub public: String,
}

/// Host keys that could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("asking {host} for its host keys: {detail}")]
pub struct ScanError {
    /// `host` or `[host]:port`.
    pub host: String,
    /// Why not.
    pub detail: String,
}

impl SshKeyPair {
    /// A new key.
    ///
    /// # Errors
    /// The number of bits is one that RSA cannot have.
    pub fn generate(kind: SshKeyKind) -> Result<Self, SshAuthError> {
        let mut random = russh::keys::key::safe_rng();
        let ecdsa = |curve| Algorithm::Ecdsa { curve };
        let made = match kind {
            SshKeyKind::Rsa(bits) => RsaKeypair::random(&mut random, bits).map(PrivateKey::from),
            SshKeyKind::EcdsaP256 => PrivateKey::random(&mut random, ecdsa(EcdsaCurve::NistP256)),
            SshKeyKind::EcdsaP384 => PrivateKey::random(&mut random, ecdsa(EcdsaCurve::NistP384)),
            SshKeyKind::EcdsaP521 => PrivateKey::random(&mut random, ecdsa(EcdsaCurve::NistP521)),
            SshKeyKind::Ed25519 => PrivateKey::random(&mut random, Algorithm::Ed25519),
        };
        let wrong = |error: russh::keys::ssh_key::Error| SshAuthError::Key {
            detail: error.to_string(),
        };
        let key = made.map_err(wrong)?;
        let identity = key.to_openssh(LineEnding::LF).map_err(wrong)?;
        Ok(SshKeyPair {
            identity: SecretText::new(identity.as_str()),
            public: key.public_key().to_openssh().map_err(wrong)?,
        })
    }

    /// The public half of a private key in PEM.
    ///
    /// # Errors
    /// The key cannot be read, or the passphrase does not open it.
    pub fn of_private(identity: &[u8], passphrase: Option<&SecretText>) -> Result<Self, SshAuthError> {
        let key = private_key(identity, passphrase)?;
        let wrong = |detail: String| SshAuthError::Key { detail };
        Ok(SshKeyPair {
            identity: SecretText::new(String::from_utf8_lossy(identity)),
            public: key
                .public_key()
                .to_openssh()
                .map_err(|error| wrong(error.to_string()))?,
        })
    }
}

/// Asks a server for its host keys of every kind, one connection each: lines for `known_hosts`. Nothing says that they
/// are the right ones but what the reader compares them with.
///
/// # Errors
/// Nobody answers, or not as an SSH server does.
pub async fn scan_host_keys(host: &str, port: u16, timeout: Duration) -> Result<Vec<HostKey>, ScanError> {
    let written = if port == 22 {
        host.to_owned()
    } else {
        format!("[{host}]:{port}")
    };
    let kinds: [&[Algorithm]; 3] = [
        &[Algorithm::Ed25519],
        &[
            Algorithm::Ecdsa {
                curve: EcdsaCurve::NistP256,
            },
            Algorithm::Ecdsa {
                curve: EcdsaCurve::NistP384,
            },
            Algorithm::Ecdsa {
                curve: EcdsaCurve::NistP521,
            },
        ],
        &[
            Algorithm::Rsa {
                hash: Some(HashAlg::Sha512),
            },
            Algorithm::Rsa {
                hash: Some(HashAlg::Sha256),
            },
        ],
    ];
    let mut keys = Vec::new();
    let mut last = "it has no key of a kind that is accepted".to_owned();
    for kind in kinds {
        let one = tokio::time::timeout(timeout, ask(host, port, kind));
        match one
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {timeout:?}")))
        {
            Ok(Some(key)) => keys.push(HostKey::new(&written, &key)),
            Ok(None) => {}
            Err(detail) => last = detail,
        }
    }
    if keys.is_empty() {
        return Err(ScanError {
            host: written,
            detail: last,
        });
    }
    Ok(keys)
}

/// A server's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    /// A line for `known_hosts`.
    pub line: String,
    /// `ssh-ed25519 SHA256:…`.
    pub fingerprint: String,
}

impl HostKey {
    fn new(host: &str, key: &PublicKey) -> HostKey {
        let openssh = PublicKey::new(key.key_data().clone(), "")
            .to_openssh()
            .unwrap_or_default();
        HostKey {
            line: format!("{host} {}", openssh.trim()),
            fingerprint: super::known_hosts::fingerprint(key),
        }
    }
}

/// The key of one kind; none where the server has none of it.
async fn ask(host: &str, port: u16, kind: &[Algorithm]) -> Result<Option<PublicKey>, String> {
    let stream = TcpStream::connect((host, port))
        .await
        .map_err(|error| error.to_string())?;
    let config = client::Config {
        preferred: Preferred {
            key: Cow::Owned(kind.to_vec()),
            ..Preferred::default()
        },
        nodelay: true,
        ..client::Config::default()
    };
    let seen = Arc::new(Mutex::new(None));
    let looker = Looker(seen.clone());
    let outcome = client::connect_stream(Arc::new(config), stream, looker).await;
    let key = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (key, outcome) {
        (Some(key), _) => Ok(Some(key)),
        (None, Err(russh::Error::NoCommonAlgo { .. })) => Ok(None),
        (None, Err(error)) => Err(error.to_string()),
        (None, Ok(_)) => Err("the server did not show its key".to_owned()),
    }
}

/// Looks at the key and goes away.
struct Looker(Arc<Mutex<Option<PublicKey>>>);

impl client::Handler for Looker {
    type Error = russh::Error;

    async fn check_server_key(&mut self, server: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(server.public_key());
        Ok(false)
    }
}
