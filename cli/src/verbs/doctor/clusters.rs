//! What hub and agent say of their link, as findings: pure.

use kube::ResourceExt;
use nave_crds::{Cluster, conditions, fleet::ClusterMode};
use nave_quic::doctor::{Finding, Health};

use super::super::join::LinkView;

/// What the agent wrote of its link into its secret.
pub fn agent_says(view: &LinkView) -> Finding {
    let what = "agent".to_owned();
    if view.is_refused() {
        return Finding {
            health: Health::Bad,
            what,
            said: view.words(),
            advice: "`nave hub token create NAME`, run against the hub, makes another token; then join again"
                .to_owned(),
        };
    }
    if let Some(pending) = &view.pending {
        return Finding {
            health: Health::Worse,
            what,
            said: format!("{pending} waits for approval"),
            advice: "compare the key's fingerprint and approve it on the hub".to_owned(),
        };
    }
    let said = match &view.cluster {
        Some(cluster) => format!("joined as {cluster}; {}", view.words()),
        None => view.words(),
    };
    Finding::good(what, said)
}

/// What is wrong with a cluster's link by the hub's account; nothing for one that is connected.
pub fn findings(cluster: &Cluster) -> Vec<Finding> {
    if cluster.spec.mode != ClusterMode::Agent {
        return Vec::new();
    }
    let name = format!("{}/{}", cluster.namespace().unwrap_or_default(), cluster.name_any());
    let conditions = cluster.status.as_ref().map(|status| status.conditions.as_slice());
    let conditions = conditions.unwrap_or_default();
    let about = [
        (
            conditions::JOINED,
            "False",
            Health::Worse,
            "approve the key, or join the cluster with a token",
        ),
        (
            conditions::QUARANTINED,
            "True",
            Health::Bad,
            "two agents have this cluster's key: stop the copy, revoke the key, join the other again",
        ),
        (
            conditions::CONNECTED,
            "False",
            Health::Worse,
            "run `nave doctor` against that cluster, or `nave-agent doctor` in its agent's pod",
        ),
        (
            conditions::CLOCK_SYNCED,
            "False",
            Health::Worse,
            "set the clock of the cluster's nodes (NTP, chrony)",
        ),
    ];
    about
        .into_iter()
        .filter_map(|(kind, status, health, advice)| {
            let condition = conditions.iter().find(|condition| condition.type_ == kind)?;
            (condition.status == status).then(|| Finding {
                health,
                what: format!("cluster {name}"),
                said: format!("{kind}={status}: {}", condition.message),
                advice: advice.to_owned(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cluster(conditions: &[(&str, &str, &str)]) -> Cluster {
        let conditions: Vec<_> = conditions
            .iter()
            .map(|(kind, status, message)| {
                json!({"type": kind, "status": status, "reason": "Test", "message": message,
                    "lastTransitionTime": "2026-01-01T00:00:00Z"})
            })
            .collect();
        serde_json::from_value(json!({
            "apiVersion": "fleet.nave.dev/v1alpha1", "kind": "Cluster",
            "metadata": {"name": "eu-1", "namespace": "platform"},
            "spec": {"mode": "Agent"},
            "status": {"conditions": conditions},
        }))
        .expect("a cluster")
    }

    #[test]
    fn a_connected_cluster_says_nothing_and_others_say_why() {
        assert!(findings(&cluster(&[("Connected", "True", ""), ("ClockSynced", "True", "")])).is_empty());
        let said = findings(&cluster(&[
            ("Connected", "False", "no session since noon"),
            ("Quarantined", "True", "two agents"),
            ("ClockSynced", "False", "7 min ahead"),
        ]));
        let lines: Vec<String> = said.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "cluster platform/eu-1: Quarantined=True: two agents",
                "cluster platform/eu-1: Connected=False: no session since noon",
                "cluster platform/eu-1: ClockSynced=False: 7 min ahead",
            ]
        );
    }
}
