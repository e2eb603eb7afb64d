//! Deleting what left the set, but for what others want, what is guarded, and what nobody permits.

use std::collections::HashSet;

use kube::ResourceExt;
use nave_apply::{Change, Inventory, PruneVerdict, plan, preview_prune};
use nave_crds::{annotations::NAVE_CONFIRM_PRUNE, kustomize::ResourceRef, reasons};
use nave_object::ObjectId;
use nave_targets::Target;
use tokio::time::Instant;

use crate::{
    act::{Pruned, describe_failures, owner_of, prune_stale},
    claims::{Divided, with_pending},
    memory::Kept,
    plan::{retry_after, timeout_of},
    reconcile::{Failure, Run},
};

/// How much of a plan's digest names it to a person.
const SHORT: usize = 12;

/// Deletions that wait for a person.
pub(crate) struct HeldBack {
    pub entries: Vec<ResourceRef>,
    pub message: String,
}

impl Run<'_> {
    /// Deletes what left the set; true when something was deleted.
    pub(crate) async fn prune(
        &mut self,
        kept: &mut Kept,
        target: &Target,
        before: &Inventory,
        changes: &[Change],
    ) -> Result<bool, Failure> {
        let now: Inventory = changes.iter().map(|change| change.entry.clone()).collect();
        let stale = before.stale(&now);
        self.set_inventory(&now);
        if !self.object.spec.prune {
            kept.left_to_others(Vec::new());
            return Ok(false);
        }
        let uids = uids_of(changes);
        let Divided { stale, pending } = self.not_wanted_elsewhere(kept, stale).await;
        let now = with_pending(&now, &pending);
        self.set_inventory(&now);
        if !pending.is_empty() {
            let others: Vec<_> = pending.iter().map(|(_, key)| key.clone()).collect();
            self.triggers.block(&self.key, &others);
        }
        kept.left_to_others(pending);
        if stale.is_empty() {
            return Ok(false);
        }
        let (stale, held) = self.hold_back(target, stale, &uids).await?;
        let held_entries: Inventory = held.iter().flat_map(|held| held.entries.clone()).collect();
        let now = now.union(&held_entries);
        self.set_inventory(&now);
        let owner = owner_of(self.object);
        let change = self.revision.revision.clone();
        let pruned = prune_stale(target, &stale, &owner, &change, &uids, self.ports, self.options).await;
        let (outcome, failure) = match pruned {
            Pruned::Held(reason) => {
                self.set_inventory(&now.union(&stale.into_iter().collect()));
                return Err(self.waits_for_permit(format!("deletions wait for a permit: {reason}")));
            }
            Pruned::Done(outcome) => (outcome, None),
            Pruned::Failed(outcome) => {
                let left: Inventory = outcome.failed.iter().map(|(entry, _)| entry.clone()).collect();
                self.set_inventory(&now.union(&left));
                let message = describe_failures(&outcome);
                (outcome, Some(Failure::new(reasons::kustomize::PRUNE_FAILED, message)))
            }
        };
        for (id, why) in &outcome.skipped {
            tracing::info!(object = %id, why, "left in place");
        }
        if failure.is_none() && !outcome.listed.is_empty() {
            let list = outcome.listed.join("\n");
            self.reporter().info(reasons::PROGRESSING, &list, &self.revision);
        }
        match (failure, held) {
            (Some(failure), _) => Err(failure),
            (None, Some(held)) => Err(Failure::new(reasons::kustomize::PRUNE_HELD, held.message)),
            (None, None) => Ok(!outcome.deleted.is_empty()),
        }
    }

    /// Asks again soon: a permit that comes later than its plan wakes nobody.
    pub(crate) fn waits_for_permit(&self, message: String) -> Failure {
        Failure {
            after: Some(retry_after(&self.object.spec).min(self.options.requeue_dependency)),
            ..Failure::new(reasons::kustomize::PRUNE_HELD, message)
        }
    }

    /// What is stale and what another Kustomization is about to take over. Nobody is waited for longer than `spec.timeout`.
    pub(crate) async fn not_wanted_elsewhere(&self, kept: &mut Kept, stale: Vec<ResourceRef>) -> Divided {
        let mut divided = self.divide(stale).await;
        if divided.pending.is_empty() {
            kept.pending_since = None;
            return divided;
        }
        let since = *kept.pending_since.get_or_insert_with(Instant::now);
        if since.elapsed() > timeout_of(&self.object.spec) {
            tracing::warn!(
                namespace = self.key.0,
                name = self.key.1,
                objects = divided.pending.len(),
                "others wanted these objects and did not apply them"
            );
            let overdue = std::mem::take(&mut divided.pending);
            divided.stale.extend(overdue.into_iter().map(|(entry, _)| entry));
        }
        divided
    }

    /// Splits off deletions of namespaces, definitions and volumes that a person has not confirmed.
    pub(crate) async fn hold_back(
        &self,
        target: &Target,
        stale: Vec<ResourceRef>,
        kept_uids: &HashSet<String>,
    ) -> Result<(Vec<ResourceRef>, Option<HeldBack>), Failure> {
        if !self.modes.confirms {
            return Ok((stale, None));
        }
        let (candidates, mut free): (Vec<ResourceRef>, Vec<ResourceRef>) =
            stale.into_iter().partition(|entry| is_guarded(&entry.id));
        let owner = owner_of(self.object);
        let (mut entries, mut names) = (Vec::new(), Vec::new());
        for entry in candidates {
            // What is gone or stays anyway needs nobody's confirmation.
            match preview_prune(target, &entry, &owner, kept_uids).await {
                Ok(Some((id, PruneVerdict::Deleted))) => {
                    names.push(id.to_string());
                    entries.push(entry);
                }
                Ok(_) => free.push(entry),
                Err(why) => return Err(Failure::new(reasons::kustomize::PRUNE_FAILED, why)),
            }
        }
        if entries.is_empty() {
            return Ok((free, None));
        }
        let digest = plan(&owner, "", &entries).digest;
        let short = short(&digest);
        let confirmed = self.object.annotations().get(NAVE_CONFIRM_PRUNE);
        if confirmed.is_some_and(|confirmed| *confirmed == digest || confirmed == short) {
            free.extend(entries);
            return Ok((free, None));
        }
        let message = format!(
            "deletions wait for a confirmation: {}; to confirm them, set the annotation {NAVE_CONFIRM_PRUNE}: {short}",
            names.join(", ")
        );
        Ok((free, Some(HeldBack { entries, message })))
    }
}

pub(crate) fn uids_of(changes: &[Change]) -> HashSet<String> {
    changes
        .iter()
        .map(|change| change.uid.clone())
        .filter(|uid| !uid.is_empty())
        .collect()
}

/// With these, data or the objects of others go as well.
fn is_guarded(id: &str) -> bool {
    ObjectId::parse_inventory_id(id).is_ok_and(|id| {
        matches!(
            (id.group.as_str(), id.kind.as_str()),
            ("", "Namespace" | "PersistentVolume" | "PersistentVolumeClaim")
                | ("apiextensions.k8s.io", "CustomResourceDefinition")
        )
    })
}

/// The first digits behind the algorithm's name.
fn short(digest: &str) -> &str {
    let hex = digest.split_once(':').map_or(digest, |(_, hex)| hex);
    hex.get(..SHORT).unwrap_or(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_guarded_and_how_a_plan_is_named() {
        for (id, wanted) in [
            ("_n__Namespace", true),
            ("n_v__PersistentVolumeClaim", true),
            ("_v__PersistentVolume", true),
            ("_c_apiextensions.k8s.io_CustomResourceDefinition", true),
            ("_n_example.com_Namespace", false),
            ("n_c__ConfigMap", false),
            ("nonsense", false),
        ] {
            assert_eq!(is_guarded(id), wanted, "{id}");
        }
        assert_eq!(short("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short("x"), "x");
    }
}
