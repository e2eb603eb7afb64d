//! What happens when a Kustomization is deleted.

use std::{collections::HashSet, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, ResourceExt};
use nave_apply::{Inventory, PruneOutcome, wait_gone};
use nave_crds::{
    finalizers,
    kustomize::{DeletionPolicy, Kustomization},
    managers, reasons,
};
use nave_runtime::{Next, finalizer};
use nave_targets::{ServiceAccount as Account, Target};

use crate::{
    act::{self, Pruned, owner_of, prune_stale},
    claims::Divided,
    memory::Kept,
    plan::{retry_after, timeout_of},
    reconcile::{Failure, Run},
    report::Revision,
    target::target_of,
    waiting::Background,
};

/// What is to be done with what was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cleanup {
    /// It stays.
    Leave,
    /// It is deleted.
    Delete,
    /// It is deleted, and its end waited for.
    DeleteAndWait,
}

/// Suspended objects and such without an inventory leave everything, whatever their policy.
pub(crate) fn cleanup_of(kustomization: &Kustomization) -> Cleanup {
    let spec = &kustomization.spec;
    let inventory = kustomization
        .status
        .as_ref()
        .and_then(|status| status.inventory.as_ref());
    if spec.suspend || inventory.is_none_or(|inventory| inventory.entries.is_empty()) {
        return Cleanup::Leave;
    }
    match spec.deletion_policy.unwrap_or_default() {
        DeletionPolicy::MirrorPrune if spec.prune => Cleanup::Delete,
        DeletionPolicy::MirrorPrune | DeletionPolicy::Orphan => Cleanup::Leave,
        DeletionPolicy::Delete => Cleanup::Delete,
        DeletionPolicy::WaitForTermination => Cleanup::DeleteAndWait,
    }
}

impl Run<'_> {
    /// Deletes what was applied and gives the object up. True when it is gone.
    pub(crate) async fn finalize(&mut self, kept: &mut Kept) -> (Next, bool) {
        if !finalizer::has(self.object, finalizers::FLUX) {
            return (Next::Await, true);
        }
        self.revision = Revision::applied(&self.status);
        let retry = retry_after(&self.object.spec).min(self.options.requeue_dependency);
        let cleaned = match self.still_going(kept) {
            Some(cleaned) => Ok(cleaned),
            None => self.clean_up(kept).await,
        };
        match cleaned {
            Ok(Cleaned::Done) => {}
            // The worker is free meanwhile: the end of the wait wakes us.
            Ok(Cleaned::Going) => return (Next::Await, false),
            Err(Stopped::Retry(message)) => {
                self.fail(reasons::kustomize::PRUNE_FAILED, &message).await;
                return (Next::Retry(retry), false);
            }
            Err(Stopped::Held(message)) => {
                self.fail(reasons::kustomize::PRUNE_HELD, &message).await;
                return (Next::After(retry), false);
            }
            Err(Stopped::Failed(failure)) => {
                self.fail(failure.reason, &failure.message).await;
                return (Next::Retry(retry), false);
            }
        }
        let api: Api<Kustomization> = Api::namespaced(self.ports.client.clone(), &self.key.0);
        // The watch may be behind what we wrote; the finalizers are those of the server.
        let current = match api.get_opt(&self.key.1).await {
            Ok(Some(current)) if current.uid() == self.object.uid() => current,
            Ok(_) => return (Next::Await, true),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "reading a Kustomization that is deleted"
                );
                return (Next::After(retry), false);
            }
        };
        match finalizer::remove(&api, &current, finalizers::FLUX, managers::KUSTOMIZE_STATUS).await {
            Ok(()) => (Next::Await, true),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "removing the finalizer");
                (Next::After(Duration::from_secs(1)), false)
            }
        }
    }

    fn cleanup(&self) -> Cleanup {
        cleanup_of(&Kustomization {
            status: Some(self.status.clone()),
            ..self.object.clone()
        })
    }

    /// How the wait for what was deleted is; none when there is none, or none is wished any more.
    fn still_going(&mut self, kept: &mut Kept) -> Option<Cleaned> {
        let going = kept.going.take()?;
        if self.cleanup() != Cleanup::DeleteAndWait {
            return None;
        }
        match going.outcome() {
            None => {
                kept.going = Some(going);
                return Some(Cleaned::Going);
            }
            Some(Ok(())) => {}
            // A timeout is reported and nothing more, as in Flux.
            Some(Err(error)) => {
                let message = format!("deleted objects are not gone: {error}");
                self.reporter()
                    .failed(reasons::kustomize::PRUNE_FAILED, &message, &self.revision);
            }
        }
        Some(Cleaned::Done)
    }

    async fn clean_up(&mut self, kept: &mut Kept) -> Result<Cleaned, Stopped> {
        let cleanup = self.cleanup();
        if cleanup == Cleanup::Leave {
            return Ok(Cleaned::Done);
        }
        let target = target_of(self.object, self.ports, self.options)
            .await
            .map_err(|error| Stopped::Retry(error.to_string()))?;
        if let Some(account) = target.account()
            && self.object.spec.kube_config.is_none()
            && !self.account_exists(account).await?
        {
            let message = format!(
                "ServiceAccount {}/{} does not exist any more: what it applied is left in place",
                account.namespace, account.name
            );
            self.reporter()
                .failed(reasons::kustomize::PRUNE_FAILED, &message, &self.revision);
            return Ok(Cleaned::Done);
        }
        let inventory = Inventory::from_status(self.status.inventory.as_ref());
        if let Some(former) = self.former_place(kept, &target).await? {
            self.clean(&former, &inventory, &HashSet::new()).await?;
        }
        let stale = inventory.stale(&Inventory::new());
        let Divided { stale, pending } = self.not_wanted_elsewhere(kept, stale).await;
        let (stale, held) = self.hold_back(&target, stale, &HashSet::new()).await?;
        let owner = owner_of(self.object);
        let pruned = prune_stale(
            &target,
            &stale,
            &owner,
            "deletion",
            &HashSet::new(),
            self.ports,
            self.options,
        )
        .await;
        match pruned {
            Pruned::Held(reason) => Err(Stopped::Held(format!(
                "{} deletions wait for a permit: {reason}",
                stale.len()
            ))),
            Pruned::Failed(outcome) => Err(Stopped::Retry(act::describe_failures(&outcome))),
            Pruned::Done(outcome) => {
                if !outcome.listed.is_empty() {
                    let list = outcome.listed.join("\n");
                    self.reporter()
                        .info(reasons::kustomize::RECONCILIATION_SUCCEEDED, &list, &self.revision);
                }
                if let Some(held) = held {
                    return Err(Stopped::Held(held.message));
                }
                if let Some((_, (namespace, name))) = pending.first() {
                    let others: Vec<_> = pending.iter().map(|(_, key)| key.clone()).collect();
                    self.triggers.block(&self.key, &others);
                    return Err(Stopped::Held(format!(
                        "{} objects are left to Kustomization {namespace}/{name}, which has not applied them yet",
                        pending.len()
                    )));
                }
                if cleanup != Cleanup::DeleteAndWait || outcome.deleted.is_empty() {
                    return Ok(Cleaned::Done);
                }
                kept.going = Some(self.wait_until_gone(target, outcome));
                Ok(Cleaned::Going)
            }
        }
    }

    fn wait_until_gone(&self, target: Arc<Target>, outcome: PruneOutcome) -> Background {
        let limit = timeout_of(&self.object.spec);
        let wait = async move { wait_gone(&target, &outcome, limit).await };
        Background::begin(&self.ports.tasks, "termination", self.triggers.of(&self.key), wait)
    }

    async fn account_exists(&self, account: &Account) -> Result<bool, Stopped> {
        let api: Api<ServiceAccount> = Api::namespaced(self.ports.client.clone(), &account.namespace);
        api.get_opt(&account.name)
            .await
            .map(|found| found.is_some())
            .map_err(|error| Stopped::Retry(format!("reading ServiceAccount {}: {error}", account.name)))
    }
}

/// How far the clean-up is.
enum Cleaned {
    /// Nothing is left to do.
    Done,
    /// What was deleted is waited for.
    Going,
}

enum Stopped {
    Retry(String),
    Held(String),
    Failed(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Stopped::Failed(failure)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check_cleanup(more: Value, entries: Value, wanted: Cleanup) {
        let mut spec = json!({"interval": "1m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "s"}});
        spec.as_object_mut()
            .expect("a map")
            .extend(more.as_object().expect("a map").clone());
        let object: Kustomization = serde_json::from_value(
            json!({"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "x"}, "spec": spec, "status": {"inventory": {"entries": entries}}}),
        )
        .expect("it is complete");
        assert_eq!(cleanup_of(&object), wanted, "{more}");
    }

    #[test]
    fn policies() {
        let some = || json!([{"id": "a_b__ConfigMap", "v": "v1"}]);
        check_cleanup(json!({}), some(), Cleanup::Delete);
        check_cleanup(json!({"prune": false}), some(), Cleanup::Leave);
        check_cleanup(
            json!({"prune": false, "deletionPolicy": "Delete"}),
            some(),
            Cleanup::Delete,
        );
        check_cleanup(
            json!({"deletionPolicy": "WaitForTermination"}),
            some(),
            Cleanup::DeleteAndWait,
        );
        check_cleanup(json!({"deletionPolicy": "Orphan"}), some(), Cleanup::Leave);
        check_cleanup(json!({"deletionPolicy": "MirrorPrune"}), some(), Cleanup::Delete);
        check_cleanup(
            json!({"suspend": true, "deletionPolicy": "Delete"}),
            some(),
            Cleanup::Leave,
        );
        check_cleanup(json!({"deletionPolicy": "Delete"}), json!([]), Cleanup::Leave);
    }
}
