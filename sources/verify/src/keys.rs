//! Signatures by keys that somebody handed out.

use std::fmt;

use nave_net::SecretData;
use sigstore_verify::{
    crypto::{KeyAlgorithm, SigningScheme, VerificationKey},
    types::{DerPublicKey, SignatureBytes},
};

use crate::{SignatureError, TrustError};

/// Public keys, any of which will do.
pub struct PublicKeys {
    keys: Vec<(String, VerificationKey)>,
}

impl fmt::Debug for PublicKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(name, _)| name)).finish()
    }
}

impl PublicKeys {
    /// Reads every key of the Secret whose name ends in `.pub`.
    ///
    /// # Errors
    /// There is none, or one is not a public key in PEM.
    pub fn from_secret(data: &SecretData) -> Result<Self, TrustError> {
        let mut keys = Vec::new();
        for (name, value) in data.iter().filter(|(name, _)| name.ends_with(".pub")) {
            let wrong = |detail: String| TrustError::Key {
                name: name.clone(),
                detail,
            };
            let text = std::str::from_utf8(value).map_err(|_| wrong("it is not text".to_owned()))?;
            let key = DerPublicKey::from_pem(text.trim()).map_err(|error| wrong(error.to_string()))?;
            let scheme = scheme(&key).map_err(wrong)?;
            let key = VerificationKey::from_spki_with_scheme(&key, scheme).map_err(|error| wrong(error.to_string()))?;
            keys.push((name.clone(), key));
        }
        if keys.is_empty() {
            return Err(TrustError::NoKeys);
        }
        Ok(PublicKeys { keys })
    }

    /// The name of the key that made the signature.
    pub(crate) fn check(&self, data: &[u8], signature: &SignatureBytes) -> Result<String, SignatureError> {
        self.keys
            .iter()
            .find(|(_, key)| key.verify(data, signature).is_ok())
            .map(|(name, _)| name.clone())
            .ok_or_else(|| SignatureError::Keys {
                keys: self.keys.iter().map(|(name, _)| name.clone()).collect(),
            })
    }
}

/// Flux verifies with SHA-256 whatever the key (source-controller, `internal/oci/cosign`).
fn scheme(key: &DerPublicKey) -> Result<SigningScheme, String> {
    match KeyAlgorithm::from_spki(key).map_err(|error| error.to_string())? {
        KeyAlgorithm::EcdsaP256 => Ok(SigningScheme::EcdsaP256Sha256),
        KeyAlgorithm::EcdsaP384 => Ok(SigningScheme::EcdsaP384Sha256),
        KeyAlgorithm::Ed25519 => Ok(SigningScheme::Ed25519),
        KeyAlgorithm::Rsa => Ok(SigningScheme::RsaPkcs1Sha256),
        other => Err(format!("keys of kind {other:?} are not supported")),
    }
}
