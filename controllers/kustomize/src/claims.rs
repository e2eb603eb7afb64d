//! Which objects every Kustomization wants, so that one that moves from one to another is not deleted on the way.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use nave_apply::Inventory;
use nave_crds::{
    kustomize::{Kustomization, ResourceRef},
    meta::Artifact,
};
use nave_object::Object;
use tokio::time::Instant;

use crate::{
    build,
    decryption::decryption_of,
    depends::Key,
    plan::SourceSeen,
    reconcile::{Run, chain},
    sources::source_of,
    variables::variables_of,
};

/// What each Kustomization built last.
#[derive(Default)]
pub(crate) struct Claims(Mutex<HashMap<Key, Claim>>);

struct Claim {
    /// The artifact and the generation that it was built from.
    input: String,
    wants: Wants,
}

/// What a Kustomization wants, as far as it is known.
#[derive(Debug, PartialEq)]
enum Wants {
    /// Hashes of inventory ids: a collision keeps an object for a while that might be deleted, and no more.
    Objects(HashSet<u64>),
    /// It cannot be built, which is believed until then.
    Nothing(Instant),
    /// It could not be found out, and is not tried again before then.
    Unknown(Instant),
}

/// What is known of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// What it wants.
    Yes,
    /// That it cannot be built: it wants nothing.
    Broken,
    /// That it could not be found out just now.
    Doubtful,
    /// Nothing, or it was long ago.
    No,
}

/// Why another Kustomization was not built.
enum NotBuilt {
    /// It cannot be, as it is.
    Broken,
    /// An API server, a registry or a key service did not answer as it should.
    Passing(String),
}

impl NotBuilt {
    fn of(error: &(dyn std::error::Error + 'static), may_pass: bool) -> Self {
        if may_pass {
            NotBuilt::Passing(chain(error))
        } else {
            NotBuilt::Broken
        }
    }
}

/// A failure is not looked for again before this time: many prunes would pay for one Kustomization that is broken. Its own
/// reconcile, when it builds, says so at once.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Nor one that may pass before this time.
const PASSES: Duration = Duration::from_secs(5);
/// How long the source of a new Kustomization may take to have an artifact.
const BEGINNING: Duration = Duration::from_secs(120);
/// How long one Kustomization may take to be built for the sake of another.
const ONE: Duration = Duration::from_secs(5);
/// How long all may take in one reconcile, which holds a worker.
const ALL: Duration = Duration::from_secs(15);

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
        let ids = objects.iter().map(|object| hash(&object.id().inventory_id()));
        self.set(key, input_of(kustomization, artifact), Wants::Objects(ids.collect()));
    }

    fn set(&self, key: &Key, input: String, wants: Wants) {
        self.lock().insert(key.clone(), Claim { input, wants });
    }

    pub fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    /// What is known of what a Kustomization wants now.
    fn known(&self, key: &Key, input: &str, now: Instant) -> Known {
        let claims = self.lock();
        match claims
            .get(key)
            .filter(|claim| claim.input == input)
            .map(|claim| &claim.wants)
        {
            Some(Wants::Objects(_)) => Known::Yes,
            Some(Wants::Nothing(until)) if now < *until => Known::Broken,
            Some(Wants::Unknown(until)) if now < *until => Known::Doubtful,
            _ => Known::No,
        }
    }

    /// Whether it is known to want an object.
    fn wants(&self, key: &Key, id: &str) -> bool {
        let claims = self.lock();
        let wants = claims.get(key).map(|claim| &claim.wants);
        matches!(wants, Some(Wants::Objects(ids)) if ids.contains(&hash(id)))
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
    /// question. One that cannot be built wants nothing. Of one that takes long to build, for which something did not answer
    /// as it should, or whose source is new and has no artifact yet, it is not known, and then nothing is deleted yet: all
    /// that is left counts as wanted by it, for as long as others are waited for.
    pub(crate) async fn divide(&self, stale: Vec<ResourceRef>) -> Divided {
        let mut divided = Divided {
            stale,
            ..Divided::default()
        };
        let deadline = Instant::now() + ALL;
        let mut unknown = None;
        for other in self.ports.kustomizations.store().state() {
            if divided.stale.is_empty() {
                return divided;
            }
            let key = nave_runtime::watch::key(other.as_ref());
            let is_able = other.metadata.deletion_timestamp.is_none() && !other.spec.suspend;
            if key == self.key || !is_able || !(self.options.filter)(&other) || !share_a_cluster(self.object, &other) {
                continue;
            }
            match self.learn(&key, &other, deadline).await {
                Known::Yes => self.take_out(&mut divided, &key, &other),
                Known::Doubtful => unknown = Some(key),
                Known::Broken | Known::No => {}
            }
        }
        if let Some(key) = unknown {
            tracing::info!(
                by = format!("{}/{}", key.0, key.1),
                "it is not known yet what is wanted"
            );
            let rest = std::mem::take(&mut divided.stale);
            divided
                .pending
                .extend(rest.into_iter().map(|entry| (entry, key.clone())));
        }
        divided
    }

    fn take_out(&self, divided: &mut Divided, key: &Key, other: &Kustomization) {
        let inventory = other.status.as_ref().and_then(|status| status.inventory.as_ref());
        let owned: HashSet<&str> = inventory
            .into_iter()
            .flat_map(|inventory| &inventory.entries)
            .map(|entry| entry.id.as_str())
            .collect();
        let (wanted, rest): (Vec<ResourceRef>, Vec<ResourceRef>) = std::mem::take(&mut divided.stale)
            .into_iter()
            .partition(|entry| self.claims.wants(key, &entry.id));
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
    }

    /// Finds out what another Kustomization wants, and remembers also that it could not be found out.
    async fn learn(&self, key: &Key, other: &Kustomization, deadline: Instant) -> Known {
        let artifact = match source_of(other, self.ports, self.options).await {
            SourceSeen::Ready(artifact) => artifact,
            SourceSeen::Unreadable(_) => return Known::Doubtful,
            SourceSeen::Missing(_) | SourceSeen::Empty(_) if is_beginning(other, Timestamp::now()) => {
                return Known::Doubtful;
            }
            _ => return Known::No,
        };
        let input = input_of(other, &artifact);
        let known = self.claims.known(key, &input, Instant::now());
        if known != Known::No {
            return known;
        }
        let until = deadline.min(Instant::now() + ONE);
        let (known, wants) = match tokio::time::timeout_at(until, self.build_other(other, &artifact)).await {
            Ok(Ok(built)) => {
                self.claims.put(key, other, &artifact, &built);
                return Known::Yes;
            }
            Ok(Err(NotBuilt::Broken)) => (Known::Broken, Wants::Nothing(Instant::now() + REMEMBERED)),
            Ok(Err(NotBuilt::Passing(why))) => {
                tracing::info!(
                    by = format!("{}/{}", key.0, key.1),
                    why,
                    "what is wanted could not be found out"
                );
                (Known::Doubtful, Wants::Unknown(Instant::now() + PASSES))
            }
            // Who had no time at all has its turn the next time.
            Err(_) if deadline <= Instant::now() => return Known::Doubtful,
            Err(_) => (Known::Doubtful, Wants::Unknown(Instant::now() + REMEMBERED)),
        };
        self.claims.set(key, input, wants);
        known
    }

    async fn build_other(&self, other: &Kustomization, artifact: &Artifact) -> Result<Vec<Object>, NotBuilt> {
        let post_build = other.spec.post_build.clone().unwrap_or_default();
        let variables = variables_of(other, &post_build, &self.ports.client)
            .await
            .map_err(|error| NotBuilt::of(&error, error.may_pass()))?;
        let tree = self.ports.artifacts.read(artifact).await;
        let tree = tree.map_err(|error| NotBuilt::of(&error, error.may_pass()))?;
        // Names with a hash of what they hold depend on the plain text.
        let services = &self.ports.key_services;
        let decryption = decryption_of(other, &self.ports.client, self.options, services)
            .await
            .map_err(|error| NotBuilt::of(&error, error.may_pass()))?
            .map(Arc::new);
        let bases = self.ports.remote_bases.as_ref();
        let built = build::build(
            other,
            artifact,
            tree,
            &variables,
            decryption,
            self.options,
            self.builds,
            bases,
        );
        match built.await {
            Ok(built) => Ok(built.objects),
            Err(failure) if failure.may_pass => Err(NotBuilt::Passing(failure.message)),
            Err(_) => Err(NotBuilt::Broken),
        }
    }
}

/// Whether it was made just now and has applied nothing yet, so that its source may have been made with it.
fn is_beginning(other: &Kustomization, now: Timestamp) -> bool {
    let has_applied = other
        .status
        .as_ref()
        .is_some_and(|status| !status.last_applied_revision.is_empty());
    let age = other
        .metadata
        .creation_timestamp
        .as_ref()
        .and_then(|created| Duration::try_from(now.duration_since(created.0)).ok())
        .unwrap_or_default();
    !has_applied && age < BEGINNING
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
        let known = |digest: &str| claims.known(&key, &input_of(&owner, &artifact(digest)), Instant::now());
        assert_eq!((known("sha256:1"), known("sha256:2")), (Known::Yes, Known::No));
        assert!(claims.wants(&key, "n_c__ConfigMap") && !claims.wants(&key, "n_d__ConfigMap"));
        claims.forget(&key);
        assert!(!claims.wants(&key, "n_c__ConfigMap"));
    }

    #[test]
    fn a_failure_is_remembered_for_a_while_and_of_its_input() {
        let (claims, key) = (Claims::default(), ("n".to_owned(), "x".to_owned()));
        let now = Instant::now();
        let known = |input: &str, after: Duration| claims.known(&key, input, now + after);
        claims.set(&key, "1".into(), Wants::Nothing(now + REMEMBERED));
        assert_eq!(known("1", Duration::from_secs(30)), Known::Broken);
        assert_eq!(known("2", Duration::from_secs(30)), Known::No);
        assert_eq!(known("1", REMEMBERED), Known::No);
        claims.set(&key, "2".into(), Wants::Unknown(now + PASSES));
        assert_eq!(known("2", Duration::ZERO), Known::Doubtful);
        assert_eq!(known("2", PASSES), Known::No);
        assert!(!claims.wants(&key, "n_c__ConfigMap"));
    }

    #[test]
    fn only_a_new_one_that_applied_nothing_may_wait_for_its_first_artifact() {
        let mut one = kustomization("n", json!({}));
        let created = Timestamp::UNIX_EPOCH;
        one.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(created));
        assert!(is_beginning(&one, created + Duration::from_secs(30)));
        assert!(!is_beginning(&one, created + BEGINNING));
        one.status.get_or_insert_default().last_applied_revision = "main@sha1:1".into();
        assert!(!is_beginning(&one, created + Duration::from_secs(30)));
    }
}
