//! What a certificate or a certificate request says, read without trusting it.

use jiff::Timestamp;
use rcgen::CertificateSigningRequestParams;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::fingerprint::KeyFingerprint;

/// DER SubjectPublicKeyInfo of an uncompressed P-256 point starts with these bytes and is 91 bytes long; there is one
/// encoding per key, so a key has one fingerprint.
const P256_SPKI_PREFIX: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];
const P256_SPKI_LENGTH: usize = 91;

/// A certificate larger than this is refused unread; ours are about 500 bytes.
pub(crate) const MAX_CERTIFICATE_BYTES: usize = 8 * 1024;

/// A certificate or request that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Larger than any that the link uses.
    #[error("{what} has {bytes} bytes, at most {MAX_CERTIFICATE_BYTES} are accepted")]
    TooLarge {
        /// `certificate` or `certificate request`.
        what: &'static str,
        /// Its size.
        bytes: usize,
    },
    /// Not DER X.509.
    #[error("{what} is not readable as DER")]
    Unreadable {
        /// `certificate` or `certificate request`.
        what: &'static str,
    },
    /// The request is not signed by the key that it names.
    #[error("certificate request is not signed by its own key")]
    NoPossession,
    /// Another kind of key.
    #[error("{what} does not carry an ECDSA P-256 key")]
    NotP256 {
        /// `certificate` or `certificate request`.
        what: &'static str,
    },
}

/// The facts of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Name of the key.
    pub key: KeyFingerprint,
    /// First moment of validity.
    pub not_before: Timestamp,
    /// Last moment of validity.
    pub not_after: Timestamp,
    /// Whether issuer and subject are the same name and the key signed itself.
    pub self_signed: bool,
}

impl CertificateFacts {
    /// Reads a certificate. Nothing is trusted: what it says about its holder counts only together with
    /// [`PeerCertificate::issued_by_us`].
    pub fn read(der: &[u8]) -> Result<Self, CertificateError> {
        let certificate = parse(der)?;
        let spki = certificate.public_key().raw;
        p256_point(spki).ok_or(CertificateError::NotP256 { what: "certificate" })?;
        let validity = certificate.validity();
        Ok(Self {
            key: KeyFingerprint::of_spki(spki),
            not_before: moment(validity.not_before.timestamp()),
            not_after: moment(validity.not_after.timestamp()),
            self_signed: certificate.issuer() == certificate.subject() && certificate.verify_signature(None).is_ok(),
        })
    }

    /// Whether `now` lies within the dates.
    pub fn is_current(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

/// What the hub knows of the certificate at the other end after the handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Its facts; possession of the key is proved by the handshake.
    pub facts: CertificateFacts,
    /// Whether one of the hub's client authorities signed it.
    pub issued_by_us: bool,
}

impl PeerCertificate {
    /// Reads the peer's certificate and checks its signature against the hub's client authorities.
    pub fn read(der: &[u8], client_authorities: &[CertificateDer<'_>]) -> Result<Self, CertificateError> {
        let facts = CertificateFacts::read(der)?;
        let issued_by_us = client_authorities.iter().any(|authority| is_signed_by(der, authority));
        Ok(Self { facts, issued_by_us })
    }
}

/// A certificate request whose signature was checked.
#[derive(Debug, Clone)]
pub struct CertificateRequest {
    pub(crate) public_key: rcgen::PublicKey,
    key: KeyFingerprint,
}

impl CertificateRequest {
    /// Reads a request and checks that its own key signed it. Names and extensions in it are ignored on purpose: the
    /// hub decides what a certificate says.
    pub fn read(der: &[u8]) -> Result<Self, CertificateError> {
        const WHAT: &str = "certificate request";
        if der.len() > MAX_CERTIFICATE_BYTES {
            return Err(CertificateError::TooLarge {
                what: WHAT,
                bytes: der.len(),
            });
        }
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(der));
        let public_key = request
            .map_err(|error| match error {
                rcgen::Error::InvalidCertificationRequestSignature => CertificateError::NoPossession,
                _ => CertificateError::Unreadable { what: WHAT },
            })?
            .public_key;
        let spki = rcgen::PublicKeyData::subject_public_key_info(&public_key);
        p256_point(&spki).ok_or(CertificateError::NotP256 { what: WHAT })?;
        Ok(Self {
            key: KeyFingerprint::of_spki(&spki),
            public_key,
        })
    }

    /// Name of the key that asks.
    pub fn key(&self) -> KeyFingerprint {
        self.key
    }
}

/// The name of the key in a certificate of any age.
pub(crate) fn spki_of(der: &[u8]) -> Result<Vec<u8>, CertificateError> {
    Ok(parse(der)?.public_key().raw.to_vec())
}

/// The uncompressed point in a P-256 SubjectPublicKeyInfo, or nothing for any other key.
pub(crate) fn p256_point(spki: &[u8]) -> Option<&[u8]> {
    let fits = spki.len() == P256_SPKI_LENGTH && spki.starts_with(&P256_SPKI_PREFIX);
    fits.then(|| &spki[P256_SPKI_PREFIX.len() - 1..])
}

pub(crate) fn is_signed_by(der: &[u8], authority: &[u8]) -> bool {
    let (Ok(certificate), Ok(authority)) = (parse(der), parse(authority)) else {
        return false;
    };
    certificate.issuer() == authority.subject() && certificate.verify_signature(Some(authority.public_key())).is_ok()
}

pub(crate) fn date(at: Timestamp) -> time::OffsetDateTime {
    // Both types cover the years 0–9999, so only absurd arguments can be out of range.
    time::OffsetDateTime::from_unix_timestamp(at.as_second()).unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
}

fn moment(seconds: i64) -> Timestamp {
    let bounded = seconds.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    Timestamp::from_second(bounded).expect("clamped to the range of the type")
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    const WHAT: &str = "certificate";
    if der.len() > MAX_CERTIFICATE_BYTES {
        return Err(CertificateError::TooLarge {
            what: WHAT,
            bytes: der.len(),
        });
    }
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(CertificateError::Unreadable { what: WHAT }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Key;

    #[test]
    fn a_request_tampered_with_shows_no_possession() {
        let key = Key::generate().expect("random source works");
        let request = key.request().expect("signing works");
        assert_eq!(
            CertificateRequest::read(&request).expect("own request").key(),
            key.fingerprint()
        );

        let mut bytes = request.to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let error = CertificateRequest::read(&bytes).expect_err("signature no longer fits");
        assert_eq!(error, CertificateError::NoPossession);
        assert!(CertificateRequest::read(b"garbage").is_err());
        assert!(CertificateRequest::read(&vec![0; MAX_CERTIFICATE_BYTES + 1]).is_err());
    }

    #[test]
    fn self_signed_facts_are_read() {
        let key = Key::generate().expect("random source works");
        let now = Timestamp::from_second(1_800_000_000).expect("in range");
        let facts = CertificateFacts::read(&key.self_signed(now).expect("signing works")).expect("own certificate");
        assert_eq!(facts.key, key.fingerprint());
        assert!(facts.self_signed && facts.is_current(now));
        assert_eq!(facts.not_before.as_second(), now.as_second() - 3600);
        assert!(CertificateFacts::read(b"\x30\x03\x02\x01\x00").is_err());
    }
}
