//! A cluster as one identity sees it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::Client;
use nave_object::Gvk;
use serde_json::Value;

use crate::{
    ApplyMode, DeleteMode,
    discovery::{Discovery, ResolveError, Resource},
    kind_watch::KindWatch,
    request,
};

/// A watch that nobody asked for this long ends. Longer than most intervals, so that a no-op by interval finds it running.
const WATCH_IDLE: Duration = Duration::from_secs(2 * 3600);
/// A watch under impersonation serves waiting only.
const TENANT_WATCH_IDLE: Duration = Duration::from_secs(120);
/// Rights may have been granted meanwhile.
const DENIED_RETRY: Duration = Duration::from_secs(300);

/// How the cluster that this process reconciles in is called, in place of an address.
pub const LOCAL: &str = "local";

/// A ServiceAccount whose rights are used.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ServiceAccount {
    /// The user that the API server knows it as.
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.name)
    }
}

/// One cluster: its connections, and what it serves.
pub(crate) struct Base {
    /// The address of the API server.
    pub server: String,
    pub client: Client,
    pub discovery: Discovery,
    /// Field managers whose fields are taken over beside those of kubectl.
    pub override_managers: Arc<[String]>,
}

/// A cluster as one identity sees it: requests, discovery, watches.
pub struct Target {
    id: String,
    client: Client,
    base: Arc<Base>,
    account: Option<ServiceAccount>,
    watches: Mutex<HashMap<WatchKey, Watch>>,
}

type WatchKey = (Gvk, Option<String>);

struct Watch {
    watch: Arc<KindWatch>,
    started: std::time::Instant,
}

impl Target {
    pub(crate) fn new(id: String, client: Client, base: Arc<Base>, account: Option<ServiceAccount>) -> Self {
        Target {
            id,
            client,
            base,
            account,
            watches: Mutex::default(),
        }
    }

    /// The same for the same cluster and identity; holds no secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The address of the API server, or [`LOCAL`]. Two addresses may be one cluster.
    pub fn server(&self) -> &str {
        &self.base.server
    }

    /// Field managers whose fields are taken over beside those of kubectl.
    pub fn override_managers(&self) -> &Arc<[String]> {
        &self.base.override_managers
    }

    /// For requests that this type has no method for.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The account that is impersonated, if any.
    pub fn account(&self) -> Option<&ServiceAccount> {
        self.account.as_ref()
    }

    /// How a kind is addressed on this cluster.
    ///
    /// # Errors
    /// The cluster does not serve it, or could not be asked.
    pub async fn resolve(&self, gvk: &Gvk) -> Result<Resource, ResolveError> {
        self.base.discovery.resolve(gvk).await
    }

    /// Makes the next [`Target::resolve`] for this group ask the cluster: one of its CRDs changed, or a request for it was
    /// answered with 404.
    pub fn forget_group(&self, group: &str) {
        self.base.discovery.forget(group);
    }

    /// The object; none when it does not exist.
    ///
    /// # Errors
    /// The API server's answer.
    pub async fn get(&self, resource: &Resource, namespace: &str, name: &str) -> kube::Result<Option<Value>> {
        request::get(&self.client, resource, namespace, name).await
    }

    /// Server-side apply with force; the object as it is, or would be, afterwards.
    ///
    /// # Errors
    /// The API server's answer.
    pub async fn apply(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        manager: &str,
        object: &Value,
        mode: ApplyMode,
    ) -> kube::Result<Value> {
        request::apply(&self.client, resource, namespace, name, manager, object, mode).await
    }

    /// Dry run of a server-side apply with force: true when it would create the object.
    ///
    /// # Errors
    /// The API server's answer.
    pub async fn would_create(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        manager: &str,
        object: &Value,
    ) -> kube::Result<bool> {
        request::would_create(&self.client, resource, namespace, name, manager, object).await
    }

    /// JSON patch (RFC 6902).
    ///
    /// # Errors
    /// The API server's answer.
    pub async fn json_patch(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        manager: &str,
        patch: &Value,
    ) -> kube::Result<Value> {
        request::json_patch(&self.client, resource, namespace, name, manager, patch).await
    }

    /// Deletes in the background; false when it did not exist.
    ///
    /// # Errors
    /// The API server's answer; 409 when the UID is another one.
    pub async fn delete(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        mode: &DeleteMode,
    ) -> kube::Result<bool> {
        request::delete(&self.client, resource, namespace, name, mode).await
    }

    /// The version of the API server, such as `v1.36.3`; also the cheapest way to see whether it answers.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub async fn version(&self) -> kube::Result<String> {
        Ok(self.client.apiserver_version().await?.git_version)
    }

    /// Whether rows of [`Target::watch`] may be used to skip requests. Not under impersonation: one watch per account,
    /// namespace and kind would cost more than it saves.
    pub fn keeps_rows(&self) -> bool {
        self.account.is_none()
    }

    /// The shared watch of a kind, started when nobody uses it yet. Under impersonation it covers one namespace, since an
    /// account's rights usually end there.
    pub fn watch(&self, resource: &Resource, namespace: &str) -> Arc<KindWatch> {
        let scope =
            (self.account.is_some() && resource.namespaced && !namespace.is_empty()).then(|| namespace.to_owned());
        let idle = if self.account.is_some() {
            TENANT_WATCH_IDLE
        } else {
            WATCH_IDLE
        };
        let key = (resource.gvk.clone(), scope);
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.retain(|other, entry| {
            *other == key || entry.watch.idle_since().is_none_or(|since| since.elapsed() < idle)
        });
        if let Some(entry) = watches.get(&key)
            && !(entry.watch.is_denied() && entry.started.elapsed() > DENIED_RETRY)
        {
            return entry.watch.clone();
        }
        let watch = Arc::new(KindWatch::start(
            self.client.clone(),
            resource,
            key.1.as_deref(),
            self.base.override_managers.clone(),
        ));
        watches.insert(
            key,
            Watch {
                watch: watch.clone(),
                started: std::time::Instant::now(),
            },
        );
        watch
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Target").field(&self.id).finish()
    }
}
