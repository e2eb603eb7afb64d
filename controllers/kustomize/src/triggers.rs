//! What wakes a Kustomization besides its own changes: its source, its dependencies, its ConfigMaps and Secrets, and the
//! end of a wait.

use std::{fmt::Debug, ops::Deref, sync::Arc};

use futures::Stream;
use kube::{Client, Resource, runtime::reflector::ObjectRef};
use nave_crds::{
    kustomize::{Kustomization, SubstituteKind},
    meta::Artifact,
};
use nave_runtime::{ConfigKind, Tasks, Wake, Wakes, Watched, wakes};
use serde::de::DeserializeOwned;

use crate::{
    depends::Key,
    reads::{Reads, version_of},
};

/// Wakes Kustomizations.
#[derive(Clone)]
pub(crate) struct Triggers {
    wakes: Wakes<Kustomization>,
    /// What each was last reconciled with.
    pub reads: Arc<Reads>,
}

/// Wakes one Kustomization.
pub(crate) type Trigger = Wake<Kustomization>;

/// The two ends.
pub(crate) fn channel() -> (Triggers, impl Stream<Item = ObjectRef<Kustomization>> + Send + 'static) {
    let (wakes, stream) = wakes::channel();
    let triggers = Triggers {
        wakes,
        reads: Arc::default(),
    };
    (triggers, stream)
}

impl Deref for Triggers {
    type Target = Wakes<Kustomization>;

    fn deref(&self) -> &Self::Target {
        &self.wakes
    }
}

impl Triggers {
    /// Wakes the Kustomizations of a source whose artifact changes.
    pub fn watch_sources<K>(
        &self,
        kind: &'static str,
        sources: &Watched<K>,
        artifact: fn(&K) -> Option<&Artifact>,
        kustomizations: &Watched<Kustomization>,
        tasks: &Tasks,
    ) where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        let reads = self.reads.clone();
        self.wakes.watch_sources(
            sources,
            move |source| artifact(source).map(version_of),
            kustomizations,
            move |kustomization, source, now| {
                refers_to(kustomization, kind, source) && reads.must_wake(&nave_runtime::watch::key(kustomization), now)
            },
            tasks,
        );
    }

    /// Wakes the Kustomizations that read a ConfigMap or Secret, when one with the label changes.
    pub fn watch_configs(
        &self,
        client: &Client,
        namespace: Option<&str>,
        selector: &str,
        kustomizations: &Watched<Kustomization>,
        tasks: &Tasks,
    ) {
        let reads = |kustomization: &Kustomization, kind: ConfigKind, key: &Key| {
            let kind = match kind {
                ConfigKind::ConfigMap => SubstituteKind::ConfigMap,
                ConfigKind::Secret => SubstituteKind::Secret,
            };
            reads_config(kustomization, kind, key)
        };
        self.wakes
            .watch_configs(client, namespace, selector, kustomizations, reads, tasks);
    }
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
}
