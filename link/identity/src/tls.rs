//! TLS of the link: 1.3 only, a client certificate always, no tickets, no early data.
//!
//! The client checks the hub. The server checks that the client holds the key it shows and nothing more: whether that
//! key is welcome is decided after the handshake, where a refusal can carry words (see [`crate::Registry`]).

use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerIncompatible,
    RootCertStore, ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::authority::ServerIdentity;
use crate::certificate::{CertificateFacts, spki_of};
use crate::clock::TimeFloor;
use crate::fingerprint::KeyFingerprint;
use crate::key::Key;
use crate::recovery;
use crate::roots::TrustedRoots;

/// The protocol's name in TLS.
pub const ALPN: &[u8] = b"nave/1";

/// The name in every hub's certificate. A name and not an address: addresses come and go, and trust does not rest on
/// them but on the roots.
pub const SERVER_NAME: &str = "hub.link.nave.dev";

/// What an agent checks the hub against.
#[derive(Debug, Clone)]
pub enum Trust {
    /// While joining: the chain that the hub shows must end in a root with this key.
    Pin(KeyFingerprint),
    /// Afterwards: these roots.
    Roots(Vec<CertificateDer<'static>>),
    /// The roots of the trusted set, or of one that the hub shows and that the pinned recovery key signed.
    Set(Box<TrustedRoots>),
}

/// Building a TLS configuration failed.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The key or the chain cannot be used together.
    #[error("preparing TLS for key {key}")]
    Identity {
        /// The key's name.
        key: KeyFingerprint,
        /// Why.
        #[source]
        source: Error,
    },
    /// A root cannot be used.
    #[error("using root {index} of the trusted roots")]
    Root {
        /// Which root, from 0.
        index: usize,
        /// Why.
        #[source]
        source: Error,
    },
    /// There is no root at all.
    #[error("no root to check the hub against")]
    NoRoots,
    /// The provider lacks what the link needs.
    #[error("preparing TLS 1.3")]
    Versions(#[source] Error),
}

/// The hub's certificate in use, which can be replaced while connections are served.
#[derive(Debug, Clone)]
pub struct ServerCertificates(Arc<RwLock<Arc<CertifiedKey>>>);

#[derive(Debug)]
struct HubVerifier {
    trust: HubTrust,
    floor: TimeFloor,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
enum HubTrust {
    Pin(KeyFingerprint),
    Roots(Arc<WebPkiServerVerifier>),
    Set(Arc<WebPkiServerVerifier>, Box<TrustedRoots>),
}

#[derive(Debug)]
struct PossessionVerifier {
    provider: Arc<CryptoProvider>,
}

/// A reason of ours inside a rustls error, so that the person at the other end of `nave join` sees words.
#[derive(Debug)]
struct Refused(String);

/// The one crypto provider of the link (aws-lc-rs), independent of any process-wide default.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER
        .get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .clone()
}

/// TLS of an agent: shows `chain` for `key` and checks the hub against `trust` at
/// `max(system clock, build time, last authenticated hub time)`.
pub fn client_config(
    key: &Key,
    chain: Vec<CertificateDer<'static>>,
    trust: Trust,
    floor: TimeFloor,
) -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let trust = match trust {
        Trust::Pin(pin) => HubTrust::Pin(pin),
        Trust::Roots(roots) => HubTrust::Roots(roots_verifier(&roots, &provider)?),
        Trust::Set(set) => HubTrust::Set(roots_verifier(&set.roots(), &provider)?, set),
    };
    let verifier = HubVerifier {
        trust,
        floor,
        provider: provider.clone(),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Versions)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(chain, key.der())
        .map_err(|source| TlsError::Identity {
            key: key.fingerprint(),
            source,
        })?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}

/// TLS of the hub: demands a client certificate, accepts any P-256 one, self-signed included.
pub fn server_config(certificates: ServerCertificates) -> Result<ServerConfig, TlsError> {
    let provider = provider();
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Versions)?
        .with_client_cert_verifier(Arc::new(PossessionVerifier { provider }))
        .with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

impl ServerCertificates {
    /// Serves this identity until it is replaced.
    pub fn new(identity: &ServerIdentity) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(RwLock::new(certified(identity)?))))
    }

    /// From the next handshake on, serves this identity. Connections that exist keep theirs.
    pub fn replace(&self, identity: &ServerIdentity) -> Result<(), TlsError> {
        let certified = certified(identity)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = certified;
        Ok(())
    }
}

impl ResolvesServerCert for ServerCertificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl ServerCertVerifier for HubVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let now = not_before(end_entity, self.floor.judge(now))?;
        match &self.trust {
            HubTrust::Roots(verifier) => {
                verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            HubTrust::Set(verifier, set) => {
                let verify = |verifier: &WebPkiServerVerifier| {
                    verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                };
                let unknown = match verify(verifier) {
                    Ok(verified) => return Ok(verified),
                    Err(error) => error,
                };
                match recovery::offered(set, intermediates) {
                    None => Err(unknown),
                    Some(Err(why)) => Err(refused(why)),
                    Some(Ok(next)) => {
                        let verifier = roots_verifier(&next.roots(), &self.provider)
                            .map_err(|error| refused(error.to_string()))?;
                        verify(&verifier)
                    }
                }
            }
            HubTrust::Pin(pin) => {
                let root = intermediates
                    .iter()
                    .find(|certificate| spki_of(certificate).is_ok_and(|spki| KeyFingerprint::of_spki(&spki) == *pin));
                let root = root.ok_or_else(|| {
                    refused(format!("the hub shows no root with the pinned key {pin}: another hub answers at this address, or its authority was replaced after the token was made"))
                })?;
                let verifier = roots_verifier(&[root.clone().into_owned()], &self.provider)
                    .map_err(|error| refused(error.to_string()))?;
                verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for PossessionVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        CertificateFacts::read(end_entity).map_err(|error| refused(error.to_string()))?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        // Keys of the link are P-256; offering nothing else refuses others before any work is done for them.
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

fn refused(text: String) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Refused(text)))))
}

/// The hub never post-dates a certificate, so its first moment has passed when we see it; a spoke with a lost clock and
/// a build older than the hub's certificate could otherwise never join.
fn not_before(end_entity: &CertificateDer<'_>, judged: UnixTime) -> Result<UnixTime, Error> {
    let facts = CertificateFacts::read(end_entity).map_err(|error| refused(error.to_string()))?;
    let first = u64::try_from(facts.not_before.as_second()).unwrap_or_default();
    Ok(UnixTime::since_unix_epoch(Duration::from_secs(
        judged.as_secs().max(first),
    )))
}

pub(crate) fn roots_verifier(
    roots: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let mut store = RootCertStore::empty();
    for (index, root) in roots.iter().enumerate() {
        store
            .add(root.clone())
            .map_err(|source| TlsError::Root { index, source })?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone())
        .build()
        .map_err(|_| TlsError::NoRoots)
}

fn certified(identity: &ServerIdentity) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = identity.chain.clone();
    let certified = CertifiedKey::from_der(chain, identity.key.der(), &provider());
    Ok(Arc::new(certified.map_err(|source| TlsError::Identity {
        key: identity.key.fingerprint(),
        source,
    })?))
}
