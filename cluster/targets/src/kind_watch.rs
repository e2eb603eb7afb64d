//! One watch per kind and cluster, shared by everyone who wants to know whether an object still is as it was applied, and
//! whether it is healthy. Objects are looked at once and dropped; what stays of each is a small row.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use futures::StreamExt;
use jiff::Timestamp;
use kube::{
    Api, Client,
    core::{DynamicObject, ObjectMeta, PartialObjectMeta},
    runtime::{WatchStreamExt, watcher},
};
use nave_health::Health;
use serde_json::{Value, json};
use tokio::{sync::Notify, task::AbortHandle};

use crate::{discovery::Resource, fingerprint::Fingerprint, request::is_forbidden};

/// After an error the rows are not believed for this long; kube's back-off retries within 30 s, so a connection that
/// stays broken keeps saying so.
const DOUBT: Duration = Duration::from_secs(60);
/// Objects per page of the first list: bounds what is in memory at once.
const PAGE: u32 = 250;

/// Says how healthy an object is.
pub type Judge = dyn Fn(&Value) -> Health + Send + Sync;

/// What the watch knows of an object that we applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Compared with the one that was recorded when it was applied.
    pub fingerprint: Fingerprint,
    /// By the built-in rules.
    pub health: Health,
}

/// The watch of one kind, in one namespace or all of them. Ends when dropped.
pub struct KindWatch {
    shared: Arc<Shared>,
    task: AbortHandle,
}

/// Interest in some objects of one kind; their latest health is kept until it is dropped.
pub struct Subscription {
    shared: Arc<Shared>,
    interest: Arc<Interest>,
    keys: Vec<Box<str>>,
}

struct Shared {
    state: Mutex<State>,
    /// Whose fields are taken over beside kubectl's.
    override_managers: Arc<[String]>,
}

#[derive(Default)]
struct State {
    /// Known objects that we applied, by `<namespace>/<name>`.
    rows: HashMap<Box<str>, Known>,
    interests: HashMap<Box<str>, Vec<Weak<Interest>>>,
    /// Counts complete lists begun; zero before the first.
    epoch: u64,
    /// While a list is being read: what of interest it held so far.
    listing: Option<HashSet<Box<str>>>,
    synced: bool,
    failed_at: Option<Instant>,
    denied: bool,
    used: Option<Instant>,
}

struct Interest {
    judge: Arc<Judge>,
    wake: Arc<Notify>,
    epoch: u64,
    latest: Mutex<HashMap<Box<str>, News>>,
}

/// The latest that a watch said of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// The object's resource version.
    pub version: u64,
    /// How it was judged; none when the watch carries metadata alone, so that only reading the object can tell.
    pub health: Option<Health>,
}

impl Drop for KindWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl KindWatch {
    /// Starts watching. `namespace` none means all of them.
    pub(crate) fn start(
        client: Client,
        resource: &Resource,
        namespace: Option<&str>,
        override_managers: Arc<[String]>,
    ) -> Self {
        let shared = Arc::new(Shared::new(override_managers));
        let api_resource = resource.api_resource();
        let config = watcher::Config::default().page_size(PAGE);
        let task = if is_judged_by_metadata(&resource.gvk.group, &resource.gvk.kind) {
            let api: Api<PartialObjectMeta<DynamicObject>> = match namespace {
                Some(namespace) => Api::namespaced_with(client, namespace, &api_resource),
                None => Api::all_with(client, &api_resource),
            };
            let (api_version, kind) = (resource.gvk.api_version(), resource.gvk.kind.clone());
            tokio::spawn(follow(api, config, shared.clone(), move |object| {
                let deletion = &object.metadata.deletion_timestamp;
                let value =
                    json!({"apiVersion": api_version, "kind": kind, "metadata": {"deletionTimestamp": deletion}});
                Opened {
                    meta: object.metadata,
                    value,
                    is_whole: false,
                }
            }))
        } else {
            let api: Api<DynamicObject> = match namespace {
                Some(namespace) => Api::namespaced_with(client, namespace, &api_resource),
                None => Api::all_with(client, &api_resource),
            };
            let (api_version, kind) = (resource.gvk.api_version(), resource.gvk.kind.clone());
            tokio::spawn(follow(api, config, shared.clone(), move |object| {
                let mut value = object.data;
                if value.is_object() {
                    value["apiVersion"] = json!(api_version); // items of a list do not say it
                    value["kind"] = json!(kind);
                    value["metadata"] = light_metadata(&object.metadata);
                }
                Opened {
                    meta: object.metadata,
                    value,
                    is_whole: true,
                }
            }))
        };
        KindWatch {
            shared,
            task: task.abort_handle(),
        }
    }

    /// What is known of an object that we applied; none when it is not there, not ours, or the watch is not current.
    pub fn known(&self, namespace: &str, name: &str) -> Option<Known> {
        let mut state = self.shared.lock();
        state.used = Some(Instant::now());
        if !state.is_live() {
            return None;
        }
        state.rows.get(&*key(namespace, name)).cloned()
    }

    /// Whether it is complete and up to date, so that what it does not know is not there or not ours.
    pub fn is_current(&self) -> bool {
        self.shared.lock().is_live()
    }

    /// Judges every change of these objects from now on and wakes `wake`.
    pub fn subscribe(
        &self,
        objects: impl IntoIterator<Item = (String, String)>,
        judge: Arc<Judge>,
        wake: Arc<Notify>,
    ) -> Subscription {
        let keys: Vec<Box<str>> = objects
            .into_iter()
            .map(|(namespace, name)| key(&namespace, &name))
            .collect();
        let mut state = self.shared.lock();
        state.used = Some(Instant::now());
        let interest = Arc::new(Interest {
            judge,
            wake,
            epoch: state.epoch,
            latest: Mutex::default(),
        });
        for key in &keys {
            state
                .interests
                .entry(key.clone())
                .or_default()
                .push(Arc::downgrade(&interest));
        }
        Subscription {
            shared: self.shared.clone(),
            interest,
            keys,
        }
    }

    /// Whether the identity may not watch this kind; nothing will come from this watch.
    pub fn is_denied(&self) -> bool {
        self.shared.lock().denied
    }

    /// Since when nobody has asked; none while somebody is subscribed.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        // Asked with every use of any watch of the cluster: who unsubscribes has taken its interests out itself.
        let state = self.shared.lock();
        if state.interests.is_empty() { state.used } else { None }
    }
}

impl Subscription {
    /// The latest of an object; none before anything was seen.
    pub fn latest(&self, namespace: &str, name: &str) -> Option<News> {
        self.interest
            .latest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&*key(namespace, name))
            .cloned()
    }

    /// Whether the identity may not watch this kind; the caller has to ask for the objects itself.
    pub fn is_denied(&self) -> bool {
        self.shared.lock().denied
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let mine = Arc::downgrade(&self.interest);
        for key in &self.keys {
            if let Some(interests) = state.interests.get_mut(key) {
                interests.retain(|interest| !interest.ptr_eq(&mine));
                if interests.is_empty() {
                    state.interests.remove(key);
                }
            }
        }
    }
}

impl Shared {
    fn new(override_managers: Arc<[String]>) -> Self {
        Shared {
            state: Mutex::default(),
            override_managers,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_live(&self) -> bool {
        self.synced && !self.denied && self.failed_at.is_none_or(|failed| failed.elapsed() > DOUBT)
    }

    fn interested(&self, key: &str) -> Vec<Arc<Interest>> {
        self.interests
            .get(key)
            .into_iter()
            .flatten()
            .filter_map(Weak::upgrade)
            .collect()
    }

    fn begin_list(&mut self) {
        self.epoch += 1;
        self.listing = Some(HashSet::new());
        self.synced = false;
    }

    fn end_list(&mut self) {
        let listed = self.listing.take().unwrap_or_default();
        self.rows.retain(|key, _| listed.contains(key));
        self.synced = true;
        self.failed_at = None;
        for (key, interests) in &self.interests {
            if listed.contains(key) {
                continue;
            }
            for interest in interests.iter().filter_map(Weak::upgrade) {
                // Who subscribed while the list was being read may have missed its page.
                if interest.epoch < self.epoch {
                    // The first list may be older than what the subscriber has just applied; a later one is not.
                    let version = if self.epoch == 1 { 0 } else { u64::MAX };
                    interest.set(key, version, Some(Health::not_found()));
                }
            }
        }
    }

    fn wake_everyone(&self) {
        for interest in self.interests.values().flatten().filter_map(Weak::upgrade) {
            interest.wake.notify_one();
        }
    }
}

impl Interest {
    fn set(&self, key: &str, version: u64, health: Option<Health>) {
        self.latest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key.into(), News { version, health });
        self.wake.notify_one();
    }
}

/// An object as it came from the watch.
struct Opened {
    meta: ObjectMeta,
    value: Value,
    /// Whether `value` holds the content; otherwise the built-in rules can judge it, users' expressions cannot.
    is_whole: bool,
}

async fn follow<K>(api: Api<K>, config: watcher::Config, shared: Arc<Shared>, open: impl Fn(K) -> Opened)
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let events = watcher(api, config).default_backoff();
    futures::pin_mut!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => shared.lock().begin_list(),
            Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => {
                seen(&shared, &open(object));
            }
            Ok(watcher::Event::InitDone) => shared.lock().end_list(),
            Ok(watcher::Event::Delete(object)) => gone(&shared, &open(object).meta),
            Err(error) => {
                let denied = match &error {
                    watcher::Error::InitialListFailed(error)
                    | watcher::Error::WatchStartFailed(error)
                    | watcher::Error::WatchFailed(error) => is_forbidden(error),
                    watcher::Error::WatchError(status) => matches!(status.code, 401 | 403),
                    watcher::Error::NoResourceVersion => false,
                };
                let mut state = shared.lock();
                state.failed_at = Some(Instant::now());
                state.denied = denied;
                if denied {
                    state.wake_everyone();
                    return;
                }
                tracing::debug!(error = &error as &dyn std::error::Error, "watch failed, trying again");
            }
        }
    }
}

fn seen(shared: &Shared, Opened { meta, value, is_whole }: &Opened) {
    let key = key_of(meta);
    let fingerprint = Fingerprint::of(meta, &shared.override_managers);
    let interested = {
        let mut state = shared.lock();
        let interested = state.interested(&key);
        if let Some(listed) = &mut state.listing
            && (fingerprint.is_some() || !interested.is_empty())
        {
            listed.insert(key.clone());
        }
        match fingerprint {
            Some(fingerprint) => {
                let health = nave_health::status(value, Timestamp::now());
                state.rows.insert(key.clone(), Known { fingerprint, health });
            }
            None => {
                state.rows.remove(&key);
            }
        }
        interested
    };
    let version = version_of(meta);
    for interest in interested {
        let health = is_whole.then(|| (interest.judge)(value)); // may run user's expressions: not under the lock
        interest.set(&key, version, health);
    }
}

fn gone(shared: &Shared, meta: &ObjectMeta) {
    let key = key_of(meta);
    let interested = {
        let mut state = shared.lock();
        state.rows.remove(&key);
        state.interested(&key)
    };
    for interest in interested {
        interest.set(&key, version_of(meta), Some(Health::not_found()));
    }
}

/// Rules and expressions about health read little of the metadata; managed fields are the larger half of many objects.
fn light_metadata(meta: &ObjectMeta) -> Value {
    json!({
        "name": meta.name,
        "namespace": meta.namespace,
        "uid": meta.uid,
        "resourceVersion": meta.resource_version,
        "generation": meta.generation,
        "labels": meta.labels,
        "annotations": meta.annotations,
        "creationTimestamp": meta.creation_timestamp,
        "deletionTimestamp": meta.deletion_timestamp,
    })
}

/// Kinds that are always current, so that their content need not be watched.
fn is_judged_by_metadata(group: &str, kind: &str) -> bool {
    matches!(
        (group, kind),
        (
            "",
            "ConfigMap" | "Secret" | "ServiceAccount" | "Namespace" | "LimitRange"
        ) | (
            "rbac.authorization.k8s.io",
            "Role" | "RoleBinding" | "ClusterRole" | "ClusterRoleBinding"
        ) | ("networking.k8s.io", "Ingress" | "IngressClass" | "NetworkPolicy")
            | ("scheduling.k8s.io", "PriorityClass")
            | ("storage.k8s.io", "StorageClass")
            | ("batch", "CronJob")
    )
}

fn version_of(meta: &ObjectMeta) -> u64 {
    meta.resource_version
        .as_deref()
        .and_then(|version| version.parse().ok())
        .unwrap_or(u64::MAX)
}

fn key_of(meta: &ObjectMeta) -> Box<str> {
    key(
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default(),
    )
}

fn key(namespace: &str, name: &str) -> Box<str> {
    format!("{namespace}/{name}").into()
}

#[cfg(test)]
mod tests;
