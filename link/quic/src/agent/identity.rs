//! What an agent must keep to be itself: its key, its certificate, the roots it believes, where its hub is.

use std::future::Future;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use nave_identity::{
    CertificateFacts, JoinToken, Key, KeyError, KeyFingerprint, RootSetError, TimeFloor, TlsError, Trust, TrustedRoots,
    client_config,
};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::route::PathMemory;

/// An agent's identity. Serialises to one JSON document for a Secret, or for a file outside a cluster.
///
/// Holds the private key: whoever reads it is this cluster. `Debug` shows the key's name only.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentIdentity {
    /// Where the hub is: `host:port`, tried in order.
    pub addresses: Vec<String>,
    key: Zeroizing<String>,
    /// Base64 DER, leaf first; empty until the hub has issued one.
    #[serde(default)]
    chain: Vec<String>,
    /// Until the first root set is believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    root_pin: Option<KeyFingerprint>,
    /// Base64 of the signed root set.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    root_set: String,
    /// Namespace of the cluster object on the hub.
    #[serde(default)]
    pub cluster_namespace: String,
    /// Name of the cluster object on the hub.
    #[serde(default)]
    pub cluster_name: String,
    /// UID of the hub, once it was seen.
    #[serde(default)]
    pub hub_uid: String,
    /// Latest time that the hub stated, seconds since 1970.
    #[serde(default)]
    time_floor: u64,
    /// What was learnt of the network.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub(crate) path: PathMemory,
}

/// Keeps the identity. Called seldom: before and after joining, at renewal, when roots rotate.
pub trait IdentityStore: Send + Sync + 'static {
    /// Replaces what is stored, durably: a key that the hub knows and the spoke lost is a lost cluster.
    fn save(&self, identity: &AgentIdentity) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Why the identity could not be stored.
pub type StoreError = Box<dyn std::error::Error + Send + Sync>;

/// An identity that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The key is not one.
    #[error("reading the agent's key")]
    Key(#[source] KeyError),
    /// Certificate or root set is not base64.
    #[error("the agent's stored {what} is damaged")]
    Damaged {
        /// What is damaged.
        what: &'static str,
    },
    /// The root set cannot be used.
    #[error("reading the agent's roots")]
    Roots(#[source] RootSetError),
    /// Neither roots nor a pin.
    #[error("the agent has neither roots nor a pin: join the hub first")]
    NoTrust,
    /// TLS refuses it.
    #[error("preparing the agent's TLS")]
    Tls(#[source] TlsError),
}

impl AgentIdentity {
    /// A new key for joining with this token. Store it before the first attempt: the same key may retry, a second key on
    /// a used token is refused.
    pub fn begin(token: &JoinToken) -> Result<Self, IdentityError> {
        let key = Key::generate().map_err(IdentityError::Key)?;
        Ok(Self {
            addresses: token.addresses.clone(),
            key: key.to_pem(),
            chain: Vec::new(),
            root_pin: Some(token.root_pin),
            root_set: String::new(),
            cluster_namespace: String::new(),
            cluster_name: String::new(),
            hub_uid: String::new(),
            time_floor: 0,
            path: PathMemory::default(),
        })
    }

    /// Another token for the same key: where to go and what to expect there.
    pub fn retarget(&mut self, token: &JoinToken) {
        self.addresses = token.addresses.clone();
        self.root_pin = Some(token.root_pin);
    }

    /// Whether the hub has answered a join request, be it by asking to wait for approval.
    pub fn is_joined(&self) -> bool {
        !self.root_set.is_empty()
    }

    /// Whether the hub has issued a certificate.
    pub fn has_certificate(&self) -> bool {
        !self.chain.is_empty()
    }

    /// The key.
    pub fn key(&self) -> Result<Key, IdentityError> {
        Key::from_pem(&self.key).map_err(IdentityError::Key)
    }

    /// What the certificate says.
    pub fn certificate(&self) -> Option<CertificateFacts> {
        let leaf = STANDARD.decode(self.chain.first()?).ok()?;
        CertificateFacts::read(&leaf).ok()
    }

    /// The roots that it believes, once it has joined.
    pub fn roots(&self) -> Result<Option<TrustedRoots>, IdentityError> {
        if self.root_set.is_empty() {
            return Ok(None);
        }
        let bytes = decode("root set", &self.root_set)?;
        TrustedRoots::stored(&bytes).map(Some).map_err(IdentityError::Roots)
    }

    /// The time below which nothing is judged, as it was stored.
    pub fn time_floor(&self) -> TimeFloor {
        TimeFloor::new(self.time_floor)
    }

    /// TLS with this identity: the pin while joining, the roots afterwards; self-signed until there is a certificate.
    pub fn tls(&self, floor: TimeFloor) -> Result<rustls::ClientConfig, IdentityError> {
        let key = self.key()?;
        let chain = if self.chain.is_empty() {
            vec![key.self_signed(Timestamp::now()).map_err(IdentityError::Key)?]
        } else {
            let der = |text: &String| decode("certificate", text).map(CertificateDer::from);
            self.chain.iter().map(der).collect::<Result<_, _>>()?
        };
        let trust = match (self.roots()?, self.root_pin) {
            (Some(roots), _) => Trust::Set(Box::new(roots)),
            (None, Some(pin)) => Trust::Pin(pin),
            (None, None) => return Err(IdentityError::NoTrust),
        };
        client_config(&key, chain, trust, floor).map_err(IdentityError::Tls)
    }

    pub(crate) fn pin(&self) -> Option<KeyFingerprint> {
        self.root_pin
    }

    pub(crate) fn believe(&mut self, roots: &TrustedRoots) {
        self.root_set = STANDARD.encode(roots.signed().to_bytes());
        self.root_pin = None;
    }

    pub(crate) fn certify(&mut self, chain: &[Vec<u8>]) {
        self.chain = chain.iter().map(|der| STANDARD.encode(der)).collect();
    }

    pub(crate) fn rekey(&mut self, key: &Key) {
        self.key = key.to_pem();
    }

    pub(crate) fn note_time(&mut self, floor: &TimeFloor) {
        self.time_floor = floor.seconds();
    }
}

impl std::fmt::Debug for AgentIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentIdentity")
            .field(
                "cluster",
                &format_args!("{}/{}", self.cluster_namespace, self.cluster_name),
            )
            .field("key", &self.key().map(|key| key.fingerprint()).ok())
            .field("addresses", &self.addresses)
            .field("certificate", &self.certificate())
            .finish_non_exhaustive()
    }
}

fn is_nothing(path: &PathMemory) -> bool {
    *path == PathMemory::default()
}

fn decode(what: &'static str, text: &str) -> Result<Vec<u8>, IdentityError> {
    STANDARD.decode(text).map_err(|_| IdentityError::Damaged { what })
}
