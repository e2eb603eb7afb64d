//! What a plan is made from.

use std::collections::BTreeMap;

use kube::ResourceExt;
use nave_crds::FleetKustomization;
use nave_placement::SourceKey;

use super::{FleetReconciler, Planned, Standing};
use crate::convert;
use crate::hub_source::{self, SourceState};
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
    /// Spec of a source that is copied to spokes.
    referenced: Option<String>,
    secrets: Vec<String>,
    /// Generations of the Kustomizations on the hub: someone may have changed or deleted one.
    on_hub: BTreeMap<String, Option<i64>>,
}

impl FleetReconciler {
    /// The inputs now. `planned` is what the last plan came to.
    pub(super) fn inputs(&self, fleet: &FleetKustomization, planned: &Planned) -> Inputs {
        let namespace = fleet.namespace().unwrap_or_default();
        let (listed, missing) = secrets::observe(&self.secrets, &namespace, &fleet.spec.secrets);
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
                let found = self.ports.kustomizations.get(&namespace, name);
                (name.clone(), found.and_then(|one| one.metadata.generation))
            })
            .collect();
        Inputs {
            generation: fleet.metadata.generation,
            requested_at: convert::requested_at(fleet),
            clusters_epoch: self.clusters.snapshot().epoch,
            claims_epoch: planned.conflicts.then(|| self.knowledge.lock().claims_epoch),
            source: hub_source::observe(&self.ports, &source_key(fleet)),
            referenced: hub_source::referenced_spec(&self.ports, fleet)
                .map(|spec| serde_json::Value::Object(spec).to_string()),
            secrets: stamps,
            on_hub,
        }
    }
}

/// The source of a fleet object on the hub.
pub(super) fn source_key(fleet: &FleetKustomization) -> SourceKey {
    let (kind, name) = match (&fleet.spec.source.template, &fleet.spec.source.reference) {
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
