//! What wakes a Kustomization besides its own changes: its source, its dependencies, its ConfigMaps and Secrets, and the
//! end of a wait.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::PartialObjectMeta,
    runtime::{WatchStreamExt, reflector::ObjectRef, watcher},
};
use nave_crds::{
    kustomize::{Kustomization, SubstituteKind},
    meta::Artifact,
};
use nave_runtime::{Tasks, Watched};
use tokio::sync::mpsc;

use crate::{
    depends::Key,
    reads::{Reads, Version, version_of},
};

/// A change of one source may wake every Kustomization; the controller takes them off at once, so that a small buffer is
/// enough and a full one only makes the sender wait.
const QUEUE: usize = 1024;

/// Wakes Kustomizations.
#[derive(Clone)]
pub(crate) struct Triggers {
    sender: mpsc::Sender<ObjectRef<Kustomization>>,
    blocked: Arc<Blocked>,
    /// What each was last reconciled with.
    pub reads: Arc<Reads>,
}

/// Wakes one Kustomization.
pub(crate) struct Trigger {
    sender: mpsc::Sender<ObjectRef<Kustomization>>,
    key: Key,
}

/// Who waits for whom: by dependency, the dependents that found it not ready.
#[derive(Default)]
struct Blocked(Mutex<HashMap<Key, HashSet<Key>>>);

/// The two ends.
pub(crate) fn channel() -> (Triggers, impl Stream<Item = ObjectRef<Kustomization>> + Send + 'static) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let triggers = Triggers {
        sender,
        blocked: Arc::default(),
        reads: Arc::default(),
    };
    let stream = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|key| (key, receiver))
    });
    (triggers, stream)
}

impl Trigger {
    pub async fn fire(self) {
        let _ = self.sender.send(reference(&self.key)).await; // closed: the controller has ended
    }
}

impl Triggers {
    pub fn of(&self, key: &Key) -> Trigger {
        Trigger {
            sender: self.sender.clone(),
            key: key.clone(),
        }
    }

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
    pub fn watch_dependencies(&self, kustomizations: &Watched<Kustomization>, tasks: &Tasks) {
        let (this, changes) = (self.clone(), kustomizations.changes());
        let stop = tasks.shutdown_token().clone();
        tasks.spawn("dependencies", async move {
            futures::pin_mut!(changes);
            while let Some(changed) = next(&mut changes, &stop).await {
                let key = nave_runtime::watch::key(changed.as_ref());
                let dependents = this
                    .blocked
                    .0
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&key);
                for dependent in dependents.into_iter().flatten() {
                    this.wake(&dependent).await;
                }
            }
        });
    }

    /// Wakes the Kustomizations of a source whose artifact changes.
    pub fn watch_sources<K>(
        &self,
        kind: &'static str,
        sources: &Watched<K>,
        artifact: fn(&K) -> Option<&Artifact>,
        kustomizations: &Watched<Kustomization>,
        tasks: &Tasks,
    ) where
        K: Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
    {
        let (this, changes) = (self.clone(), sources.changes());
        let kustomizations = kustomizations.clone();
        let stop = tasks.shutdown_token().clone();
        tasks.spawn("sources", async move {
            let mut seen: HashMap<Key, Version> = HashMap::new();
            futures::pin_mut!(changes);
            while let Some(changed) = next(&mut changes, &stop).await {
                let source = nave_runtime::watch::key(changed.as_ref());
                let Some(artifact) = artifact(&changed) else {
                    seen.remove(&source);
                    continue;
                };
                let now = version_of(artifact);
                if seen.insert(source.clone(), now.clone()).as_ref() == Some(&now) {
                    continue;
                }
                for kustomization in kustomizations.store().state() {
                    let key = nave_runtime::watch::key(kustomization.as_ref());
                    if refers_to(&kustomization, kind, &source) && this.reads.must_wake(&key, &now) {
                        this.wake(&key).await;
                    }
                }
            }
        });
    }

    /// Wakes the Kustomizations that read a ConfigMap or Secret, when one with the label changes.
    pub fn watch_configs(
        &self,
        client: &Client,
        selector: &str,
        kustomizations: &Watched<Kustomization>,
        tasks: &Tasks,
    ) {
        let config = watcher::Config::default().labels(selector);
        self.watch_config_kind::<ConfigMap>(client, &config, SubstituteKind::ConfigMap, kustomizations, tasks);
        self.watch_config_kind::<Secret>(client, &config, SubstituteKind::Secret, kustomizations, tasks);
    }

    fn watch_config_kind<K>(
        &self,
        client: &Client,
        config: &watcher::Config,
        kind: SubstituteKind,
        kustomizations: &Watched<Kustomization>,
        tasks: &Tasks,
    ) where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
    {
        let this = self.clone();
        let kustomizations = kustomizations.clone();
        let api: Api<PartialObjectMeta<K>> = Api::all(client.clone());
        let events = watcher(api, config.clone()).default_backoff();
        let stop = tasks.shutdown_token().clone();
        tasks.spawn("configs", async move {
            let mut seen: HashMap<Key, String> = HashMap::new();
            // The first list wakes nobody: every Kustomization is reconciled at the start anyway. A later one may bring
            // what a broken watch missed.
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
                let version = changed.resource_version().unwrap_or_default();
                if seen.insert(key.clone(), version.clone()).as_ref() == Some(&version) || is_first_list {
                    continue;
                }
                for kustomization in kustomizations.store().state() {
                    if reads_config(&kustomization, kind, &key) {
                        this.wake(&nave_runtime::watch::key(kustomization.as_ref())).await;
                    }
                }
            }
        });
    }
}

async fn next<T>(
    changes: &mut (impl Stream<Item = T> + Unpin),
    stop: &tokio_util::sync::CancellationToken,
) -> Option<T> {
    tokio::select! {
        _ = stop.cancelled() => None,
        change = changes.next() => change,
    }
}

fn reference((namespace, name): &Key) -> ObjectRef<Kustomization> {
    ObjectRef::new(name).within(namespace)
}

fn refers_to(kustomization: &Kustomization, kind: &str, (namespace, name): &Key) -> bool {
    let source = &kustomization.spec.source_ref;
    let own = kustomization.metadata.namespace.as_deref().unwrap_or_default();
    let in_namespace = if source.namespace.is_empty() {
        own
    } else {
        &source.namespace
    };
    source.kind == kind && source.name == *name && in_namespace == namespace
}

fn reads_config(kustomization: &Kustomization, kind: SubstituteKind, (namespace, name): &Key) -> bool {
    if kustomization.metadata.namespace.as_deref() != Some(namespace) {
        return false;
    }
    let spec = &kustomization.spec;
    let substituted = spec
        .post_build
        .iter()
        .flat_map(|post_build| &post_build.substitute_from)
        .any(|reference| reference.kind == kind && reference.name == *name);
    let kubeconfig = kind == SubstituteKind::Secret
        && spec
            .kube_config
            .as_ref()
            .and_then(|reference| reference.secret_ref.as_ref())
            .is_some_and(|reference| reference.name == *name);
    let decryption = kind == SubstituteKind::Secret
        && spec
            .decryption
            .as_ref()
            .and_then(|decryption| decryption.secret_ref.as_ref())
            .is_some_and(|reference| reference.name == *name);
    let cluster = kind == SubstituteKind::ConfigMap
        && spec
            .kube_config
            .as_ref()
            .and_then(|reference| reference.config_map_ref.as_ref())
            .is_some_and(|reference| reference.name == *name);
    substituted || kubeconfig || decryption || cluster
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn kustomization(spec: Value, status: Value) -> Kustomization {
        let mut all = json!({"interval": "1m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "s"}});
        all.as_object_mut()
            .expect("a map")
            .extend(spec.as_object().expect("a map").clone());
        serde_json::from_value(
            json!({"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "x", "namespace": "n"}, "spec": all, "status": status}),
        )
        .expect("it is complete")
    }

    fn key(namespace: &str, name: &str) -> Key {
        (namespace.to_owned(), name.to_owned())
    }

    #[test]
    fn sources_and_configs_wake_who_refers_to_them() {
        let own = kustomization(json!({}), json!({}));
        assert!(refers_to(&own, "GitRepository", &key("n", "s")));
        assert!(!refers_to(&own, "ExternalArtifact", &key("n", "s")));
        assert!(!refers_to(&own, "GitRepository", &key("m", "s")));
        let far = kustomization(
            json!({"sourceRef": {"kind": "GitRepository", "name": "s", "namespace": "m"}}),
            json!({}),
        );
        assert!(refers_to(&far, "GitRepository", &key("m", "s")));
        let reads = kustomization(
            json!({"postBuild": {"substituteFrom": [{"kind": "ConfigMap", "name": "c"}]}, "kubeConfig": {"secretRef": {"name": "k"}},
                "decryption": {"provider": "sops", "secretRef": {"name": "d"}}}),
            json!({}),
        );
        assert!(reads_config(&reads, SubstituteKind::ConfigMap, &key("n", "c")));
        assert!(!reads_config(&reads, SubstituteKind::Secret, &key("n", "c")));
        assert!(reads_config(&reads, SubstituteKind::Secret, &key("n", "k")));
        assert!(reads_config(&reads, SubstituteKind::Secret, &key("n", "d")));
        assert!(!reads_config(&reads, SubstituteKind::Secret, &key("m", "k")));
    }

    #[tokio::test]
    async fn blocked_dependents_are_woken_once() {
        let (triggers, stream) = channel();
        triggers.block(&key("n", "b"), &[key("n", "a"), key("n", "c")]);
        triggers.unblock(&key("n", "b"), &[key("n", "c")]);
        let blocked = triggers.blocked.0.lock().expect("nobody panics").clone();
        assert_eq!(
            blocked.into_iter().collect::<Vec<_>>(),
            [(key("n", "a"), HashSet::from([key("n", "b")]))]
        );
        triggers.of(&key("n", "b")).fire().await;
        futures::pin_mut!(stream);
        let woken = stream.next().await.expect("one was woken");
        assert_eq!((woken.namespace.as_deref(), woken.name.as_str()), (Some("n"), "b"));
    }
}
