//! What wakes a HelmRelease besides its own changes: its source, its dependencies, its ConfigMaps and Secrets, and the
//! end of its job.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::{DynamicObject, PartialObjectMeta},
    runtime::{WatchStreamExt, reflector::ObjectRef, watcher},
};
use nave_crds::{
    helm::{HelmRelease, ValuesKind},
    source::{self, ExternalArtifact},
};
use nave_object::Gvk;
use nave_runtime::{Tasks, Watched};
use nave_targets::Targets;
use tokio::sync::mpsc;

use crate::{chart_object, depends::Key};

/// A change of one source may wake every HelmRelease; the controller takes them off at once, so that a small buffer is
/// enough and a full one only makes the sender wait.
const QUEUE: usize = 1024;
/// How often a kind of sources that the cluster does not serve is looked for.
const KIND_PAUSE: Duration = Duration::from_secs(30);

/// Wakes HelmReleases.
#[derive(Clone)]
pub(crate) struct Triggers {
    sender: mpsc::Sender<ObjectRef<HelmRelease>>,
    blocked: Arc<Blocked>,
}

/// Who waits for whom: by dependency, the dependents that found it not ready.
#[derive(Default)]
struct Blocked(Mutex<HashMap<Key, HashSet<Key>>>);

/// The two ends.
pub(crate) fn channel() -> (Triggers, impl Stream<Item = ObjectRef<HelmRelease>> + Send + 'static) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let triggers = Triggers {
        sender,
        blocked: Arc::default(),
    };
    let stream = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|key| (key, receiver))
    });
    (triggers, stream)
}

impl Triggers {
    pub async fn wake(&self, (namespace, name): &Key) {
        let reference = ObjectRef::new(name).within(namespace);
        let _ = self.sender.send(reference).await; // closed: the controller has ended
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
    pub fn watch_dependencies(&self, releases: &Watched<HelmRelease>, tasks: &Tasks) {
        let (this, changes) = (self.clone(), releases.changes());
        let stop = tasks.shutdown_token().clone();
        tasks.spawn("helm-dependencies", async move {
            futures::pin_mut!(changes);
            while let Some(changed) = next(&mut changes, &stop).await {
                let key = nave_runtime::watch::key(changed.as_ref());
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

    /// Wakes the HelmReleases of an ExternalArtifact whose artifact changes.
    pub fn watch_external_artifacts(
        &self,
        artifacts: &Watched<ExternalArtifact>,
        releases: &Watched<HelmRelease>,
        tasks: &Tasks,
    ) {
        let (this, changes, releases) = (self.clone(), artifacts.changes(), releases.clone());
        let stop = tasks.shutdown_token().clone();
        tasks.spawn("helm-sources", async move {
            let mut seen: HashMap<Key, String> = HashMap::new();
            futures::pin_mut!(changes);
            while let Some(changed) = next(&mut changes, &stop).await {
                let key = nave_runtime::watch::key(changed.as_ref());
                let artifact = changed.status.as_ref().and_then(|status| status.artifact.as_ref());
                let Some(artifact) = artifact else {
                    seen.remove(&key);
                    continue;
                };
                let version = format!("{} {}", artifact.revision, artifact.digest);
                if seen.insert(key.clone(), version.clone()).as_ref() != Some(&version) {
                    this.wake_users("ExternalArtifact", &key, &releases).await;
                }
            }
        });
    }

    /// The same for a kind that this process has no shared watch of, as soon as the cluster serves it.
    pub fn watch_kind(
        &self,
        kind: &'static str,
        targets: &Arc<Targets>,
        releases: &Watched<HelmRelease>,
        tasks: &Tasks,
    ) {
        let (this, targets, releases) = (self.clone(), targets.clone(), releases.clone());
        let stop = tasks.shutdown_token().clone();
        tasks.spawn("helm-sources", async move {
            let Ok(target) = targets.local(None) else { return };
            let gvk = Gvk::new(source::API_VERSION, kind);
            let resource = loop {
                if let Ok(resource) = target.resolve(&gvk).await {
                    break resource;
                }
                tokio::select! {
                    _ = stop.cancelled() => return,
                    _ = tokio::time::sleep(KIND_PAUSE) => {}
                }
            };
            let api: Api<DynamicObject> = Api::all_with(target.client().clone(), &resource.api_resource());
            let events = watcher(api, watcher::Config::default()).default_backoff();
            let mut seen: HashMap<Key, String> = HashMap::new();
            futures::pin_mut!(events);
            while let Some(event) = next(&mut events, &stop).await {
                let Ok(watcher::Event::Apply(changed) | watcher::Event::InitApply(changed)) = event else {
                    continue;
                };
                let key = (changed.namespace().unwrap_or_default(), changed.name_any());
                let text = |pointer: &str| {
                    changed
                        .data
                        .pointer(pointer)
                        .map(ToString::to_string)
                        .unwrap_or_default()
                };
                let version = format!(
                    "{} {} {}",
                    text("/status/artifact/revision"),
                    text("/status/artifact/digest"),
                    text("/status/observedGeneration")
                );
                if seen.insert(key.clone(), version.clone()).as_ref() != Some(&version) {
                    this.wake_users(kind, &key, &releases).await;
                }
            }
        });
    }

    async fn wake_users(&self, kind: &str, source: &Key, releases: &Watched<HelmRelease>) {
        for release in releases.store().state() {
            if refers_to(&release, kind, source) {
                self.wake(&nave_runtime::watch::key(release.as_ref())).await;
            }
        }
    }

    /// Wakes the HelmReleases that read a ConfigMap or Secret, when one with the label changes.
    pub fn watch_configs(&self, client: &Client, selector: &str, releases: &Watched<HelmRelease>, tasks: &Tasks) {
        let config = watcher::Config::default().labels(selector);
        self.watch_config_kind::<ConfigMap>(client, &config, ValuesKind::ConfigMap, releases, tasks);
        self.watch_config_kind::<Secret>(client, &config, ValuesKind::Secret, releases, tasks);
    }

    fn watch_config_kind<K>(
        &self,
        client: &Client,
        config: &watcher::Config,
        kind: ValuesKind,
        releases: &Watched<HelmRelease>,
        tasks: &Tasks,
    ) where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
    {
        let (this, releases) = (self.clone(), releases.clone());
        let api: Api<PartialObjectMeta<K>> = Api::all(client.clone());
        let events = watcher(api, config.clone()).default_backoff();
        let stop = tasks.shutdown_token().clone();
        tasks.spawn("helm-configs", async move {
            let mut seen: HashMap<Key, String> = HashMap::new();
            // The first list wakes nobody: every HelmRelease is reconciled at the start anyway. A later one may bring
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
                for release in releases.store().state() {
                    if reads_config(&release, kind, &key) {
                        this.wake(&nave_runtime::watch::key(release.as_ref())).await;
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

fn refers_to(release: &HelmRelease, kind: &str, source: &Key) -> bool {
    let own = release.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(template) = &release.spec.chart {
        return kind == "HelmChart" && chart_object::key_of(release, template) == *source;
    }
    release.spec.chart_ref.as_ref().is_some_and(|reference| {
        let namespace = match reference.namespace.as_str() {
            "" => own,
            given => given,
        };
        reference.kind == kind && reference.name == source.1 && namespace == source.0
    })
}

fn reads_config(release: &HelmRelease, kind: ValuesKind, (namespace, name): &Key) -> bool {
    if release.metadata.namespace.as_deref() != Some(namespace) {
        return false;
    }
    let spec = &release.spec;
    let values = spec
        .values_from
        .iter()
        .any(|reference| reference.kind == kind && reference.name == *name);
    let kubeconfig = kind == ValuesKind::Secret
        && spec
            .kube_config
            .as_ref()
            .and_then(|reference| reference.secret_ref.as_ref())
            .is_some_and(|reference| reference.name == *name);
    values || kubeconfig
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn release(spec: Value) -> HelmRelease {
        serde_json::from_value(json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": "x", "namespace": "n"}, "spec": spec}))
        .expect("it is complete")
    }

    #[test]
    fn sources_and_configs_wake_who_refers_to_them() {
        let key = |namespace: &str, name: &str| (namespace.to_owned(), name.to_owned());
        let by_reference = release(
            json!({"interval": "1m", "chartRef": {"kind": "OCIRepository", "name": "s"},
            "valuesFrom": [{"kind": "ConfigMap", "name": "v"}], "kubeConfig": {"secretRef": {"name": "k"}}}),
        );
        assert!(refers_to(&by_reference, "OCIRepository", &key("n", "s")));
        assert!(!refers_to(&by_reference, "HelmChart", &key("n", "s")));
        assert!(!refers_to(&by_reference, "OCIRepository", &key("m", "s")));
        assert!(reads_config(&by_reference, ValuesKind::ConfigMap, &key("n", "v")));
        assert!(!reads_config(&by_reference, ValuesKind::Secret, &key("n", "v")));
        assert!(reads_config(&by_reference, ValuesKind::Secret, &key("n", "k")));
        let by_template = release(json!({"interval": "1m", "chart": {"spec": {"chart": "c",
            "sourceRef": {"kind": "HelmRepository", "name": "r", "namespace": "m"}}}}));
        assert!(refers_to(&by_template, "HelmChart", &key("m", "n-x")));
    }
}
