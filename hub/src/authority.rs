//! The hub's certificate authorities and what they vouch for: made once, kept in one Secret.
//!
//! The server certificate itself is never stored: each process makes a key of its own, so that nothing but the
//! authorities has to be guarded.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, Client, api::ObjectMeta, api::PostParams};
use nave_crds::{labels, managers};
use nave_identity::{
    Authority, AuthorityError, AuthorityRole, CLIENT_CERTIFICATE_LIFETIME, CertificateRequest, ClusterRef,
    IssuedCertificate, KeyFingerprint, RootSet, RootSetError, ServerCertificates, ServerIdentity, TlsError,
    TrustedRoots,
};
use nave_runtime::Tasks;
use rand::RngCore;
use rustls::pki_types::CertificateDer;

/// Name of the Secret in the hub's namespace.
pub const SECRET: &str = "nave-hub-authority";

/// Long enough to outlive the hardware; overlapping rotation makes the number unimportant.
const AUTHORITY_LIFETIME: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
/// A server certificate is made at each start and replaced while the process runs.
const SERVER_LIFETIME: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Renewed with a third of its life left.
const SERVER_RENEWAL: SignedDuration = SignedDuration::from_hours(20 * 24);

const SERVER_CERTIFICATE: &str = "server-ca.crt";
const SERVER_KEY: &str = "server-ca.key";
const CLIENT_CERTIFICATE: &str = "client-ca.crt";
const CLIENT_KEY: &str = "client-ca.key";
const ROOTS: &str = "roots";
const RESET_KEY: &str = "reset.key";
const RESET_KEY_BYTES: usize = 64;
const DIGEST_KEY: &str = "digest.key";
const DIGEST_KEY_BYTES: usize = 32;

/// What makes this hub this hub.
pub struct HubAuthority {
    server: Authority,
    client: Authority,
    client_lifetime: SignedDuration,
    roots: TrustedRoots,
    reset_key: [u8; RESET_KEY_BYTES],
    digest_key: [u8; DIGEST_KEY_BYTES],
}

/// Reading or making the authority failed.
#[derive(Debug, thiserror::Error)]
pub enum HubAuthorityError {
    /// The API server refused.
    #[error("{what} Secret {namespace}/{SECRET}")]
    Api {
        /// `reading` or `creating`.
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
}

impl HubAuthority {
    /// New authorities, in memory only.
    pub fn generate(now: Timestamp) -> Result<Self, HubAuthorityError> {
        let server = Authority::generate(AuthorityRole::Server, now, AUTHORITY_LIFETIME)?;
        let client = Authority::generate(AuthorityRole::Client, now, AUTHORITY_LIFETIME)?;
        let signed = RootSet::first(vec![server.certificate().clone()], None).sign(&[server.key()])?;
        let roots = TrustedRoots::pinned(signed, server.fingerprint())?;
        Ok(HubAuthority {
            server,
            client,
            client_lifetime: CLIENT_CERTIFICATE_LIFETIME,
            roots,
            reset_key: random(),
            digest_key: random(),
        })
    }

    /// Reads the Secret, or makes it. Of several hubs that start at once one creates it and the others read it.
    pub async fn ensure(client: &Client, namespace: &str) -> Result<Self, HubAuthorityError> {
        let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let failed = |what| {
            move |source| HubAuthorityError::Api {
                what,
                namespace: namespace.to_owned(),
                source: Box::new(source),
            }
        };
        if let Some(secret) = api.get_opt(SECRET).await.map_err(failed("reading"))? {
            return Self::read(namespace, &secret);
        }
        let made = Self::generate(Timestamp::now())?;
        let parameters = PostParams {
            field_manager: Some(managers::HUB.to_owned()),
            ..PostParams::default()
        };
        match api.create(&parameters, &made.secret()).await {
            Ok(_) => {
                tracing::info!(
                    secret = SECRET,
                    root = %made.pin(),
                    "made the hub's authorities"
                );
                Ok(made)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let secret = api.get(SECRET).await.map_err(failed("reading"))?;
                Self::read(namespace, &secret)
            }
            Err(error) => Err(failed("creating")(error)),
        }
    }

    fn read(namespace: &str, secret: &Secret) -> Result<Self, HubAuthorityError> {
        let missing = |key| HubAuthorityError::Key {
            namespace: namespace.to_owned(),
            key,
        };
        let bytes = |key: &'static str| {
            let data = secret.data.as_ref().and_then(|data| data.get(key));
            data.map(|value| value.0.as_slice()).ok_or_else(|| missing(key))
        };
        let text = |key| std::str::from_utf8(bytes(key)?).map_err(|_| missing(key));
        Ok(HubAuthority {
            server: Authority::from_pem(AuthorityRole::Server, text(SERVER_CERTIFICATE)?, text(SERVER_KEY)?)?,
            client: Authority::from_pem(AuthorityRole::Client, text(CLIENT_CERTIFICATE)?, text(CLIENT_KEY)?)?,
            client_lifetime: CLIENT_CERTIFICATE_LIFETIME,
            roots: TrustedRoots::stored(bytes(ROOTS)?)?,
            reset_key: bytes(RESET_KEY)?.try_into().map_err(|_| missing(RESET_KEY))?,
            digest_key: bytes(DIGEST_KEY)?.try_into().map_err(|_| missing(DIGEST_KEY))?,
        })
    }

    fn secret(&self) -> Secret {
        let (server, client) = (self.server.to_pem(), self.client.to_pem());
        let data = [
            (SERVER_CERTIFICATE, server.certificate.into_bytes()),
            (SERVER_KEY, server.key.as_bytes().to_vec()),
            (CLIENT_CERTIFICATE, client.certificate.into_bytes()),
            (CLIENT_KEY, client.key.as_bytes().to_vec()),
            (ROOTS, self.roots.signed().to_bytes()),
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

    /// Fingerprint of the server authority: what join tokens pin.
    pub fn pin(&self) -> KeyFingerprint {
        self.server.fingerprint()
    }

    /// The roots that agents are given.
    pub fn roots(&self) -> &TrustedRoots {
        &self.roots
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
        self.client.issue_client(request, cluster, now, self.client_lifetime)
    }

    /// The authorities whose client certificates count.
    pub fn client_authorities(&self) -> Vec<CertificateDer<'static>> {
        vec![self.client.certificate().clone()]
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

    /// A key and certificate for the link's server, new each time.
    pub fn server_identity(&self, now: Timestamp) -> Result<ServerIdentity, AuthorityError> {
        self.server.issue_server(now, SERVER_LIFETIME)
    }

    /// Replaces the served certificate in good time until shutdown.
    pub async fn keep_server_certificate(&self, served: ServerCertificates, tasks: &Tasks) -> Result<(), RenewError> {
        let interval = std::time::Duration::from_secs(SERVER_RENEWAL.as_secs().unsigned_abs());
        loop {
            tokio::select! {
                _ = tasks.shutdown_token().cancelled() => return Ok(()),
                _ = tokio::time::sleep(interval) => {}
            }
            let identity = self.server_identity(Timestamp::now())?;
            served.replace(&identity)?;
            tracing::info!(not_after = %identity.not_after, "renewed the server certificate");
        }
    }
}

impl std::fmt::Debug for HubAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubAuthority")
            .field("server", &self.server)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// Bytes from the operating system's random source, by way of rand's reseeded generator.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

/// Renewing the server certificate failed.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// The authority did not sign.
    #[error("renewing the server certificate")]
    Authority(#[from] AuthorityError),
    /// The certificate cannot be served.
    #[error("serving the renewed certificate")]
    Tls(#[from] TlsError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_authority_reads_back_and_a_damaged_one_names_its_key() {
        let made = HubAuthority::generate(Timestamp::now()).unwrap();
        let mut secret = made.secret();
        let read = HubAuthority::read("nave-system", &secret).unwrap();
        assert_eq!(read.pin(), made.pin());
        assert_eq!(read.reset_key(), made.reset_key());
        assert_eq!(read.roots(), made.roots());
        assert_ne!(read.client.fingerprint(), read.server.fingerprint());

        secret.data.as_mut().unwrap().remove(RESET_KEY);
        let error = HubAuthority::read("nave-system", &secret).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Secret nave-system/nave-hub-authority has no usable key \"reset.key\"; restore it from a backup"
        );
    }

    #[test]
    fn the_server_certificate_ends_in_the_pinned_root() {
        let made = HubAuthority::generate(Timestamp::now()).unwrap();
        let identity = made.server_identity(Timestamp::now()).unwrap();
        assert!(identity.is_consistent());
        assert_eq!(
            identity.chain.last(),
            made.roots().roots().first(),
            "an agent that knows only the pin finds the root in the chain"
        );
    }
}
