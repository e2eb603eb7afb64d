//! Signatures of the Notary Project: envelopes in JWS and COSE, judged by a trust policy.
//!
//! ```text
//! trustpolicy.json ─► TrustPolicy ─► statement for a repository ─► level of each check
//! *.crt, *.pem ─────► roots ───────┐
//! envelope ─► Envelope ────────────┴► Notation::check ─► Judged
//! ```

mod certificates;
mod cose;
mod envelope;
mod jws;
mod policy;

use std::fmt;

use nave_net::SecretData;

use crate::{SignatureError, Signer, TrustError};

use certificates::Chain;
use envelope::{Envelope, Scheme};
use policy::Statement;
pub use policy::{Action, Check, TrustPolicy};

/// The key of the trust policy in its Secret.
const POLICY: &str = "trustpolicy.json";

/// Media types of signatures by their use.
pub mod media_type {
    /// The artifact type of a signature's manifest.
    pub const SIGNATURE: &str = "application/vnd.cncf.notary.signature";
    /// An envelope in JSON (RFC 7515).
    pub const JWS: &str = "application/jose+json";
    /// An envelope in CBOR (RFC 9052).
    pub const COSE: &str = "application/cose";
}

/// A trust policy with the certificates that it trusts.
pub struct Notation {
    policy: TrustPolicy,
    roots: Vec<Vec<u8>>,
}

impl fmt::Debug for Notation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notation")
            .field("roots", &self.roots.len())
            .finish_non_exhaustive()
    }
}

/// What is known of an artifact's manifest.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// `<registry>/<name>`.
    pub repository: &'a str,
    /// `sha256:<hex>`.
    pub digest: &'a str,
    /// Seconds since 1970.
    pub now: i64,
}

/// What a signature comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// It holds.
    Verified(Signer),
    /// It is nobody's that is trusted, and the policy says not to mind.
    Ignored(String),
}

impl Notation {
    /// Reads `trustpolicy.json`, and every key whose name ends in `.crt` or `.pem`.
    ///
    /// # Errors
    /// The policy is missing or makes no sense, or there is no certificate.
    pub fn from_secret(data: &SecretData) -> Result<Self, TrustError> {
        let text = data.get(POLICY).ok_or(TrustError::NoPolicy)?;
        let policy = TrustPolicy::from_json(text)?;
        let mut roots = Vec::new();
        for (name, value) in data {
            if name.ends_with(".crt") || name.ends_with(".pem") {
                roots.extend(certificates::read(value).map_err(|detail| TrustError::Key {
                    name: name.clone(),
                    detail,
                })?);
            }
        }
        if roots.is_empty() {
            return Err(TrustError::NoCertificates);
        }
        Ok(Notation { policy, roots })
    }

    /// Whether the policy says that artifacts of a repository need no signature.
    ///
    /// # Errors
    /// The policy says nothing of the repository.
    pub fn is_skipped(&self, repository: &str) -> Result<bool, SignatureError> {
        Ok(self.statement(repository)?.is_skip())
    }

    fn statement(&self, repository: &str) -> Result<&Statement, SignatureError> {
        self.policy
            .statement(repository)
            .ok_or_else(|| SignatureError::Rejected(format!("the trust policy has no statement for '{repository}'")))
    }

    /// Checks an envelope of the media type `kind`.
    ///
    /// # Errors
    /// A check failed that the policy enforces.
    pub fn check(&self, target: Target<'_>, kind: &str, envelope: &[u8]) -> Result<Judged, SignatureError> {
        let statement = self.statement(target.repository)?;
        let envelope = match kind {
            media_type::JWS => jws::read(envelope)?,
            media_type::COSE => cose::read(envelope)?,
            other => {
                return Err(SignatureError::Rejected(format!(
                    "envelopes of type '{other}' are not known"
                )));
            }
        };
        // Integrity is never a matter of policy.
        let chain = Chain::read(&envelope.certificates)?;
        chain.check_signature(&envelope)?;
        if envelope.target != target.digest {
            return Err(SignatureError::OtherArtifact {
                signed: envelope.target.clone(),
            });
        }
        let checks = [
            (Check::Authenticity, self.authentic(&chain, &envelope, statement)),
            (Check::AuthenticTimestamp, timely(&chain, &envelope, target.now)),
            (Check::Expiry, expiry(&envelope, target.now)),
            (Check::Revocation, chain.revocation()),
        ];
        let mut ignored = None;
        for (check, found) in checks {
            let Err(problem) = found else { continue };
            match statement.action(check) {
                Action::Enforce => return Err(SignatureError::Rejected(problem)),
                // As in Flux: a signature of somebody who is not trusted makes nothing verified.
                Action::Log if check == Check::Authenticity => ignored = Some(problem),
                Action::Log | Action::Skip => {}
            }
        }
        Ok(match ignored {
            Some(problem) => Judged::Ignored(problem),
            None => Judged::Verified(Signer(format!("'{}'", chain.subject()))),
        })
    }

    fn authentic(&self, chain: &Chain, envelope: &Envelope, statement: &Statement) -> Result<(), String> {
        let store = match envelope.scheme {
            Scheme::X509 => "ca:",
            Scheme::SigningAuthority => "signingAuthority:",
        };
        if !statement.trust_stores.iter().any(|name| name.starts_with(store)) {
            return Err(format!(
                "the trust policy '{}' names no trust store '{store}…'",
                statement.name
            ));
        }
        // As in Flux, every store holds all certificates of the Secret.
        if !chain.is_rooted_in(&self.roots) {
            return Err(format!(
                "the certificate '{}' does not lead to one that the secret holds",
                chain.subject()
            ));
        }
        if statement
            .identities
            .iter()
            .any(|identity| identity.matches(&chain.names()))
        {
            Ok(())
        } else {
            Err(format!(
                "it was made by '{}', which the trust policy '{}' does not trust",
                chain.subject(),
                statement.name
            ))
        }
    }
}

/// Without a timestamp of somebody trusted, certificates have to be valid now.
fn timely(chain: &Chain, envelope: &Envelope, now: i64) -> Result<(), String> {
    let at = match envelope.scheme {
        Scheme::X509 => now,
        // A signing authority vouches for the time itself.
        Scheme::SigningAuthority => envelope.signed_at,
    };
    chain.valid_at(at)
}

fn expiry(envelope: &Envelope, now: i64) -> Result<(), String> {
    match envelope.expires_at {
        Some(end) if end < now => Err("the signature has expired".to_owned()),
        _ => Ok(()),
    }
}
