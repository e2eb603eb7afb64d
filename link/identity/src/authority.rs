//! The hub's two certificate authorities: one for its own name, one for agents.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use rand::Rng;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, PublicKeyData, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use zeroize::Zeroizing;

use crate::certificate::{self, CertificateError, CertificateFacts, CertificateRequest};
use crate::fingerprint::KeyFingerprint;
use crate::key::{Key, KeyError};
use crate::registry::ClusterRef;
use crate::tls::SERVER_NAME;

/// How long a client certificate lasts.
pub const CLIENT_CERTIFICATE_LIFETIME: SignedDuration = SignedDuration::from_hours(24);

/// Certificates start this long before they are made, so that a clock a little behind still accepts them.
const BACK_DATED: SignedDuration = SignedDuration::from_hours(1);

/// Which certificates an authority signs. The two never share a key: an agent's certificate can then never be taken
/// for the hub's, whatever names are in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthorityRole {
    /// Signs the hub's server certificates; its certificate is a *root* of the root set.
    Server,
    /// Signs agents' client certificates; only the hub itself needs its certificate.
    Client,
}

/// A certificate authority with its private key.
pub struct Authority {
    role: AuthorityRole,
    key: Key,
    certificate: CertificateDer<'static>,
}

/// An authority as it is stored.
#[derive(Clone)]
pub struct AuthorityPem {
    /// The certificate.
    pub certificate: String,
    /// The private key (PKCS#8), wiped when dropped.
    pub key: Zeroizing<String>,
}

/// A certificate that was signed for somebody else's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCertificate {
    /// Leaf only: the hub knows its own client authority, so it need not be sent.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key that it is for.
    pub key: KeyFingerprint,
    /// Its last moment of validity.
    pub not_after: Timestamp,
}

/// The hub's own key and certificate chain, root included (a joining agent knows only the pin of the root).
pub struct ServerIdentity {
    /// The key.
    pub key: Key,
    /// Leaf first, then its authority; then bridges and other roots, if the authority was changed.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's last moment of validity.
    pub not_after: Timestamp,
}

/// Making, reading or using an authority failed.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A key could not be made or read.
    #[error("preparing the key of the {role} authority")]
    Key {
        /// Which authority.
        role: AuthorityRole,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// The stored certificate is not one.
    #[error("reading the certificate of the {role} authority: {text}")]
    Pem {
        /// Which authority.
        role: AuthorityRole,
        /// What the PEM reader said.
        text: String,
    },
    /// The stored certificate cannot be read.
    #[error("reading the certificate of the {role} authority")]
    Certificate {
        /// Which authority.
        role: AuthorityRole,
        /// Why.
        #[source]
        source: CertificateError,
    },
    /// Certificate and key belong to different pairs.
    #[error("certificate and key of the {role} authority do not belong together")]
    Mismatch {
        /// Which authority.
        role: AuthorityRole,
    },
    /// A client authority was asked for a server certificate, or the other way round.
    #[error("the {role} authority does not sign {what}")]
    WrongRole {
        /// The authority that was asked.
        role: AuthorityRole,
        /// What it was asked for.
        what: &'static str,
    },
    /// Signing failed.
    #[error("signing {what}")]
    Sign {
        /// What was to be signed.
        what: &'static str,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
}

impl Authority {
    /// A new authority with its own key, valid for `lifetime` from an hour before `now`.
    pub fn generate(role: AuthorityRole, now: Timestamp, lifetime: SignedDuration) -> Result<Self, AuthorityError> {
        let key = Key::generate().map_err(|source| AuthorityError::Key { role, source })?;
        let mut params = CertificateParams::default();
        params.distinguished_name = authority_name(role, key.fingerprint());
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.serial_number = Some(serial());
        set_dates(&mut params, now, lifetime);
        let signed = params.self_signed(key.pair());
        let certificate = signed
            .map_err(|source| AuthorityError::Sign {
                what: "an authority's certificate",
                source,
            })?
            .into();
        Ok(Self { role, key, certificate })
    }

    /// Reads a stored authority and checks that its two halves belong together.
    pub fn from_pem(role: AuthorityRole, certificate_pem: &str, key_pem: &str) -> Result<Self, AuthorityError> {
        let key = Key::from_pem(key_pem).map_err(|source| AuthorityError::Key { role, source })?;
        let certificate =
            CertificateDer::from_pem_slice(certificate_pem.as_bytes()).map_err(|error| AuthorityError::Pem {
                role,
                text: error.to_string(),
            })?;
        let facts =
            CertificateFacts::read(&certificate).map_err(|source| AuthorityError::Certificate { role, source })?;
        if facts.key != key.fingerprint() {
            return Err(AuthorityError::Mismatch { role });
        }
        Ok(Self { role, key, certificate })
    }

    /// The authority as it is stored.
    pub fn to_pem(&self) -> AuthorityPem {
        AuthorityPem {
            certificate: pem_text(&self.certificate),
            key: self.key.to_pem(),
        }
    }

    /// Which certificates it signs.
    pub fn role(&self) -> AuthorityRole {
        self.role
    }

    /// Its certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The name of its key: for a server authority this is the *pin* that join tokens carry.
    pub fn fingerprint(&self) -> KeyFingerprint {
        self.key.fingerprint()
    }

    /// Its key, with which a server authority signs the next root set.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Signs a certificate for an agent's key, from an hour before `now` for `lifetime` after it.
    ///
    /// The cluster's name stands in the subject for people only: the hub looks the key up and never believes a name.
    pub fn issue_client(
        &self,
        request: &CertificateRequest,
        cluster: &ClusterRef,
        now: Timestamp,
        lifetime: SignedDuration,
    ) -> Result<IssuedCertificate, AuthorityError> {
        self.require(AuthorityRole::Client, "client certificates")?;
        let mut params = CertificateParams::default();
        // A common name is limited to 64 characters by X.520; a cluster's name may have 63 and its namespace as many.
        params.distinguished_name = common_name(&cluster.name.chars().take(64).collect::<String>());
        params.distinguished_name.push(
            DnType::OrganizationalUnitName,
            cluster.namespace.chars().take(64).collect::<String>(),
        );
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = self.sign(params, &request.public_key, now, lifetime, "a client certificate")?;
        Ok(IssuedCertificate {
            key: request.key(),
            not_after: seconds(now + lifetime),
            chain: vec![leaf],
        })
    }

    /// A new key and certificate for the hub under the fixed name [`SERVER_NAME`], which is a name and not an address:
    /// moving the hub, or putting another load balancer before it, needs no new certificate.
    pub fn issue_server(&self, now: Timestamp, lifetime: SignedDuration) -> Result<ServerIdentity, AuthorityError> {
        self.issue_server_for(SERVER_NAME, now, lifetime)
    }

    /// The same under another name, for another server of the hub: agents do not take it for the link's.
    pub fn issue_server_for(
        &self,
        name: &str,
        now: Timestamp,
        lifetime: SignedDuration,
    ) -> Result<ServerIdentity, AuthorityError> {
        self.require(AuthorityRole::Server, "server certificates")?;
        let key = Key::generate().map_err(|source| AuthorityError::Key {
            role: self.role,
            source,
        })?;
        let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(|source| AuthorityError::Sign {
            what: "a server certificate",
            source,
        })?;
        // X.520 allows 64 characters; whoever connects looks at the alternative name.
        params.distinguished_name = common_name(&name.chars().take(64).collect::<String>());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = self.sign(params, key.pair(), now, lifetime, "a server certificate")?;
        Ok(ServerIdentity {
            key,
            chain: vec![leaf, self.certificate.clone()],
            not_after: seconds(now + lifetime),
        })
    }

    /// The certificate of `next` as this authority signs it. An agent that knows this authority as a root finds in it
    /// the way to `next`, so that a hub may change its authority while agents are away.
    pub fn bridge_to(
        &self,
        next: &Authority,
        now: Timestamp,
        lifetime: SignedDuration,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        self.require(AuthorityRole::Server, "bridges to other authorities")?;
        let mut params = CertificateParams::default();
        params.distinguished_name = authority_name(next.role, next.fingerprint());
        // Bridges follow one another: an agent may have missed several changes.
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        self.sign(params, next.key.pair(), now, lifetime, "a bridge to the next authority")
    }

    pub(crate) fn require(&self, role: AuthorityRole, what: &'static str) -> Result<(), AuthorityError> {
        if self.role == role {
            Ok(())
        } else {
            Err(AuthorityError::WrongRole { role: self.role, what })
        }
    }

    pub(crate) fn sign(
        &self,
        mut params: CertificateParams,
        public_key: &impl PublicKeyData,
        now: Timestamp,
        lifetime: SignedDuration,
        what: &'static str,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        if params.key_usages.is_empty() {
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        }
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial());
        set_dates(&mut params, now, lifetime);
        let issuer = Issuer::from_ca_cert_der(&self.certificate, self.key.pair());
        let signed = issuer.and_then(|issuer| params.signed_by(public_key, &issuer));
        Ok(signed.map_err(|source| AuthorityError::Sign { what, source })?.into())
    }
}

impl ServerIdentity {
    /// Reads an identity that was issued elsewhere (a cert-manager secret): leaf first, root last.
    pub fn from_pem(chain_pem: &str, key_pem: &str) -> Result<Self, AuthorityError> {
        let role = AuthorityRole::Server;
        let key = Key::from_pem(key_pem).map_err(|source| AuthorityError::Key { role, source })?;
        let chain = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| AuthorityError::Pem {
                role,
                text: error.to_string(),
            })?;
        let leaf = chain.first().ok_or_else(|| AuthorityError::Pem {
            role,
            text: "no certificate in it".to_owned(),
        })?;
        let facts = CertificateFacts::read(leaf).map_err(|source| AuthorityError::Certificate { role, source })?;
        if facts.key != key.fingerprint() {
            return Err(AuthorityError::Mismatch { role });
        }
        Ok(Self {
            not_after: facts.not_after,
            key,
            chain,
        })
    }

    /// The chain as PEM.
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(pem_text).collect()
    }

    /// Whether a certificate of the chain signed its leaf.
    pub fn is_consistent(&self) -> bool {
        match self.chain.split_first() {
            Some((leaf, others)) => others.iter().any(|other| certificate::is_signed_by(leaf, other)),
            None => false,
        }
    }
}

impl fmt::Display for AuthorityRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::Client => "client",
        })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({}, {})", self.role, self.fingerprint())
    }
}

impl fmt::Debug for AuthorityPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorityPem")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ServerIdentity({}, until {})",
            self.key.fingerprint(),
            self.not_after
        )
    }
}

/// The key is in the name, so that authorities of one role which overlap are told apart by name already.
fn authority_name(role: AuthorityRole, key: KeyFingerprint) -> DistinguishedName {
    let key = key.to_string();
    common_name(&format!("nave {role} authority {}", &key["sha256:".len()..][..16]))
}

pub(crate) fn common_name(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

/// Certificates hold whole seconds.
fn seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).expect("a timestamp's own seconds are in range")
}

fn serial() -> SerialNumber {
    let mut bytes: [u8; 16] = rand::rng().random();
    // DER integers are signed; the top bit is cleared and the next set, so the number is positive and 16 bytes long.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

fn set_dates(params: &mut CertificateParams, now: Timestamp, lifetime: SignedDuration) {
    // A short life is not spent before it begins: an agent renews two thirds into it.
    params.not_before = certificate::date(now - BACK_DATED.min(lifetime));
    params.not_after = certificate::date(now + lifetime);
}

fn pem_text(der: &CertificateDer<'_>) -> String {
    use base64::Engine;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in body.as_bytes().chunks(64) {
        text.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::PeerCertificate;

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).expect("in range")
    }

    fn authority(role: AuthorityRole) -> Authority {
        Authority::generate(role, now(), SignedDuration::from_hours(24 * 365)).expect("generation works")
    }

    #[test]
    fn client_certificates_last_a_day_and_are_back_dated() {
        let (ours, other) = (authority(AuthorityRole::Client), authority(AuthorityRole::Client));
        let key = Key::generate().expect("random source works");
        let request = CertificateRequest::read(&key.request().expect("signing works")).expect("own request");
        let cluster = ClusterRef::new("platform", "eu-1");
        let issued = ours
            .issue_client(&request, &cluster, now(), CLIENT_CERTIFICATE_LIFETIME)
            .expect("issuing works");

        let peer = PeerCertificate::read(&issued.chain[0], &[ours.certificate().clone()]).expect("readable");
        assert!(peer.issued_by_us && !peer.facts.self_signed);
        assert_eq!(peer.facts.key, key.fingerprint());
        assert_eq!(peer.facts.not_before.as_second(), now().as_second() - 3600);
        assert_eq!(peer.facts.not_after.as_second(), now().as_second() + 24 * 3600);
        let peer = PeerCertificate::read(&issued.chain[0], &[other.certificate().clone()]).expect("readable");
        assert!(!peer.issued_by_us);
    }

    #[test]
    fn a_long_cluster_name_still_gets_a_certificate() {
        let ours = authority(AuthorityRole::Client);
        let key = Key::generate().expect("random source works");
        let request = CertificateRequest::read(&key.request().expect("signing works")).expect("own request");
        let cluster = ClusterRef::new("n".repeat(63), "c".repeat(253));
        assert!(
            ours.issue_client(&request, &cluster, now(), CLIENT_CERTIFICATE_LIFETIME)
                .is_ok()
        );
    }

    #[test]
    fn roles_are_kept_apart() {
        let client = authority(AuthorityRole::Client);
        let refused = client.issue_server(now(), SignedDuration::from_hours(1));
        assert_eq!(
            refused.expect_err("a client authority signs no server").to_string(),
            "the client authority does not sign server certificates"
        );
    }

    #[test]
    fn stored_authority_is_read_back_and_halves_must_fit() {
        let (one, two) = (authority(AuthorityRole::Server), authority(AuthorityRole::Server));
        let (stored, other) = (one.to_pem(), two.to_pem());
        let again = Authority::from_pem(AuthorityRole::Server, &stored.certificate, &stored.key).expect("own PEM");
        assert_eq!(again.fingerprint(), one.fingerprint());
        let mixed = Authority::from_pem(AuthorityRole::Server, &stored.certificate, &other.key);
        assert!(matches!(mixed, Err(AuthorityError::Mismatch { .. })));

        let server = again
            .issue_server(now(), SignedDuration::from_hours(24))
            .expect("issuing works");
        let read = ServerIdentity::from_pem(&server.chain_pem(), &server.key.to_pem()).expect("own PEM");
        assert!(read.is_consistent());
        assert_eq!(read.chain, server.chain);
    }
}
