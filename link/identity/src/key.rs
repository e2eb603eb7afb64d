//! Private keys: ECDSA P-256, made here or read from PEM.

use std::fmt;

use jiff::{Span, Timestamp};
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SigningKey};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::certificate::date;
use crate::fingerprint::KeyFingerprint;

/// An ECDSA P-256 private key. `Debug` shows its fingerprint only.
pub struct Key(KeyPair);

/// Making, reading or using a private key failed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The operating system's random source or the provider refused.
    #[error("generating an ECDSA P-256 key")]
    Generate(#[source] rcgen::Error),
    /// The text is not a PKCS#8 PEM private key.
    #[error("reading a PEM private key")]
    Parse(#[source] rcgen::Error),
    /// A key, but of another kind.
    #[error("private key is not ECDSA P-256")]
    NotP256,
    /// Signing failed.
    #[error("signing {what}")]
    Sign {
        /// What was to be signed.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: rcgen::Error,
    },
}

impl Key {
    /// A new key.
    pub fn generate() -> Result<Self, KeyError> {
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
            .map(Self)
            .map_err(KeyError::Generate)
    }

    /// Reads a PKCS#8 PEM key; any other kind than P-256 is an error.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let pair = KeyPair::from_pem(pem).map_err(KeyError::Parse)?;
        if pair.is_compatible(&PKCS_ECDSA_P256_SHA256) {
            Ok(Self(pair))
        } else {
            Err(KeyError::NotP256)
        }
    }

    /// The key as PKCS#8 PEM, wiped from memory when dropped.
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.serialize_pem())
    }

    /// The name of this key.
    pub fn fingerprint(&self) -> KeyFingerprint {
        KeyFingerprint::of_spki(&self.spki())
    }

    /// The DER SubjectPublicKeyInfo.
    pub fn spki(&self) -> Vec<u8> {
        self.0.subject_public_key_info()
    }

    /// ECDSA signature (ASN.1) over SHA-256 of `message`.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.0.sign(message).map_err(|source| KeyError::Sign {
            what: "a message",
            source,
        })
    }

    /// A certificate that this key signs for itself: what an agent shows while it has none from the hub.
    ///
    /// It proves possession of the key and nothing else, so its dates are wide: an hour back and ten years ahead.
    pub fn self_signed(&self, now: Timestamp) -> Result<CertificateDer<'static>, KeyError> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "nave agent without a certificate");
        params.not_before = date(now - Span::new().hours(1));
        params.not_after = date(now + Span::new().hours(10 * 365 * 24));
        let signed = params.self_signed(&self.0);
        Ok(signed
            .map_err(|source| KeyError::Sign {
                what: "a self-signed certificate",
                source,
            })?
            .into())
    }

    /// A certificate request: proof of possession, and the public key. The hub takes nothing else from it.
    pub fn request(&self) -> Result<CertificateSigningRequestDer<'static>, KeyError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let request = params.serialize_request(&self.0);
        Ok(request
            .map_err(|source| KeyError::Sign {
                what: "a certificate request",
                source,
            })?
            .into())
    }

    pub(crate) fn pair(&self) -> &KeyPair {
        &self.0
    }

    pub(crate) fn der(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.0.serialize_der()).into()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.fingerprint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_keeps_the_fingerprint_and_debug_hides_the_key() {
        let key = Key::generate().expect("random source works");
        let again = Key::from_pem(&key.to_pem()).expect("own PEM is readable");
        assert_eq!(again.fingerprint(), key.fingerprint());
        assert_eq!(format!("{key:?}"), format!("Key({})", key.fingerprint()));
    }

    #[test]
    fn other_keys_are_refused() {
        let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).expect("provider knows P-384");
        assert!(matches!(Key::from_pem(&p384.serialize_pem()), Err(KeyError::NotP256)));
        assert!(matches!(Key::from_pem("nonsense"), Err(KeyError::Parse(_))));
    }
}
