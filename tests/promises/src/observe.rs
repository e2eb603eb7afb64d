//! Reading clusters the way a sceptic would: the objects themselves, not what anybody reports of them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, StatefulSet},
    core::v1::{ConfigMap, Event, Namespace, Secret, Service},
};
use kube::{Api, Client, Resource, ResourceExt, api::ListParams};
use serde::de::DeserializeOwned;

/// `Kind/namespace/name` of every workload that the examples make, with its uid: equal maps mean that nothing was
/// re-created.
pub async fn workload_uids(client: &Client) -> Result<BTreeMap<String, String>> {
    let mut uids = BTreeMap::new();
    collect::<Deployment>(client, &mut uids).await?;
    collect::<StatefulSet>(client, &mut uids).await?;
    collect::<DaemonSet>(client, &mut uids).await?;
    collect::<Service>(client, &mut uids).await?;
    collect::<ConfigMap>(client, &mut uids).await?;
    collect::<Namespace>(client, &mut uids).await?;
    Ok(uids)
}

async fn collect<K>(client: &Client, uids: &mut BTreeMap<String, String>) -> Result<()>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let list = Api::<K>::all(client.clone())
        .list(&ListParams::default())
        .await
        .with_context(|| format!("listing {}", K::kind(&())))?;
    for object in list {
        let key = format!(
            "{}/{}/{}",
            K::kind(&()),
            object.namespace().unwrap_or_default(),
            object.name_any()
        );
        uids.insert(key, object.uid().unwrap_or_default());
    }
    Ok(())
}

/// One Deployment, if it is there.
pub async fn deployment(client: &Client, namespace: &str, name: &str) -> Result<Option<Deployment>> {
    Ok(Api::namespaced(client.clone(), namespace).get_opt(name).await?)
}

/// One ConfigMap, if it is there.
pub async fn config_map(client: &Client, namespace: &str, name: &str) -> Result<Option<ConfigMap>> {
    Ok(Api::namespaced(client.clone(), namespace).get_opt(name).await?)
}

/// One Secret, if it is there.
pub async fn secret(client: &Client, namespace: &str, name: &str) -> Result<Option<Secret>> {
    Ok(Api::namespaced(client.clone(), namespace).get_opt(name).await?)
}

/// The image of the first container of a Deployment.
pub fn image(deployment: &Deployment) -> Option<&str> {
    deployment
        .spec
        .template
        .spec
        .as_ref()?
        .containers
        .first()?
        .image
        .as_deref()
}

/// The messages of all events of a cluster.
pub async fn event_messages(client: &Client) -> Result<Vec<String>> {
    let events = Api::<Event>::all(client.clone()).list(&ListParams::default()).await?;
    Ok(events.into_iter().filter_map(|event| event.message).collect())
}
