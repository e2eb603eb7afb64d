//! What an agent must not forget: its key, its certificate, the hub's roots, its boot counter.
//!
//! Kept in a secret of the cluster, where raising the boot counter is a compare-and-swap that fences copies of the
//! agent, or in a file when the agent runs outside the cluster.

use std::{
    collections::BTreeMap,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, Client, api::PostParams};
use serde::{Deserialize, Serialize};

/// Everything that survives a restart.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentState {
    /// PEM of the agent's private key.
    pub key: String,
    /// The certificate chain, leaf first, DER in base64. Empty until joined.
    pub certificate: Vec<String>,
    /// The signed root set that is trusted, base64. Empty until joined.
    pub roots: String,
    /// Raised at every start; the fencing token.
    pub boot_seq: u64,
    /// The hub that was joined.
    pub hub_uid: String,
    /// `host:port` of the hub, as the token named them.
    pub addresses: Vec<String>,
    /// The workspace and name that the hub knows this cluster by.
    pub cluster_namespace: String,
    /// See [`AgentState::cluster_namespace`].
    pub cluster_name: String,
    /// The hub's last checkpoint: incarnation, sequence, nonce in base64.
    pub checkpoint: Option<StoredCheckpoint>,
    /// The hub's clock when it was last heard, seconds since 1970.
    pub hub_time: u64,
}

/// A checkpoint of the hub as it is kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StoredCheckpoint {
    /// Raised when a restored hub was confirmed.
    pub incarnation: u64,
    /// Raised with every checkpoint.
    pub seq: u64,
    /// Base64 of the random part.
    pub nonce: String,
}

impl std::fmt::Debug for AgentState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentState")
            .field("key", &"…")
            .field("boot_seq", &self.boot_seq)
            .field("hub_uid", &self.hub_uid)
            .field("cluster_name", &self.cluster_name)
            .finish_non_exhaustive()
    }
}

impl AgentState {
    /// Whether a hub has admitted this agent.
    pub fn has_joined(&self) -> bool {
        !self.certificate.is_empty() && !self.roots.is_empty()
    }
}

/// Where the state is kept.
#[derive(Clone)]
pub enum StateStore {
    /// A file of mode 0600, replaced as a whole.
    File(PathBuf),
    /// Key `state` of a secret.
    Secret {
        /// The agent's cluster.
        client: Client,
        /// The agent's namespace.
        namespace: String,
        /// `nave-agent-hub`.
        name: String,
    },
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
            StateStore::Secret { client, namespace, name } => {
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

    /// The token that came with the secret; a file has none, it is in the configuration.
    pub async fn token(&self) -> Result<Option<String>> {
        let StateStore::Secret { client, namespace, name } = self else {
            return Ok(None);
        };
        let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let data = api.get_opt(name).await?.and_then(|secret| secret.data);
        match data.and_then(|mut data| data.remove("token")) {
            Some(ByteString(bytes)) => Ok(Some(
                String::from_utf8(bytes)
                    .with_context(|| format!("key token of secret {namespace}/{name} is not text"))?
                    .trim()
                    .to_owned(),
            )),
            None => Ok(None),
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
            StateStore::Secret { client, namespace, name } => {
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
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let fresh = PathBuf::from(name);
    let _ = std::fs::remove_file(&fresh); // a left-over of a crash
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(&serde_json::to_vec_pretty(state)?)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    std::fs::File::open(folder)?.sync_all()?;
    Ok(())
}

/// Bytes for a text field.
pub fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Bytes from a text field.
pub fn decode(text: &str) -> Result<Vec<u8>> {
    STANDARD.decode(text).context("a field of the agent's state is not base64")
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
        assert_eq!(store.load().await.unwrap(), AgentState::default());
        for boot in 1..=3 {
            let state = store.update(|state| state.boot_seq += 1).await.unwrap();
            assert_eq!(state.boot_seq, boot);
        }
        assert_eq!(store.load().await.unwrap().boot_seq, 3);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
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
