//! Signatures as cosign 2 stores them: a payload as a layer, everything else in the layer's annotations.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};
use sigstore_verify::types::{Bundle, DerCertificate, SignatureBytes};

use crate::SignatureError;

const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const CHAIN: &str = "dev.sigstore.cosign/chain";
const LOG_ENTRY: &str = "dev.sigstore.cosign/bundle";
const TIMESTAMP: &str = "dev.sigstore.cosign/rfc3161timestamp";
const BUNDLE_0_1: &str = "application/vnd.dev.sigstore.bundle+json;version=0.1";

/// What the log answered when the signature was entered.
#[derive(Deserialize)]
struct LogEntry {
    #[serde(rename = "SignedEntryTimestamp")]
    promise: String,
    #[serde(rename = "Payload")]
    payload: LogPayload,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogPayload {
    body: String,
    integrated_time: i64,
    log_index: i64,
    #[serde(rename = "logID")]
    log_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EntryKind {
    kind: String,
    api_version: String,
}

#[derive(Deserialize)]
struct Timestamp {
    #[serde(rename = "SignedRFC3161Timestamp")]
    token: String,
}

fn malformed(what: &'static str) -> impl Fn(String) -> SignatureError {
    move |detail| SignatureError::Malformed { what, detail }
}

/// The signature over the payload.
pub(crate) fn signature(annotations: &BTreeMap<String, String>) -> Result<SignatureBytes, SignatureError> {
    let text = annotations
        .get(SIGNATURE)
        .filter(|text| !text.is_empty())
        .ok_or(SignatureError::Missing { what: "signature" })?;
    SignatureBytes::from_base64(text).map_err(|error| malformed("signature")(error.to_string()))
}

/// The digest that a payload (`containers/image`'s simple signing) is about.
pub(crate) fn signed_digest(payload: &[u8]) -> Result<String, SignatureError> {
    let payload: Value = serde_json::from_slice(payload).map_err(|error| malformed("payload")(error.to_string()))?;
    let digest = payload
        .pointer("/critical/image/docker-manifest-digest")
        .and_then(Value::as_str);
    digest.map(str::to_owned).ok_or(SignatureError::Missing {
        what: "critical.image.docker-manifest-digest",
    })
}

/// The same facts as a bundle of version 0.1, which like this layout proves the entry in the log by the log's promise.
pub(crate) fn bundle(annotations: &BTreeMap<String, String>) -> Result<Bundle, SignatureError> {
    let certificate = annotations
        .get(CERTIFICATE)
        .filter(|text| !text.is_empty())
        .ok_or(SignatureError::Missing {
            what: "certificate (it was made with a key, and spec.verify.secretRef names none)",
        })?;
    let entry = annotations.get(LOG_ENTRY).ok_or(SignatureError::Missing {
        what: "entry of a transparency log",
    })?;
    let wrong = malformed("entry of the transparency log");
    let entry: LogEntry = serde_json::from_str(entry).map_err(|error| wrong(error.to_string()))?;
    let body = STANDARD
        .decode(&entry.payload.body)
        .map_err(|error| wrong(error.to_string()))?;
    let kind: EntryKind = serde_json::from_slice(&body).map_err(|error| wrong(error.to_string()))?;
    let log_id = unhex(&entry.payload.log_id).ok_or_else(|| wrong("its log has no name in hex".to_owned()))?;
    let mut certificates = pem_certificates(certificate)?;
    if let Some(chain) = annotations.get(CHAIN) {
        certificates.extend(pem_certificates(chain)?);
    }
    let certificates: Vec<Value> = certificates
        .iter()
        .map(|der| json!({"rawBytes": STANDARD.encode(der)}))
        .collect();
    let mut material = json!({
        "x509CertificateChain": {"certificates": certificates},
        "tlogEntries": [{
            "logIndex": entry.payload.log_index.to_string(),
            "logId": {"keyId": STANDARD.encode(log_id)},
            "kindVersion": {"kind": kind.kind, "version": kind.api_version},
            "integratedTime": entry.payload.integrated_time.to_string(),
            "inclusionPromise": {"signedEntryTimestamp": entry.promise},
            "canonicalizedBody": entry.payload.body,
        }],
    });
    if let Some(text) = annotations.get(TIMESTAMP) {
        let timestamp: Timestamp =
            serde_json::from_str(text).map_err(|error| malformed("timestamp")(error.to_string()))?;
        material["timestampVerificationData"] = json!({"rfc3161Timestamps": [{"signedTimestamp": timestamp.token}]});
    }
    let signature = signature(annotations)?;
    let bundle = json!({
        "mediaType": BUNDLE_0_1,
        "verificationMaterial": material,
        "messageSignature": {"signature": STANDARD.encode(signature.as_bytes())},
    });
    Bundle::from_json(&bundle.to_string()).map_err(|error| malformed("signature")(error.to_string()))
}

/// The certificates of a PEM text, DER.
fn pem_certificates(text: &str) -> Result<Vec<Vec<u8>>, SignatureError> {
    const END: &str = "-----END CERTIFICATE-----";
    let mut found = Vec::new();
    for part in text.split_inclusive(END) {
        if part.trim().is_empty() {
            continue;
        }
        let certificate =
            DerCertificate::from_pem(part.trim()).map_err(|error| malformed("certificate")(error.to_string()))?;
        found.push(certificate.as_bytes().to_vec());
    }
    Ok(found)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() || !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}
