//! The cluster that an inventory is about. The status has no field for it, and a kubeconfig may be replaced by another
//! cluster's, so an annotation remembers it.

use std::{collections::HashSet, sync::Arc};

use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use nave_apply::Inventory;
use nave_crds::{annotations::NAVE_TARGET, kustomize::Kustomization, managers, meta::KubeConfigRef, reasons};
use nave_targets::Target;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    act::{Pruned, describe_failures, owner_of, prune_stale},
    memory::Kept,
    plan::retry_after,
    reconcile::{Failure, Run},
    target::{account_of, target_of},
};

/// A cluster, and how it was reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Place {
    /// The API server's address; `local` is the cluster that the Kustomization lives in.
    pub server: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kube_config: Option<KubeConfigRef>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service_account_name: String,
}

impl Place {
    fn local() -> Self {
        Place {
            server: nave_targets::LOCAL.to_owned(),
            kube_config: None,
            service_account_name: String::new(),
        }
    }
}

/// What the annotation says; nothing means the local cluster.
fn recorded(object: &Kustomization) -> Option<Place> {
    serde_json::from_str(object.annotations().get(NAVE_TARGET)?).ok()
}

/// The place to clean, and whether the annotation has to be written: pure.
fn compare(recorded: Option<&Place>, current: &Place, has_inventory: bool) -> (Option<Place>, bool) {
    let local = Place::local();
    let before = recorded.unwrap_or(&local);
    if before.server != current.server && has_inventory {
        return (Some(before.clone()), false);
    }
    let is_said = match recorded {
        Some(recorded) => recorded == current,
        None => current.server == local.server,
    };
    (None, !is_said)
}

impl Run<'_> {
    fn place_of(&self, target: &Target) -> Place {
        if self.object.spec.kube_config.is_none() {
            return Place::local();
        }
        Place {
            server: target.server().to_owned(),
            kube_config: self.object.spec.kube_config.clone(),
            service_account_name: account_of(self.object, self.options)
                .map(|account| account.name)
                .unwrap_or_default(),
        }
    }

    /// The cluster that is to be cleaned once everything is applied to `target`; remembers `target` when there is none.
    pub(crate) async fn former_place(&self, kept: &mut Kept, target: &Target) -> Result<Option<Place>, Failure> {
        let current = self.place_of(target);
        let recorded = kept.place.clone().or_else(|| recorded(self.object));
        let has_inventory = self
            .status
            .inventory
            .as_ref()
            .is_some_and(|inventory| !inventory.entries.is_empty());
        let (former, must_write) = compare(recorded.as_ref(), &current, has_inventory);
        if must_write {
            self.record_place(kept, target).await?;
        }
        Ok(former)
    }

    /// From now on the inventory is about `target`.
    async fn record_place(&self, kept: &mut Kept, target: &Target) -> Result<(), Failure> {
        let current = self.place_of(target);
        let value = (current != Place::local())
            .then(|| serde_json::to_string(&current).expect("texts can always be written as JSON"));
        let api: Api<Kustomization> = Api::namespaced(self.ports.client.clone(), &self.key.0);
        let parameters = PatchParams {
            field_manager: Some(managers::KUSTOMIZE_STATUS.to_owned()),
            ..PatchParams::default()
        };
        let patch = json!({"metadata": {"annotations": {NAVE_TARGET: value}}});
        api.patch_metadata(&self.key.1, &parameters, &Patch::Merge(patch))
            .await
            .map_err(|error| {
                let message = format!("writing the annotation {NAVE_TARGET}: {error}");
                Failure::new(reasons::kustomize::RECONCILIATION_FAILED, message)
            })?;
        kept.place = Some(current);
        Ok(())
    }

    /// Deletes what was applied to the former cluster. `kept_uids` were applied now: two addresses may be one cluster.
    pub(crate) async fn leave(
        &mut self,
        kept: &mut Kept,
        target: &Target,
        former: &Place,
        before: &Inventory,
        kept_uids: &HashSet<String>,
    ) -> Result<(), Failure> {
        if self.object.spec.prune {
            self.clean(former, before, kept_uids).await?;
        } else {
            let message = format!(
                "spec.prune is off: {} objects stay in the former cluster {}",
                before.len(),
                former.server
            );
            self.reporter().info(reasons::PROGRESSING, &message, &self.revision);
        }
        self.record_place(kept, target).await
    }

    /// Deletes an inventory in the cluster that this Kustomization was applied to before.
    pub(crate) async fn clean(
        &self,
        former: &Place,
        before: &Inventory,
        kept_uids: &HashSet<String>,
    ) -> Result<(), Failure> {
        let failed = |why: String| {
            let message = format!(
                "{} objects in the former cluster {} could not be deleted: {why}; to leave them there, set spec.prune to \
                 false until the next reconcile",
                before.len(),
                former.server
            );
            Failure::new(reasons::kustomize::PRUNE_FAILED, message)
        };
        let target = self.target_in(former).await.map_err(failed)?;
        let owner = owner_of(self.object);
        let stale = before.stale(&Inventory::new());
        let change = &self.revision.revision;
        let outcome = match prune_stale(&target, &stale, &owner, change, kept_uids, self.ports, self.options).await {
            Pruned::Done(outcome) => outcome,
            Pruned::Failed(outcome) => return Err(failed(describe_failures(&outcome))),
            Pruned::Held(reason) => {
                let message = format!(
                    "deletions in the former cluster {} wait for a permit: {reason}",
                    former.server
                );
                return Err(Failure {
                    after: Some(retry_after(&self.object.spec).min(self.options.requeue_dependency)),
                    ..Failure::new(reasons::kustomize::PRUNE_HELD, message)
                });
            }
        };
        if !outcome.deleted.is_empty() {
            let list = outcome.listed.join("\n");
            let message = format!("in the former cluster {}:\n{list}", former.server);
            self.reporter().info(reasons::PROGRESSING, &message, &self.revision);
        }
        Ok(())
    }

    async fn target_in(&self, place: &Place) -> Result<Arc<Target>, String> {
        let mut as_it_was = self.object.clone();
        as_it_was.spec.kube_config.clone_from(&place.kube_config);
        if place.kube_config.is_some() {
            as_it_was
                .spec
                .service_account_name
                .clone_from(&place.service_account_name);
        }
        let target = target_of(&as_it_was, self.ports, self.options)
            .await
            .map_err(|error| error.to_string())?;
        if place.kube_config.is_some() && target.server() != place.server {
            return Err(format!("its kubeconfig leads to {} now", target.server()));
        }
        Ok(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(server: &str, secret: &str) -> Place {
        Place {
            server: server.into(),
            kube_config: Some(serde_json::from_value(json!({"secretRef": {"name": secret}})).expect("a reference")),
            service_account_name: String::new(),
        }
    }

    #[test]
    fn what_is_cleaned_and_what_is_written() {
        let (a, b) = (place("https://a", "k"), place("https://b", "k"));
        let local = Place::local();
        // Always local: nothing is ever written.
        assert_eq!(compare(None, &local, true), (None, false));
        assert_eq!(compare(None, &a, false), (None, true));
        assert_eq!(compare(None, &a, true), (Some(local.clone()), false));
        assert_eq!(compare(Some(&a), &a, true), (None, false));
        assert_eq!(compare(Some(&a), &b, true), (Some(a.clone()), false));
        assert_eq!(compare(Some(&a), &b, false), (None, true));
        assert_eq!(compare(Some(&a), &local, true), (Some(a.clone()), false));
        // The same cluster by another Secret.
        assert_eq!(compare(Some(&a), &place("https://a", "l"), true), (None, true));
    }

    #[test]
    fn places_are_written_as_json() {
        let text = serde_json::to_string(&place("https://a", "k")).expect("it can be written");
        assert_eq!(
            text,
            r#"{"server":"https://a","kubeConfig":{"secretRef":{"name":"k"}}}"#
        );
        assert_eq!(
            serde_json::from_str::<Place>(&text).expect("it is one"),
            place("https://a", "k")
        );
    }
}
