//! Applying and pruning on behalf of one Kustomization.

use std::{collections::HashSet, sync::Arc};

use kube::ResourceExt;
use nave_apply::{
    ApplyOptions, Applying, Check, IgnoreRules, Inventory, Outcome, PruneOutcome, Step, judge, plan, prune,
};
use nave_crds::{
    kustomize::{Kustomization, ResourceRef},
    labels,
};
use nave_health::HealthExpressions;
use nave_object::Object;
use nave_runtime::ports::{FleetRef, OwnerRef, Permit};
use nave_targets::Target;

use crate::{Options, Ports};

/// The Kustomization as the owner of what it applies; the fleet object behind it from its labels.
pub(crate) fn owner_of(kustomization: &Kustomization) -> OwnerRef {
    let label = |key: &str| kustomization.labels().get(key).cloned();
    let fleet = match (label(labels::FLEET_KIND), label(labels::FLEET_NAME)) {
        (Some(kind), Some(name)) => Some(FleetRef {
            kind,
            name,
            namespace: label(labels::FLEET_NAMESPACE).unwrap_or_default(),
            uid: label(labels::FLEET_UID).unwrap_or_default(),
        }),
        _ => None,
    };
    OwnerRef {
        kind: "Kustomization".to_owned(),
        namespace: kustomization.namespace().unwrap_or_default(),
        name: kustomization.name_any(),
        fleet,
    }
}

/// What to apply, where and how.
pub(crate) struct Apply<'a> {
    pub kustomization: &'a Kustomization,
    pub target: &'a Arc<Target>,
    pub objects: &'a [Object],
    /// The revision that they are of.
    pub change: &'a str,
    /// What it is known to have applied.
    pub inventory: &'a Inventory,
    pub check: Check,
    pub ignore: &'a IgnoreRules,
    pub expressions: &'a Arc<HealthExpressions>,
    /// Drift is only to be reported.
    pub report_only: bool,
    /// What does not need a failed object is applied.
    pub independent: bool,
}

/// Applies until all is done or something has to be waited for.
pub(crate) async fn advance(
    applying: &mut Applying,
    work: Apply<'_>,
    owner: &OwnerRef,
    memory: &mut nave_apply::Memory,
    ports: &Ports,
    options: &Options,
) -> Step {
    let apply_options = ApplyOptions {
        owner,
        inventory: work.inventory,
        force: work.kustomization.spec.force,
        permits: ports.permits.as_ref(),
        change: work.change,
        check: work.check,
        concurrency: options.concurrent_ssa,
        custom_stages: &options.custom_apply_stage_kinds,
        override_managers: &options.override_managers,
        migrate_api_version: options.gates.migrate_api_version,
        ignore: work.ignore,
        policy: ports.policy.as_ref(),
        expressions: work.expressions,
        judge: judge(work.expressions.clone()),
        report_only: work.report_only,
        independent: work.independent,
    };
    applying
        .advance(work.target, work.objects, &apply_options, memory)
        .await
}

/// What came of the objects that left the set.
pub(crate) enum Pruned {
    /// Nothing is left to do.
    Done(PruneOutcome),
    /// Some could not be deleted.
    Failed(PruneOutcome),
    /// Nothing was deleted: whoever may permit it has not yet.
    Held(String),
}

/// Asks for the permit of the whole plan and deletes what it names.
pub(crate) async fn prune_stale(
    target: &Target,
    stale: &[ResourceRef],
    owner: &OwnerRef,
    change: &str,
    kept_uids: &HashSet<String>,
    ports: &Ports,
    options: &Options,
) -> Pruned {
    if stale.is_empty() {
        return Pruned::Done(PruneOutcome::default());
    }
    let plan = plan(owner, change, stale);
    if let Permit::Held { reason } = ports.permits.permit(&plan).await {
        return Pruned::Held(reason);
    }
    let outcome = prune(
        target,
        stale,
        owner,
        ports.policy.as_ref(),
        kept_uids,
        options.concurrent_ssa,
    )
    .await;
    if outcome.failed.is_empty() {
        Pruned::Done(outcome)
    } else {
        Pruned::Failed(outcome)
    }
}

/// One line about deletions that failed.
pub(crate) fn describe_failures(outcome: &PruneOutcome) -> String {
    let texts: Vec<String> = outcome
        .failed
        .iter()
        .map(|(entry, why)| format!("{}: {why}", entry.id))
        .collect();
    format!("{} objects could not be deleted: {}", texts.len(), texts.join("; "))
}

/// The inventory after an attempt that failed: what was there, and what was applied before it stopped.
pub(crate) fn inventory_after_failure(before: &Inventory, outcome: &Outcome) -> Inventory {
    before.union(&outcome.changes.iter().map(|change| change.entry.clone()).collect())
}
