//! From an object to the Kustomization or HelmRelease that applied it.

use anyhow::{Context, Result};
use futures::future::{BoxFuture, FutureExt};
use kube::{ResourceExt, api::DynamicObject};

use crate::{
    connection::Connection,
    discovery::Lazy,
    flux_kinds::HELM_RELEASE,
    kinds::{KUSTOMIZATION, Kind},
};

/// Owners of owners that are looked at; real ones go three deep, and a cycle ends here.
const DEEPEST: usize = 8;

/// Who applied an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Kustomization or HelmRelease.
    pub kind: &'static Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Who applied the object, or what made it; none when nobody of Flux did.
///
/// # Errors
/// The API server refuses to show an owner.
pub async fn owner_of(connection: &Connection, discovery: &Lazy<'_>, object: &DynamicObject) -> Result<Option<Owner>> {
    look(connection, discovery, object, DEEPEST).await
}

fn look<'a>(
    connection: &'a Connection,
    discovery: &'a Lazy<'_>,
    object: &'a DynamicObject,
    left: usize,
) -> BoxFuture<'a, Result<Option<Owner>>> {
    async move {
        // A Helm release's chart may carry the labels of the Kustomization of another cluster; flux looks in this order.
        if let Some(owner) = [&KUSTOMIZATION, &HELM_RELEASE]
            .into_iter()
            .find_map(|kind| labelled(kind, object))
        {
            return Ok(Some(owner));
        }
        if left == 0 {
            return Ok(None);
        }
        let namespace = object.namespace().unwrap_or_default();
        for reference in object.owner_references() {
            let Some(known) = discovery.get().await?.exact(&reference.api_version, &reference.kind) else {
                continue;
            };
            let maker = known
                .api(&connection.client, &namespace)
                .get_opt(&reference.name)
                .await
                .with_context(|| format!("getting the owner {}/{}", reference.kind, reference.name))?;
            if let Some(maker) = maker
                && let Some(owner) = look(connection, discovery, &maker, left - 1).await?
            {
                return Ok(Some(owner));
            }
        }
        Ok(None)
    }
    .boxed()
}

fn labelled(kind: &'static Kind, object: &DynamicObject) -> Option<Owner> {
    let label = |name: &str| object.labels().get(&format!("{}/{name}", kind.group)).cloned();
    Some(Owner {
        kind,
        name: label("name").filter(|name| !name.is_empty())?,
        namespace: label("namespace").filter(|namespace| !namespace.is_empty())?,
    })
}
