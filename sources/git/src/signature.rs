//! Who signed a commit or a tag, by PGP or SSH keys. Pure: the time is an argument.
//!
//! ```text
//! object as git stores it ─► signed part, signature ─┐
//! Secret ─► TrustedKeys ─────────────────────────────┴─► whose key, or why not
//! ```

mod keys;
mod object;
mod pgp_policy;

use pgp::composed::{Deserializable, DetachedSignature};
use russh::keys::{Algorithm, HashAlg, PublicKey, ssh_key::SshSig};

pub use keys::{KeysError, TrustedKeys};
use object::Signed;

/// Longer signatures are not looked at; the longest there are (RSA of 16384 bits with a certificate) have 8 KiB.
const MAX_SIGNATURE: usize = 16 << 10;
/// What git signs with SSH is signed for this purpose and no other.
const NAMESPACE: &str = "git";

/// Why an object does not count as signed by somebody trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no signature.
    #[error("it is not signed")]
    Unsigned,
    /// There are several, of which one could hide another.
    #[error("it carries more than one signature")]
    Several,
    /// Neither PGP nor SSH.
    #[error("its signature is neither one of PGP nor of SSH")]
    Kind,
    /// The signature itself is broken.
    #[error("its {kind} signature cannot be read: {detail}")]
    Broken {
        /// `PGP` or `SSH`.
        kind: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// The keys are of the other kind.
    #[error("it is signed with {kind}, and the secret has no {kind} key")]
    NoKeys {
        /// `PGP` or `SSH`.
        kind: &'static str,
    },
    /// Nobody known.
    #[error("its signer {signer} is not among the trusted keys")]
    Unknown {
        /// The key, as far as the signature tells.
        signer: String,
    },
    /// Somebody known, but it is not what was signed.
    #[error("the signature of {signer} does not fit what is signed")]
    Wrong {
        /// The key.
        signer: String,
    },
    /// The key must not be used.
    #[error("{signer} must not sign it: {why}")]
    NotAllowed {
        /// The key.
        signer: String,
        /// Why.
        why: String,
    },
}

impl TrustedKeys {
    /// Whose signature a commit object carries.
    ///
    /// # Errors
    /// It is not signed, or by nobody who is trusted.
    pub fn verify_commit(&self, object: &[u8], now: u64) -> Result<String, SignatureError> {
        self.verify(object::of_commit(object)?, now)
    }

    /// Whose signature a tag object carries.
    ///
    /// # Errors
    /// It is not signed, or by nobody who is trusted.
    pub fn verify_tag(&self, object: &[u8], now: u64) -> Result<String, SignatureError> {
        self.verify(object::of_tag(object)?, now)
    }

    fn verify(&self, signed: Signed, now: u64) -> Result<String, SignatureError> {
        let signature = signed.signature.trim();
        if signature.len() > MAX_SIGNATURE {
            return Err(SignatureError::Kind);
        }
        if signature.starts_with("-----BEGIN PGP SIGNATURE-----")
            || signature.starts_with("-----BEGIN PGP MESSAGE-----")
        {
            self.verify_pgp(signature, &signed.payload, now)
        } else if signature.starts_with("-----BEGIN SSH SIGNATURE-----") {
            self.verify_ssh(signature, &signed.payload)
        } else {
            Err(SignatureError::Kind)
        }
    }

    fn verify_pgp(&self, armored: &str, payload: &[u8], now: u64) -> Result<String, SignatureError> {
        let broken = |detail: String| SignatureError::Broken { kind: "PGP", detail };
        let (signatures, _) =
            DetachedSignature::from_string_many(armored).map_err(|error| broken(error.to_string()))?;
        let signatures: Vec<DetachedSignature> = signatures
            .take(2)
            .collect::<Result<_, _>>()
            .map_err(|error| broken(error.to_string()))?;
        match &signatures[..] {
            [] => Err(broken("it is empty".to_owned())),
            _ if self.pgp.is_empty() => Err(SignatureError::NoKeys { kind: "PGP" }),
            [one] => pgp_policy::verify(&self.pgp, &one.signature, payload, now),
            _ => Err(SignatureError::Several),
        }
    }

    fn verify_ssh(&self, armored: &str, payload: &[u8]) -> Result<String, SignatureError> {
        let broken = |detail: String| SignatureError::Broken { kind: "SSH", detail };
        let body: String = armored.lines().filter(|line| !line.starts_with("-----")).collect();
        if crate::ssh::is_nested(&body) {
            return Err(broken("it holds a chain of certificates".to_owned()));
        }
        let signature = SshSig::from_pem(armored).map_err(|error| broken(error.to_string()))?;
        if self.ssh.is_empty() {
            return Err(SignatureError::NoKeys { kind: "SSH" });
        }
        let signer = PublicKey::new(signature.public_key().clone(), "");
        let named = format!("SSH key {}", signer.fingerprint(HashAlg::Sha256));
        let Some(trusted) = self.ssh.iter().find(|key| key.key_data() == signer.key_data()) else {
            return Err(SignatureError::Unknown { signer: named });
        };
        let not_allowed = |why: &str| SignatureError::NotAllowed {
            signer: named.clone(),
            why: why.to_owned(),
        };
        if signature.namespace() != NAMESPACE {
            return Err(not_allowed("the signature was made for another purpose than git"));
        }
        if matches!(signature.algorithm(), Algorithm::Rsa { hash: None } | Algorithm::Dsa) {
            return Err(not_allowed("the signature uses SHA-1"));
        }
        match trusted.verify(NAMESPACE, payload, &signature) {
            Ok(()) => Ok(named),
            Err(_) => Err(SignatureError::Wrong { signer: named }),
        }
    }
}

#[cfg(test)]
#[path = "signature/signature_tests.rs"]
mod tests;
