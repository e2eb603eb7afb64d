//! Envelopes in JSON.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde::Deserialize;

use super::envelope::{Algorithm, Envelope, Scheme, check_critical, malformed, scheme, target};
use crate::SignatureError;

#[derive(Deserialize)]
struct File {
    payload: String,
    protected: String,
    header: Unprotected,
    signature: String,
}

#[derive(Deserialize)]
struct Unprotected {
    x5c: Vec<String>,
}

#[derive(Deserialize)]
struct Protected {
    alg: String,
    cty: String,
    #[serde(default)]
    crit: Vec<String>,
    #[serde(rename = "io.cncf.notary.signingScheme")]
    scheme: String,
    #[serde(rename = "io.cncf.notary.signingTime")]
    signing_time: Option<String>,
    #[serde(rename = "io.cncf.notary.authenticSigningTime")]
    authentic_time: Option<String>,
    #[serde(rename = "io.cncf.notary.expiry")]
    expiry: Option<String>,
}

/// Reads an envelope; nothing is verified yet.
pub(crate) fn read(bytes: &[u8]) -> Result<Envelope, SignatureError> {
    let wrong = |what: &str| malformed(format!("its {what} is not base64"));
    let file: File = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
    let decode = |text: &str, what: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong(what));
    let protected = decode(&file.protected, "protected header")?;
    let protected: Protected =
        serde_json::from_slice(&protected).map_err(|error| malformed(format!("its protected header: {error}")))?;
    check_critical(protected.crit.iter().map(String::as_str).filter(|name| *name != "cty"))?;
    let algorithm = match protected.alg.as_str() {
        "PS256" => Algorithm::Ps256,
        "PS384" => Algorithm::Ps384,
        "PS512" => Algorithm::Ps512,
        "ES256" => Algorithm::Es256,
        "ES384" => Algorithm::Es384,
        "ES512" => Algorithm::Es512,
        other => return Err(malformed(format!("algorithm '{other}' is not allowed"))),
    };
    let scheme = scheme(&protected.scheme)?;
    let time = match scheme {
        Scheme::X509 => &protected.signing_time,
        Scheme::SigningAuthority => &protected.authentic_time,
    };
    let time = time.as_deref().ok_or_else(|| malformed("it has no signing time"))?;
    let certificates = file.header.x5c.iter().map(|text| STANDARD.decode(text));
    Ok(Envelope {
        algorithm,
        signed: format!("{}.{}", file.protected, file.payload).into_bytes(),
        signature: decode(&file.signature, "signature")?,
        certificates: certificates
            .collect::<Result<_, _>>()
            .map_err(|_| wrong("chain of certificates"))?,
        scheme,
        signed_at: second(time)?,
        expires_at: protected.expiry.as_deref().map(second).transpose()?,
        target: target(&protected.cty, &decode(&file.payload, "payload")?)?,
    })
}

fn second(text: &str) -> Result<i64, SignatureError> {
    let time: jiff::Timestamp = text
        .parse()
        .map_err(|_| malformed(format!("'{text}' is no point in time")))?;
    Ok(time.as_second())
}
