//! A server certificate that somebody else's authority issued, and the hub's word for that authority.
//!
//! ```text
//! tls.crt ◄─signs─ ca.crt ◄─vouches for─ the hub's own authority ◄─ tokens pin it, root sets hold it
//! ```
//!
//! Agents go on trusting the hub's authority and nothing else; each handshake carries its certificate for the other one.
//! So neither a change of the issuer nor an agent of an older version needs anything, and the other authority signs no
//! root sets.

use jiff::{SignedDuration, Timestamp};
use rand::Rng;
use rustls::CertificateError as TlsFault;
use rustls::client::danger::ServerCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::authority::{Authority, AuthorityRole, ServerIdentity};
use crate::certificate::{CertificateFacts, MAX_CERTIFICATE_BYTES};
use crate::key::{Key, KeyError};
use crate::tls::{SERVER_NAME, provider, roots_verifier};

/// Certificates in `tls.crt`, and in `ca.crt`; each goes into every handshake.
const MAX_CHAIN: usize = 4;

/// A Secret of type `kubernetes.io/tls` as cert-manager writes it.
#[derive(Clone, PartialEq, Eq)]
pub struct ForeignCertificate {
    /// `tls.crt`: PEM, leaf first.
    pub chain: Vec<u8>,
    /// `tls.key`: PEM, PKCS#8.
    pub key: Vec<u8>,
    /// `ca.crt`: PEM.
    pub roots: Vec<u8>,
}

/// It cannot be the link's certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part}: {why}")]
pub struct ForeignError {
    /// `tls.crt`, `tls.key` or `ca.crt`.
    pub part: &'static str,
    /// What is wrong with it, and what to do.
    pub why: String,
}

impl ForeignCertificate {
    /// The identity for the link's server, with the word of `own` for the issuer. It is checked as an agent checks it that
    /// trusts `own`.
    pub fn identity(
        &self,
        own: &Authority,
        now: Timestamp,
        lifetime: SignedDuration,
    ) -> Result<ServerIdentity, ForeignError> {
        let key = read_key(&self.key)?;
        let mut chain = certificates("tls.crt", &self.chain)?;
        let facts = CertificateFacts::read(&chain[0]).map_err(|error| {
            wrong(
                "tls.crt",
                format!("{error}; the Certificate needs privateKey.algorithm ECDSA and size 256"),
            )
        })?;
        if facts.key != key.fingerprint() {
            return Err(wrong("tls.key", "it is not the key of the certificate in tls.crt"));
        }
        for root in certificates("ca.crt", &self.roots)? {
            chain.push(own.vouch_for(&root, now, lifetime)?);
        }
        chain.push(own.certificate().clone());
        agents_take(&chain, own, now, &facts)?;
        Ok(ServerIdentity {
            not_after: facts.not_after,
            key,
            chain,
        })
    }
}

impl Authority {
    /// This authority's certificate for another one: same name, same key.
    fn vouch_for(
        &self,
        root: &CertificateDer<'_>,
        now: Timestamp,
        lifetime: SignedDuration,
    ) -> Result<CertificateDer<'static>, ForeignError> {
        const PART: &str = "ca.crt";
        self.require(AuthorityRole::Server, "other authorities")
            .map_err(|error| wrong(PART, error.to_string()))?;
        let unreadable = |_| wrong(PART, "it holds what is no certificate");
        let (_, root) = X509Certificate::from_der(root).map_err(unreadable)?;
        if !root.is_ca() {
            let name = root.subject().to_string();
            return Err(wrong(
                PART,
                format!("the certificate of {name} is not that of an authority"),
            ));
        }
        let (_, own) = X509Certificate::from_der(self.certificate()).map_err(unreadable)?;
        let mut serial: [u8; 16] = rand::rng().random();
        serial[0] = serial[0] & 0x7f | 0x40;
        let algorithm = tlv(0x30, &[&ECDSA_WITH_SHA256]);
        let dates = tlv(
            0x30,
            &[&date(now - SignedDuration::from_hours(1)), &date(now + lifetime)],
        );
        let extensions = tlv(0x30, &[&IS_AUTHORITY, &SIGNS_CERTIFICATES]);
        let to_be_signed = tlv(
            0x30,
            &[
                &tlv(0xa0, &[&[0x02, 0x01, 0x02]]),
                &tlv(0x02, &[&serial]),
                &algorithm,
                own.subject().as_raw(),
                &dates,
                // Byte for byte: verifiers compare names so.
                root.subject().as_raw(),
                root.public_key().raw,
                &tlv(0xa3, &[&extensions]),
            ],
        );
        let signature = self
            .key()
            .sign(&to_be_signed)
            .map_err(|error| wrong(PART, error.to_string()))?;
        let der = tlv(0x30, &[&to_be_signed, &algorithm, &tlv(0x03, &[&[0], &signature])]);
        Ok(CertificateDer::from(der))
    }
}

impl std::fmt::Debug for ForeignCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ForeignCertificate").finish_non_exhaustive()
    }
}

fn wrong(part: &'static str, why: impl Into<String>) -> ForeignError {
    let why = why.into();
    ForeignError { part, why }
}

fn read_key(pem: &[u8]) -> Result<Key, ForeignError> {
    const PART: &str = "tls.key";
    let text = std::str::from_utf8(pem).map_err(|_| wrong(PART, "it is not PEM text"))?;
    if !text.contains("-----BEGIN PRIVATE KEY-----") {
        return Err(wrong(
            PART,
            "it is not a PKCS#8 private key in PEM; the Certificate needs privateKey.encoding PKCS8",
        ));
    }
    Key::from_pem(text).map_err(|error| match error {
        KeyError::NotP256 => wrong(
            PART,
            "it is not an ECDSA P-256 key; the Certificate needs privateKey.algorithm ECDSA and size 256",
        ),
        error => wrong(PART, error.to_string()),
    })
}

fn certificates(part: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ForeignError> {
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|error| wrong(part, format!("it is not a list of certificates in PEM: {error}")))?;
    if all.iter().any(|der| der.len() > MAX_CERTIFICATE_BYTES) {
        return Err(wrong(
            part,
            format!("a certificate in it has more than {MAX_CERTIFICATE_BYTES} bytes"),
        ));
    }
    match all.len() {
        0 => Err(wrong(part, "no certificate is in it")),
        1..=MAX_CHAIN => Ok(all),
        count => Err(wrong(
            part,
            format!("{count} certificates are in it; {MAX_CHAIN} is the most that a handshake bears"),
        )),
    }
}

fn agents_take(
    chain: &[CertificateDer<'static>],
    own: &Authority,
    now: Timestamp,
    facts: &CertificateFacts,
) -> Result<(), ForeignError> {
    let verifier = roots_verifier(&[own.certificate().clone()], &provider())
        .map_err(|error| wrong("ca.crt", error.to_string()))?;
    let name = ServerName::try_from(SERVER_NAME).expect("the constant is a DNS name");
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let Err(error) = verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], now) else {
        return Ok(());
    };
    let rustls::Error::InvalidCertificate(fault) = &error else {
        return Err(wrong("tls.crt", format!("agents would refuse it: {error}")));
    };
    Err(match fault {
        TlsFault::NotValidForName | TlsFault::NotValidForNameContext { .. } => wrong(
            "tls.crt",
            format!("it is not for the name {SERVER_NAME}, which the Certificate needs among its dnsNames"),
        ),
        TlsFault::Expired | TlsFault::ExpiredContext { .. } => wrong(
            "tls.crt",
            format!(
                "it or its issuer has ended; the first in it did or will at {}",
                facts.not_after
            ),
        ),
        TlsFault::NotValidYet | TlsFault::NotValidYetContext { .. } => {
            wrong("tls.crt", format!("it is good from {} on only", facts.not_before))
        }
        TlsFault::InvalidPurpose | TlsFault::InvalidPurposeContext { .. } => wrong(
            "tls.crt",
            "it is not for servers; the Certificate needs the usage `server auth`",
        ),
        TlsFault::UnknownIssuer => wrong("ca.crt", "none of its authorities issued the certificate in tls.crt"),
        other => wrong("tls.crt", format!("agents would refuse it: {other:?}")),
    })
}

/// Object identifier 1.2.840.10045.4.3.2.
const ECDSA_WITH_SHA256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// Basic constraints, critical: an authority.
const IS_AUTHORITY: [u8; 17] = [
    0x30, 0x0f, 0x06, 0x03, 0x55, 0x1d, 0x13, 0x01, 0x01, 0xff, 0x04, 0x05, 0x30, 0x03, 0x01, 0x01, 0xff,
];
/// Key usage, critical: certificates are signed with it.
const SIGNS_CERTIFICATES: [u8; 16] = [
    0x30, 0x0e, 0x06, 0x03, 0x55, 0x1d, 0x0f, 0x01, 0x01, 0xff, 0x04, 0x04, 0x03, 0x02, 0x02, 0x04,
];

/// DER: tag, length, content.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    match length {
        0..=0x7f => out.push(length as u8),
        0x80..=0xff => out.extend([0x81, length as u8]),
        _ => out.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

/// RFC 5280: two digits of the year before 2050, four from then on.
fn date(at: Timestamp) -> Vec<u8> {
    const YEAR_2050: i64 = 2_524_608_000;
    if at.as_second() < YEAR_2050 {
        tlv(0x17, &[at.strftime("%y%m%d%H%M%SZ").to_string().as_bytes()])
    } else {
        tlv(0x18, &[at.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
        KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    };
    use time::{Duration, OffsetDateTime};

    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).expect("in range")
    }

    fn own() -> Authority {
        Authority::generate(AuthorityRole::Server, now(), SignedDuration::from_hours(24)).expect("generation works")
    }

    fn dated(mut params: CertificateParams) -> CertificateParams {
        let at = OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("in range");
        (params.not_before, params.not_after) = (at - Duration::hours(1), at + Duration::hours(9));
        params
    }

    /// An authority with another kind of key and a longer name than ours.
    fn issuer() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = dated(CertificateParams::default());
        params.distinguished_name.push(DnType::OrganizationName, "Ex\u{e4}mple");
        params.distinguished_name.push(DnType::CommonName, "Root");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key");
        CertifiedIssuer::self_signed(params, key).expect("signs")
    }

    fn issued(by: &CertifiedIssuer<'_, KeyPair>, change: impl FnOnce(&mut CertificateParams)) -> ForeignCertificate {
        let mut params = dated(CertificateParams::new(vec![SERVER_NAME.to_owned()]).expect("a name"));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        change(&mut params);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let certificate = params.signed_by(&key, by).expect("signs");
        ForeignCertificate {
            chain: certificate.pem().into_bytes(),
            key: key.serialize_pem().into_bytes(),
            roots: by.pem().into_bytes(),
        }
    }

    fn check(foreign: &ForeignCertificate, at: Timestamp, expected: &str) {
        let told = match foreign.identity(&own(), at, SignedDuration::from_hours(20)) {
            Ok(identity) => format!("good until {}", identity.not_after),
            Err(error) => error.to_string(),
        };
        assert!(told.starts_with(expected), "{told:?} does not begin with {expected:?}");
    }

    #[test]
    fn an_issuer_that_agents_do_not_know_is_vouched_for() {
        let (root, own) = (issuer(), own());
        let foreign = issued(&root, |_| ());
        let identity = foreign
            .identity(&own, now(), SignedDuration::from_hours(20))
            .expect("usable");
        assert_eq!(identity.chain.len(), 3);
        assert_eq!(identity.chain.last(), Some(own.certificate()));
        let (_, cross) = X509Certificate::from_der(&identity.chain[1]).expect("DER");
        let (_, known) = X509Certificate::from_der(root.der()).expect("DER");
        assert_eq!(cross.subject().as_raw(), known.subject().as_raw());
        assert_eq!(cross.public_key().raw, known.public_key().raw);
        assert!(cross.is_ca());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_key_of_the_secret() {
        let (root, other) = (issuer(), issuer());
        let good = issued(&root, |_| ());
        check(&good, now(), "good until");
        let with = |change: fn(&mut ForeignCertificate, &ForeignCertificate)| {
            let mut changed = good.clone();
            change(&mut changed, &issued(&other, |_| ()));
            changed
        };
        check(
            &with(|it, _| it.key.clear()),
            now(),
            "tls.key: it is not a PKCS#8 private key",
        );
        check(
            &with(|it, other| it.key.clone_from(&other.key)),
            now(),
            "tls.key: it is not the key of",
        );
        check(&with(|it, _| it.key = vec![0xff]), now(), "tls.key: it is not PEM text");
        check(
            &with(|it, _| it.chain.clear()),
            now(),
            "tls.crt: no certificate is in it",
        );
        check(
            &with(|it, _| it.roots.clear()),
            now(),
            "ca.crt: no certificate is in it",
        );
        check(
            &with(|it, other| it.roots.clone_from(&other.roots)),
            now(),
            "tls.crt: agents would refuse it: ",
        );
        check(
            &with(|it, _| it.roots = it.roots.repeat(5)),
            now(),
            "ca.crt: 5 certificates",
        );
        check(
            &with(|it, _| it.roots.clone_from(&it.chain)),
            now(),
            "ca.crt: the certificate of ",
        );
        let day = SignedDuration::from_hours(24);
        check(&good, now() + day, "tls.crt: it or its issuer has ended");
        check(&good, now() - day, "tls.crt: it is good from");
        let named = issued(&root, |params| params.subject_alt_names.clear());
        check(&named, now(), "tls.crt: it is not for the name hub.link.nave.dev");
        let client = issued(&root, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        });
        check(&client, now(), "tls.crt: it is not for servers");
        let mut big = good.clone();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key");
        big.key = key.serialize_pem().into_bytes();
        check(&big, now(), "tls.key: it is not an ECDSA P-256 key");
    }
}
