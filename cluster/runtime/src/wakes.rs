//! What wakes an object besides its own changes: its source, its dependencies, ConfigMaps and Secrets, and whoever has
//! its key.

use std::{
    collections::{HashMap, HashSet},
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{Stream, StreamExt, stream};
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::PartialObjectMeta,
    runtime::{WatchStreamExt, reflector::ObjectRef, watcher},
};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{Tasks, Watched, watch};

/// Namespace and name.
pub type Key = (String, String);

/// Revision and digest of an artifact: the same revision may be packed anew.
pub type Version = (String, String);

/// A change of one source may wake every object; the controller takes them off at once, so that a small buffer is enough
/// and a full one only makes the sender wait.
const QUEUE: usize = 1024;

/// Kinds that are read by name and have no status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigKind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

/// Wakes objects of one kind.
pub struct Wakes<K: Resource<DynamicType = ()> + 'static> {
    sender: mpsc::Sender<ObjectRef<K>>,
    blocked: Arc<Blocked>,
}

/// Wakes one object.
pub struct Wake<K: Resource<DynamicType = ()> + 'static> {
    sender: mpsc::Sender<ObjectRef<K>>,
    key: Key,
}

/// Who waits for whom: by dependency, the dependents that found it not ready.
#[derive(Default)]
struct Blocked(Mutex<HashMap<Key, HashSet<Key>>>);

impl<K: Resource<DynamicType = ()> + 'static> Clone for Wakes<K> {
    fn clone(&self) -> Self {
        Wakes {
            sender: self.sender.clone(),
            blocked: self.blocked.clone(),
        }
    }
}

/// The two ends.
pub fn channel<K>() -> (Wakes<K>, impl Stream<Item = ObjectRef<K>> + Send + 'static)
where
    K: Resource<DynamicType = ()> + Send + Sync + 'static,
{
    let (sender, receiver) = mpsc::channel(QUEUE);
    let wakes = Wakes {
        sender,
        blocked: Arc::default(),
    };
    let stream = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|key| (key, receiver))
    });
    (wakes, stream)
}

impl<K: Resource<DynamicType = ()> + 'static> Wake<K> {
    /// Wakes it.
    pub async fn fire(self) {
        let _ = self.sender.send(reference(&self.key)).await; // closed: the controller has ended
    }
}

impl<K> Wakes<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    /// What wakes one object later.
    pub fn of(&self, key: &Key) -> Wake<K> {
        Wake {
            sender: self.sender.clone(),
            key: key.clone(),
        }
    }

    /// Wakes one object now.
    pub async fn wake(&self, key: &Key) {
        let _ = self.sender.send(reference(key)).await; // closed: the controller has ended
    }

    /// Wakes `dependent` at the next change of any of `dependencies`. To be called before they are looked at, so that no
    /// change falls between.
    pub fn block(&self, dependent: &Key, dependencies: &[Key]) {
        let mut blocked = self.blocked.0.lock().unwrap_or_else(PoisonError::into_inner);
        for dependency in dependencies {
            blocked.entry(dependency.clone()).or_default().insert(dependent.clone());
        }
    }

    /// Takes that back: all of them are ready.
    pub fn unblock(&self, dependent: &Key, dependencies: &[Key]) {
        let mut blocked = self.blocked.0.lock().unwrap_or_else(PoisonError::into_inner);
        for dependency in dependencies {
            if let Some(dependents) = blocked.get_mut(dependency) {
                dependents.remove(dependent);
                if dependents.is_empty() {
                    blocked.remove(dependency);
                }
            }
        }
    }

    /// Wakes dependents when a dependency changes.
    pub fn watch_dependencies(&self, objects: &Watched<K>, tasks: &Tasks) {
        let (this, changes) = (self.clone(), objects.changes());
        let stop = tasks.shutdown_token().clone();
        tasks.spawn("dependencies", async move {
            futures::pin_mut!(changes);
            while let Some(changed) = next(&mut changes, &stop).await {
                let key = watch::key(changed.as_ref());
                let blocked = || {
                    this.blocked
                        .0
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .remove(&key)
                };
                let dependents = blocked();
                for dependent in dependents.into_iter().flatten() {
                    this.wake(&dependent).await;
                }
            }
        });
    }

    /// Wakes the objects that want it when the version of a source changes. A source without one is forgotten.
    pub fn watch_sources<S>(
        &self,
        sources: &Watched<S>,
        version: impl Fn(&S) -> Option<Version> + Send + Sync + 'static,
        objects: &Watched<K>,
        wants: impl Fn(&K, &Key, &Version) -> bool + Send + Sync + 'static,
        tasks: &Tasks,
    ) where
        S: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        let (this, changes, objects) = (self.clone(), sources.changes(), objects.clone());
        let stop = tasks.shutdown_token().clone();
        tasks.spawn("sources", async move {
            let mut seen: HashMap<Key, Version> = HashMap::new();
            futures::pin_mut!(changes);
            while let Some(changed) = next(&mut changes, &stop).await {
                let source = watch::key(changed.as_ref());
                let Some(now) = version(&changed) else {
                    seen.remove(&source);
                    continue;
                };
                if seen.insert(source.clone(), now.clone()).as_ref() == Some(&now) {
                    continue;
                }
                for object in objects.store().state() {
                    if wants(&object, &source, &now) {
                        this.wake(&watch::key(object.as_ref())).await;
                    }
                }
            }
        });
    }

    /// Wakes the objects that read a ConfigMap or Secret, when one that the label selector selects changes, in a namespace or
    /// in all of them. Contents are not asked for.
    pub fn watch_configs(
        &self,
        client: &Client,
        namespace: Option<&str>,
        selector: &str,
        objects: &Watched<K>,
        reads: fn(&K, ConfigKind, &Key) -> bool,
        tasks: &Tasks,
    ) {
        let config = watcher::Config::default().labels(selector);
        let maps = metadata_of::<ConfigMap>(client, namespace);
        self.watch_config_kind(maps, &config, ConfigKind::ConfigMap, objects, reads, tasks);
        let secrets = metadata_of::<Secret>(client, namespace);
        self.watch_config_kind(secrets, &config, ConfigKind::Secret, objects, reads, tasks);
    }

    fn watch_config_kind<C>(
        &self,
        api: Api<PartialObjectMeta<C>>,
        config: &watcher::Config,
        kind: ConfigKind,
        objects: &Watched<K>,
        reads: fn(&K, ConfigKind, &Key) -> bool,
        tasks: &Tasks,
    ) where
        C: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
    {
        let (this, objects) = (self.clone(), objects.clone());
        let events = watcher(api, config.clone()).default_backoff();
        let stop = tasks.shutdown_token().clone();
        tasks.spawn("configs", async move {
            // Only of those that somebody reads: there may be very many.
            let mut seen: HashMap<Key, String> = HashMap::new();
            // The first list wakes nobody: every object is reconciled at the start anyway. A later one may bring what a
            // broken watch missed.
            let mut is_first_list = true;
            futures::pin_mut!(events);
            while let Some(event) = next(&mut events, &stop).await {
                let changed = match event {
                    Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => object,
                    Ok(watcher::Event::Delete(object)) => object,
                    Ok(watcher::Event::Init) => continue,
                    Ok(watcher::Event::InitDone) => {
                        is_first_list = false;
                        continue;
                    }
                    Err(error) => {
                        tracing::debug!(error = &error as &dyn std::error::Error, "watching configs");
                        continue;
                    }
                };
                let key = (changed.namespace().unwrap_or_default(), changed.name_any());
                let store = objects.store();
                let readers = || store.state().into_iter().filter(|object| reads(object, kind, &key));
                let readers: Vec<Arc<K>> = readers().collect();
                if readers.is_empty() {
                    seen.remove(&key);
                    continue;
                }
                let version = changed.resource_version().unwrap_or_default();
                if seen.insert(key.clone(), version.clone()).as_ref() == Some(&version) || is_first_list {
                    continue;
                }
                for object in readers {
                    this.wake(&watch::key(object.as_ref())).await;
                }
            }
        });
    }
}

/// Rights may end at a namespace, so that nothing outside of it may be watched.
fn metadata_of<C>(client: &Client, namespace: Option<&str>) -> Api<PartialObjectMeta<C>>
where
    C: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

async fn next<T>(changes: &mut (impl Stream<Item = T> + Unpin), stop: &CancellationToken) -> Option<T> {
    tokio::select! {
        _ = stop.cancelled() => None,
        change = changes.next() => change,
    }
}

fn reference<K: Resource<DynamicType = ()>>((namespace, name): &Key) -> ObjectRef<K> {
    ObjectRef::new(name).within(namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(namespace: &str, name: &str) -> Key {
        (namespace.to_owned(), name.to_owned())
    }

    #[tokio::test]
    async fn configs_are_watched_where_rights_may_end() {
        let config = kube::Config::new("http://127.0.0.1:1".parse().expect("a URL"));
        let client = Client::try_from(config).expect("it is complete");
        let path = |namespace| metadata_of::<ConfigMap>(&client, namespace).resource_url().to_owned();
        assert_eq!(path(Some("team")), "/api/v1/namespaces/team/configmaps");
        assert_eq!(path(None), "/api/v1/configmaps");
    }

    #[tokio::test]
    async fn blocked_dependents_are_woken_once() {
        let (wakes, stream) = channel::<ConfigMap>();
        wakes.block(&key("n", "b"), &[key("n", "a"), key("n", "c")]);
        wakes.unblock(&key("n", "b"), &[key("n", "c")]);
        let blocked = wakes.blocked.0.lock().expect("nobody panics").clone();
        assert_eq!(
            blocked.into_iter().collect::<Vec<_>>(),
            [(key("n", "a"), HashSet::from([key("n", "b")]))]
        );
        wakes.of(&key("n", "b")).fire().await;
        futures::pin_mut!(stream);
        let woken = stream.next().await.expect("one was woken");
        assert_eq!((woken.namespace.as_deref(), woken.name.as_str()), (Some("n"), "b"));
    }
}
