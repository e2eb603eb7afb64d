//! Who we say we are over SSH, and which servers we believe.

use std::{borrow::Cow, fmt, sync::Arc};

use nave_net::SecretText;
use russh::{
    Preferred,
    keys::{Algorithm, HashAlg, PrivateKey, ssh_key::Kdf},
};

use super::known_hosts::KnownHosts;

/// A private key, and the host keys that are known.
#[derive(Clone)]
pub struct SshAuth {
    key: Arc<PrivateKey>,
    known_hosts: Arc<KnownHosts>,
}

/// A key or known hosts that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SshAuthError {
    /// The key is encrypted, and nothing opens it.
    #[error("identity is encrypted with a passphrase; put it into key \"password\"")]
    Encrypted,
    /// The passphrase is another one.
    #[error("identity cannot be decrypted with the passphrase in key \"password\"")]
    Passphrase,
    /// So many rounds that every reconcile would take minutes.
    #[error("identity is encrypted with {rounds} rounds, at most {MAX_ROUNDS} are accepted")]
    Rounds {
        /// What the key asks for.
        rounds: u32,
    },
    /// Not a private key.
    #[error("identity is not a private key in a form that is understood: {detail}")]
    Key {
        /// What is wrong.
        detail: String,
    },
    /// Not a file of known hosts.
    #[error("known_hosts {detail}")]
    KnownHosts {
        /// What is wrong.
        detail: String,
    },
}

/// Which algorithms may be agreed on. Empty lists mean the library's own, without SHA-1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SshOptions {
    pub(crate) host_keys: Vec<Algorithm>,
    pub(crate) kex: Vec<russh::kex::Name>,
}

/// An algorithm that nobody here knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} algorithm {name:?} is not known")]
pub struct SshOptionsError {
    /// `host key` or `key exchange`.
    pub kind: &'static str,
    /// As given.
    pub name: String,
}

/// OpenSSH asks for 16 or 24; a thousand take seconds.
const MAX_ROUNDS: u32 = 1024;
const MAX_IDENTITY: usize = 64 << 10;

impl SshAuth {
    /// Reads a private key (OpenSSH, PKCS#8, PKCS#1 or SEC 1, in PEM) and a `known_hosts` file.
    ///
    /// # Errors
    /// The key cannot be read or decrypted, or no line of the file can be.
    pub fn new(identity: &[u8], passphrase: Option<&SecretText>, known_hosts: &[u8]) -> Result<Self, SshAuthError> {
        let key = private_key(identity, passphrase)?;
        let known_hosts = KnownHosts::parse(known_hosts).map_err(|detail| SshAuthError::KnownHosts { detail })?;
        Ok(SshAuth {
            key: Arc::new(key),
            known_hosts: Arc::new(known_hosts),
        })
    }

    pub(crate) fn key(&self) -> &Arc<PrivateKey> {
        &self.key
    }

    pub(crate) fn known_hosts(&self) -> &Arc<KnownHosts> {
        &self.known_hosts
    }

    /// What tells this from others, without telling the key: whoever has read the private key holds it.
    pub(crate) fn tell_apart(&self) -> [Vec<u8>; 2] {
        [
            self.key.fingerprint(HashAlg::Sha256).as_bytes().to_vec(),
            self.known_hosts.text().to_vec(),
        ]
    }
}

impl PartialEq for SshAuth {
    fn eq(&self, other: &Self) -> bool {
        self.tell_apart() == other.tell_apart()
    }
}

impl Eq for SshAuth {}

impl fmt::Debug for SshAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SshAuth({})", self.key.fingerprint(HashAlg::Sha256))
    }
}

impl SshOptions {
    /// Reads names as `--ssh-hostkey-algos` and `--ssh-kex-algos` give them.
    ///
    /// # Errors
    /// One of them is not known.
    pub fn new(host_keys: &[String], kex: &[String]) -> Result<Self, SshOptionsError> {
        let wrong = |kind, name: &String| SshOptionsError {
            kind,
            name: name.clone(),
        };
        let host_keys = host_keys
            .iter()
            .map(|name| match Algorithm::new(name) {
                Ok(Algorithm::Other(_)) | Err(_) => Err(wrong("host key", name)),
                Ok(known) => Ok(known),
            })
            .collect::<Result<_, _>>()?;
        let kex = kex
            .iter()
            .map(|name| russh::kex::Name::try_from(name.as_str()).map_err(|()| wrong("key exchange", name)))
            .collect::<Result<_, _>>()?;
        Ok(SshOptions { host_keys, kex })
    }

    /// What to offer to a server of which `known` key types are known; all when none are, so that the server's key can
    /// be named.
    pub(crate) fn preferred(&self, known: &[Algorithm], authorities: bool) -> Preferred {
        let defaults = Preferred::default();
        let allowed: Vec<Algorithm> = if self.host_keys.is_empty() {
            // SHA-1 signatures only where somebody asked for them by name.
            defaults
                .key
                .iter()
                .filter(|algorithm| !is_sha1(algorithm))
                .cloned()
                .collect()
        } else {
            self.host_keys.clone()
        };
        let is_rsa = |algorithm: &Algorithm| matches!(algorithm, Algorithm::Rsa { .. });
        let same_kind = |a: &Algorithm, b: &Algorithm| a == b || (is_rsa(a) && is_rsa(b));
        let fitting: Vec<Algorithm> = allowed
            .iter()
            .filter(|algorithm| known.iter().any(|known| same_kind(known, algorithm)))
            .cloned()
            .collect();
        let certificates = if authorities { allowed.clone() } else { Vec::new() };
        let kex = if self.kex.is_empty() {
            defaults.kex.clone()
        } else {
            // The extensions are markers, not algorithms: without them the Terrapin attack is possible.
            let extensions = [
                russh::kex::EXTENSION_SUPPORT_AS_CLIENT,
                russh::kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
            ];
            Cow::Owned(self.kex.iter().copied().chain(extensions).collect())
        };
        Preferred {
            kex,
            key: Cow::Owned(if fitting.is_empty() { allowed } else { fitting }),
            host_key_certificates: Cow::Owned(certificates),
            ..defaults
        }
    }
}

fn is_sha1(algorithm: &Algorithm) -> bool {
    matches!(algorithm, Algorithm::Rsa { hash: None })
}

pub(super) fn private_key(identity: &[u8], passphrase: Option<&SecretText>) -> Result<PrivateKey, SshAuthError> {
    let wrong = |detail: &str| SshAuthError::Key {
        detail: detail.to_owned(),
    };
    if identity.len() > MAX_IDENTITY {
        return Err(wrong("it is larger than 64 KiB"));
    }
    let text = std::str::from_utf8(identity).map_err(|_| wrong("it is not text"))?;
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let Some(first) = lines.first().filter(|line| line.starts_with("-----BEGIN ")) else {
        return Err(wrong("it does not begin with -----BEGIN"));
    };
    let text = zeroize::Zeroizing::new(lines.join("\n") + "\n");
    let passphrase = passphrase.map(SecretText::expose).filter(|phrase| !phrase.is_empty());
    if *first == "-----BEGIN OPENSSH PRIVATE KEY-----" {
        if is_nested_pem(&lines) {
            return Err(wrong("it holds certificates"));
        }
        let key = PrivateKey::from_openssh(text.as_bytes()).map_err(|error| wrong(&error.to_string()))?;
        if !key.is_encrypted() {
            return Ok(key);
        }
        if let Kdf::Bcrypt { rounds, .. } = key.kdf()
            && *rounds > MAX_ROUNDS
        {
            return Err(SshAuthError::Rounds { rounds: *rounds });
        }
        let passphrase = passphrase.ok_or(SshAuthError::Encrypted)?;
        return key.decrypt(passphrase).map_err(|_| SshAuthError::Passphrase);
    }
    let encrypted = text.contains("ENCRYPTED");
    if encrypted && passphrase.is_none() {
        return Err(SshAuthError::Encrypted);
    }
    if encrypted && *first == "-----BEGIN EC PRIVATE KEY-----" {
        return Err(wrong(
            "it is an encrypted key of elliptic curves in the old PEM form; rewrite it with ssh-keygen -p",
        ));
    }
    match russh::keys::decode_secret_key(&text, passphrase.filter(|_| encrypted)) {
        Ok(key) => Ok(key),
        Err(russh::keys::Error::KeyIsEncrypted) => Err(SshAuthError::Encrypted),
        Err(_) if encrypted => Err(SshAuthError::Passphrase),
        Err(error) => Err(wrong(&error.to_string())),
    }
}

fn is_nested_pem(lines: &[&str]) -> bool {
    let body: String = lines
        .iter()
        .filter(|line| !line.starts_with("-----"))
        .copied()
        .collect();
    super::is_nested(&body)
}
