//! What has to be done, decided without doing it.

use std::collections::{BTreeMap, HashMap, HashSet};

use nave_placement::{Bundle, Cause, ClusterKey, Grant, Outcome, Place, PlanSet, Policy};

use crate::ports::ItemHeader;

/// What is there.
pub(crate) struct Seen<'a> {
    /// What the planner says.
    pub plans: &'a PlanSet,
    /// Agent clusters that the fleet object reached before.
    pub before: &'a HashSet<ClusterKey>,
    /// Items of the fleet object that agents have now, by cluster.
    pub items: &'a HashMap<ClusterKey, ItemHeader>,
    /// Kustomizations of the fleet object on the hub: name and cluster.
    pub on_hub: &'a BTreeMap<String, ClusterKey>,
    /// Every cluster that exists.
    pub existing: &'a HashSet<ClusterKey>,
    /// What happens where the fleet object leaves.
    pub policy: Policy,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action<'a> {
    /// Set the item of an agent.
    Put {
        cluster: &'a ClusterKey,
        bundle: &'a Bundle,
    },
    /// Delete the item of an agent.
    Delete {
        cluster: &'a ClusterKey,
        cause: Cause,
        policy: Policy,
    },
    /// Apply a Kustomization on the hub.
    ApplyOnHub {
        cluster: &'a ClusterKey,
        bundle: &'a Bundle,
    },
    /// Delete a Kustomization on the hub.
    DeleteOnHub { name: &'a str, policy: Policy },
}

/// Decides. Actions come sorted: first what is set, then what goes, each by cluster or name.
pub(crate) fn plan<'a>(seen: &Seen<'a>) -> Vec<Action<'a>> {
    let mut actions = Vec::new();
    let mut deletes = Vec::new();
    let mut stays: HashSet<&ClusterKey> = HashSet::new();
    for plan in &seen.plans.plans {
        let cluster = &plan.cluster;
        match (&plan.outcome, &plan.place) {
            (Outcome::Place(bundle), Place::Spoke(_)) => {
                stays.insert(cluster);
                actions.push(Action::Put { cluster, bundle });
            }
            (Outcome::Place(bundle), Place::Hub) => {
                stays.insert(cluster);
                actions.push(Action::ApplyOnHub { cluster, bundle });
            }
            (Outcome::Denied(denial), _) if denial.withdraws() => {}
            (Outcome::Denied(_) | Outcome::Frozen, place) => {
                stays.insert(cluster);
                // The last good state stays, but not with rights that were taken away since.
                let outgrown = seen
                    .items
                    .get(cluster)
                    .is_some_and(|item| !fits(&item.grant, plan.grant.as_ref()));
                if outgrown && matches!(place, Place::Spoke(_)) {
                    deletes.push(Action::Delete {
                        cluster,
                        cause: Cause::GrantReduced,
                        policy: Policy::Orphan,
                    });
                }
            }
        }
    }
    let mut left: Vec<&ClusterKey> = seen
        .before
        .iter()
        .chain(seen.items.keys())
        // A cluster that was forgotten keeps what it has: forgetting acts on the hub alone.
        .filter(|cluster| !stays.contains(cluster) && seen.existing.contains(cluster))
        .collect();
    left.sort();
    left.dedup();
    deletes.extend(left.into_iter().map(|cluster| Action::Delete {
        cluster,
        cause: Cause::Excluded,
        policy: seen.policy,
    }));
    actions.append(&mut deletes);
    for (name, cluster) in seen.on_hub {
        if !stays.contains(cluster) {
            let policy = if seen.existing.contains(cluster) {
                seen.policy
            } else {
                Policy::Orphan
            };
            actions.push(Action::DeleteOnHub { name, policy });
        }
    }
    actions
}

fn fits(item: &Grant, now: Option<&Grant>) -> bool {
    now.is_some_and(|now| item.within(now))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ports::ItemVersion;
    use nave_placement::{Denial, OwnerKey, Plan};

    fn grant(admin: bool, namespaces: &[&str]) -> Grant {
        Grant {
            admin,
            service_account: if admin { "" } else { "team" }.into(),
            namespaces: namespaces.iter().map(|name| name.to_string()).collect(),
            lockdown: false,
        }
    }

    fn bundle() -> Bundle {
        Bundle {
            objects: vec![],
            artifact: None,
            secrets: vec![],
            grant: grant(true, &[]),
            suspend: false,
            requested_at: None,
        }
    }

    fn key(name: &str) -> ClusterKey {
        ClusterKey::new("platform", name)
    }

    /// A plan written as `<cluster>:<outcome>`; a cluster that begins with `hub` is on the hub.
    fn parse(text: &str) -> Plan {
        let (name, outcome) = text.split_once(':').expect("cluster:outcome");
        let place = if name.starts_with("hub") {
            Place::Hub
        } else {
            Place::Spoke(key(name))
        };
        let (grant, outcome) = match outcome {
            "place" => (Some(grant(true, &[])), Outcome::Place(Box::new(bundle()))),
            "frozen" => (Some(grant(true, &[])), Outcome::Frozen),
            "frozen-tenant" => (Some(grant(false, &["a"])), Outcome::Frozen),
            "denied" => (
                Some(grant(true, &[])),
                Outcome::Denied(Denial::NotAccepted { cluster: name.into() }),
            ),
            "denied-tenant" => (
                Some(grant(false, &["a"])),
                Outcome::Denied(Denial::NotAccepted { cluster: name.into() }),
            ),
            "no-access" => (
                None,
                Outcome::Denied(Denial::NoAccess {
                    cluster: name.into(),
                    workspace: "w".into(),
                }),
            ),
            other => panic!("{other}"),
        };
        Plan {
            cluster: key(name),
            grant,
            place,
            outcome,
        }
    }

    /// `items`: clusters with an item, `<cluster>` as admin or `<cluster>=<namespaces>` as tenant.
    fn check(plans: &[&str], items: &[&str], on_hub: &[&str], existing: &[&str], want: &[&str]) {
        let plans = PlanSet {
            plans: plans.iter().map(|text| parse(text)).collect(),
            unknown_names: vec![],
        };
        let items: HashMap<ClusterKey, ItemHeader> = items
            .iter()
            .map(|text| {
                let (name, grant) = match text.split_once('=') {
                    Some((name, list)) => (name, grant(false, &list.split('+').collect::<Vec<_>>())),
                    None => (*text, grant(true, &[])),
                };
                let header = ItemHeader {
                    owner: Arc::new(OwnerKey {
                        kind: "K".into(),
                        namespace: "n".into(),
                        name: "x".into(),
                        uid: "u".into(),
                    }),
                    version: ItemVersion::of("v"),
                    grant: Arc::new(grant),
                };
                (key(name), header)
            })
            .collect();
        let before = items.keys().cloned().collect();
        let on_hub = on_hub.iter().map(|name| (format!("apps-{name}"), key(name))).collect();
        let existing = existing.iter().map(|name| key(name)).collect();
        let actions: Vec<String> = plan(&Seen {
            plans: &plans,
            before: &before,
            items: &items,
            on_hub: &on_hub,
            existing: &existing,
            policy: Policy::Prune,
        })
        .iter()
        .map(|action| match action {
            Action::Put { cluster, .. } => format!("put {}", cluster.name),
            Action::ApplyOnHub { cluster, .. } => format!("apply {}", cluster.name),
            Action::Delete { cluster, cause, policy } => format!("delete {} {cause:?} {policy:?}", cluster.name),
            Action::DeleteOnHub { name, policy } => format!("delete {name} {policy:?}"),
        })
        .collect();
        assert_eq!(actions, want);
    }

    #[test]
    fn what_is_selected_is_set_and_what_is_not_goes() {
        check(&["a:place"], &[], &[], &["a"], &["put a"]);
        check(
            &["a:place"],
            &["a", "b"],
            &[],
            &["a", "b"],
            &["put a", "delete b Excluded Prune"],
        );
        check(
            &["hub-1:place"],
            &[],
            &["hub-1", "hub-2"],
            &["hub-1", "hub-2"],
            &["apply hub-1", "delete apps-hub-2 Prune"],
        );
    }

    #[test]
    fn a_denial_leaves_the_last_good_state_alone() {
        check(&["a:denied"], &["a"], &[], &["a"], &[]);
        check(&["a:frozen"], &["a"], &[], &["a"], &[]);
        check(&["hub-1:denied"], &[], &["hub-1"], &["hub-1"], &[]);
    }

    #[test]
    fn losing_access_withdraws() {
        check(&["a:no-access"], &["a"], &[], &["a"], &["delete a Excluded Prune"]);
    }

    #[test]
    fn a_wider_grant_does_not_outlive_itself() {
        let gone = ["delete a GrantReduced Orphan"];
        check(&["a:denied-tenant"], &["a"], &[], &["a"], &gone);
        check(&["a:frozen-tenant"], &["a"], &[], &["a"], &gone);
        check(&["a:denied-tenant"], &["a=a+b"], &[], &["a"], &gone);
        check(&["a:denied-tenant"], &["a=a"], &[], &["a"], &[]);
    }

    #[test]
    fn a_forgotten_cluster_keeps_what_it_has() {
        check(&[], &["a"], &[], &[], &[]);
        check(&[], &[], &["hub-1"], &[], &["delete apps-hub-1 Orphan"]);
    }
}
