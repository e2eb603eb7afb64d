//! One watch per kind, shared by every reader in the process.

use std::{fmt::Debug, sync::Arc};

use futures::{Stream, StreamExt, stream};
use kube::{
    Api, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::{broadcast, watch};

use crate::Tasks;

/// Enough for a burst of one re-list; a reader that falls further behind is given the whole store again instead.
const CHANGES: usize = 1024;

/// A store of all objects of one kind, kept current by one watch, and a feed of what changed in it.
pub struct Watched<K: Resource<DynamicType = ()> + 'static> {
    store: Store<K>,
    changes: broadcast::Sender<Arc<K>>,
    /// True from the first complete list on. `Store::wait_until_ready` wakes only one of several that wait.
    listed: watch::Receiver<bool>,
}

impl<K: Resource<DynamicType = ()> + 'static> Clone for Watched<K> {
    fn clone(&self) -> Self {
        Watched {
            store: self.store.clone(),
            changes: self.changes.clone(),
            listed: self.listed.clone(),
        }
    }
}

impl<K> Watched<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    /// Starts the watch. `trim` is applied to every object before it is stored: what no reader needs should go there,
    /// `managedFields` above all.
    pub fn start(
        api: Api<K>,
        config: watcher::Config,
        trim: impl Fn(&mut K) + Send + Sync + 'static,
        tasks: &Tasks,
    ) -> Self {
        let (store, mut writer) = reflector::store::<K>();
        let (changes, _) = broadcast::channel(CHANGES);
        let (is_listed, listed) = watch::channel(false);
        let feed = changes.clone();
        let shutdown = tasks.shutdown_token().clone();
        tasks.spawn("watch", async move {
            let kind = K::kind(&()).into_owned();
            let events = watcher(api, config).default_backoff();
            futures::pin_mut!(events);
            loop {
                let event = tokio::select! {
                    _ = shutdown.cancelled() => return,
                    event = events.next() => event,
                };
                match event {
                    Some(Ok(event)) => {
                        let event = trimmed(event, &trim);
                        writer.apply_watcher_event(&event);
                        match event {
                            watcher::Event::Apply(object) => {
                                let _ = feed.send(stored(&writer.as_reader(), object)); // no reader yet is fine
                            }
                            watcher::Event::Delete(object) => {
                                let _ = feed.send(Arc::new(object));
                            }
                            // What a re-list brought is in the store only once it is complete.
                            watcher::Event::InitDone => {
                                is_listed.send_replace(true);
                                for object in writer.as_reader().state() {
                                    let _ = feed.send(object);
                                }
                            }
                            watcher::Event::Init | watcher::Event::InitApply(_) => {}
                        }
                    }
                    Some(Err(error)) => {
                        tracing::warn!(
                            kind,
                            error = &error as &dyn std::error::Error,
                            "watch failed, trying again"
                        );
                    }
                    None => return,
                }
            }
        });
        Watched { store, changes, listed }
    }

    /// The current objects. Empty until [`Watched::ready`].
    pub fn store(&self) -> Store<K> {
        self.store.clone()
    }

    /// One object by namespace and name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::new(name).within(namespace))
    }

    /// Waits for the first complete list. False when the watch ended before.
    pub async fn ready(&self) -> bool {
        self.listed.clone().wait_for(|listed| *listed).await.is_ok()
    }

    /// Every object now in the store, then each one that is applied or deleted. May repeat an object; never leaves
    /// its latest state out.
    pub fn changes(&self) -> impl Stream<Item = Arc<K>> + Send + 'static {
        let receiver = self.changes.subscribe();
        let first = stream::iter(self.store.state());
        let store = self.store.clone();
        let rest = stream::unfold((receiver, store), |(mut receiver, store)| async move {
            match receiver.recv().await {
                Ok(object) => Some((vec![object], (receiver, store))),
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    let all = store.state();
                    Some((all, (receiver, store)))
                }
                Err(broadcast::error::RecvError::Closed) => None,
            }
        });
        first.chain(rest.flat_map(stream::iter))
    }
}

/// Drops what no reconciler reads: managed fields, and kubectl's copy of the object.
pub fn without_managed_fields<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
    if let Some(annotations) = &mut object.meta_mut().annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

/// Namespace and name, for logs and keys.
pub fn key<K: Resource>(object: &K) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// The copy of an object that the store holds. The feed remembers its last thousand objects: with copies of their own, all
/// that changed lately would be in memory twice.
fn stored<K>(store: &Store<K>, object: K) -> Arc<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    store
        .get(&ObjectRef::from_obj(&object))
        .unwrap_or_else(|| Arc::new(object))
}

fn trimmed<K>(event: watcher::Event<K>, trim: &impl Fn(&mut K)) -> watcher::Event<K> {
    match event {
        watcher::Event::Apply(mut object) => {
            trim(&mut object);
            watcher::Event::Apply(object)
        }
        watcher::Event::InitApply(mut object) => {
            trim(&mut object);
            watcher::Event::InitApply(object)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    #[test]
    fn the_feed_shares_the_objects_of_the_store() {
        let (store, mut writer) = reflector::store::<ConfigMap>();
        let mut object = ConfigMap::default();
        object.metadata.namespace = Some("n".into());
        object.metadata.name = Some("a".into());
        writer.apply_watcher_event(&watcher::Event::Init);
        writer.apply_watcher_event(&watcher::Event::InitDone);
        writer.apply_watcher_event(&watcher::Event::Apply(object.clone()));
        let held = store.get(&ObjectRef::new("a").within("n")).expect("it is stored");
        assert!(Arc::ptr_eq(&held, &stored(&store, object)));
    }
}
