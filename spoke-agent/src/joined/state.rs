//! What an agent must not forget: its key, its certificate, the hub's roots, its boot counter.
//!
//! Kept in a secret of the cluster, where raising the boot counter is a compare-and-swap that fences copies of the
//! agent, or in a file when the agent runs outside the cluster.

use std::{
    collections::BTreeMap,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result, bail};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, api::PostParams};
use nave_quic::{AgentIdentity, IdentityStore, StoreError};
use serde::{Deserialize, Serialize};

use super::orders::HubSecret;

/// Everything that survives a restart.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentState {
    /// Key, certificate, roots, addresses. None before the first attempt to join.
    pub identity: Option<AgentIdentity>,
    /// Raised at every start; the fencing token.
    pub boot_seq: u64,
    /// The process that raised it last.
    pub instance_id: String,
    /// The hub's last checkpoint.
    pub checkpoint: Option<StoredCheckpoint>,
    /// The cluster has left the hub that this token (its id) was for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<String>,
}

/// The hub's last checkpoint, as this process knows it: an agent that cannot read it must not say that it never saw one,
/// or a restored hub would be taken for what it was.
#[derive(Default)]
pub struct LastCheckpoint(Mutex<Option<StoredCheckpoint>>);

impl LastCheckpoint {
    /// As it was read when the process started.
    pub fn new(stored: Option<StoredCheckpoint>) -> Self {
        LastCheckpoint(Mutex::new(stored))
    }

    /// The newest that was stored.
    pub fn get(&self) -> Option<StoredCheckpoint> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stores another one.
    pub async fn keep(&self, store: &StateStore, stored: StoredCheckpoint) -> Result<()> {
        store.update(|state| state.checkpoint = Some(stored.clone())).await?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(stored);
        Ok(())
    }
}

/// A checkpoint of the hub as it is kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StoredCheckpoint {
    /// Raised when a restored hub was confirmed.
    pub incarnation: u64,
    /// Raised with every checkpoint.
    pub seq: u64,
    /// The random part, hexadecimal.
    pub nonce: String,
}

impl AgentState {
    /// Whether a hub has answered.
    pub fn has_joined(&self) -> bool {
        self.identity.as_ref().is_some_and(AgentIdentity::is_joined)
    }
}

/// Where the state is kept.
#[derive(Clone)]
pub enum StateStore {
    /// A file of mode 0600, replaced as a whole.
    File(PathBuf),
    /// Key `state` of a secret.
    Secret(HubSecret),
}

/// The key of the secret that holds the state; `token` stands beside it until the agent has joined.
const STATE_KEY: &str = "state";
/// How often a concurrent change of the secret is taken in before giving up.
const CAS_TRIES: usize = 8;

impl StateStore {
    /// The state as stored; the default when there is none yet.
    pub async fn load(&self) -> Result<AgentState> {
        match self {
            StateStore::File(path) => match std::fs::read(path) {
                Ok(bytes) => parse(&bytes).with_context(|| format!("reading {}", path.display())),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(AgentState::default()),
                Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
            },
            StateStore::Secret(HubSecret {
                client,
                namespace,
                name,
            }) => {
                let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
                let Some(secret) = api.get_opt(name).await? else {
                    return Ok(AgentState::default());
                };
                match secret.data.and_then(|mut data| data.remove(STATE_KEY)) {
                    Some(ByteString(bytes)) => {
                        parse(&bytes).with_context(|| format!("reading {STATE_KEY} of secret {namespace}/{name}"))
                    }
                    None => Ok(AgentState::default()),
                }
            }
        }
    }

    /// Changes the stored state; `change` may be called again when another writer was faster. Gives back what is now
    /// stored.
    pub async fn update(&self, change: impl Fn(&mut AgentState)) -> Result<AgentState> {
        match self {
            StateStore::File(path) => {
                let mut state = self.load().await?;
                change(&mut state);
                write_file(path, &state).with_context(|| format!("writing {}", path.display()))?;
                Ok(state)
            }
            StateStore::Secret(HubSecret {
                client,
                namespace,
                name,
            }) => {
                let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
                for _ in 0..CAS_TRIES {
                    let (mut secret, exists) = match api.get_opt(name).await? {
                        Some(secret) => (secret, true),
                        None => (new_secret(name), false),
                    };
                    let data = secret.data.get_or_insert_default();
                    let mut state = match data.get(STATE_KEY) {
                        Some(ByteString(bytes)) => parse(bytes)?,
                        None => AgentState::default(),
                    };
                    change(&mut state);
                    data.insert(STATE_KEY.to_owned(), ByteString(serde_json::to_vec(&state)?));
                    if state.has_joined() {
                        // Used up; what is not there cannot leak.
                        data.remove("token");
                    }
                    let written = if exists {
                        api.replace(name, &PostParams::default(), &secret).await
                    } else {
                        api.create(&PostParams::default(), &secret).await
                    };
                    match written {
                        Ok(_) => return Ok(state),
                        Err(kube::Error::Api(status)) if status.code == 409 => {}
                        Err(error) => {
                            return Err(error).with_context(|| format!("writing secret {namespace}/{name}"));
                        }
                    }
                }
                bail!("secret {namespace}/{name} changes too often to be written")
            }
        }
    }
}

fn new_secret(name: &str) -> Secret {
    let mut secret = Secret::default();
    secret.metadata.name = Some(name.to_owned());
    secret.metadata.labels = Some(BTreeMap::from([(
        "app.kubernetes.io/part-of".to_owned(),
        "flux".to_owned(),
    )]));
    secret
}

fn parse(bytes: &[u8]) -> Result<AgentState> {
    serde_json::from_slice(bytes).context("the agent's state is not what this version wrote; join again")
}

/// Whole or not at all: a new file beside it, then renamed over it.
fn write_file(path: &Path, state: &AgentState) -> Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let fresh = PathBuf::from(name);
    let _ = std::fs::remove_file(&fresh); // a left-over of a crash
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(&serde_json::to_vec_pretty(state)?)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    std::fs::File::open(folder)?.sync_all()?;
    Ok(())
}

impl IdentityStore for StateStore {
    async fn save(&self, identity: &AgentIdentity) -> Result<(), StoreError> {
        self.update(|state| {
            state.identity = Some(identity.clone());
            state.left = None;
        })
        .await
        .map(drop)
        .map_err(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn a_file_keeps_the_state_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/state.json");
        let store = StateStore::File(path.clone());
        assert_eq!(store.load().await.unwrap().boot_seq, 0);
        for boot in 1..=3 {
            let state = store.update(|state| state.boot_seq += 1).await.unwrap();
            assert_eq!(state.boot_seq, boot);
        }
        assert_eq!(store.load().await.unwrap().boot_seq, 3);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_store_that_cannot_be_read_hides_no_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let store = StateStore::File(path.clone());
        let last = LastCheckpoint::new(store.load().await.unwrap().checkpoint);
        assert_eq!(last.get(), None);
        let number = |seq| StoredCheckpoint {
            seq,
            ..StoredCheckpoint::default()
        };
        last.keep(&store, number(1)).await.unwrap();
        std::fs::write(&path, "{").unwrap();
        assert!(store.load().await.is_err());
        assert_eq!(last.get(), Some(number(1)));
        assert!(last.keep(&store, number(2)).await.is_err());
        assert_eq!(last.get(), Some(number(1)), "what is not stored is not shown");
    }

    #[tokio::test]
    async fn a_damaged_file_is_an_error_and_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        std::fs::write(&path, "{").unwrap();
        let store = StateStore::File(path.clone());
        assert!(store.update(|state| state.boot_seq += 1).await.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{");
    }
}
