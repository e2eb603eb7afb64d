//! Tells the hub what became of its items: from the Kustomizations' and HelmReleases' own status, the moment it changes.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use kube::{Resource, ResourceExt};
use nave_crds::{HelmRelease, Kustomization, labels};
use nave_proto::wire::{OwnerRef, StatusPayload};
use nave_runtime::{Tasks, Watched};
use prost::Message;

use super::{
    items::{Items, StoredItem},
    report::{self, Applied, Refusal},
};

/// Where reports go: the status map of the link, which keeps the latest of each item across sessions.
pub trait StatusSink: Send + Sync {
    /// The item's latest report.
    fn put(&self, key: &str, owner: &OwnerRef, payload: Bytes);
    /// Nothing is left to do for the item.
    fn settled(&self, key: &str);
    /// The item is gone.
    fn remove(&self, key: &str, owner: &OwnerRef);
}

/// Folds Kustomizations and HelmReleases into reports. Cheap to clone.
#[derive(Clone)]
pub struct Reporter {
    items: Items,
    kustomizations: Watched<Kustomization>,
    releases: Watched<HelmRelease>,
    sink: Arc<dyn StatusSink>,
}

impl Reporter {
    /// Reports to `sink` on the items in `items`.
    pub fn new(
        items: Items,
        kustomizations: Watched<Kustomization>,
        releases: Watched<HelmRelease>,
        sink: Arc<dyn StatusSink>,
    ) -> Self {
        Reporter {
            items,
            kustomizations,
            releases,
            sink,
        }
    }

    /// Reports every change of what belongs to an item.
    pub fn start(&self, tasks: &Tasks) {
        let reporter = self.clone();
        let shutdown = tasks.shutdown_token().clone();
        tasks.spawn("status-reports", async move {
            let mut kustomizations = std::pin::pin!(reporter.kustomizations.changes());
            let mut releases = std::pin::pin!(reporter.releases.changes());
            loop {
                tokio::select! {
                    _ = shutdown.cancelled() => return,
                    object = kustomizations.next() => match object {
                        Some(object) => reporter.report(object.as_ref(), report::of_kustomization),
                        None => return,
                    },
                    object = releases.next() => match object {
                        Some(object) => reporter.report(object.as_ref(), report::of_release),
                        None => return,
                    },
                }
            }
        });
    }

    /// Reports on an item whose objects were just applied.
    pub fn look_again(&self, key: &str) {
        let Some(item) = self.items.get(key) else { return };
        let (namespace, name) = (&item.namespace, &item.name);
        if item.product() == "HelmRelease" {
            if let Some(object) = self.releases.get(namespace, name) {
                self.report(object.as_ref(), report::of_release);
            }
        } else if let Some(object) = self.kustomizations.get(namespace, name) {
            self.report(object.as_ref(), report::of_kustomization);
        }
    }

    /// Reports that an item was refused.
    pub fn refused(&self, key: &str, owner: &OwnerRef, refusal: &Refusal, applied: &Applied) {
        let object = format!("{}/{}/{}", owner.kind, owner.ns, owner.name);
        self.send(key, owner, report::of_refusal(refusal, applied, &object));
    }

    /// Takes the report of an item away.
    pub fn gone(&self, key: &str, owner: &OwnerRef) {
        self.sink.remove(key, owner);
    }

    fn report<K: Resource<DynamicType = ()>>(&self, object: &K, fold: fn(&K, &Applied) -> StatusPayload) {
        if !object.labels().contains_key(labels::FLEET_UID) {
            return;
        }
        let namespace = object.namespace().unwrap_or_default();
        let (kind, name) = (K::kind(&()), object.name_any());
        let Some((key, item)) = self.items.with_product(&kind, &namespace, &name) else {
            return;
        };
        if (&item.namespace, &item.name) != (&namespace, &name) {
            return self.look_again(&key); // what it was: it may be gone now
        }
        if object.labels().get(labels::FLEET_UID) != Some(&item.owner.uid) {
            return; // of the same name, but not the item's
        }
        let owner = OwnerRef {
            kind: item.owner.kind.clone(),
            ns: item.owner.namespace.clone(),
            name: item.owner.name.clone(),
            uid: item.owner.uid.clone(),
        };
        let mut payload = fold(object, &item.applied());
        if payload.state == "ready" && self.is_moving(&item) {
            // Or the hub would forget what is held there for a person.
            payload.state = "held".to_owned();
        }
        self.send(&key, &owner, payload);
    }

    /// Whether what the item was called before is still on its way out.
    fn is_moving(&self, item: &StoredItem) -> bool {
        item.former.iter().any(|one| {
            let uid = if item.product() == "HelmRelease" {
                self.releases
                    .get(&one.namespace, &one.name)
                    .map(|object| uid_of(object.as_ref()))
            } else {
                self.kustomizations
                    .get(&one.namespace, &one.name)
                    .map(|object| uid_of(object.as_ref()))
            };
            uid.flatten().is_some_and(|uid| uid == item.owner.uid)
        })
    }

    fn send(&self, key: &str, owner: &OwnerRef, payload: StatusPayload) {
        if payload.state == "ready" {
            self.sink.settled(key);
        }
        self.sink.put(key, owner, payload.encode_to_vec().into());
    }
}

/// UID of the fleet object that something was made for.
fn uid_of<K: Resource>(object: &K) -> Option<String> {
    object.labels().get(labels::FLEET_UID).cloned()
}
