//! What both kinds of envelopes say.

use serde::Deserialize;

use crate::SignatureError;

/// Who vouches for the time of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// The signer, unless there is a timestamp.
    X509,
    /// The authority that signed on somebody's behalf.
    SigningAuthority,
}

/// How the signature is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
}

/// One signature.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub algorithm: Algorithm,
    /// The bytes that are signed.
    pub signed: Vec<u8>,
    /// For ECDSA, two numbers of the curve's size.
    pub signature: Vec<u8>,
    /// The signer's first, DER.
    pub certificates: Vec<Vec<u8>>,
    pub scheme: Scheme,
    /// Seconds since 1970.
    pub signed_at: i64,
    pub expires_at: Option<i64>,
    /// The digest that was signed.
    pub target: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    target_artifact: Artifact,
}

#[derive(Deserialize)]
struct Artifact {
    digest: String,
}

/// The only content type that envelopes of artifacts have.
const PAYLOAD: &str = "application/vnd.cncf.notary.payload.v1+json";
/// Headers that a verifier must know when an envelope says so.
pub(crate) const SCHEME: &str = "io.cncf.notary.signingScheme";
pub(crate) const SIGNING_TIME: &str = "io.cncf.notary.signingTime";
pub(crate) const AUTHENTIC_TIME: &str = "io.cncf.notary.authenticSigningTime";
pub(crate) const EXPIRY: &str = "io.cncf.notary.expiry";

pub(crate) fn malformed(detail: impl Into<String>) -> SignatureError {
    SignatureError::Malformed {
        what: "envelope",
        detail: detail.into(),
    }
}

/// The digest in a payload.
pub(crate) fn target(content_type: &str, payload: &[u8]) -> Result<String, SignatureError> {
    if content_type != PAYLOAD {
        return Err(malformed(format!("its payload is of type '{content_type}'")));
    }
    let payload: Payload =
        serde_json::from_slice(payload).map_err(|error| malformed(format!("its payload: {error}")))?;
    Ok(payload.target_artifact.digest)
}

pub(crate) fn scheme(text: &str) -> Result<Scheme, SignatureError> {
    match text {
        "notary.x509" => Ok(Scheme::X509),
        "notary.x509.signingAuthority" => Ok(Scheme::SigningAuthority),
        other => Err(malformed(format!("signing scheme '{other}' is not known"))),
    }
}

/// What is critical has to be known: verification plugins, for one, are not.
pub(crate) fn check_critical<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<(), SignatureError> {
    for name in names {
        if ![SCHEME, SIGNING_TIME, AUTHENTIC_TIME, EXPIRY].contains(&name) {
            return Err(malformed(format!("its critical header '{name}' is not supported")));
        }
    }
    Ok(())
}
