//! Who may delete on clusters reached by kubeconfig: the hub itself, while it trusts its memory.

use std::sync::Arc;

use futures::future::BoxFuture;
use nave_runtime::ports::{Permit, PrunePermits, PrunePlan};

use crate::{hub_state::Checkpoints, metrics::HubMetrics};

/// Holds every deletion while the hub is Behind.
pub struct HubPermits {
    /// Whether it is.
    pub checkpoints: Arc<Checkpoints>,
    /// Counts answers.
    pub metrics: HubMetrics,
}

impl PrunePermits for HubPermits {
    fn permit<'a>(&'a self, _plan: &'a PrunePlan) -> BoxFuture<'a, Permit> {
        let behind = self.checkpoints.behind().borrow().clone();
        let permit = decide(behind.map(|behind| behind.reason));
        let answer = if permit == Permit::Granted { "granted" } else { "held" };
        self.metrics.permits.with_label_values(&[answer]).inc();
        Box::pin(std::future::ready(permit))
    }
}

fn decide(behind: Option<String>) -> Permit {
    match behind {
        None => Permit::Granted,
        Some(reason) => Permit::Held {
            reason: format!("{reason}; nothing is deleted until an operator confirms"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_that_is_behind_deletes_nothing() {
        assert_eq!(decide(None), Permit::Granted);
        let Permit::Held { reason } = decide(Some("restored".into())) else {
            panic!("it must hold")
        };
        assert_eq!(reason, "restored; nothing is deleted until an operator confirms");
    }
}
