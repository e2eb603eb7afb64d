//! Signatures without a key: certificates of minutes, and a log that says when they were used.

use std::fmt;

use regex::Regex;
use sigstore_verify::{
    VerificationPolicy, Verifier,
    trust_root::{SIGSTORE_PRODUCTION_TRUSTED_ROOT, TrustedRoot},
    types::{Artifact, Bundle},
};

use crate::{SignatureError, Signer, TrustError};

/// Who may have signed; regular expressions that match anywhere in the text, as in Flux.
#[derive(Debug, Clone)]
pub struct Identity {
    issuer: Regex,
    subject: Regex,
}

/// A Sigstore, and who of all that it knows is believed.
pub struct Keyless {
    verifier: Verifier,
    identities: Vec<Identity>,
}

impl fmt::Debug for Keyless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyless")
            .field("identities", &self.identities)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Compiles both expressions.
    ///
    /// # Errors
    /// One is none.
    pub fn new(issuer: &str, subject: &str) -> Result<Self, TrustError> {
        let compile = |field, pattern: &str| {
            Regex::new(pattern).map_err(|source| TrustError::Pattern {
                field,
                pattern: pattern.to_owned(),
                source,
            })
        };
        Ok(Identity {
            issuer: compile("issuer", issuer)?,
            subject: compile("subject", subject)?,
        })
    }
}

impl Keyless {
    /// Believes `root`, the JSON of a trusted root, or the public Sigstore as it was known when this program was built.
    /// Without identities anybody whom that Sigstore knows is believed, as in Flux.
    ///
    /// # Errors
    /// The root cannot be read or holds keys that cannot be used.
    pub fn new(root: Option<&[u8]>, identities: Vec<Identity>) -> Result<Self, TrustError> {
        let wrong = |error: &dyn fmt::Display| TrustError::Root(error.to_string());
        let text = match root {
            Some(root) => std::str::from_utf8(root).map_err(|error| wrong(&error))?,
            None => SIGSTORE_PRODUCTION_TRUSTED_ROOT,
        };
        let root = TrustedRoot::from_json(text).map_err(|error| wrong(&error))?;
        let verifier = Verifier::new(&root).map_err(|error| wrong(&error))?;
        Ok(Keyless { verifier, identities })
    }

    /// Who made the bundle, when everything about it holds: chain, SCT, log, time, signature, and the identity.
    pub(crate) fn check(&self, artifact: Artifact<'_>, bundle: &Bundle) -> Result<Signer, SignatureError> {
        let found = self
            .verifier
            .verify(artifact, bundle, &VerificationPolicy::any_identity())
            .map_err(|error| SignatureError::Rejected(error.to_string()))?;
        let holds = found.certificate_verified() && found.sct_verified() && found.tlog_verified();
        if !holds {
            return Err(SignatureError::Rejected(
                "certificate and transparency log were not both verified".to_owned(),
            ));
        }
        let subject = found.identity().map(|identity| identity.as_str()).unwrap_or_default();
        let issuer = found.issuer().unwrap_or_default();
        let is_allowed = self.identities.is_empty()
            || self
                .identities
                .iter()
                .any(|identity| identity.issuer.is_match(issuer) && identity.subject.is_match(subject));
        if !is_allowed {
            return Err(SignatureError::Identity {
                subject: subject.to_owned(),
                issuer: issuer.to_owned(),
            });
        }
        Ok(Signer(format!("'{subject}' of issuer '{issuer}'")))
    }
}
