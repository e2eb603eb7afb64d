//! Objects of a release in the cluster: how they are addressed, written and deleted.

use std::time::Duration;

use futures::{FutureExt, StreamExt, stream};
use kube::{
    Api,
    api::{DeleteParams, Preconditions, PropagationPolicy},
    core::DynamicObject,
};
use nave_apply::{WaitItem, entry_of, judge, plan};
use nave_crds::{kustomize::ResourceRef, managers};
use nave_object::{Object, ObjectId};
use nave_release::{Ownership, RESOURCE_POLICY};
use nave_runtime::ports::{Action, Permit};
use nave_targets::{ApplyMode, ResolveError, Resource, is_not_found};
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    act::{Act, Failed},
    managers::fold,
};

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

/// How objects are written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct How {
    /// Objects of somebody else are not taken over.
    pub respect_owners: bool,
    /// Fields that Helm's client-side merge wrote become ours.
    pub take_over_fields: bool,
    /// It has to be known which objects are new.
    pub notice_created: bool,
}

/// An object that was written.
pub(crate) struct Written {
    pub placed: Placed,
    pub created: bool,
    health: Option<(u64, nave_health::Health)>,
}

impl Written {
    pub fn wait_item(&self) -> WaitItem {
        self.placed.wait_item(self.health.clone())
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

    /// Writes objects in their order; those of one kind that follow each other at once. `known` are those that the
    /// release had before, whoever owns them now.
    ///
    /// What was written before an error is given back with it.
    pub async fn write_all(
        &self,
        placed: Vec<Placed>,
        known: &[ObjectId],
        how: How,
    ) -> Result<Vec<Written>, (Vec<Written>, Failed)> {
        let mut written = Vec::with_capacity(placed.len());
        let mut rest = placed;
        while let Some(first) = rest.first() {
            let kind = first.resource.gvk.clone();
            let same = rest.iter().take_while(|other| other.resource.gvk == kind).count();
            let later = rest.split_off(same);
            let results: Vec<Result<Written, Failed>> = stream::iter(
                rest.into_iter()
                    .map(|one| {
                        let is_known = known.contains(&one.id());
                        self.write(one, is_known, how).boxed()
                    })
                    .collect::<Vec<_>>(),
            )
            .buffered(self.options.concurrent_requests.max(1))
            .collect()
            .await;
            let mut failures = Vec::new();
            for result in results {
                match result {
                    Ok(one) => written.push(one),
                    Err(failed) => failures.push(failed.message),
                }
            }
            if !failures.is_empty() {
                return Err((written, Failed::new(failures.join(" && "))));
            }
            rest = later;
        }
        Ok(written)
    }

    async fn write(&self, placed: Placed, is_known: bool, how: How) -> Result<Written, Failed> {
        let (id, resource) = (placed.id(), &placed.resource);
        self.ports
            .policy
            .check(
                &self.owner(),
                Action::Apply,
                &id.group,
                &id.kind,
                &id.namespace,
                &id.name,
            )
            .map_err(|why| Failed::new(format!("{id} is not allowed here: {why}")))?;
        let failed = |what: &str, error: &kube::Error| {
            Failed::new(blanked(&placed.object, format!("{what} {id}: {}", describe(error))))
        };
        let mut created = false;
        if how.notice_created || how.take_over_fields || how.respect_owners && !is_known {
            let live = self.target.get(resource, &id.namespace, &id.name).await;
            let live = live.map_err(|error| failed("reading", &error))?;
            created = live.is_none();
            if let Some(live) = live {
                self.check_owner(&placed, &live, is_known, how)?;
                if how.take_over_fields
                    && let Some(patch) = fold(&live, &self.options.override_managers)
                {
                    self.target
                        .json_patch(resource, &id.namespace, &id.name, managers::HELM, &patch)
                        .await
                        .map_err(|error| failed("taking over the fields of", &error))?;
                }
            }
        }
        let live = self
            .target
            .apply(
                resource,
                &id.namespace,
                &id.name,
                managers::HELM,
                placed.object.as_value(),
                ApplyMode::Write,
            )
            .await
            .map_err(|error| failed("server-side apply failed for object", &error))?;
        let version = live
            .pointer("/metadata/resourceVersion")
            .and_then(Value::as_str)
            .and_then(|version| version.parse().ok());
        let health = judge(self.expressions.clone())(&live);
        Ok(Written {
            placed,
            created,
            health: version.map(|version| (version, health)),
        })
    }

    fn check_owner(&self, placed: &Placed, live: &Value, is_known: bool, how: How) -> Result<(), Failed> {
        if is_known || !how.respect_owners {
            return Ok(());
        }
        let Ok(live) = Object::from_value(live.clone()) else {
            return Ok(());
        };
        match self.ownership().problem(&live) {
            None => Ok(()),
            Some(problem) => Err(Failed::new(format!(
                "{} exists and cannot be imported into the current release: {problem}",
                placed.object
            ))),
        }
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
fn blanked(object: &Object, mut text: String) -> String {
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
