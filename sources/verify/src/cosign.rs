//! The two layouts of cosign: bundles, which refer to what they sign, and signatures under a tag.

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;
use sigstore_verify::types::{Artifact, Bundle, Sha256Hash, SignatureContent, pae};

use crate::{Keyless, PublicKeys, SignatureError, tag_signature};

/// Media types by their use.
pub mod media_type {
    /// Every version of Sigstore's bundles begins so.
    pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";
    /// The payload of a signature under a tag.
    pub const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
}

/// Whose signatures count.
#[derive(Debug)]
pub enum Cosign {
    /// Those of keys; no log is looked at, as in Flux.
    Keys(PublicKeys),
    /// Those of identities.
    Keyless(Box<Keyless>),
}

/// Who made a signature, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer(pub(crate) String);

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Deserialize)]
struct Statement {
    #[serde(default)]
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    #[serde(default)]
    digest: BTreeMap<String, String>,
}

const IN_TOTO: &str = "application/vnd.in-toto+json";

impl Cosign {
    /// Checks a bundle that is said to sign the manifest `digest`, `sha256:<hex>`.
    ///
    /// As in Flux, an attestation of any kind counts when its subject is the artifact.
    ///
    /// # Errors
    /// It does not hold, is of something else, or of somebody who is not believed.
    pub fn check_bundle(&self, digest: &str, bundle: &[u8]) -> Result<Signer, SignatureError> {
        let malformed = |detail: String| SignatureError::Malformed { what: "bundle", detail };
        let hex = sha256_of(digest)?;
        let text = std::str::from_utf8(bundle).map_err(|error| malformed(error.to_string()))?;
        let bundle = Bundle::from_json(text).map_err(|error| malformed(error.to_string()))?;
        match self {
            Cosign::Keyless(keyless) => {
                let hash = Sha256Hash::from_hex(hex).map_err(|error| malformed(error.to_string()))?;
                keyless.check(Artifact::from_digest(hash), &bundle)
            }
            Cosign::Keys(keys) => {
                let SignatureContent::DsseEnvelope(envelope) = &bundle.content else {
                    return Err(SignatureError::Missing { what: "attestation" });
                };
                if envelope.payload_type != IN_TOTO {
                    return Err(malformed(format!("its payload is of type '{}'", envelope.payload_type)));
                }
                let payload = envelope.payload.as_bytes();
                // The signature first: what nobody signed is not worth reading.
                let name = keys.check(&pae(&envelope.payload_type, payload), &envelope.signature.sig)?;
                let statement: Statement =
                    serde_json::from_slice(payload).map_err(|error| malformed(format!("its statement: {error}")))?;
                let signed = || {
                    statement
                        .subject
                        .iter()
                        .filter_map(|subject| subject.digest.get("sha256"))
                };
                if !signed().any(|found| found == hex) {
                    let signed: Vec<String> = signed().take(3).map(|hex| format!("sha256:{hex}")).collect();
                    return Err(other_artifact(signed.join(", ")));
                }
                Ok(Signer(format!("key {name}")))
            }
        }
    }

    /// Checks a signature under the tag `sha256-<hex>.sig` that is said to sign the manifest `digest`: the payload, and
    /// the annotations of its layer.
    ///
    /// # Errors
    /// It does not hold, is of something else, or of somebody who is not believed.
    pub fn check_tag_signature(
        &self,
        digest: &str,
        payload: &[u8],
        annotations: &BTreeMap<String, String>,
    ) -> Result<Signer, SignatureError> {
        sha256_of(digest)?;
        let signature = tag_signature::signature(annotations)?;
        let signer = match self {
            Cosign::Keys(keys) => Signer(format!("key {}", keys.check(payload, &signature)?)),
            Cosign::Keyless(keyless) => {
                let bundle = tag_signature::bundle(annotations)?;
                keyless.check(Artifact::from_blob(payload), &bundle)?
            }
        };
        let signed = tag_signature::signed_digest(payload)?;
        if signed != digest {
            return Err(other_artifact(signed));
        }
        Ok(signer)
    }
}

fn other_artifact(signed: String) -> SignatureError {
    SignatureError::OtherArtifact {
        signed: if signed.is_empty() {
            "nothing".to_owned()
        } else {
            signed
        },
    }
}

fn sha256_of(digest: &str) -> Result<&str, SignatureError> {
    digest.strip_prefix("sha256:").ok_or(SignatureError::Malformed {
        what: "digest",
        detail: "only sha256 digests can be verified".to_owned(),
    })
}
