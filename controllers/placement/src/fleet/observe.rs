//! What a plan is made from.

use std::collections::BTreeMap;

use kube::{Resource, ResourceExt};
use nave_placement::{Product, SourceKey};

use super::{FleetReconciler, Planned, Standing};
use crate::convert;
use crate::hub_source::{self, SourceState};
use crate::kind::FleetKind;
use crate::secrets;

/// Everything that planning looks at, by version: equal inputs need no new plan.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Inputs {
    generation: Option<i64>,
    requested_at: Option<String>,
    clusters_epoch: u64,
    /// Only while others are in the way.
    claims_epoch: Option<u64>,
    source: SourceState,
    /// What a chart is taken from.
    behind: Option<SourceState>,
    /// Spec of a source that is copied to spokes.
    referenced: Option<String>,
    secrets: Vec<String>,
    /// Generations of the products on the hub: someone may have changed or deleted one.
    on_hub: BTreeMap<String, Option<i64>>,
}

impl Inputs {
    /// The epoch of the clusters.
    pub(super) fn clusters_epoch(&self) -> u64 {
        self.clusters_epoch
    }

    /// Whether only clusters differ.
    pub(super) fn is_same_but_for_clusters(&self, other: &Inputs) -> bool {
        Inputs {
            clusters_epoch: other.clusters_epoch,
            ..self.clone()
        } == *other
    }
}

impl<K: FleetKind> FleetReconciler<K> {
    /// The inputs now. `planned` is what the last plan came to.
    pub(super) fn inputs(&self, fleet: &K, planned: &Planned) -> Inputs {
        let namespace = fleet.namespace().unwrap_or_default();
        let (listed, missing) = secrets::observe(&self.secrets, &namespace, fleet.parts().secrets);
        let mut stamps = listed.stamp();
        stamps.extend(missing.into_iter().map(|one| format!("{}/missing", one.name)));
        let on_hub = planned
            .clusters
            .iter()
            .filter_map(|(_, standing)| match standing {
                Standing::Hub(name) => Some(name),
                _ => None,
            })
            .map(|name| {
                let found = K::products(&self.ports).get(&namespace, name);
                (name.clone(), found.and_then(|one| one.meta().generation))
            })
            .collect();
        let source = source_key(fleet);
        let (source, behind) = match chart_key(fleet, &source) {
            Some(chart) => (
                hub_source::observe(&self.ports, &chart),
                Some(hub_source::observe_behind(&self.ports, &source)),
            ),
            None => (hub_source::observe(&self.ports, &source), None),
        };
        Inputs {
            generation: fleet.meta().generation,
            requested_at: convert::requested_at(fleet),
            clusters_epoch: self.clusters.snapshot().epoch,
            claims_epoch: planned.conflicts.then(|| self.knowledge.lock().claims_epoch),
            source,
            behind,
            referenced: hub_source::referenced_spec(&self.ports, fleet)
                .map(|spec| serde_json::Value::Object(spec).to_string()),
            secrets: stamps,
            on_hub,
        }
    }
}

/// The source of a fleet object on the hub.
fn source_key<K: FleetKind>(fleet: &K) -> SourceKey {
    let source = fleet.parts().source;
    let (kind, name) = match (&source.template, &source.reference) {
        (None, Some(reference)) => (reference.kind.clone(), reference.name.clone()),
        (template, _) => (
            template
                .as_ref()
                .map_or_else(|| "GitRepository".into(), |one| one.kind.clone()),
            fleet.name_any(),
        ),
    };
    SourceKey {
        kind,
        namespace: fleet.namespace().unwrap_or_default(),
        name,
    }
}

/// The HelmChart that takes a chart out of the source, where one is made.
fn chart_key<K: FleetKind>(fleet: &K, source: &SourceKey) -> Option<SourceKey> {
    let owner = convert::owner_of(fleet);
    let holds_charts = matches!(source.kind.as_str(), "GitRepository" | "HelmRepository");
    (owner.product() == Product::HelmRelease && holds_charts).then(|| hub_source::key_of_made(&owner, "HelmChart"))
}
