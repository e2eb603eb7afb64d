//! The authorities and their history, and how both stand in the Secret.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::api::ObjectMeta;
use nave_crds::labels;
use nave_identity::{
    Authority, AuthorityError, AuthorityRole, CertificateFacts, KeyFingerprint, RootSet, SignedRootSet, TrustedRoots,
};
use prost::Message;
use rand::RngCore;
use rustls::pki_types::CertificateDer;

use super::{HubAuthorityError, SECRET};

/// Long enough to outlive the hardware; overlapping rotation makes the number unimportant.
const AUTHORITY_LIFETIME: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
/// Changes of the authority that an agent may miss while it is away. Each costs 420 bytes in every handshake, and all of
/// them fit into the first flight of one.
const BRIDGES: usize = 3;
/// Root sets that are kept for agents that come back: as many as one `Welcome` carries.
const SETS: usize = 8;
/// Client authorities before the present one; certificates last a day, and one that is not ours only has to be renewed.
const EARLIER_CLIENTS: usize = 2;

const SERVER_CERTIFICATE: &str = "server-ca.crt";
const SERVER_KEY: &str = "server-ca.key";
const CLIENT_CERTIFICATE: &str = "client-ca.crt";
const CLIENT_KEY: &str = "client-ca.key";
const ROOTS: &str = "roots";
const HISTORY: &str = "history";
pub(super) const RESET_KEY: &str = "reset.key";
pub(super) const RESET_KEY_BYTES: usize = 64;
const DIGEST_KEY: &str = "digest.key";
pub(super) const DIGEST_KEY_BYTES: usize = 32;

/// What makes this hub this hub.
#[derive(Clone)]
pub struct Keys {
    pub server: Arc<Authority>,
    pub client: Arc<Authority>,
    pub roots: TrustedRoots,
    pub reset_key: [u8; RESET_KEY_BYTES],
    pub digest_key: [u8; DIGEST_KEY_BYTES],
    pub history: History,
}

/// What came before; absent from the Secret of a hub that never rotated.
#[derive(Clone, PartialEq, Message)]
pub struct History {
    /// Root sets before the present one, oldest first.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub sets: Vec<Vec<u8>>,
    /// Server authorities as the one before each signed it (DER), newest first.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub bridges: Vec<Vec<u8>>,
    /// Certificates of earlier client authorities (DER), newest first.
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub clients: Vec<Vec<u8>>,
    /// The wish that the last rotation fulfilled.
    #[prost(string, tag = "4")]
    pub wish: String,
    /// The last root set that the recovery key signed; empty when there was none. Agents that lost the chain need it,
    /// however long ago it was.
    #[prost(bytes = "vec", tag = "5")]
    pub recovery: Vec<u8>,
}

impl Keys {
    pub fn generate(now: Timestamp) -> Result<Self, HubAuthorityError> {
        let server = Authority::generate(AuthorityRole::Server, now, AUTHORITY_LIFETIME)?;
        let client = Authority::generate(AuthorityRole::Client, now, AUTHORITY_LIFETIME)?;
        let signed = RootSet::first(vec![server.certificate().clone()], None).sign(&[server.key()])?;
        let roots = TrustedRoots::pinned(signed, server.fingerprint())?;
        Ok(Keys {
            server: Arc::new(server),
            client: Arc::new(client),
            roots,
            reset_key: random(),
            digest_key: random(),
            history: History::default(),
        })
    }

    /// New authorities that follow these: agents that know these are led to the new ones, and no key is needed twice.
    pub fn rotated(&self, wish: &str, now: Timestamp) -> Result<Self, HubAuthorityError> {
        let server = Authority::generate(AuthorityRole::Server, now, AUTHORITY_LIFETIME)?;
        let client = Authority::generate(AuthorityRole::Client, now, AUTHORITY_LIFETIME)?;
        let both = vec![self.server.certificate().clone(), server.certificate().clone()];
        // Signed by the old one for agents that follow the chain, by the new one for tokens that pin it.
        let signed = RootSet::following(&self.roots, both).sign(&[self.server.key(), server.key()])?;
        let roots = self.roots.advance(signed)?;
        let bridge = self.server.bridge_to(&server, now, AUTHORITY_LIFETIME)?;
        let mut history = self.history_with_present();
        history.bridges.insert(0, bridge.to_vec());
        history.bridges.truncate(BRIDGES);
        history.clients.insert(0, self.client.certificate().to_vec());
        history.clients.truncate(EARLIER_CLIENTS);
        history.wish = wish.to_owned();
        Ok(Keys {
            server: Arc::new(server),
            client: Arc::new(client),
            roots,
            reset_key: self.reset_key,
            digest_key: self.digest_key,
            history,
        })
    }

    /// The same authorities, with a root set that pins a recovery key.
    ///
    /// # Errors
    /// Another one is pinned already, and only that may change it.
    pub fn pinning(&self, recovery: KeyFingerprint) -> Result<Self, HubAuthorityError> {
        let signed = RootSet::with_recovery_key(&self.roots, recovery).sign(&[self.server.key()])?;
        Ok(self.leading_on_to(self.roots.advance(signed)?))
    }

    /// The same authorities, vouched for by the recovery key.
    pub fn recovered(&self, signed: SignedRootSet) -> Result<Self, HubAuthorityError> {
        let mut next = self.leading_on_to(self.roots.recovered(signed, &self.server)?);
        next.history.recovery = next.roots.signed().to_bytes();
        Ok(next)
    }

    fn leading_on_to(&self, roots: TrustedRoots) -> Self {
        Keys {
            server: self.server.clone(),
            client: self.client.clone(),
            roots,
            reset_key: self.reset_key,
            digest_key: self.digest_key,
            history: self.history_with_present(),
        }
    }

    /// The history as it is once another root set follows.
    fn history_with_present(&self) -> History {
        let mut history = self.history.clone();
        history.sets.push(self.roots.signed().to_bytes());
        let excess = (history.sets.len() + 1).saturating_sub(SETS);
        history.sets.drain(..excess);
        history
    }

    /// When the present server authority was made.
    pub fn made(&self) -> Result<Timestamp, HubAuthorityError> {
        let facts = CertificateFacts::read(self.server.certificate()).map_err(|source| {
            let role = AuthorityRole::Server;
            HubAuthorityError::Authority(AuthorityError::Certificate { role, source })
        })?;
        Ok(facts.not_before)
    }

    /// What a server's certificate is sent with beside its authority: the way there from every authority before it.
    pub fn way(&self) -> Vec<CertificateDer<'static>> {
        let bridges = self.history.bridges.iter().cloned().map(CertificateDer::from);
        let own = self.server.certificate();
        bridges
            .chain(self.roots.roots().into_iter().filter(|root| root != own))
            .collect()
    }

    /// What a server's certificate is sent with for agents that know no authority of the way, but the recovery key.
    pub fn carrier(&self, now: Timestamp) -> Result<Option<CertificateDer<'static>>, HubAuthorityError> {
        if self.history.recovery.is_empty() {
            return Ok(None);
        }
        let signed = SignedRootSet::from_bytes(&self.history.recovery)?;
        Ok(Some(self.server.carry(&signed, now, AUTHORITY_LIFETIME)?))
    }

    /// The signed root sets after a version, oldest first.
    pub fn sets_after(&self, version: u64) -> Vec<Vec<u8>> {
        let mut all = self.history.sets.clone();
        all.push(self.roots.signed().to_bytes());
        let recovery = &self.history.recovery;
        if !recovery.is_empty() && !all.contains(recovery) {
            all.insert(0, recovery.clone());
        }
        all.retain(|set| SignedRootSet::from_bytes(set).is_ok_and(|set| set.version() > version));
        all
    }

    pub fn read(namespace: &str, secret: &Secret) -> Result<Self, HubAuthorityError> {
        let missing = |key| HubAuthorityError::Key {
            namespace: namespace.to_owned(),
            key,
        };
        let found = |key: &str| {
            let data = secret.data.as_ref().and_then(|data| data.get(key));
            data.map(|value| value.0.as_slice())
        };
        let bytes = |key: &'static str| found(key).ok_or_else(|| missing(key));
        let text = |key| std::str::from_utf8(bytes(key)?).map_err(|_| missing(key));
        let history = History::decode(found(HISTORY).unwrap_or_default()).map_err(|_| missing(HISTORY))?;
        let roots = TrustedRoots::stored(bytes(ROOTS)?)?;
        let recovered = history.recovery.is_empty() || is_set(&history.recovery);
        let sets = history.sets.iter().all(|set| is_set(set));
        if roots.version() <= history.sets.len() as u64 || !sets || !recovered {
            return Err(missing(HISTORY));
        }
        Ok(Keys {
            server: authority(AuthorityRole::Server, text(SERVER_CERTIFICATE)?, text(SERVER_KEY)?)?,
            client: authority(AuthorityRole::Client, text(CLIENT_CERTIFICATE)?, text(CLIENT_KEY)?)?,
            roots,
            reset_key: bytes(RESET_KEY)?.try_into().map_err(|_| missing(RESET_KEY))?,
            digest_key: bytes(DIGEST_KEY)?.try_into().map_err(|_| missing(DIGEST_KEY))?,
            history,
        })
    }

    /// The Secret, without a version: it can be created, or the data put into the one that was read.
    pub fn secret(&self) -> Secret {
        let (server, client) = (self.server.to_pem(), self.client.to_pem());
        let data = [
            (SERVER_CERTIFICATE, server.certificate.into_bytes()),
            (SERVER_KEY, server.key.as_bytes().to_vec()),
            (CLIENT_CERTIFICATE, client.certificate.into_bytes()),
            (CLIENT_KEY, client.key.as_bytes().to_vec()),
            (ROOTS, self.roots.signed().to_bytes()),
            (HISTORY, self.history.encode_to_vec()),
            (RESET_KEY, self.reset_key.to_vec()),
            (DIGEST_KEY, self.digest_key.to_vec()),
        ];
        Secret {
            metadata: ObjectMeta {
                name: Some(SECRET.to_owned()),
                labels: Some(BTreeMap::from([(
                    labels::PART_OF.to_owned(),
                    labels::PART_OF_NAVE.to_owned(),
                )])),
                ..ObjectMeta::default()
            },
            data: Some(
                data.into_iter()
                    .map(|(key, value)| (key.to_owned(), ByteString(value)))
                    .collect(),
            ),
            ..Secret::default()
        }
    }
}

fn authority(role: AuthorityRole, certificate: &str, key: &str) -> Result<Arc<Authority>, AuthorityError> {
    Authority::from_pem(role, certificate, key).map(Arc::new)
}

fn is_set(bytes: &[u8]) -> bool {
    SignedRootSet::from_bytes(bytes).is_ok()
}

/// Bytes from the operating system's random source, by way of rand's reseeded generator.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}
