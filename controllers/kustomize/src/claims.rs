//! Which objects every Kustomization wants, so that one that moves from one to another is not deleted on the way.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
};

use nave_apply::Inventory;
use nave_crds::{
    kustomize::{Kustomization, ResourceRef},
    meta::Artifact,
};
use nave_object::Object;

use crate::{
    build, decryption::decryption_of, depends::Key, plan::SourceSeen, reconcile::Run, sources::source_of,
    variables::variables_of,
};

/// What each Kustomization built last.
#[derive(Default)]
pub(crate) struct Claims(Mutex<HashMap<Key, Claim>>);

struct Claim {
    /// The artifact and the generation that it was built from.
    input: String,
    /// Hashes of inventory ids: a collision keeps an object for a while that might be deleted, and no more.
    ids: HashSet<u64>,
}

/// Stale objects, by what is to be done with them.
#[derive(Debug, Default)]
pub(crate) struct Divided {
    /// Nobody else wants them.
    pub stale: Vec<ResourceRef>,
    /// Somebody wants them and has not applied them yet.
    pub pending: Vec<(ResourceRef, Key)>,
}

impl Claims {
    pub fn put(&self, key: &Key, kustomization: &Kustomization, artifact: &Artifact, objects: &[Object]) {
        let claim = Claim {
            input: input_of(kustomization, artifact),
            ids: objects.iter().map(|object| hash(&object.id().inventory_id())).collect(),
        };
        self.lock().insert(key.clone(), claim);
    }

    pub fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    /// Whether it is known what a Kustomization wants now.
    fn is_known(&self, key: &Key, input: &str) -> bool {
        self.lock().get(key).is_some_and(|claim| claim.input == input)
    }

    fn wants(&self, key: &Key, id: &str) -> bool {
        self.lock().get(key).is_some_and(|claim| claim.ids.contains(&hash(id)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Claim>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn input_of(kustomization: &Kustomization, artifact: &Artifact) -> String {
    let generation = kustomization.metadata.generation.unwrap_or(0);
    let uid = kustomization.metadata.uid.as_deref().unwrap_or_default();
    format!("{}\n{generation}\n{uid}", artifact.digest)
}

fn hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// Whether both are applied to one cluster, as far as their specs tell.
fn share_a_cluster(a: &Kustomization, b: &Kustomization) -> bool {
    let place = |object: &Kustomization| {
        let reference = object.spec.kube_config.as_ref()?;
        let reference = serde_json::to_string(reference).unwrap_or_default();
        Some((object.metadata.namespace.clone(), reference))
    };
    place(a) == place(b)
}

impl Run<'_> {
    /// Takes out of `stale` what another Kustomization wants. What that one has in its inventory is its own already and is
    /// in neither list.
    ///
    /// Nobody waits for the others here: what they have not built yet of their sources as they are now is built for this
    /// question. One that cannot be built wants nothing.
    pub(crate) async fn divide(&self, stale: Vec<ResourceRef>) -> Divided {
        let mut divided = Divided {
            stale,
            ..Divided::default()
        };
        if divided.stale.is_empty() {
            return divided;
        }
        for other in self.ports.kustomizations.store().state() {
            let key = nave_runtime::watch::key(other.as_ref());
            let is_able = other.metadata.deletion_timestamp.is_none() && !other.spec.suspend;
            if key == self.key
                || !is_able
                || !(self.options.filter)(&other)
                || !share_a_cluster(self.object, &other)
                || !self.learn(&key, &other).await
            {
                continue;
            }
            let inventory = other.status.as_ref().and_then(|status| status.inventory.as_ref());
            let owned: HashSet<&str> = inventory
                .into_iter()
                .flat_map(|inventory| &inventory.entries)
                .map(|entry| entry.id.as_str())
                .collect();
            let (wanted, rest): (Vec<ResourceRef>, Vec<ResourceRef>) = divided
                .stale
                .into_iter()
                .partition(|entry| self.claims.wants(&key, &entry.id));
            divided.stale = rest;
            for entry in wanted {
                tracing::info!(
                    object = entry.id,
                    by = format!("{}/{}", key.0, key.1),
                    "wanted by another"
                );
                if !owned.contains(entry.id.as_str()) {
                    divided.pending.push((entry, key.clone()));
                }
            }
            if divided.stale.is_empty() {
                break;
            }
        }
        divided
    }

    /// Finds out what another Kustomization wants; false when it cannot be known.
    async fn learn(&self, key: &Key, other: &Kustomization) -> bool {
        let SourceSeen::Ready(artifact) = source_of(other, self.ports, self.options).await else {
            return false;
        };
        if self.claims.is_known(key, &input_of(other, &artifact)) {
            return true;
        }
        let post_build = other.spec.post_build.clone().unwrap_or_default();
        let Ok(variables) = variables_of(other, &post_build, &self.ports.client).await else {
            return false;
        };
        let Ok(tree) = self.ports.artifacts.read(&artifact).await else {
            return false;
        };
        // Names with a hash of what they hold depend on the plain text.
        let services = &self.ports.key_services;
        let Ok(decryption) = decryption_of(other, &self.ports.client, self.options, services).await else {
            return false;
        };
        let decryption = decryption.map(Arc::new);
        match build::build(
            other,
            &artifact,
            tree,
            &variables,
            decryption,
            self.options,
            self.builds,
            self.ports.remote_bases.as_ref(),
        )
        .await
        {
            Ok(built) => {
                self.claims.put(key, other, &artifact, &built.objects);
                true
            }
            Err(_) => false,
        }
    }
}

/// The inventory of what is applied and what is left to others for a moment.
pub(crate) fn with_pending(now: &Inventory, pending: &[(ResourceRef, Key)]) -> Inventory {
    now.union(&pending.iter().map(|(entry, _)| entry.clone()).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn kustomization(namespace: &str, spec: Value) -> Kustomization {
        let mut all = json!({"interval": "1m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "s"}});
        all.as_object_mut()
            .expect("a map")
            .extend(spec.as_object().expect("a map").clone());
        serde_json::from_value(
            json!({"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "x", "namespace": namespace, "generation": 1, "uid": "u"}, "spec": all}),
        )
        .expect("it is complete")
    }

    #[test]
    fn clusters_are_told_apart_by_their_kubeconfigs() {
        let remote = |name: &str| json!({"kubeConfig": {"secretRef": {"name": name}}});
        let check = |a: (&str, Value), b: (&str, Value), wanted: bool| {
            assert_eq!(
                share_a_cluster(&kustomization(a.0, a.1), &kustomization(b.0, b.1)),
                wanted
            );
        };
        check(("a", json!({})), ("b", json!({})), true);
        check(("a", remote("k")), ("a", remote("k")), true);
        check(("a", remote("k")), ("b", remote("k")), false);
        check(("a", remote("k")), ("a", remote("l")), false);
        check(("a", remote("k")), ("a", json!({})), false);
    }

    #[test]
    fn a_claim_is_of_one_artifact_and_generation() {
        let (claims, key) = (Claims::default(), ("n".to_owned(), "x".to_owned()));
        let artifact = |digest: &str| -> Artifact {
            serde_json::from_value(json!({"path": "p", "url": "u", "revision": "r", "digest": digest,
                "lastUpdateTime": "2026-01-01T00:00:00Z"}))
            .expect("it is complete")
        };
        let object = Object::from_value(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"}}),
        )
        .expect("it is an object");
        let owner = kustomization("n", json!({}));
        claims.put(&key, &owner, &artifact("sha256:1"), &[object]);
        assert!(claims.is_known(&key, &input_of(&owner, &artifact("sha256:1"))));
        assert!(!claims.is_known(&key, &input_of(&owner, &artifact("sha256:2"))));
        assert!(claims.wants(&key, "n_c__ConfigMap") && !claims.wants(&key, "n_d__ConfigMap"));
        claims.forget(&key);
        assert!(!claims.wants(&key, "n_c__ConfigMap"));
    }
}
