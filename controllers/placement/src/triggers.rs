//! What wakes a fleet object besides its own changes.

use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use nave_crds::{Cluster, FleetKustomization, labels};
use nave_runtime::Watched;

use crate::clusters::ClusterCache;
use crate::convert;
use crate::ports::Ports;

type Ref = ObjectRef<FleetKustomization>;

/// Everything that wakes fleet objects. Waking one too many costs a comparison of versions.
pub(crate) fn all(ports: &Ports, secrets: &Watched<Secret>, clusters: Arc<ClusterCache>) -> BoxStream<'static, Ref> {
    let streams = vec![
        of_clusters(ports, clusters),
        of_sources(ports, "GitRepository", ports.git_repositories.changes().boxed()),
        of_sources(ports, "ExternalArtifact", ports.external_artifacts.changes().boxed()),
        of_products(ports),
        of_secrets(ports, secrets),
        ports
            .statuses
            .changes()
            .map(|owner| Ref::new(&owner.name).within(&owner.namespace))
            .boxed(),
    ];
    stream::select_all(streams).boxed()
}

/// A cluster changed in a way that matters: fleet objects of all workspaces that may see it.
///
/// The answers of a probe matter too, but only to the status of fleet objects on that cluster; a
/// change of the condition Connected wakes those of its own workspace.
fn of_clusters(ports: &Ports, cache: Arc<ClusterCache>) -> BoxStream<'static, Ref> {
    let (watched, fleets) = (ports.clusters.clone(), ports.fleets.clone());
    ports
        .clusters
        .changes()
        .boxed()
        .flat_map(move |object| {
            let mut concerned = take_in(&watched, &cache, &object);
            if object.spec.mode == nave_crds::fleet::ClusterMode::KubeConfig {
                concerned.insert(object.namespace().unwrap_or_default());
            }
            stream::iter(select(&fleets, |fleet| {
                concerned.contains(&fleet.namespace().unwrap_or_default())
            }))
        })
        .boxed()
}

/// Updates the cache with a cluster that changed or went.
pub(crate) fn take_in(
    watched: &Watched<Cluster>,
    cache: &ClusterCache,
    object: &Cluster,
) -> std::collections::BTreeSet<String> {
    let key = convert::key_of(object);
    match watched.get(&key.namespace, &key.name) {
        Some(now) => cache.update(&now),
        None => cache.remove(&key),
    }
}

/// A source changed: the fleet objects that use it.
fn of_sources<K>(ports: &Ports, kind: &'static str, changes: BoxStream<'static, Arc<K>>) -> BoxStream<'static, Ref>
where
    K: Resource<DynamicType = ()> + Send + Sync + 'static,
{
    let fleets = ports.fleets.clone();
    changes
        .flat_map(move |source| {
            let (namespace, name) = nave_runtime::watch::key(source.as_ref());
            stream::iter(select(&fleets, |fleet| {
                fleet.namespace().as_deref() == Some(&namespace) && uses(fleet, kind, &name)
            }))
        })
        .boxed()
}

fn uses(fleet: &FleetKustomization, kind: &str, name: &str) -> bool {
    match &fleet.spec.source.reference {
        Some(reference) => reference.kind == kind && reference.name == name,
        None => kind == "GitRepository" && fleet.name_any() == name,
    }
}

/// A Kustomization on the hub changed: the fleet object that it was made from.
fn of_products(ports: &Ports) -> BoxStream<'static, Ref> {
    ports
        .kustomizations
        .changes()
        .boxed()
        .filter_map(|object| {
            let labels = object.labels();
            let owner = labels
                .get(labels::FLEET_NAME)
                .zip(labels.get(labels::FLEET_NAMESPACE))
                .map(|(name, namespace)| Ref::new(name).within(namespace));
            std::future::ready(owner)
        })
        .boxed()
}

/// A Secret changed: the fleet objects that list it.
fn of_secrets(ports: &Ports, secrets: &Watched<Secret>) -> BoxStream<'static, Ref> {
    let fleets = ports.fleets.clone();
    secrets
        .changes()
        .boxed()
        .flat_map(move |secret| {
            let (namespace, name) = nave_runtime::watch::key(secret.as_ref());
            stream::iter(select(&fleets, |fleet| {
                fleet.namespace().as_deref() == Some(&namespace)
                    && fleet.spec.secrets.iter().any(|one| one.name == name)
            }))
        })
        .boxed()
}

fn select(fleets: &Watched<FleetKustomization>, wanted: impl Fn(&FleetKustomization) -> bool) -> Vec<Ref> {
    fleets
        .store()
        .state()
        .iter()
        .filter(|fleet| wanted(fleet))
        .map(|fleet| Ref::from_obj(fleet.as_ref()))
        .collect()
}
