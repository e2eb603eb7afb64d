//! What wakes a fleet object besides its own changes.

use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use nave_crds::{Cluster, labels};
use nave_runtime::{Tasks, Watched};
use tokio::sync::broadcast;

use crate::clusters::{Change, ClusterCache};
use crate::convert;
use crate::kind::FleetKind;
use crate::ports::Ports;

/// Clusters change one by one; who falls behind by more than this many looks at all fleet objects.
const BEHIND: usize = 1024;

/// Changes of clusters that matter.
#[derive(Clone)]
pub(crate) struct ClusterChanges(broadcast::Sender<Arc<Change>>);

impl ClusterChanges {
    /// Keeps the cache current from now on.
    ///
    /// The answers of a probe matter too, but only to the status of fleet objects on that cluster; a
    /// change of the condition Connected wakes those that look at it.
    pub fn follow(clusters: &Watched<Cluster>, cache: Arc<ClusterCache>, tasks: &Tasks) -> Self {
        let (sender, watched) = (broadcast::channel(BEHIND).0, clusters.clone());
        let (changes, shutdown) = (clusters.changes(), tasks.shutdown_token().clone());
        let told: broadcast::Sender<Arc<Change>> = sender.clone();
        tasks.spawn("cluster-changes", async move {
            let mut changes = std::pin::pin!(changes.take_until(shutdown.cancelled_owned()));
            while let Some(object) = changes.next().await {
                let change = take_in(&watched, &cache, &object).or_else(|| {
                    let is_probed = object.spec.mode == nave_crds::fleet::ClusterMode::KubeConfig;
                    let now = is_probed.then(|| cache.get(&convert::key_of(&object))).flatten()?;
                    Some(Change {
                        before: None,
                        now: Some(now),
                    })
                });
                if let Some(change) = change {
                    let _ = told.send(Arc::new(change)); // nobody listens at the very end
                }
            }
        });
        ClusterChanges(sender)
    }

    /// Each change; `None` for changes that were missed.
    fn listen(&self) -> BoxStream<'static, Option<Arc<Change>>> {
        stream::unfold(self.0.subscribe(), |mut receiver| async move {
            match receiver.recv().await {
                Ok(change) => Some((Some(change), receiver)),
                Err(broadcast::error::RecvError::Lagged(_)) => Some((None, receiver)),
                Err(broadcast::error::RecvError::Closed) => None,
            }
        })
        .boxed()
    }
}

/// Everything that wakes fleet objects of one kind. Waking one too many costs a comparison of versions.
pub(crate) fn all<K: FleetKind>(
    ports: &Ports,
    secrets: &Watched<Secret>,
    clusters: &ClusterChanges,
) -> BoxStream<'static, ObjectRef<K>> {
    let charts = &ports.charts;
    let streams = vec![
        of_clusters::<K>(ports, clusters),
        of_sources::<K, _>(ports, "GitRepository", ports.git_repositories.changes().boxed()),
        of_sources::<K, _>(ports, "ExternalArtifact", ports.external_artifacts.changes().boxed()),
        of_sources::<K, _>(ports, "HelmRepository", charts.helm_repositories.changes().boxed()),
        of_sources::<K, _>(ports, "OCIRepository", charts.oci_repositories.changes().boxed()),
        of_sources::<K, _>(ports, "HelmChart", charts.helm_charts.changes().boxed()),
        of_products::<K>(ports),
        of_secrets::<K>(ports, secrets),
        ports
            .statuses
            .changes()
            .filter(|owner| std::future::ready(owner.kind == K::KIND))
            .map(|owner| ObjectRef::new(&owner.name).within(&owner.namespace))
            .boxed(),
    ];
    stream::select_all(streams).boxed()
}

/// A cluster changed in a way that matters: fleet objects that look at it, as it was or as it is.
fn of_clusters<K: FleetKind>(ports: &Ports, clusters: &ClusterChanges) -> BoxStream<'static, ObjectRef<K>> {
    let fleets = K::fleets(ports).clone();
    clusters
        .listen()
        .flat_map(move |change| {
            stream::iter(select(&fleets, |fleet| {
                change.as_ref().is_none_or(|change| looks_at(fleet, change))
            }))
        })
        .boxed()
}

/// Whether a change of a cluster is one for the fleet object: it means the cluster, or meant it before.
fn looks_at<K: FleetKind>(fleet: &K, change: &Change) -> bool {
    let workspace = fleet.namespace().unwrap_or_default();
    // A placement that cannot be read is told of by the reconcile.
    let Ok(placement) = convert::placement_of(fleet) else {
        return false;
    };
    change.both().any(|cluster| placement.looks_at(&workspace, cluster))
}

/// Updates the cache with a cluster that changed or went.
fn take_in(watched: &Watched<Cluster>, cache: &ClusterCache, object: &Cluster) -> Option<Change> {
    let key = convert::key_of(object);
    match watched.get(&key.namespace, &key.name) {
        Some(now) => cache.update(&now),
        None => cache.remove(&key),
    }
}

/// A source changed: the fleet objects that use it.
fn of_sources<K, S>(
    ports: &Ports,
    kind: &'static str,
    changes: BoxStream<'static, Arc<S>>,
) -> BoxStream<'static, ObjectRef<K>>
where
    K: FleetKind,
    S: Resource<DynamicType = ()> + Send + Sync + 'static,
{
    let fleets = K::fleets(ports).clone();
    changes
        .flat_map(move |source| {
            let (namespace, name) = nave_runtime::watch::key(source.as_ref());
            stream::iter(select(&fleets, |fleet| {
                fleet.namespace().as_deref() == Some(&namespace) && uses(fleet, kind, &name)
            }))
        })
        .boxed()
}

/// Whether a source is named by a fleet object, or made for it.
fn uses<K: FleetKind>(fleet: &K, kind: &str, name: &str) -> bool {
    let source = fleet.parts().source;
    let is_named = source
        .reference
        .as_ref()
        .is_some_and(|reference| reference.kind == kind && reference.name == name);
    is_named || fleet.name_any() == name
}

/// A product on the hub changed: the fleet object that it was made from.
fn of_products<K: FleetKind>(ports: &Ports) -> BoxStream<'static, ObjectRef<K>> {
    K::products(ports)
        .changes()
        .boxed()
        .filter_map(|object| {
            let labels = object.labels();
            let owner = labels
                .get(labels::FLEET_NAME)
                .zip(labels.get(labels::FLEET_NAMESPACE))
                .map(|(name, namespace)| ObjectRef::new(name).within(namespace));
            std::future::ready(owner)
        })
        .boxed()
}

/// A Secret changed: the fleet objects that list it.
fn of_secrets<K: FleetKind>(ports: &Ports, secrets: &Watched<Secret>) -> BoxStream<'static, ObjectRef<K>> {
    let fleets = K::fleets(ports).clone();
    secrets
        .changes()
        .boxed()
        .flat_map(move |secret| {
            let (namespace, name) = nave_runtime::watch::key(secret.as_ref());
            stream::iter(select(&fleets, |fleet| {
                fleet.namespace().as_deref() == Some(&namespace)
                    && fleet.parts().secrets.iter().any(|one| one.name == name)
            }))
        })
        .boxed()
}

fn select<K: FleetKind>(fleets: &Watched<K>, wanted: impl Fn(&K) -> bool) -> Vec<ObjectRef<K>> {
    fleets
        .store()
        .state()
        .iter()
        .filter(|fleet| wanted(fleet))
        .map(|fleet| ObjectRef::from_obj(fleet.as_ref()))
        .collect()
}
