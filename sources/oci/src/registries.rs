//! All registries of a process: connections, and what is known of each, are kept between reconciles.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nave_artifact::{Algorithm, Digest, Hasher};
use nave_net::{ProxyOptions, TlsOptions, http_client, unverified_http_client};

use crate::{Credentials, OciError, Repository, session::Session};

/// How to get into a registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Who we say we are.
    pub credentials: Credentials,
    /// More roots, and a client certificate.
    pub tls: TlsOptions,
    /// A proxy for all requests.
    pub proxy: Option<ProxyOptions>,
    /// Allows plain HTTP; without TLS settings any certificate is taken too.
    pub insecure: bool,
}

/// The registries of one process. Cheap to clone.
#[derive(Clone)]
pub struct Registries {
    inner: Arc<Inner>,
}

struct Inner {
    stall: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    clients: HashMap<Digest, reqwest::Client>,
    sessions: HashMap<Digest, Arc<Session>>,
}

impl fmt::Debug for Registries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registries").finish_non_exhaustive()
    }
}

impl Default for Registries {
    fn default() -> Self {
        Registries::new(STALL)
    }
}

/// One repository, ready to be asked. Cheap to clone.
#[derive(Clone)]
pub struct Remote {
    pub(crate) session: Arc<Session>,
    pub(crate) stall: Duration,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Remote")
            .field(&self.session.repository.to_string())
            .finish()
    }
}

/// A layer of which nothing comes for so long is given up.
const STALL: Duration = Duration::from_secs(30);
/// Beyond so many of either, all are dropped and made again as they are needed.
const MAX_CLIENTS: usize = 64;
const MAX_SESSIONS: usize = 4096;

impl Registries {
    /// With the time after which a transfer that brings nothing is given up.
    pub fn new(stall: Duration) -> Self {
        Registries {
            inner: Arc::new(Inner {
                stall,
                state: Mutex::default(),
            }),
        }
    }

    /// A repository with the way in. Nothing is sent yet.
    ///
    /// # Errors
    /// TLS settings or proxy cannot be used.
    pub fn open(&self, repository: &Repository, access: Access) -> Result<Remote, OciError> {
        let way = key_of_way(&access);
        let key = key_of_session(repository, &access, &way);
        let mut state = self.inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        let session = match state.sessions.get(&key) {
            Some(session) => session.clone(),
            None => {
                let client = match state.clients.get(&way) {
                    Some(client) => client.clone(),
                    None => {
                        let client = client(repository, &access)?;
                        if state.clients.len() >= MAX_CLIENTS {
                            state.clients.clear();
                        }
                        state.clients.insert(way, client.clone());
                        client
                    }
                };
                if state.sessions.len() >= MAX_SESSIONS {
                    state.sessions.clear();
                }
                let session = Session::new(repository.clone(), access.credentials, client, access.insecure);
                let session = Arc::new(session);
                state.sessions.insert(key, session.clone());
                session
            }
        };
        Ok(Remote {
            session,
            stall: self.inner.stall,
        })
    }
}

impl Remote {
    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.session.repository
    }
}

fn client(repository: &Repository, access: &Access) -> Result<reqwest::Client, OciError> {
    let failed = |source| OciError::Client {
        registry: repository.registry().to_owned(),
        source: Box::new(source),
    };
    let builder = if access.insecure && access.tls.is_empty() {
        unverified_http_client(access.proxy.as_ref())
    } else {
        http_client(&access.tls, access.proxy.as_ref())
    }
    .map_err(failed)?;
    builder
        .redirect(redirects())
        // Blobs must arrive as they are named: nothing may be unpacked on the way.
        .no_gzip()
        .build()
        .map_err(|source| failed(nave_net::ClientError::Build(source)))
}

/// Registries send the readers of blobs to other servers; credentials stay behind, and so does whoever leaves https.
fn redirects() -> reqwest::redirect::Policy {
    reqwest::redirect::Policy::custom(|attempt| {
        let previous = attempt.previous().last();
        let downgrade = previous.is_some_and(|url| url.scheme() == "https") && attempt.url().scheme() != "https";
        if downgrade {
            attempt.error("it redirects away from https, which is not followed")
        } else if attempt.previous().len() > 5 {
            attempt.error("it redirects more than five times")
        } else {
            attempt.follow()
        }
    })
}

/// Names of sessions are digests, so that no credentials lie about as keys.
fn key_of_way(access: &Access) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut add = |part: &[u8]| {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    };
    add(access.tls.ca.as_deref().unwrap_or_default());
    let (certificate, key) = access.tls.identity.as_ref().map_or((&[][..], &[][..]), |(c, k)| (c, k));
    add(certificate);
    add(key);
    if let Some(proxy) = &access.proxy {
        add(proxy.address.as_str().as_bytes());
        if let Some((user, password)) = &proxy.credentials {
            add(user.as_bytes());
            add(password.expose().as_bytes());
        }
    }
    add(&[u8::from(access.insecure)]);
    hasher.finish()
}

fn key_of_session(repository: &Repository, access: &Access, way: &Digest) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut add = |part: &[u8]| {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    };
    add(way.bytes());
    add(repository.registry().as_bytes());
    add(repository.name().as_bytes());
    match &access.credentials {
        Credentials::Anonymous => add(b"-"),
        Credentials::Basic(basic) => {
            add(b"basic");
            add(basic.username.as_bytes());
            add(basic.password.expose().as_bytes());
        }
        Credentials::Identity(token) => {
            add(b"identity");
            add(token.expose().as_bytes());
        }
        Credentials::Token(token) => {
            add(b"token");
            add(token.expose().as_bytes());
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use nave_net::{BasicAuth, SecretText};

    use super::*;

    #[test]
    fn sessions_are_shared_by_who_is_the_same() {
        let registries = Registries::default();
        let repository = Repository::from_url("oci://h/a").unwrap();
        let basic = |password: &str| Access {
            credentials: Credentials::Basic(BasicAuth {
                username: "u".into(),
                password: SecretText::new(password),
            }),
            ..Access::default()
        };
        let open = |access| registries.open(&repository, access).unwrap().session;
        let first = open(basic("a"));
        assert!(Arc::ptr_eq(&first, &open(basic("a"))));
        assert!(!Arc::ptr_eq(&first, &open(basic("b"))));
        assert!(!Arc::ptr_eq(&first, &open(Access::default())));
        let insecure = Access {
            insecure: true,
            ..basic("a")
        };
        assert!(!Arc::ptr_eq(&first, &open(insecure)));
    }
}
