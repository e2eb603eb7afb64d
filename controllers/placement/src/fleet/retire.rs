//! The end of a fleet object.

use jiff::Timestamp;
use kube::ResourceExt;
use nave_crds::{finalizers, managers};
use nave_placement::Cause;
use nave_runtime::finalizer;

use super::act::change_id;
use super::{FleetReconciler, ReconcileError, doing};
use crate::convert;
use crate::kind::FleetKind;
use crate::ports::DeleteCause;
use crate::{hub_source, on_hub, retirement};

impl<K: FleetKind> FleetReconciler<K> {
    /// Writes the retirement log, deletes what was placed, and lets the object go.
    ///
    /// The log comes first: from then on a cluster that is away learns of the deletion when it comes
    /// back, whatever happens to this process. Nothing waits for any cluster.
    pub(super) async fn retire(&self, fleet: &K) -> Result<(), ReconcileError> {
        let owner = convert::owner_of(fleet);
        let policy = convert::policy_of(fleet.parts().deletion.policy);
        let products = on_hub::observe(K::products(&self.ports), &owner);
        // Whether it was really deleted is what a person has to look at; agents are told nothing meanwhile.
        if let Some(reason) = self.ports.desired.behind().filter(|_| !products.is_empty()) {
            return Err(ReconcileError::Behind { reason });
        }
        retirement::write(&self.ports.client, fleet, Timestamp::now()).await?;
        {
            let mut state = self.knowledge.lock();
            let log = state.retired.entry(owner.namespace.clone()).or_default();
            log.insert(owner.uid.clone(), policy);
        }
        let reached = self.knowledge.clusters_of(&owner.uid);
        for cluster in self.clusters.snapshot().clusters.iter() {
            let has = reached.contains(&cluster.key)
                || self
                    .ports
                    .desired
                    .current(&cluster.key)
                    .iter()
                    .any(|item| item.owner.uid == owner.uid);
            if has && cluster.mode == nave_placement::Mode::Agent {
                let cause = DeleteCause {
                    cause: Cause::Retired,
                    policy,
                    change_id: change_id(&owner, "retired"),
                };
                self.ports.desired.delete(&cluster.key, &owner, cause);
            }
        }
        for name in products.into_keys() {
            on_hub::delete::<K::Product>(&self.ports.client, &owner.namespace, &name, policy)
                .await
                .map_err(doing(format!("deleting {} {name}", K::PRODUCT)))?;
        }
        hub_source::delete_all_but(&self.ports, &owner, &[])
            .await
            .map_err(doing("deleting the source"))?;
        finalizer::remove(&self.api(fleet), fleet, finalizers::FLEET, managers::FLEET)
            .await
            .map_err(doing("removing the finalizer"))?;
        self.knowledge.gone(&owner.uid);
        self.forget(&owner.uid);
        self.ports.metrics.forget(K::KIND, &owner.namespace, &fleet.name_any());
        Ok(())
    }
}
