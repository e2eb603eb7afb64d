//! The hub's certificate authorities and what they vouch for: made once, kept in one Secret, changed by overlap.
//!
//! ```text
//! authority A ──signs──► root set n+1 {A, B}     sent in Welcome, and pushed to open sessions
//!      └───────signs──► B's certificate         sent in every handshake: whoever knows A only finds B
//! ```
//!
//! The server certificate itself is never stored: each process makes a key of its own, so that nothing but the
//! authorities has to be guarded.

mod keys;
mod recovery;

use std::sync::{Arc, RwLock};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, api::PostParams};
use nave_crds::managers;
use nave_identity::{
    AuthorityError, CLIENT_CERTIFICATE_LIFETIME, CertificateRequest, ClusterRef, ForeignCertificate, ForeignError,
    IssuedCertificate, KeyFingerprint, RootSetError, ServerCertificates, ServerIdentity, TlsError,
};
use nave_runtime::Tasks;
use rustls::pki_types::CertificateDer;

use crate::locked;
use keys::{DIGEST_KEY_BYTES, Keys, RESET_KEY_BYTES};
pub use recovery::asks as asks_for_recovery;

/// Name of the Secret in the hub's namespace.
pub const SECRET: &str = "nave-hub-authority";

/// A server certificate is made at each start and replaced while the process runs.
const SERVER_LIFETIME: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Renewed with a third of its life left.
const SERVER_RENEWAL: SignedDuration = SignedDuration::from_hours(20 * 24);

/// The hub's own keys, as they are now.
pub struct HubAuthority {
    keys: RwLock<Arc<Keys>>,
    /// Why the last wish of an operator with a recovery key came to nothing.
    refused: RwLock<String>,
    /// What the link shows, where that is not the hub's own.
    foreign: RwLock<Option<ForeignCertificate>>,
    client_lifetime: SignedDuration,
    reset_key: [u8; RESET_KEY_BYTES],
    digest_key: [u8; DIGEST_KEY_BYTES],
}

/// Reading or making the authority failed.
#[derive(Debug, thiserror::Error)]
pub enum HubAuthorityError {
    /// The API server refused.
    #[error("{what} Secret {namespace}/{SECRET}")]
    Api {
        /// `reading`, `creating` or `writing`.
        what: &'static str,
        /// The hub's namespace.
        namespace: String,
        /// Its answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// Somebody changed the Secret.
    #[error("Secret {namespace}/{SECRET} has no usable key {key:?}; restore it from a backup")]
    Key {
        /// The hub's namespace.
        namespace: String,
        /// The key in it.
        key: &'static str,
    },
    /// The authorities cannot be read or made.
    #[error("preparing the hub's authorities")]
    Authority(#[from] AuthorityError),
    /// The root set cannot be read or made.
    #[error("preparing the hub's root set")]
    Roots(#[from] RootSetError),
    /// The certificate of another issuer cannot be used.
    #[error(transparent)]
    Foreign(#[from] ForeignError),
}

impl HubAuthority {
    /// Reads the Secret, or makes it. Of several hubs that start at once one creates it and the others read it.
    pub async fn ensure(client: &Client, namespace: &str) -> Result<Self, HubAuthorityError> {
        let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
        if let Some(secret) = api.get_opt(SECRET).await.map_err(failed("reading", namespace))? {
            return Ok(Keys::read(namespace, &secret)?.into());
        }
        let made = Keys::generate(Timestamp::now())?;
        match api.create(&parameters(), &made.secret()).await {
            Ok(_) => {
                tracing::info!(
                    secret = SECRET,
                    root = %made.server.fingerprint(),
                    "made the hub's authorities"
                );
                Ok(made.into())
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let secret = api.get(SECRET).await.map_err(failed("reading", namespace))?;
                Ok(Keys::read(namespace, &secret)?.into())
            }
            Err(error) => Err(failed("creating", namespace)(error)),
        }
    }

    /// Makes new authorities that follow the present ones, stores them, and uses them from now on. A wish that was
    /// fulfilled before, by whichever process, is not fulfilled twice. True when anything changed.
    pub async fn rotate(&self, client: &Client, namespace: &str, wish: &str) -> Result<bool, HubAuthorityError> {
        let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let mut secret = api.get(SECRET).await.map_err(failed("reading", namespace))?;
        let stored = Keys::read(namespace, &secret)?;
        let next = if !wish.is_empty() && stored.history.wish == wish {
            stored
        } else {
            let next = stored.rotated(wish, Timestamp::now())?;
            secret.data = next.secret().data;
            // The version that was read stays: of two that rotate at once, one is refused and may look again.
            api.replace(SECRET, &parameters(), &secret)
                .await
                .map_err(failed("writing", namespace))?;
            next
        };
        let changed = next.roots.version() != self.root_version();
        *locked::write(&self.keys) = Arc::new(next);
        Ok(changed)
    }

    /// Fingerprint of the server authority: what join tokens pin.
    pub fn pin(&self) -> KeyFingerprint {
        self.keys().server.fingerprint()
    }

    /// Version of the root set.
    pub fn root_version(&self) -> u64 {
        self.keys().roots.version()
    }

    /// The signed root set that a joining agent is given.
    pub fn signed_roots(&self) -> Vec<u8> {
        self.keys().roots.signed().to_bytes()
    }

    /// The signed root sets that lead an agent on from the version that it has, oldest first.
    pub fn roots_after(&self, version: u64) -> Vec<Vec<u8>> {
        self.keys().sets_after(version)
    }

    /// When the server authority was made.
    pub fn made(&self) -> Result<Timestamp, HubAuthorityError> {
        self.keys().made()
    }

    /// The wish that the last rotation fulfilled; empty when there was none.
    pub fn wish(&self) -> String {
        self.keys().history.wish.clone()
    }

    /// The same, with another lifetime of agents' certificates.
    pub fn issuing_for(mut self, lifetime: std::time::Duration) -> Self {
        self.client_lifetime = SignedDuration::try_from(lifetime).unwrap_or(CLIENT_CERTIFICATE_LIFETIME);
        self
    }

    /// Signs the certificate of an agent.
    pub fn issue_client(
        &self,
        request: &CertificateRequest,
        cluster: &ClusterRef,
        now: Timestamp,
    ) -> Result<IssuedCertificate, AuthorityError> {
        self.keys()
            .client
            .issue_client(request, cluster, now, self.client_lifetime)
    }

    /// The authorities whose client certificates count.
    pub fn client_authorities(&self) -> Vec<CertificateDer<'static>> {
        let keys = self.keys();
        let earlier = keys.history.clients.iter().cloned().map(CertificateDer::from);
        std::iter::once(keys.client.certificate().clone())
            .chain(earlier)
            .collect()
    }

    /// Key of the stateless resets, the same in every process of this hub, so that a restarted hub can tell an agent at
    /// once that its connection is gone.
    pub fn reset_key(&self) -> &[u8; RESET_KEY_BYTES] {
        &self.reset_key
    }

    /// Key of the digests of sensitive items; stable, or every restart would send every secret again.
    pub fn digest_key(&self) -> &[u8; DIGEST_KEY_BYTES] {
        &self.digest_key
    }

    /// A key and certificate for the link's server, new each time unless another issuer's is shown.
    pub fn server_identity(&self, now: Timestamp) -> Result<ServerIdentity, HubAuthorityError> {
        let keys = self.keys();
        let foreign = locked::read(&self.foreign).clone();
        let mut identity = match foreign {
            Some(foreign) => foreign.identity(&keys.server, now, SERVER_LIFETIME)?,
            None => keys.server.issue_server(now, SERVER_LIFETIME)?,
        };
        identity.chain.extend(keys.way());
        identity.chain.extend(keys.carrier(now)?);
        Ok(identity)
    }

    /// Shows a certificate of another issuer on the link from now on. False when it is the one that was.
    pub fn show(&self, foreign: ForeignCertificate, now: Timestamp) -> Result<bool, HubAuthorityError> {
        foreign.identity(&self.keys().server, now, SERVER_LIFETIME)?;
        let mut shown = locked::write(&self.foreign);
        let changed = shown.as_ref() != Some(&foreign);
        *shown = Some(foreign);
        Ok(changed)
    }

    /// A key and certificate for another server of this hub.
    pub fn identity_for(&self, name: &str, now: Timestamp) -> Result<ServerIdentity, AuthorityError> {
        self.keys().server.issue_server_for(name, now, SERVER_LIFETIME)
    }

    /// The certificate of the authority that signs servers' certificates now.
    pub fn server_authority(&self) -> CertificateDer<'static> {
        self.keys().server.certificate().clone()
    }

    /// Replaces the served certificate in good time until shutdown.
    pub async fn keep_server_certificate(&self, served: ServerCertificates, tasks: &Tasks) -> Result<(), RenewError> {
        let interval = std::time::Duration::from_secs(SERVER_RENEWAL.as_secs().unsigned_abs());
        loop {
            tokio::select! {
                _ = tasks.shutdown_token().cancelled() => return Ok(()),
                _ = tokio::time::sleep(interval) => {}
            }
            match self.serve(&served) {
                // Its issuer has to renew it, and may yet.
                Err(RenewError::Authority(HubAuthorityError::Foreign(error))) => {
                    tracing::error!(%error, "the link's certificate is not renewed; the one before stays in use");
                }
                other => other?,
            }
        }
    }

    /// Makes a server certificate and serves it from now on.
    pub fn serve(&self, served: &ServerCertificates) -> Result<(), RenewError> {
        let identity = self.server_identity(Timestamp::now())?;
        served.replace(&identity)?;
        tracing::info!(not_after = %identity.not_after, "renewed the server certificate");
        Ok(())
    }

    fn keys(&self) -> Arc<Keys> {
        locked::read(&self.keys).clone()
    }
}

impl From<Keys> for HubAuthority {
    fn from(keys: Keys) -> Self {
        HubAuthority {
            client_lifetime: CLIENT_CERTIFICATE_LIFETIME,
            reset_key: keys.reset_key,
            digest_key: keys.digest_key,
            keys: RwLock::new(Arc::new(keys)),
            refused: RwLock::default(),
            foreign: RwLock::default(),
        }
    }
}

impl std::fmt::Debug for HubAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys = self.keys();
        f.debug_struct("HubAuthority")
            .field("server", &keys.server)
            .field("client", &keys.client)
            .field("roots", &keys.roots.version())
            .finish_non_exhaustive()
    }
}

fn failed(what: &'static str, namespace: &str) -> impl FnOnce(kube::Error) -> HubAuthorityError + use<> {
    let namespace = namespace.to_owned();
    move |source| HubAuthorityError::Api {
        what,
        namespace,
        source: Box::new(source),
    }
}

fn parameters() -> PostParams {
    PostParams {
        field_manager: Some(managers::HUB.to_owned()),
        ..PostParams::default()
    }
}

/// Renewing the server certificate failed.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// The authority did not sign.
    #[error("renewing the server certificate")]
    Authority(#[from] HubAuthorityError),
    /// The certificate cannot be served.
    #[error("serving the renewed certificate")]
    Tls(#[from] TlsError),
}

#[cfg(test)]
mod tests;
