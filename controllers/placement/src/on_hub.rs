//! Kustomizations and HelmReleases on the hub, for clusters that it reaches with a kubeconfig.

use std::collections::BTreeMap;

use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use nave_crds::{labels, managers};
use nave_object::Object;
use nave_placement::{ClusterKey, OwnerKey, Policy};
use nave_runtime::Watched;

use crate::kind::Product;

/// The products of a fleet object: name and cluster.
pub(crate) fn observe<P: Product>(watched: &Watched<P>, owner: &OwnerKey) -> BTreeMap<String, ClusterKey> {
    watched
        .store()
        .state()
        .into_iter()
        .filter(|one| {
            one.namespace().as_deref() == Some(&owner.namespace)
                && one.labels().get(labels::FLEET_UID) == Some(&owner.uid)
        })
        .filter_map(|one| {
            let labels = one.labels();
            let cluster = ClusterKey::new(
                labels.get(labels::FLEET_CLUSTER_NAMESPACE)?,
                labels.get(labels::FLEET_CLUSTER)?,
            );
            Some((one.name_any(), cluster))
        })
        .collect()
}

/// Whether someone else's object has this name.
pub(crate) fn is_foreign<P: Product>(watched: &Watched<P>, owner: &OwnerKey, name: &str) -> bool {
    watched
        .get(&owner.namespace, name)
        .is_some_and(|one| one.labels().get(labels::FLEET_UID) != Some(&owner.uid))
}

/// Applies one. The answer is its generation afterwards.
pub(crate) async fn apply<P: Product>(client: &Client, object: &Object) -> kube::Result<Option<i64>> {
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<P> = Api::namespaced(client.clone(), namespace);
    let parameters = PatchParams::apply(managers::FLEET).force().validation_strict();
    let applied = api
        .patch(object.name(), &parameters, &Patch::Apply(object.as_value()))
        .await?;
    Ok(applied.meta().generation)
}

/// Deletes one. With [`Policy::Orphan`] the workloads stay on the cluster.
///
/// Nothing waits for the cluster: the product goes when the cluster was pruned, and its
/// fleet object is gone by then.
pub(crate) async fn delete<P: Product>(
    client: &Client,
    namespace: &str,
    name: &str,
    policy: Policy,
) -> kube::Result<()> {
    let api: Api<P> = Api::namespaced(client.clone(), namespace);
    let gone = |error: &kube::Error| matches!(error, kube::Error::Api(status) if status.code == 404);
    if policy == Policy::Orphan {
        let parameters = PatchParams {
            field_manager: Some(managers::FLEET.to_owned()),
            ..PatchParams::default()
        };
        match api.patch(name, &parameters, &Patch::Merge(P::orphan())).await {
            Err(error) if gone(&error) => return Ok(()),
            other => other?,
        };
    }
    match api.delete(name, &DeleteParams::default()).await {
        Err(error) if gone(&error) => Ok(()),
        other => other.map(|_| ()),
    }
}
