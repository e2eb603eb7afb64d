//! The versions of a release in Helm's Secrets.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, ObjectMeta, PostParams},
};
use nave_crds::managers;
use nave_release::{Release, SECRET_TYPE, decode, encode, labels, secret_name, selector, superfluous};

const KEY: &str = "release";
const CREATED: &str = "createdAt";
const MODIFIED: &str = "modifiedAt";

/// A request to the storage failed.
#[derive(Debug, thiserror::Error)]
#[error("{doing} Secret {namespace}/{name}")]
pub(crate) struct StorageError {
    doing: &'static str,
    namespace: String,
    name: String,
    #[source]
    source: kube::Error,
}

/// The storage of one release.
pub(crate) struct Storage {
    api: Api<Secret>,
    namespace: String,
    name: String,
    /// Labels of the Secrets, by version: what others put there stays.
    labels: HashMap<i64, BTreeMap<String, String>>,
    /// What is stored, oldest first, once it was asked for: a job does not ask again for what it wrote itself.
    known: Option<Vec<Release>>,
    /// Versions that a helm-controller made, and nobody by hand.
    ours: HashSet<i64>,
}

impl Storage {
    pub fn new(client: Client, namespace: &str, name: &str) -> Self {
        Storage {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            labels: HashMap::new(),
            known: None,
            ours: HashSet::new(),
        }
    }

    /// All versions, oldest first. Records that cannot be read are passed over, as Helm does.
    pub async fn list(&mut self) -> Result<Vec<Release>, StorageError> {
        if let Some(known) = &self.known {
            return Ok(known.clone());
        }
        let parameters = ListParams::default().labels(&selector(&self.name));
        let list = self
            .api
            .list(&parameters)
            .await
            .map_err(|source| self.error("listing", &selector(&self.name), source))?;
        let mut releases = Vec::with_capacity(list.items.len());
        self.labels.clear();
        self.ours.clear();
        for secret in list.items {
            let data = secret.data.unwrap_or_default().remove(KEY).unwrap_or_default();
            match decode(&data.0) {
                Ok(release) => {
                    let writers = secret.metadata.managed_fields.unwrap_or_default();
                    if writers
                        .iter()
                        .any(|entry| entry.manager.as_deref() == Some(managers::HELM))
                    {
                        self.ours.insert(release.version);
                    }
                    self.labels
                        .insert(release.version, secret.metadata.labels.unwrap_or_default());
                    releases.push(release);
                }
                Err(error) => tracing::warn!(
                    namespace = self.namespace,
                    name = secret.metadata.name,
                    error = &error as &dyn std::error::Error,
                    "a release record cannot be read"
                ),
            }
        }
        releases.sort_by_key(|release| release.version);
        self.known = Some(releases.clone());
        Ok(releases)
    }

    /// Whether a helm-controller stored this version: somebody else's record has another writer.
    pub fn is_ours(&self, version: i64) -> bool {
        self.ours.contains(&version)
    }

    /// Stores a new version, and makes room for it first.
    pub async fn create(
        &mut self,
        release: &Release,
        stored: &[Release],
        max_history: i64,
    ) -> Result<(), StorageError> {
        for version in superfluous(stored, max_history) {
            self.delete(version).await?;
        }
        let mut own = BTreeMap::new();
        own.insert(CREATED.to_owned(), Timestamp::now().as_second().to_string());
        let secret = self.secret(release, &own);
        let parameters = PostParams {
            field_manager: Some(managers::HELM.to_owned()),
            ..PostParams::default()
        };
        let name = secret_name(&self.name, release.version);
        self.api
            .create(&parameters, &secret)
            .await
            .map_err(|source| self.error("creating", &name, source))?;
        self.labels.insert(release.version, own);
        self.ours.insert(release.version);
        self.keep(release);
        Ok(())
    }

    /// Writes a version again.
    pub async fn update(&mut self, release: &Release) -> Result<(), StorageError> {
        let mut own = self.labels.get(&release.version).cloned().unwrap_or_default();
        own.insert(MODIFIED.to_owned(), Timestamp::now().as_second().to_string());
        let secret = self.secret(release, &own);
        let parameters = PostParams {
            field_manager: Some(managers::HELM.to_owned()),
            ..PostParams::default()
        };
        let name = secret_name(&self.name, release.version);
        self.api
            .replace(&name, &parameters, &secret)
            .await
            .map_err(|source| self.error("updating", &name, source))?;
        self.keep(release);
        Ok(())
    }

    fn keep(&mut self, release: &Release) {
        let Some(known) = &mut self.known else { return };
        known.retain(|other| other.version != release.version);
        known.push(release.clone());
        known.sort_by_key(|release| release.version);
    }

    /// Forgets a version; one that is gone already is fine.
    pub async fn delete(&mut self, version: i64) -> Result<(), StorageError> {
        if let Some(known) = &mut self.known {
            known.retain(|other| other.version != version);
        }
        let name = secret_name(&self.name, version);
        match self.api.delete(&name, &DeleteParams::default()).await {
            Ok(_) => Ok(()),
            Err(error) if nave_targets::is_not_found(&error) => Ok(()),
            Err(source) => Err(self.error("deleting", &name, source)),
        }
    }

    fn secret(&self, release: &Release, own: &BTreeMap<String, String>) -> Secret {
        Secret {
            metadata: ObjectMeta {
                name: Some(secret_name(&self.name, release.version)),
                namespace: Some(self.namespace.clone()),
                labels: Some(labels(release, own)),
                ..ObjectMeta::default()
            },
            type_: Some(SECRET_TYPE.to_owned()),
            data: Some(BTreeMap::from([(
                KEY.to_owned(),
                ByteString(encode(release).into_bytes()),
            )])),
            ..Secret::default()
        }
    }

    fn error(&self, doing: &'static str, name: &str, source: kube::Error) -> StorageError {
        StorageError {
            doing,
            namespace: self.namespace.clone(),
            name: name.to_owned(),
            source,
        }
    }
}
