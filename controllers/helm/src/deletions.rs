//! Deleting objects of a release. What an action deletes is asked for as a whole, before anything of it is done: a release
//! that would wait in the middle could neither be finished nor be called failed.

use kube::{
    Api, Resource,
    api::{DeleteParams, Preconditions, PropagationPolicy},
    core::DynamicObject,
};
use nave_apply::{WaitItem, plan};
use nave_crds::{helm::HelmRelease, kustomize::ResourceRef};
use nave_object::{Object, ObjectId};
use nave_release::RESOURCE_POLICY;
use nave_runtime::ports::{Action, Permit};
use nave_targets::is_not_found;
use serde_json::Value;

use crate::{
    act::{Act, Failed},
    cluster::{Placed, describe},
};

/// An object that is there, and as it is.
type Found = (Placed, Object);

impl Act<'_> {
    /// Asks for the deletions of an action, of which nothing was done yet. `may_stay` as for [`Act::delete_all`].
    ///
    /// # Errors
    /// They are held.
    pub async fn ask_to_delete(&mut self, doomed: &[Placed], change: &str, may_stay: bool) -> Result<(), Failed> {
        let found = self.deletable(doomed.to_vec(), may_stay).await?;
        self.ask(&found, change, false).await
    }

    /// Asks for the deletions of an uninstallation. Of a release that worked once they count as the end of the whole
    /// release and not as that of some objects, so that they wait for a person as the deletion of a Flux object does.
    ///
    /// # Errors
    /// They are held.
    pub async fn ask_to_uninstall(&mut self, doomed: &[Placed], change: &str, worked: bool) -> Result<(), Failed> {
        let found = self.deletable(doomed.to_vec(), false).await?;
        self.ask(&found, change, worked).await
    }

    /// Deletes what was permitted; what became deletable since then is asked for. Objects that are gone, say `keep` where
    /// `may_stay`, or belong to somebody else, are left; what was deleted is given back to be waited for.
    pub async fn delete_all(
        &mut self,
        doomed: Vec<Placed>,
        change: &str,
        propagation: &str,
        may_stay: bool,
    ) -> Result<Vec<WaitItem>, Failed> {
        let found = self.deletable(doomed, may_stay).await?;
        self.ask(&found, change, false).await?;
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

    async fn ask(&mut self, found: &[Found], change: &str, ends_release: bool) -> Result<(), Failed> {
        if found.iter().all(|(placed, _)| self.permitted.contains(&placed.id())) {
            return Ok(());
        }
        let mut entries: Vec<ResourceRef> = found.iter().map(|(placed, _)| placed.entry()).collect();
        if ends_release {
            entries.push(self.as_a_whole());
        }
        let prune = plan(&self.owner(), change, &entries);
        if let Permit::Held { reason } = self.ports.permits.permit(&prune).await {
            return Err(Failed::held(found.len(), &reason));
        }
        self.permitted = found.iter().map(|(placed, _)| placed.id()).collect();
        Ok(())
    }

    /// The release, as one more thing that goes.
    fn as_a_whole(&self) -> ResourceRef {
        let owner = self.owner();
        let id = ObjectId {
            group: HelmRelease::group(&()).into_owned(),
            kind: owner.kind,
            namespace: owner.namespace,
            name: owner.name,
        };
        ResourceRef {
            id: id.inventory_id(),
            v: HelmRelease::version(&()).into_owned(),
        }
    }

    /// Those that are there and this release's to delete.
    async fn deletable(&self, doomed: Vec<Placed>, may_stay: bool) -> Result<Vec<Found>, Failed> {
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
        Ok(found)
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
