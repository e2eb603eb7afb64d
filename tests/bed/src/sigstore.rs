//! A Sigstore of one's own in memory: an authority for certificates, a log of certificates and a log of signatures, and
//! what cosign makes of them. Its trusted root is what verifiers are given.

use std::{collections::BTreeMap, time::SystemTime};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType, SerialNumber, SigningKey as _,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Who signs without a key.
#[derive(Debug, Clone, Copy)]
pub struct Signatory<'a> {
    /// An address of mail.
    pub subject: &'a str,
    /// Who vouches for it, a URL.
    pub issuer: &'a str,
}

/// A Sigstore in memory.
#[derive(Debug)]
pub struct Sigstore {
    authority: Issuer<'static, KeyPair>,
    authority_der: Vec<u8>,
    authority_key_hash: [u8; 32],
    certificate_log: KeyPair,
    signature_log: KeyPair,
}

/// A key as `cosign generate-key-pair` makes one.
#[derive(Debug)]
pub struct CosignKey {
    key: KeyPair,
}

/// A signature under the tag `sha256-<hex>.sig`: the layer and its annotations.
#[derive(Debug, Clone)]
pub struct TagSignature {
    /// The content of the layer.
    pub payload: Vec<u8>,
    /// The annotations of the layer.
    pub annotations: BTreeMap<String, String>,
}

const DAY: u64 = 86_400;
const ISSUER_EXTENSION: [u64; 9] = [1, 3, 6, 1, 4, 1, 57264, 1, 8];
const SCT_EXTENSION: [u64; 10] = [1, 3, 6, 1, 4, 1, 11129, 2, 4, 2];

impl CosignKey {
    /// Makes a key.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn new() -> Result<CosignKey> {
        Ok(CosignKey {
            key: KeyPair::generate().context("generating a key")?,
        })
    }

    /// `cosign.pub`.
    pub fn public_pem(&self) -> String {
        self.key.public_key_pem()
    }

    /// What `cosign sign --key` of cosign 2 stores.
    ///
    /// # Errors
    /// The key does not sign.
    pub fn sign_tag(&self, digest: &str) -> Result<TagSignature> {
        let payload = payload(digest);
        let signature = self.key.sign(&payload)?;
        let annotations = BTreeMap::from([(
            "dev.cosignproject.cosign/signature".to_owned(),
            STANDARD.encode(signature),
        )]);
        Ok(TagSignature { payload, annotations })
    }

    /// The bundle that `cosign sign --key` of cosign 3 stores, without an entry in a log.
    ///
    /// # Errors
    /// The key does not sign.
    pub fn sign_bundle(&self, digest: &str) -> Result<String> {
        let envelope = envelope(&self.key, digest)?;
        let hint = STANDARD.encode(Sha256::digest(self.key.subject_public_key_info()));
        let bundle = json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
            "dsseEnvelope": envelope.json,
        });
        Ok(bundle.to_string())
    }
}

impl Sigstore {
    /// Makes its keys and its authority.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn new() -> Result<Sigstore> {
        let key = KeyPair::generate().context("generating a key")?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "bed fulcio");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let der = params
            .self_signed(&key)
            .context("signing the authority")?
            .der()
            .to_vec();
        let hash = Sha256::digest(key.subject_public_key_info()).into();
        Ok(Sigstore {
            authority: Issuer::new(params, key),
            authority_der: der,
            authority_key_hash: hash,
            certificate_log: KeyPair::generate().context("generating a key")?,
            signature_log: KeyPair::generate().context("generating a key")?,
        })
    }

    /// `trusted_root.json`.
    pub fn trusted_root(&self) -> String {
        let log = |key: &KeyPair, url: &str| {
            let spki = key.subject_public_key_info();
            json!({
                "baseUrl": url,
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": STANDARD.encode(&spki),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": {"start": "2020-01-01T00:00:00Z"},
                },
                "logId": {"keyId": STANDARD.encode(Sha256::digest(&spki))},
            })
        };
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(&self.signature_log, "https://rekor.bed.test")],
            "certificateAuthorities": [{
                "subject": {"organization": "bed", "commonName": "bed fulcio"},
                "uri": "https://fulcio.bed.test",
                "certChain": {"certificates": [{"rawBytes": STANDARD.encode(&self.authority_der)}]},
                "validFor": {"start": "2020-01-01T00:00:00Z"},
            }],
            "ctlogs": [log(&self.certificate_log, "https://ct.bed.test")],
            "timestampAuthorities": [],
        })
        .to_string()
    }

    /// What `cosign sign` of cosign 2 stores.
    ///
    /// # Errors
    /// A key does not sign.
    pub fn sign_tag(&self, digest: &str, who: Signatory<'_>) -> Result<TagSignature> {
        let key = KeyPair::generate().context("generating a key")?;
        let certificate = self.certificate(&key, who)?;
        let payload = payload(digest);
        let signature = STANDARD.encode(key.sign(&payload)?);
        let body = json!({
            "apiVersion": "0.0.1",
            "kind": "hashedrekord",
            "spec": {
                "data": {"hash": {"algorithm": "sha256", "value": hex(&Sha256::digest(&payload))}},
                "signature": {"content": signature, "publicKey": {"content": STANDARD.encode(&certificate.pem)}},
            },
        });
        let entry = self.enter(&body)?;
        let log_entry = json!({
            "SignedEntryTimestamp": entry.promise,
            "Payload": {
                "body": entry.body,
                "integratedTime": entry.time,
                "logIndex": 0,
                "logID": hex(&entry.log_id),
            },
        });
        let annotations = BTreeMap::from([
            ("dev.cosignproject.cosign/signature".to_owned(), signature),
            ("dev.sigstore.cosign/certificate".to_owned(), certificate.pem),
            ("dev.sigstore.cosign/bundle".to_owned(), log_entry.to_string()),
        ]);
        Ok(TagSignature { payload, annotations })
    }

    /// The bundle that `cosign sign` of cosign 3 stores.
    ///
    /// # Errors
    /// A key does not sign.
    pub fn sign_bundle(&self, digest: &str, who: Signatory<'_>) -> Result<String> {
        let key = KeyPair::generate().context("generating a key")?;
        let certificate = self.certificate(&key, who)?;
        let envelope = envelope(&key, digest)?;
        let body = json!({
            "apiVersion": "0.0.1",
            "kind": "dsse",
            "spec": {
                "envelopeHash": {"algorithm": "sha256", "value": hex(&Sha256::digest(envelope.json.to_string()))},
                "payloadHash": {"algorithm": "sha256", "value": hex(&Sha256::digest(&envelope.payload))},
                "signatures": [{"signature": envelope.signature, "verifier": STANDARD.encode(&certificate.pem)}],
            },
        });
        let entry = self.enter(&body)?;
        let bundle = json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": {"rawBytes": STANDARD.encode(&certificate.der)},
                "tlogEntries": [{
                    "logIndex": "0",
                    "logId": {"keyId": STANDARD.encode(entry.log_id)},
                    "kindVersion": {"kind": "dsse", "version": "0.0.1"},
                    "integratedTime": entry.time.to_string(),
                    "inclusionPromise": {"signedEntryTimestamp": entry.promise},
                    "inclusionProof": {
                        "logIndex": "0",
                        "rootHash": STANDARD.encode(entry.root),
                        "treeSize": "1",
                        "hashes": [],
                        "checkpoint": {"envelope": entry.checkpoint},
                    },
                    "canonicalizedBody": entry.body,
                }],
            },
            "dsseEnvelope": envelope.json,
        });
        Ok(bundle.to_string())
    }

    /// A certificate of ten minutes with the receipt of the log of certificates in it (RFC 6962, section 3.2).
    fn certificate(&self, key: &KeyPair, who: Signatory<'_>) -> Result<Certificate> {
        let now = now();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.serial_number = Some(SerialNumber::from(now));
        let at = |second: u64| -> Result<time::OffsetDateTime> {
            Ok(time::OffsetDateTime::from_unix_timestamp(i64::try_from(second)?)?)
        };
        params.not_before = at(now - 60)?;
        params.not_after = at(now + 600)?;
        params.subject_alt_names = vec![SanType::Rfc822Name(who.subject.try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        params.custom_extensions = vec![CustomExtension::from_oid_content(
            &ISSUER_EXTENSION,
            der(0x0c, who.issuer.as_bytes()),
        )];
        let before = params
            .signed_by(key, &self.authority)
            .context("signing a certificate")?;
        let receipt = self.receipt(tbs(before.der())?, now * 1000)?;
        params
            .custom_extensions
            .push(CustomExtension::from_oid_content(&SCT_EXTENSION, der(0x04, &receipt)));
        let certificate = params
            .signed_by(key, &self.authority)
            .context("signing a certificate")?;
        Ok(Certificate {
            pem: certificate.pem(),
            der: certificate.der().to_vec(),
        })
    }

    /// A list of one signed certificate timestamp.
    fn receipt(&self, tbs: &[u8], milliseconds: u64) -> Result<Vec<u8>> {
        let log_id = Sha256::digest(self.certificate_log.subject_public_key_info());
        let mut signed = vec![0, 0];
        signed.extend(milliseconds.to_be_bytes());
        signed.extend([0, 1]);
        signed.extend(self.authority_key_hash);
        signed.extend(&u32::try_from(tbs.len())?.to_be_bytes()[1..]);
        signed.extend(tbs);
        signed.extend([0, 0]);
        let signature = self.certificate_log.sign(&signed)?;
        let mut timestamp = vec![0];
        timestamp.extend(log_id);
        timestamp.extend(milliseconds.to_be_bytes());
        timestamp.extend([0, 0, 4, 3]);
        timestamp.extend(u16::try_from(signature.len())?.to_be_bytes());
        timestamp.extend(signature);
        let mut list = Vec::new();
        list.extend(u16::try_from(timestamp.len() + 2)?.to_be_bytes());
        list.extend(u16::try_from(timestamp.len())?.to_be_bytes());
        list.extend(timestamp);
        Ok(list)
    }

    /// Enters something into the log of signatures, as the first and only leaf of its tree.
    fn enter(&self, body: &Value) -> Result<Entry> {
        let log_id: [u8; 32] = Sha256::digest(self.signature_log.subject_public_key_info()).into();
        let time = now();
        let text = body.to_string();
        let encoded = STANDARD.encode(&text);
        // Canonical JSON: sorted names, no spaces.
        let promised = format!(
            r#"{{"body":"{encoded}","integratedTime":{time},"logID":"{}","logIndex":0}}"#,
            hex(&log_id)
        );
        let promise = STANDARD.encode(self.signature_log.sign(promised.as_bytes())?);
        let mut leaf = vec![0];
        leaf.extend(text.as_bytes());
        let root: [u8; 32] = Sha256::digest(&leaf).into();
        let note = format!("rekor.bed.test\n1\n{}\n", STANDARD.encode(root));
        let mut named = log_id[..4].to_vec();
        named.extend(self.signature_log.sign(note.as_bytes())?);
        let checkpoint = format!("{note}\n\u{2014} rekor.bed.test {}\n", STANDARD.encode(named));
        Ok(Entry {
            body: encoded,
            time,
            log_id,
            promise,
            root,
            checkpoint,
        })
    }
}

struct Certificate {
    pem: String,
    der: Vec<u8>,
}

struct Entry {
    body: String,
    time: u64,
    log_id: [u8; 32],
    promise: String,
    root: [u8; 32],
    checkpoint: String,
}

struct Envelope {
    payload: String,
    signature: String,
    json: Value,
}

/// What cosign 2 signs: `containers/image`'s simple signing.
fn payload(digest: &str) -> Vec<u8> {
    json!({
        "critical": {
            "identity": {"docker-reference": ""},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
        },
        "optional": null,
    })
    .to_string()
    .into_bytes()
}

/// What cosign 3 signs: a statement about the artifact in an envelope.
fn envelope(key: &KeyPair, digest: &str) -> Result<Envelope> {
    let (_, hex) = digest.split_once(':').context("a digest has an algorithm")?;
    let payload = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": hex}}],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    })
    .to_string();
    let kind = "application/vnd.in-toto+json";
    let signed = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
    let signature = STANDARD.encode(key.sign(signed.as_bytes())?);
    Ok(Envelope {
        json: json!({
            "payload": STANDARD.encode(&payload),
            "payloadType": kind,
            "signatures": [{"sig": signature, "keyid": ""}],
        }),
        payload,
        signature,
    })
}

/// The part of a certificate that is signed: the first element of the outer sequence.
fn tbs(certificate: &[u8]) -> Result<&[u8]> {
    let (header, _) = header(certificate)?;
    let inner = certificate.get(header..).context("the certificate ends early")?;
    let (header, length) = self::header(inner)?;
    inner.get(..header + length).context("the certificate ends early")
}

/// Length of the header of a DER element, and of its content.
fn header(der: &[u8]) -> Result<(usize, usize)> {
    let first = usize::from(*der.get(1).context("no length")?);
    if first < 0x80 {
        return Ok((2, first));
    }
    let bytes = der.get(2..2 + (first & 0x7f)).context("no length")?;
    let length = bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    Ok((2 + bytes.len(), length))
}

/// A DER element.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        short @ 0..=0x7f => out.push(short as u8),
        middle @ 0x80..=0xff => out.extend([0x81, middle as u8]),
        long => {
            out.push(0x82);
            out.extend(&(long as u32).to_be_bytes()[2..]);
        }
    }
    out.extend(content);
    out
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    // A clock before 1970 is set to the second day after.
    since.map_or(DAY, |since| since.as_secs())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
