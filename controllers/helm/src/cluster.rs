//! Objects of a release in the cluster: how they are addressed.

use std::time::Duration;

use nave_apply::{WaitItem, entry_of};
use nave_crds::kustomize::ResourceRef;
use nave_object::{Object, ObjectId};
use nave_release::Ownership;
use nave_targets::{ResolveError, Resource};
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
        let mut asks_anew = self.object.spec.persistent_client == Some(false);
        let resource = loop {
            match self.target.resolve(&gvk).await {
                Ok(resource) => break resource,
                // Nothing that was said before counts: a hook may have brought the kind along since.
                Err(ResolveError::NoMatch(_)) if std::mem::take(&mut asks_anew) => {
                    self.target.forget_group(&gvk.group);
                }
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
