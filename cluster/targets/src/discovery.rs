//! Which kinds a cluster serves, and how they are addressed.
//!
//! One small request per group and version, the first time a kind of it is needed; the whole aggregated document would be
//! a megabyte on a cluster with many CRDs, and is behind by seconds when a CRD was just made.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use kube::{
    Client,
    core::{ApiResource, GroupVersionKind},
};
use nave_object::Gvk;
use tokio::sync::OnceCell;

/// How long an answer is believed. What changes meanwhile is noticed by a missing kind or a 404.
const FRESH: Duration = Duration::from_secs(600);
/// A missing kind is looked for again, but not more often than this per group and version.
const RETRY: Duration = Duration::from_millis(500);

/// A kind that a cluster serves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    /// Group, version and kind.
    pub gvk: Gvk,
    /// The name in URLs, such as `deployments`.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

impl Resource {
    /// As kube wants it.
    pub fn api_resource(&self) -> ApiResource {
        ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk(&self.gvk.group, &self.gvk.version, &self.gvk.kind),
            &self.plural,
        )
    }

    /// The path of its objects in one namespace, or of all of them.
    pub fn path(&self, namespace: &str) -> String {
        let root = if self.gvk.group.is_empty() {
            format!("/api/{}", self.gvk.version)
        } else {
            format!("/apis/{}/{}", self.gvk.group, self.gvk.version)
        };
        if self.namespaced && !namespace.is_empty() {
            format!("{root}/namespaces/{namespace}/{}", self.plural)
        } else {
            format!("{root}/{}", self.plural)
        }
    }
}

/// Why a kind cannot be addressed.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The cluster has no such kind.
    #[error(
        "the cluster does not serve kind {} of {}: check apiVersion, or install its CustomResourceDefinition first",
        .0.kind, .0.api_version()
    )]
    NoMatch(Gvk),
    /// It could not be asked.
    #[error("asking the cluster which kinds {api_version} has")]
    Request {
        /// Group and version.
        api_version: String,
        /// Its answer.
        #[source]
        source: kube::Error,
    },
}

/// What one cluster serves, as far as anybody asked.
pub(crate) struct Discovery {
    client: Client,
    slots: Mutex<HashMap<(String, String), Arc<Slot>>>,
}

struct Slot {
    made: Instant,
    kinds: OnceCell<HashMap<String, Resource>>,
}

impl Discovery {
    pub fn new(client: Client) -> Self {
        Discovery {
            client,
            slots: Mutex::default(),
        }
    }

    /// Finds a kind; asks again when it is not in a recent answer.
    pub async fn resolve(&self, gvk: &Gvk) -> Result<Resource, ResolveError> {
        let key = (gvk.group.clone(), gvk.version.clone());
        let mut slot = self.slot(&key, FRESH);
        for attempt in 0..2 {
            let kinds = slot
                .kinds
                .get_or_try_init(|| self.fetch(&key))
                .await
                .map_err(|source| ResolveError::Request {
                    api_version: gvk.api_version(),
                    source,
                })?;
            if let Some(found) = kinds.get(&gvk.kind) {
                return Ok(found.clone());
            }
            if attempt == 0 {
                slot = self.slot(&key, RETRY);
            }
        }
        Err(ResolveError::NoMatch(gvk.clone()))
    }

    /// Forgets a group: a CRD of it changed, or a request for it was answered with 404.
    pub fn forget(&self, group: &str) {
        self.slots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(of, _), _| of != group);
    }

    fn slot(&self, key: &(String, String), max_age: Duration) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(key)
            && slot.made.elapsed() < max_age
        {
            return slot.clone();
        }
        let slot = Arc::new(Slot {
            made: Instant::now(),
            kinds: OnceCell::new(),
        });
        slots.insert(key.clone(), slot.clone());
        slot
    }

    async fn fetch(&self, (group, version): &(String, String)) -> kube::Result<HashMap<String, Resource>> {
        let answer = if group.is_empty() {
            self.client.list_core_api_resources(version).await
        } else {
            self.client
                .list_api_group_resources(&format!("{group}/{version}"))
                .await
        };
        let list = match answer {
            Ok(list) => list,
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(HashMap::new()),
            Err(error) => return Err(error),
        };
        Ok(list
            .resources
            .into_iter()
            .filter(|resource| !resource.name.contains('/')) // subresources
            .map(|resource| {
                let found = Resource {
                    gvk: Gvk {
                        group: group.clone(),
                        version: version.clone(),
                        kind: resource.kind.clone(),
                    },
                    plural: resource.name,
                    namespaced: resource.namespaced,
                };
                (resource.kind, found)
            })
            .collect())
    }
}
