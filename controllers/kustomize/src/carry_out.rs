//! Building, applying and pruning: what a reconcile does once nothing stands in the way.

use std::{collections::HashSet, sync::Arc};

use nave_apply::{Change, Check, CommonMetadata, IgnoreRules, Inventory, prepare};
use nave_crds::{conditions, meta::Artifact, reasons};
use nave_health::HealthExpressions;
use nave_object::{Object, digest, duration};
use nave_runtime::Conditions;
use nave_targets::Target;

use crate::{
    ReadError,
    act::{Apply, Pruned, apply_all, describe_failures, inventory_after_failure, owner_of, prune_stale},
    build::{self, Built},
    decrypt::still_encrypted,
    decryption::decryption_of,
    memory::{Attempt, Kept, Last},
    plan::timeout_of,
    reconcile::{Ended, Failure, Run, chain},
    report::{Revision, list_of_changes, list_of_deletions},
    status,
    target::target_of,
    variables::variables_of,
    waiting::Applied,
};

/// Key of an artifact's metadata: the upstream revision behind it.
const ORIGIN_REVISION: &str = "org.opencontainers.image.revision";

impl Run<'_> {
    pub(crate) async fn go(
        &mut self,
        kept: &mut Kept,
        artifact: &Artifact,
        expressions: Arc<HealthExpressions>,
        attempt: Attempt,
        is_new: bool,
    ) -> Result<Ended, Failure> {
        let spec = &self.object.spec;
        self.revision = Revision {
            revision: artifact.revision.clone(),
            origin: artifact.metadata.get(ORIGIN_REVISION).cloned().unwrap_or_default(),
        };
        let ignore = IgnoreRules::new(&spec.ignore).map_err(|error| Failure {
            terminal: true,
            ..Failure::new(reasons::kustomize::BUILD_FAILED, error.to_string())
        })?;
        let post_build = spec.post_build.clone().unwrap_or_default();
        let variables = variables_of(self.object, &post_build, &self.ports.client)
            .await
            .map_err(|error| Failure::new(reasons::kustomize::BUILD_FAILED, error.to_string()))?;
        let decryption = decryption_of(self.object, &self.ports.client, self.options, &self.ports.key_services)
            .await
            .map_err(|error| Failure::new(reasons::kustomize::BUILD_FAILED, chain(&error)))?
            .map(Arc::new);
        let target = target_of(self.object, self.ports, self.options)
            .await
            .map_err(|error| Failure::new(reasons::kustomize::RECONCILIATION_FAILED, error.to_string()))?;
        let input = build::input_digest(artifact, self.generation(), &variables, decryption.as_deref());

        if let Some(last) = &kept.last
            && last.input == input
            && self.may_check_lightly(kept)
            && let Some(changes) = nave_apply::recheck(&target, &last.changes, &kept.apply, &expressions)
        {
            kept.light_checks += 1;
            let digest = last.digest.clone();
            artifact.revision.clone_into(&mut self.status.last_attempted_revision);
            self.digest = Some(digest.clone());
            let applied = self.applied(digest, false);
            return Ok(self
                .wait_or_end(kept, &target, &changes, expressions, attempt, applied, is_new)
                .await);
        }
        let check = if self.may_check_lightly(kept) {
            Check::Known
        } else {
            Check::Full
        };
        if check == Check::Full {
            kept.light_checks = 0;
        }

        let tree = self.ports.artifacts.read(artifact).await.map_err(|error| {
            let is_missing = matches!(error, ReadError::NotFound { .. });
            Failure {
                after: is_missing.then_some(self.options.requeue_dependency),
                ..Failure::new(reasons::kustomize::ARTIFACT_FAILED, chain(&error))
            }
        })?;
        artifact.revision.clone_into(&mut self.status.last_attempted_revision);
        let Built { objects } = build::build(
            self.object,
            artifact,
            tree,
            &variables,
            decryption,
            self.options,
            self.builds,
        )
        .await?;
        if let Some(message) = still_encrypted(&objects) {
            return Err(Failure::new(reasons::kustomize::RECONCILIATION_FAILED, message));
        }
        let common = spec.common_metadata.clone().unwrap_or_default();
        let common = CommonMetadata {
            labels: common.labels,
            annotations: common.annotations,
        };
        let owner = owner_of(self.object);
        let digest = digest_of(&objects);
        self.digest = Some(digest.clone());
        let objects = prepare(objects, &owner, &common)
            .map_err(|error| Failure::new(reasons::kustomize::BUILD_FAILED, error.to_string()))?;

        let before = Inventory::from_status(self.status.inventory.as_ref());
        let intended: Inventory = objects.iter().map(nave_apply::entry_of).collect();
        if is_new || !before.covers(&intended) {
            self.begin(&before.union(&intended)).await;
        }
        let outcome = apply_all(
            Apply {
                kustomization: self.object,
                target: &target,
                objects: &objects,
                check,
                ignore: &ignore,
                expressions: &expressions,
            },
            &owner,
            &mut kept.apply,
            self.ports,
            self.options,
        )
        .await;
        let list = list_of_changes(&outcome.changes);
        if !list.is_empty() {
            self.reporter().info(reasons::PROGRESSING, &list, &self.revision);
        }
        if let Some(error) = &outcome.error {
            self.set_inventory(&inventory_after_failure(&before, &outcome));
            return Err(Failure::new(
                reasons::kustomize::RECONCILIATION_FAILED,
                error.to_string(),
            ));
        }
        let changed = outcome.changed();
        let pruned = self.prune(&target, &before, &outcome.changes).await?;
        let applied = self.applied(digest.clone(), changed || pruned);
        kept.last = Some(Last {
            input,
            digest,
            changes: outcome.changes.clone(),
        });
        Ok(self
            .wait_or_end(kept, &target, &outcome.changes, expressions, attempt, applied, is_new)
            .await)
    }

    /// By interval the watches are believed, but not for ever, and not after a failure or when a person asked.
    fn may_check_lightly(&self, kept: &Kept) -> bool {
        self.requested_at() == self.status.last_handled_reconcile_at
            && self.written.conditions.is_true(conditions::READY)
            && kept.light_checks + 1 < self.options.full_check_every
    }

    fn applied(&self, digest: String, changed: bool) -> Applied {
        Applied {
            began: self.began,
            digest,
            changed,
            revision: self.revision.revision.clone(),
            origin_revision: self.revision.origin.clone(),
        }
    }

    /// Says that work begins, and writes down what is going to exist, so that it is known even if this process ends now.
    async fn begin(&mut self, intended: &Inventory) {
        let message = format!(
            "Detecting drift for revision {} with a timeout of {}",
            self.revision.revision,
            duration::format(timeout_of(&self.object.spec))
        );
        let known = self.status.inventory.clone();
        let at = self.at();
        status::progressing(&mut self.status, &self.object.spec, &message, at);
        self.set_inventory(intended);
        self.write().await;
        self.status.inventory = known; // until it is applied
    }

    pub(crate) fn set_inventory(&mut self, inventory: &Inventory) {
        self.status.inventory = Some(inventory.to_status());
    }

    /// Deletes what left the set; true when something was deleted.
    async fn prune(&mut self, target: &Target, before: &Inventory, changes: &[Change]) -> Result<bool, Failure> {
        let now: Inventory = changes.iter().map(|change| change.entry.clone()).collect();
        let stale = before.stale(&now);
        self.set_inventory(&now);
        if !self.object.spec.prune || stale.is_empty() {
            return Ok(false);
        }
        let uids: HashSet<String> = changes
            .iter()
            .map(|change| change.uid.clone())
            .filter(|uid| !uid.is_empty())
            .collect();
        let owner = owner_of(self.object);
        let change = self.revision.revision.clone();
        let pruned = prune_stale(target, &stale, &owner, &change, &uids, self.ports, self.options).await;
        let (outcome, failure) = match pruned {
            Pruned::Held(reason) => {
                self.set_inventory(&now.union(&stale.into_iter().collect()));
                let message = format!("deletions wait for a permit: {reason}");
                return Err(Failure::new(reasons::kustomize::PRUNE_HELD, message));
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
        if !outcome.deleted.is_empty() {
            let list = list_of_deletions(&outcome.deleted);
            self.reporter().info(reasons::PROGRESSING, &list, &self.revision);
        }
        match failure {
            Some(failure) => Err(failure),
            None => Ok(!outcome.deleted.is_empty()),
        }
    }
}

/// What was built, as the history names it.
fn digest_of(objects: &[Object]) -> String {
    let mut text = Vec::new();
    for object in objects {
        serde_json::to_writer(&mut text, object.as_value()).expect("JSON values can always be written to memory");
        text.push(b'\n');
    }
    digest::sha256(text)
}
