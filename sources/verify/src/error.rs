//! Why a signature does not count, and why trust cannot be set up.

/// A signature that does not count.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// Bytes that are not what they should be.
    #[error("the {what} cannot be read: {detail}")]
    Malformed {
        /// `bundle`, `payload` …
        what: &'static str,
        /// Where it is wrong.
        detail: String,
    },
    /// A signature of something else.
    #[error("it is a signature of {signed}")]
    OtherArtifact {
        /// The digests that it names.
        signed: String,
    },
    /// None of the keys has made it.
    #[error("it was made by none of the keys {}", .keys.join(", "))]
    Keys {
        /// Names of the keys in their Secret.
        keys: Vec<String>,
    },
    /// Somebody else has made it.
    #[error("it was made by '{subject}' of issuer '{issuer}', which spec.verify.matchOIDCIdentity does not allow")]
    Identity {
        /// Of the certificate.
        subject: String,
        /// Who vouched for the subject.
        issuer: String,
    },
    /// A part that the signature needs is not there.
    #[error("it has no {what}")]
    Missing {
        /// The part.
        what: &'static str,
    },
    /// Certificate, transparency log, timestamp or signature do not hold.
    #[error("{0}")]
    Rejected(String),
}

/// Keys, roots or rules that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// No key ends in `.pub`.
    #[error("it has no key that ends in \".pub\"")]
    NoKeys,
    /// A key that is none.
    #[error("key {name:?} is no key or certificate that can be used: {detail}")]
    Key {
        /// Its name in the Secret.
        name: String,
        /// What is wrong.
        detail: String,
    },
    /// A regular expression that is none.
    #[error("{field} '{pattern}'")]
    Pattern {
        /// `issuer` or `subject`.
        field: &'static str,
        /// As given.
        pattern: String,
        /// What is wrong.
        #[source]
        source: regex::Error,
    },
    /// No trust policy.
    #[error("it has no key \"trustpolicy.json\"")]
    NoPolicy,
    /// A trust policy that cannot be used.
    #[error("the trust policy cannot be used: {0}")]
    Policy(String),
    /// No certificate to trust.
    #[error("it has no certificate under a key that ends in \".crt\" or \".pem\"")]
    NoCertificates,
    /// A trusted root that cannot be used.
    #[error("the trusted root cannot be used: {0}")]
    Root(String),
}
