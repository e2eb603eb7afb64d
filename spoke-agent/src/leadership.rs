//! Flux's leases: whoever holds them reconciles, so that Flux and Nave never work on one cluster together.

use kube::Client;
use nave_runtime::{Tasks, leader::Election};

use crate::args::{Arguments, ControllerName};

/// Takes the lease of every controller that runs. False when shutdown came first.
pub async fn take(arguments: &Arguments, client: &Client, tasks: &Tasks) -> bool {
    let identity = format!(
        "{}_{:016x}",
        std::env::var("HOSTNAME").unwrap_or_else(|_| "nave-agent".to_owned()),
        rand::random::<u64>()
    );
    for (controller, lease) in [
        (ControllerName::Source, "source-controller-leader-election"),
        (ControllerName::Kustomize, "kustomize-controller-leader-election"),
        (ControllerName::Helm, "helm-controller-leader-election"),
    ] {
        if !arguments.runs(controller) {
            continue;
        }
        let election = Election {
            lease_duration: arguments.leader_election_lease_duration,
            renew_deadline: arguments.leader_election_renew_deadline,
            retry_period: arguments.leader_election_retry_period,
            release_on_cancel: arguments.leader_election_release_on_cancel,
            ..Election::new(
                &arguments.namespace,
                &name(lease, &arguments.watch_label_selector),
                &identity,
            )
        };
        tracing::info!(lease = election.lease, "waiting for leadership");
        let Some(leadership) = election.acquire(client.clone(), tasks.shutdown_token()).await else {
            return false;
        };
        tasks.spawn("leadership", leadership.keep(tasks.shutdown_token().clone()));
    }
    true
}

/// A shard has a lease of its own: the suffix is the start of the selector's sha256, as in Flux.
fn name(lease: &str, selector: &str) -> String {
    if selector.is_empty() {
        return lease.to_owned();
    }
    let digest = nave_object::digest::sha256(selector.as_bytes());
    format!("{lease}-{}", &digest["sha256:".len()..][..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_has_its_own_lease() {
        assert_eq!(name("l", ""), "l");
        let sharded = name("l", "sharding.fluxcd.io/key=shard1");
        assert_eq!(sharded.len(), "l-".len() + 8);
        assert_ne!(sharded, name("l", "sharding.fluxcd.io/key=shard2"));
    }
}
