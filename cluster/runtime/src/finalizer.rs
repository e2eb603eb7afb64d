//! Adding and removing one finalizer without disturbing those of others.

use std::fmt::Debug;

use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::json;

/// Adds `finalizer` unless it is there or the object is already being deleted. True when a write was made.
pub async fn add<K>(api: &Api<K>, object: &K, finalizer: &str, manager: &str) -> kube::Result<bool>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    if object.meta().deletion_timestamp.is_some() || has(object, finalizer) {
        return Ok(false);
    }
    let mut finalizers = object.finalizers().to_vec();
    finalizers.push(finalizer.to_owned());
    replace(api, object, finalizers, manager).await?;
    Ok(true)
}

/// Removes `finalizer`. Not there, or the object gone meanwhile, is fine.
pub async fn remove<K>(api: &Api<K>, object: &K, finalizer: &str, manager: &str) -> kube::Result<()>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    if !has(object, finalizer) {
        return Ok(());
    }
    let finalizers: Vec<String> = object
        .finalizers()
        .iter()
        .filter(|f| *f != finalizer)
        .cloned()
        .collect();
    match replace(api, object, finalizers, manager).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other,
    }
}

/// Whether the object carries `finalizer`.
pub fn has<K: Resource>(object: &K, finalizer: &str) -> bool {
    object
        .meta()
        .finalizers
        .as_ref()
        .is_some_and(|list| list.iter().any(|f| f == finalizer))
}

/// Naming the resourceVersion turns a concurrent change of the list into a conflict instead of a lost entry.
async fn replace<K>(api: &Api<K>, object: &K, finalizers: Vec<String>, manager: &str) -> kube::Result<()>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let patch = json!({"metadata": {
        "finalizers": finalizers,
        "resourceVersion": object.resource_version(),
    }});
    let parameters = PatchParams {
        field_manager: Some(manager.to_owned()),
        ..PatchParams::default()
    };
    api.patch_metadata(&object.name_any(), &parameters, &Patch::Merge(patch))
        .await?;
    Ok(())
}
