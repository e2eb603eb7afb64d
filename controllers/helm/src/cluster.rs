//! Objects of a release in the cluster: how they are addressed and deleted.

use std::time::Duration;

use kube::{
    Api,
    api::{DeleteParams, Preconditions, PropagationPolicy},
    core::DynamicObject,
};
use nave_apply::{WaitItem, entry_of, plan};
use nave_crds::kustomize::ResourceRef;
use nave_object::{Object, ObjectId};
use nave_release::{Ownership, RESOURCE_POLICY};
use nave_runtime::ports::{Action, Permit};
use nave_targets::{ResolveError, Resource, is_not_found};
use serde_json::Value;
use tokio::time::Instant;

use crate::act::{Act, Failed};

/// A kind whose definition was just written may be served a moment after the definition says so.
const KIND_DEADLINE: Duration = Duration::from_secs(10);
const KIND_PAUSE: Duration = Duration::from_millis(200);
/// Shorter values of Secrets are not blanked in errors: they would blank half of the text.
const SHORTEST_SECRET: usize = 4;

/// An object of a release, and how it is addressed.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub object: Object,
    pub resource: Resource,
}

impl Placed {
    pub fn id(&self) -> ObjectId {
        self.object.id()
    }

    /// Its entry in `status.inventory`.
    pub fn entry(&self) -> ResourceRef {
        entry_of(&self.object)
    }

    /// To be waited for; `live` as it was seen last.
    pub fn wait_item(&self, live: Option<(u64, nave_health::Health)>) -> WaitItem {
        WaitItem {
            id: self.id(),
            resource: self.resource.clone(),
            seen: live,
            may_vanish: self.object.kind() == "Job" && self.object.pointer("/spec/ttlSecondsAfterFinished").is_some(),
        }
    }
}

impl Act<'_> {
    /// Finds out how objects are addressed; those without a namespace go to that of the release.
    pub async fn place_all(&self, objects: Vec<Object>) -> Result<Vec<Placed>, Failed> {
        let mut placed = Vec::with_capacity(objects.len());
        for object in objects {
            placed.push(self.place_one(object).await?);
        }
        Ok(placed)
    }

    async fn place_one(&self, mut object: Object) -> Result<Placed, Failed> {
        let gvk = object.gvk();
        let deadline = Instant::now() + KIND_DEADLINE;
        let resource = loop {
            match self.target.resolve(&gvk).await {
                Ok(resource) => break resource,
                Err(ResolveError::NoMatch(_)) if self.has_new_definitions && Instant::now() < deadline => {
                    tokio::time::sleep(KIND_PAUSE).await;
                    self.target.forget_group(&gvk.group);
                }
                Err(error) => {
                    return Err(Failed::new(format!(
                        "unable to build kubernetes object {object}: {}",
                        crate::act::chain(&error)
                    )));
                }
            }
        };
        if !resource.namespaced {
            if let Some(metadata) = object.as_value_mut().get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("namespace");
            }
        } else if object.namespace().is_none_or(str::is_empty) {
            object.set_namespace(&self.place.namespace);
        }
        Ok(Placed { object, resource })
    }

    /// Like [`Act::place_all`] for objects that are to be deleted: with a kind that is gone went its objects.
    pub async fn place_known(&self, objects: Vec<Object>) -> Result<Vec<Placed>, Failed> {
        let mut placed = Vec::with_capacity(objects.len());
        for object in objects {
            match self.target.resolve(&object.gvk()).await {
                Err(ResolveError::NoMatch(_)) => {}
                _ => placed.push(self.place_one(object).await?),
            }
        }
        Ok(placed)
    }

    pub fn ownership(&self) -> Ownership<'_> {
        Ownership {
            name: &self.place.name,
            namespace: &self.place.namespace,
        }
    }

    /// Asks whoever may permit it, and deletes. Objects that are gone, say `keep` where `may_stay`, or belong to somebody
    /// else, are left; what was deleted is given back to be waited for.
    pub async fn delete_all(
        &self,
        doomed: Vec<Placed>,
        change: &str,
        propagation: &str,
        may_stay: bool,
    ) -> Result<Vec<WaitItem>, Failed> {
        let mut found = Vec::new();
        for placed in doomed {
            let id = placed.id();
            let live = self
                .target
                .get(&placed.resource, &id.namespace, &id.name)
                .await
                .map_err(|error| Failed::new(format!("reading {id}: {}", describe(&error))))?;
            let Some(live) = live.and_then(|live| Object::from_value(live).ok()) else {
                continue;
            };
            if may_stay && live.annotation(RESOURCE_POLICY) == Some("keep") {
                continue;
            }
            if let Some(problem) = self.ownership().problem(&live) {
                tracing::info!(object = %id, problem, "left in place");
                continue;
            }
            found.push((placed, live));
        }
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let entries: Vec<ResourceRef> = found.iter().map(|(placed, _)| placed.entry()).collect();
        let prune = plan(&self.owner(), change, &entries);
        if let Permit::Held { reason } = self.ports.permits.permit(&prune).await {
            return Err(Failed::new(format!("deletions wait for a permit: {reason}")));
        }
        let mut waits = Vec::with_capacity(found.len());
        let mut failures = Vec::new();
        for (placed, live) in found {
            match self.delete(&placed, Some(&live), propagation).await {
                Ok(()) => waits.push(placed.wait_item(None)),
                Err(failed) => failures.push(failed.message),
            }
        }
        match failures.is_empty() {
            true => Ok(waits),
            false => Err(Failed::new(failures.join(" && "))),
        }
    }

    /// Deletes one object; with `live`, only that very one.
    pub async fn delete(&self, placed: &Placed, live: Option<&Object>, propagation: &str) -> Result<(), Failed> {
        let id = placed.id();
        self.ports
            .policy
            .check(
                &self.owner(),
                Action::Delete,
                &id.group,
                &id.kind,
                &id.namespace,
                &id.name,
            )
            .map_err(|why| Failed::new(format!("{id} is not allowed here: {why}")))?;
        let kind = placed.resource.api_resource();
        let api: Api<DynamicObject> = match placed.resource.namespaced {
            true => Api::namespaced_with(self.target.client().clone(), &id.namespace, &kind),
            false => Api::all_with(self.target.client().clone(), &kind),
        };
        let uid = live
            .and_then(|live| live.pointer("/metadata/uid"))
            .and_then(Value::as_str);
        let parameters = DeleteParams {
            propagation_policy: Some(match propagation {
                "Foreground" => PropagationPolicy::Foreground,
                "Orphan" => PropagationPolicy::Orphan,
                _ => PropagationPolicy::Background,
            }),
            preconditions: uid.map(|uid| Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match api.delete(&id.name, &parameters).await {
            Ok(_) => Ok(()),
            Err(error) if is_not_found(&error) => Ok(()),
            Err(error) => Err(Failed::new(format!(
                "failed to delete resource {id}: {}",
                describe(&error)
            ))),
        }
    }
}

/// What the API server says, or why it says nothing.
pub(crate) fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => crate::act::chain(other),
    }
}

/// The values of a Secret appear in no error.
pub(crate) fn blanked(object: &Object, mut text: String) -> String {
    if object.kind() != "Secret" {
        return text;
    }
    for field in ["data", "stringData"] {
        let values = object.as_value().get(field).and_then(Value::as_object);
        for value in values
            .into_iter()
            .flat_map(|values| values.values())
            .filter_map(Value::as_str)
        {
            if value.len() >= SHORTEST_SECRET {
                text = text.replace(value, "*****");
            }
        }
    }
    text
}
