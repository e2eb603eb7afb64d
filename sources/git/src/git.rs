//! All remotes of a process: who uses which, where their objects lie, and how many are read at once.

use std::{
    collections::HashMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use nave_artifact::{Algorithm, Digest, Hasher, Limits};
use nave_net::{SecretText, is_local};
use rand::RngCore;
use tokio::{runtime::Handle, sync::Semaphore};

use crate::{Auth, GitError, Remote, RemoteHandle, SshOptions, wire::redirect_policy};

/// How git is read in this process.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where object stores lie; safe to delete while nothing runs.
    pub cache: PathBuf,
    /// How many remotes are read at once. Each takes a thread, and its memory while a pack is indexed.
    pub concurrent: usize,
    /// How much one revision may hold.
    pub limits: Limits,
    /// How much a remote may send in one response, in bytes.
    pub max_response: u64,
    /// How large one file of a revision may be, in bytes: it is unpacked in memory.
    pub max_object: usize,
    /// Algorithms of SSH.
    pub ssh: SshOptions,
    /// Addresses of this machine and its link are not asked, submodules and redirects included: for repositories that
    /// are named by others, who must not reach what only this process can reach.
    pub refuse_local: bool,
}

impl Options {
    /// Four at once, Nave's usual limits, 4 GiB per response, and 256 MiB per file.
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        Options {
            cache: cache.into(),
            concurrent: 4,
            limits: Limits::default(),
            max_response: 4 << 30,
            max_object: 256 << 20,
            ssh: SshOptions::default(),
            refuse_local: false,
        }
    }
}

/// The git remotes of one process. Cheap to clone.
#[derive(Clone)]
pub struct Git {
    pub(crate) inner: Arc<Inner>,
}

impl fmt::Debug for Git {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Git")
            .field("cache", &self.inner.options.cache)
            .finish_non_exhaustive()
    }
}

pub(crate) struct Inner {
    pub options: Options,
    /// Names of stores are made with it, so that they tell nothing of credentials.
    salt: [u8; 32],
    pub permits: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    users: HashMap<String, Arc<Shared>>,
    clients: HashMap<Digest, reqwest::Client>,
    /// Stores that were on disk at the start and that nobody has asked for since.
    unclaimed: Vec<PathBuf>,
}

/// What users of one remote with the same credentials share.
pub(crate) struct Shared {
    key: Digest,
    pub directory: PathBuf,
    pub lock: Arc<tokio::sync::Mutex<()>>,
}

/// A cache directory that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("opening the git cache {path}")]
pub struct OpenError {
    path: String,
    #[source]
    source: io::Error,
}

/// Clients of other TLS settings and proxies; beyond this many, all are dropped and made again as they are needed.
const MAX_CLIENTS: usize = 64;

const TRASH: &str = ".trash-";
const SALT: &str = "salt";

impl Git {
    /// Opens the cache directory, making it when it is not there. Blocks briefly.
    ///
    /// # Errors
    /// The directory cannot be made, read or written.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let failed = |source| OpenError {
            path: options.cache.display().to_string(),
            source,
        };
        fs::create_dir_all(&options.cache).map_err(failed)?;
        let salt = salt(&options.cache.join(SALT)).map_err(failed)?;
        let mut unclaimed = Vec::new();
        for entry in fs::read_dir(&options.cache).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(TRASH) {
                fs::remove_dir_all(entry.path()).map_err(failed)?;
            } else if entry.file_type().map_err(failed)?.is_dir() {
                unclaimed.push(entry.path());
            }
        }
        let state = State {
            unclaimed,
            ..State::default()
        };
        Ok(Git {
            inner: Arc::new(Inner {
                salt,
                permits: Arc::new(Semaphore::new(options.concurrent.max(1))),
                state: Mutex::new(state),
                options,
            }),
        })
    }

    /// The remote for `user`, whose earlier remote is given up when it was another one.
    ///
    /// Users with the same URL, credentials, TLS settings and proxy share one object store; anyone else gets one of
    /// their own, so that nobody reads what only another's credentials could fetch.
    ///
    /// # Errors
    /// TLS or proxy settings cannot be used.
    pub fn remote(&self, user: &str, remote: Remote) -> Result<RemoteHandle, GitError> {
        if self.inner.options.refuse_local && is_local(&remote.url) {
            return Err(GitError::Local {
                url: remote.url.to_string(),
            });
        }
        let transport = self.transport_key(&remote);
        let key = self.store_key(&remote, &transport);
        let client = self.client(&remote, transport)?;
        let directory = self.inner.options.cache.join(key.hex());
        let mut state = self.state();
        state.unclaimed.retain(|path| *path != directory);
        let shared = state
            .users
            .values()
            .find(|shared| shared.key == key)
            .cloned()
            .unwrap_or_else(|| {
                Arc::new(Shared {
                    key,
                    directory,
                    lock: Arc::default(),
                })
            });
        let before = state.users.insert(user.to_owned(), shared.clone());
        let unused = before.filter(|before| !state.users.values().any(|shared| shared.key == before.key));
        drop(state);
        if let Some(unused) = unused {
            discard(&self.inner.options.cache, &unused.directory);
        }
        Ok(RemoteHandle {
            git: self.clone(),
            user: user.to_owned(),
            remote: Arc::new(remote),
            shared,
            client,
        })
    }

    /// `user` is gone; objects that nobody else uses go with it.
    pub fn release(&self, user: &str) {
        self.keep_parts(user, &[]);
        self.release_one(user);
    }

    /// Of the parts of a user's repository only `kept` are in use still.
    pub(crate) fn keep_parts(&self, user: &str, kept: &[String]) {
        let prefix = format!("{user}\0");
        let gone: Vec<String> = self
            .state()
            .users
            .keys()
            .filter(|name| name.starts_with(&prefix) && !kept.contains(name))
            .cloned()
            .collect();
        for name in gone {
            self.release_one(&name);
        }
    }

    fn release_one(&self, user: &str) {
        let mut state = self.state();
        let Some(before) = state.users.remove(user) else { return };
        let used = state.users.values().any(|shared| shared.key == before.key);
        drop(state);
        if !used {
            discard(&self.inner.options.cache, &before.directory);
        }
    }

    /// Removes object stores of an earlier run that nobody has asked for. To be called once every user has had the
    /// time to come back.
    pub fn sweep(&self) {
        let unclaimed = std::mem::take(&mut self.state().unclaimed);
        for directory in unclaimed {
            discard(&self.inner.options.cache, &directory);
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn client(&self, remote: &Remote, key: Digest) -> Result<reqwest::Client, GitError> {
        if let Some(client) = self.state().clients.get(&key) {
            return Ok(client.clone());
        }
        let failed = |source| GitError::Client {
            url: remote.url.to_string(),
            source,
        };
        let client = nave_net::http_client(&remote.tls, remote.proxy.as_ref())
            .map_err(failed)?
            .redirect(redirect_policy(self.inner.options.refuse_local))
            .build()
            .map_err(|source| failed(nave_net::ClientError::Build(source)))?;
        let mut state = self.state();
        if state.clients.len() >= MAX_CLIENTS {
            state.clients.clear();
        }
        state.clients.insert(key, client.clone());
        Ok(client)
    }

    fn transport_key(&self, remote: &Remote) -> Digest {
        let mut key = self.key();
        key.add(remote.tls.ca.as_deref().unwrap_or_default());
        let (certificate, private) = remote.tls.identity.as_ref().map_or((&[][..], &[][..]), |(a, b)| (a, b));
        key.add(certificate);
        key.add(private);
        if let Some(proxy) = &remote.proxy {
            key.add(proxy.address.as_str().as_bytes());
            if let Some((username, password)) = &proxy.credentials {
                key.add(username.as_bytes());
                key.add(password.expose().as_bytes());
            }
        }
        key.0.finish()
    }

    fn store_key(&self, remote: &Remote, transport: &Digest) -> Digest {
        let mut key = self.key();
        key.add(transport.bytes());
        key.add(remote.url.as_str().as_bytes());
        if let Some(identity) = &remote.identity {
            key.add(b"identity");
            key.add(identity.as_bytes());
        } else if let Some(value) = authorization(&remote.auth) {
            key.add(value.expose().as_bytes());
        }
        if let Auth::Ssh(auth) = &remote.auth {
            for part in auth.tell_apart() {
                key.add(&part);
            }
        }
        key.0.finish()
    }

    fn key(&self) -> Key {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(&self.inner.salt);
        Key(hasher)
    }
}

struct Key(Hasher);

impl Key {
    fn add(&mut self, part: &[u8]) {
        self.0.update(&(part.len() as u64).to_be_bytes());
        self.0.update(part);
    }
}

pub(crate) fn authorization(auth: &Auth) -> Option<SecretText> {
    match auth {
        Auth::None | Auth::Ssh(_) => None,
        Auth::Basic(basic) => Some(basic.header()),
        Auth::Bearer(token) => Some(SecretText::new(format!("Bearer {}", token.expose()))),
    }
}

fn salt(file: &Path) -> io::Result<[u8; 32]> {
    match fs::read(file) {
        Ok(bytes) => {
            if let Ok(salt) = bytes.try_into() {
                return Ok(salt);
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut salt = [0; 32];
    rand::rng().fill_bytes(&mut salt);
    fs::write(file, salt)?;
    Ok(salt)
}

/// Takes a store out of the way at once, and removes it where that may take its time.
fn discard(cache: &Path, directory: &Path) {
    let trash = cache.join(format!("{TRASH}{:016x}", rand::rng().next_u64()));
    if fs::rename(directory, &trash).is_err() {
        return; // never fetched from
    }
    let remove = move || {
        if let Err(error) = fs::remove_dir_all(&trash) {
            tracing::warn!(path = %trash.display(), %error, "removing an unused git cache");
        }
    };
    match Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(remove)),
        Err(_) => remove(),
    }
}
