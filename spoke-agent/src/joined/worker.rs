//! Carries the hub's items out in the agent's own cluster, one at a time per item.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use nave_object::Object;
use nave_proto::wire::{FailCode, OwnerRef};
use nave_runtime::Tasks;
use nave_source_controller::external_artifact;
use nave_store::{Owner, Store};

use super::{
    artifacts::{Assembled, Fetch},
    bundle::{self, Unpacked},
    handler::chain,
    items::{Items, Leaving, StoredItem, StoredOwner, hex},
    objects::FleetObjects,
    policy::SpokePolicy,
    report::{Applied, Refusal},
    reporter::Reporter,
};

/// How long a deleted Kustomization or HelmRelease may take to prune before the rest of its item goes.
const PRUNED_WITHIN: Duration = Duration::from_secs(120);
/// Between two looks whether it is gone.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Between two tries to remove what an item made.
const REMOVE_AGAIN: Duration = Duration::from_secs(10);

/// Everything that carrying out an item needs.
#[derive(Clone)]
pub struct Worker {
    /// The cluster's fleet objects.
    pub objects: FleetObjects,
    /// What is applied.
    pub items: Items,
    /// What was fetched.
    pub assembled: Assembled,
    /// Where artifacts are served from.
    pub store: Store,
    /// The agent's client, for artifact statuses.
    pub client: kube::Client,
    /// The cap on the hub.
    pub policy: SpokePolicy,
    /// Where outcomes go.
    pub reporter: Reporter,
}

/// An item that was not carried out.
pub struct Failure {
    /// For the hub's program.
    pub code: FailCode,
    /// For people.
    pub message: String,
}

impl Worker {
    /// Brings the cluster to what the item says.
    pub async fn put(
        &self,
        key: &str,
        owner: &OwnerRef,
        digest: &[u8],
        payload: Bytes,
        fetch: &dyn Fetch,
    ) -> Result<(), Failure> {
        let applied = Applied {
            payload: digest.to_vec(),
            ..Applied::default()
        };
        let outcome = match bundle::unpack(payload, owner, &self.policy) {
            Ok(unpacked) => self.apply(key, owner, digest, &unpacked, fetch).await,
            Err(refusal) => Err(refusal),
        };
        outcome.map_err(|refusal| {
            tracing::warn!(
                item = key,
                reason = refusal.reason,
                message = refusal.message,
                "item refused"
            );
            self.reporter.refused(key, owner, &refusal, &applied);
            let code = match refusal.reason {
                "Denied" => FailCode::Denied,
                "Conflict" => FailCode::Conflict,
                _ => FailCode::Internal,
            };
            Failure {
                code,
                message: refusal.message,
            }
        })
    }

    async fn apply(
        &self,
        key: &str,
        owner: &OwnerRef,
        digest: &[u8],
        unpacked: &Unpacked,
        fetch: &dyn Fetch,
    ) -> Result<(), Refusal> {
        let before = self.items.get(key);
        let former = before.as_ref().map(|item| item.owner.uid.as_str());
        self.policy.set(&owner.uid, unpacked.grant.clone());
        let namespaces: BTreeSet<&str> = unpacked
            .objects
            .iter()
            .chain(&unpacked.secrets)
            .filter_map(Object::namespace)
            .collect();
        for namespace in namespaces {
            self.policy
                .check_object("", "Namespace", "", namespace)
                .map_err(|message| Refusal {
                    reason: "Denied",
                    message,
                })?;
            self.objects.ensure_namespace(namespace, unpacked.grant.admin).await?;
        }
        for secret in &unpacked.secrets {
            self.objects.apply(secret, owner, former).await?;
        }
        for object in &unpacked.objects {
            // The source is whole before what reads it changes: objects come sorted that way.
            self.objects.apply(object, owner, former).await?;
            if let Some(artifact) = unpacked
                .artifact
                .as_ref()
                .filter(|_| object.kind() == "ExternalArtifact")
            {
                let tree = self.assembled.tree(key, &artifact.manifest_digest, fetch).await?;
                let (namespace, name) = (object.namespace().unwrap_or_default(), object.name());
                let metadata = origin(&artifact.origin);
                external_artifact::publish(
                    &self.client,
                    &self.store,
                    namespace,
                    name,
                    tree,
                    &artifact.revision,
                    metadata,
                )
                .await
                .map_err(|error| Refusal {
                    reason: "ArtifactFailed",
                    message: chain(&error),
                })?;
            }
        }
        self.remove_others(owner, &unpacked.objects, &unpacked.secrets).await?;
        let product = unpacked.product();
        let mut stored = StoredItem {
            digest: hex(digest),
            owner: StoredOwner {
                kind: owner.kind.clone(),
                namespace: owner.ns.clone(),
                name: owner.name.clone(),
                uid: owner.uid.clone(),
            },
            grant: unpacked.grant.clone(),
            namespace: product.and_then(Object::namespace).unwrap_or_default().to_owned(),
            name: product.map(Object::name).unwrap_or_default().to_owned(),
            manifest: unpacked
                .artifact
                .as_ref()
                .map(|artifact| hex(&artifact.manifest_digest))
                .unwrap_or_default(),
            revision: unpacked
                .artifact
                .as_ref()
                .map(|artifact| artifact.revision.clone())
                .unwrap_or_default(),
            requested_at: unpacked.requested_at.clone(),
            leaving: None,
            former: Vec::new(),
        };
        stored.former = stored.formerly(before.as_ref());
        self.items.put(key, stored).map_err(|error| Refusal {
            reason: "ApplyFailed",
            message: format!("keeping the item: {error:#}"),
        })?;
        tracing::info!(
            item = key,
            revision = unpacked.artifact.as_ref().map(|artifact| artifact.revision.as_str()),
            "item applied"
        );
        self.reporter.look_again(key);
        Ok(())
    }

    /// What an earlier form of the item left and this one does not have: a source of the other kind, a secret that is
    /// listed no longer.
    async fn remove_others(&self, owner: &OwnerRef, objects: &[Object], secrets: &[Object]) -> Result<(), Refusal> {
        let keep: Vec<&Object> = objects.iter().chain(secrets).collect();
        let failed = |error: anyhow::Error| Refusal {
            reason: "ApplyFailed",
            message: format!("{error:#}"),
        };
        for (resource, object) in self.objects.others_of(&owner.uid, &keep).await.map_err(failed)? {
            self.objects.delete(&resource, &object, false).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Notes that an item goes; from here on it goes, also after a restart.
    pub fn note_deletion(&self, key: &str, orphan: bool) -> anyhow::Result<()> {
        let Some(mut item) = self.items.get(key) else {
            return Ok(());
        };
        item.leaving = Some(if orphan { Leaving::Orphan } else { Leaving::Prune });
        self.items.put(key, item)
    }

    /// Removes what a leaving item made, in the background and until it is done.
    pub fn finish_deletion(&self, key: String, tasks: &Tasks) {
        let worker = self.clone();
        let shutdown = tasks.shutdown_token().clone();
        tasks.spawn("item-removal", async move {
            loop {
                let Some(item) = worker.items.get(&key).filter(|item| item.leaving.is_some()) else {
                    return; // done, or the hub sent it again
                };
                match worker.remove(&key, &item).await {
                    Ok(()) => return,
                    Err(error) => tracing::warn!(item = key, "removing what an item made: {error:#}; trying again"),
                }
                tokio::select! {
                    _ = shutdown.cancelled() => return,
                    _ = tokio::time::sleep(REMOVE_AGAIN) => {}
                }
            }
        });
    }

    /// Goes on with what a former life of this process began to remove.
    pub fn resume_deletions(&self, tasks: &Tasks) {
        for (key, _) in self.items.all().into_iter().filter(|(_, item)| item.leaving.is_some()) {
            self.finish_deletion(key, tasks);
        }
    }

    /// The Kustomization or HelmRelease first, which prunes or leaves what it applied, then its sources and secrets. Waits
    /// for it as long as it takes: while a prune is held, it stays, and so does the grant that it works under.
    async fn remove(&self, key: &str, item: &StoredItem) -> anyhow::Result<()> {
        let orphan = item.leaving == Some(Leaving::Orphan);
        let owner = OwnerRef {
            kind: item.owner.kind.clone(),
            ns: item.owner.namespace.clone(),
            name: item.owner.name.clone(),
            uid: item.owner.uid.clone(),
        };
        let others = self.objects.others_of(&owner.uid, &[]).await?;
        for (resource, object) in &others {
            self.objects.delete(resource, object, orphan).await?;
            if bundle::is_product(&resource.kind) {
                let deadline = tokio::time::Instant::now() + PRUNED_WITHIN;
                while self.objects.exists(resource, object).await? {
                    anyhow::ensure!(
                        tokio::time::Instant::now() < deadline,
                        "its {} is still there after {PRUNED_WITHIN:?}",
                        resource.kind
                    );
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            }
        }
        for (resource, object) in others
            .iter()
            .filter(|(resource, _)| resource.kind == "ExternalArtifact")
        {
            let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
            let name = object.metadata.name.as_deref().unwrap_or_default();
            if let Ok(place) = Owner::new(&resource.kind, namespace, name)
                && let Err(error) = self.store.remove_all(&place).await
            {
                tracing::warn!(item = key, %error, "removing the artifact's files");
            }
        }
        self.assembled.forget(key);
        self.items.remove(key)?;
        self.policy.remove(&owner.uid);
        self.reporter.gone(key, &owner);
        tracing::info!(item = key, orphan, "item removed");
        Ok(())
    }
}

/// Where the files come from, under the key that Flux reads an origin's revision from.
fn origin(revision: &str) -> BTreeMap<String, String> {
    if revision.is_empty() {
        return BTreeMap::new();
    }
    BTreeMap::from([("org.opencontainers.image.revision".to_owned(), revision.to_owned())])
}
