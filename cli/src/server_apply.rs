//! Applying and deleting the objects of an installation.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail};
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PropagationPolicy},
    core::GroupVersion,
    discovery::{ApiGroup, Scope, pinned_group},
};
use nave_object::{Gvk, Object};

use crate::{api::FIELD_MANAGER, fields, progress::Progress, wait};

/// What applying an object did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did not exist.
    Created,
    /// It was changed.
    Configured,
    /// It was as wanted.
    Unchanged,
}

impl Outcome {
    /// As kubectl prints it.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Created => "created",
            Outcome::Configured => "configured",
            Outcome::Unchanged => "unchanged",
        }
    }
}

/// Knows where objects of a kind are, one request per group and version.
pub struct Applier {
    client: Client,
    groups: BTreeMap<String, Option<ApiGroup>>,
}

impl Applier {
    /// Knows nothing yet.
    pub fn new(client: Client) -> Applier {
        Applier {
            client,
            groups: BTreeMap::new(),
        }
    }

    /// Applies one object server-side, as the owner of its fields.
    ///
    /// # Errors
    /// Whatever the API server answers, with the object.
    pub async fn apply(&mut self, object: &Object) -> Result<Outcome> {
        let what = || format!("applying {object}");
        let api = self.api(&object.gvk(), object.namespace()).await?;
        let before = api.get_metadata_opt(object.name()).await.with_context(what)?;
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let after = api
            .patch(object.name(), &params, &Patch::Apply(object))
            .await
            .with_context(what)?;
        Ok(match before {
            None => Outcome::Created,
            Some(before) if before.metadata.resource_version == after.metadata.resource_version => Outcome::Unchanged,
            Some(_) => Outcome::Configured,
        })
    }

    /// Deletes one object; false when it, or its kind, does not exist.
    ///
    /// # Errors
    /// Whatever the API server answers, with the object.
    pub async fn delete(&mut self, gvk: &Gvk, namespace: Option<&str>, name: &str) -> Result<bool> {
        let Some((resource, scope)) = self.resource(gvk).await? else {
            return Ok(false);
        };
        let api = api_of(&self.client, &resource, &scope, namespace);
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        match api.delete(name, &params).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(error) => Err(error).with_context(|| format!("deleting {} {name}", gvk.kind)),
        }
    }

    /// Where objects of a kind are.
    ///
    /// # Errors
    /// A kind that the API server does not know.
    pub async fn api(&mut self, gvk: &Gvk, namespace: Option<&str>) -> Result<Api<DynamicObject>> {
        match self.resource(gvk).await? {
            Some((resource, scope)) => Ok(api_of(&self.client, &resource, &scope, namespace)),
            None => bail!(
                "the cluster does not know the kind {} of {}",
                gvk.kind,
                gvk.api_version()
            ),
        }
    }

    /// As [`Applier::api`]; None for a kind that the API server does not know.
    ///
    /// # Errors
    /// Whatever else the API server answers.
    pub async fn api_if_known(&mut self, gvk: &Gvk, namespace: Option<&str>) -> Result<Option<Api<DynamicObject>>> {
        let resource = self.resource(gvk).await?;
        Ok(resource.map(|(resource, scope)| api_of(&self.client, &resource, &scope, namespace)))
    }

    async fn resource(&mut self, gvk: &Gvk) -> Result<Option<(ApiResource, Scope)>> {
        let api_version = gvk.api_version();
        if !self.groups.contains_key(&api_version) {
            let version: GroupVersion = api_version
                .parse()
                .with_context(|| format!("{api_version:?} is no API version"))?;
            let group = match pinned_group(&self.client, &version).await {
                Ok(group) => Some(group),
                Err(kube::Error::Api(status)) if status.code == 404 => None,
                Err(kube::Error::Discovery(_)) => None,
                Err(error) => return Err(error).with_context(|| format!("asking for the kinds of {api_version}")),
            };
            self.groups.insert(api_version.clone(), group);
        }
        let group = self.groups.get(&api_version).and_then(Option::as_ref);
        let found = group.and_then(|group| {
            group
                .versioned_resources(&gvk.version)
                .into_iter()
                .find(|(resource, _)| resource.kind == gvk.kind)
        });
        Ok(found.map(|(resource, capabilities)| (resource, capabilities.scope)))
    }
}

fn api_of(client: &Client, resource: &ApiResource, scope: &Scope, namespace: Option<&str>) -> Api<DynamicObject> {
    match (scope, namespace) {
        (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(client.clone(), namespace, resource),
        (Scope::Namespaced, None) => Api::default_namespaced_with(client.clone(), resource),
        (Scope::Cluster, _) => Api::all_with(client.clone(), resource),
    }
}

/// Applies all objects in their order; definitions and namespaces are waited for before what may need them.
///
/// # Errors
/// The first object that is refused, or a definition that is not established in time.
pub async fn apply_all(
    applier: &mut Applier,
    objects: &[Object],
    timeout: Duration,
    mut report: impl FnMut(&Object, Outcome),
) -> Result<()> {
    let progress = Progress::bar(objects.len(), "applying");
    let mut definitions = Vec::new();
    for object in objects {
        if object.kind() != "CustomResourceDefinition" {
            for name in definitions.drain(..) {
                established(applier, name, timeout).await?;
            }
        }
        progress.message(format!("applying {object}"));
        let outcome = applier.apply(object).await?;
        report(object, outcome);
        progress.step();
        if object.kind() == "CustomResourceDefinition" {
            definitions.push(object.name());
        }
    }
    for name in definitions {
        established(applier, name, timeout).await?;
    }
    Ok(())
}

async fn established(applier: &mut Applier, name: &str, timeout: Duration) -> Result<()> {
    let gvk = Gvk::new("apiextensions.k8s.io/v1", "CustomResourceDefinition");
    let api = applier.api(&gvk, None).await?;
    let judge = |object: &DynamicObject| {
        let status =
            |kind: &str| fields::condition(object, kind).map(|condition| (condition.status, condition.message));
        match (status("Established"), status("NamesAccepted")) {
            (Some(("True", _)), _) => wait::Verdict::Done(String::new()),
            (_, Some(("False", message))) => wait::Verdict::Failed(message.to_owned()),
            _ => wait::Verdict::Waiting(String::new()),
        }
    };
    wait::until(api, name, &format!("waiting for the definition {name}"), timeout, judge).await?;
    Ok(())
}
