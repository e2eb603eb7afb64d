//! Who may delete on clusters reached by kubeconfig: the hub itself, under the same brake as the agents.

use std::sync::Arc;

use futures::future::BoxFuture;
use nave_runtime::ports::{Permit, PrunePermits, PrunePlan};

use crate::brake::{Brake, GATHER};

/// Holds every deletion while the hub is Behind, and what is over its fleet object's budget.
pub struct HubPermits(pub Arc<Brake>);

impl PrunePermits for HubPermits {
    fn permit<'a>(&'a self, plan: &'a PrunePlan) -> BoxFuture<'a, Permit> {
        Box::pin(async move {
            loop {
                match self.0.ask_of_product(plan) {
                    Some(permit) => return permit,
                    // Nobody gathers plans of one change twice.
                    None => tokio::time::sleep(GATHER.unsigned_abs()).await,
                }
            }
        })
    }
}
