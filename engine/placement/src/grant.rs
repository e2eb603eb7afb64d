//! What a workspace may do on a cluster.

use serde::{Deserialize, Serialize};

use crate::model::Cluster;

/// The rights that go with every item; the agent checks them again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Grant {
    /// Whether everything is allowed.
    pub admin: bool,
    /// Service account that applies; empty for an admin.
    pub service_account: String,
    /// Namespaces that may be used, sorted; empty for an admin, who may use all.
    pub namespaces: Vec<String>,
    /// Whether any workspace of this cluster is not an admin. Then Flux objects without a service
    /// account and references across namespaces are refused for everyone but admins' items.
    pub lockdown: bool,
}

impl Grant {
    /// What `workspace` may do on `cluster`; `None` when nothing.
    pub fn of(workspace: &str, cluster: &Cluster) -> Option<Grant> {
        if cluster.access.is_empty() {
            return (cluster.key.namespace == workspace).then_some(Grant {
                admin: true,
                service_account: String::new(),
                namespaces: Vec::new(),
                lockdown: false,
            });
        }
        let lockdown = cluster.access.iter().any(|access| !access.admin);
        // The schema allows one entry per workspace. Were there two, the first counts.
        let access = cluster.access.iter().find(|access| access.workspace == workspace)?;
        if access.admin {
            return Some(Grant {
                admin: true,
                service_account: String::new(),
                namespaces: Vec::new(),
                lockdown,
            });
        }
        // An entry that grants nothing must not become one that asks for nothing.
        if access.service_account.is_empty() || access.namespaces.is_empty() {
            return None;
        }
        let mut namespaces = access.namespaces.clone();
        namespaces.sort();
        namespaces.dedup();
        Some(Grant {
            admin: false,
            service_account: access.service_account.clone(),
            namespaces,
            lockdown,
        })
    }

    /// Whether a namespace of the spoke may be used.
    pub fn allows_namespace(&self, namespace: &str) -> bool {
        self.admin || self.namespaces.iter().any(|allowed| allowed == namespace)
    }

    /// Whether everything that `self` allows was allowed by `other` too.
    ///
    /// What was placed under a wider grant must not outlive it.
    pub fn within(&self, other: &Grant) -> bool {
        other.admin
            || (!self.admin
                && self.service_account == other.service_account
                && self.namespaces.iter().all(|name| other.allows_namespace(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Access, ClusterKey};

    fn cluster(access: Vec<Access>) -> Cluster {
        let mut cluster = Cluster::new(ClusterKey::new("platform", "eu-1"));
        cluster.access = access;
        cluster
    }

    fn tenant(workspace: &str, account: &str, namespaces: &[&str]) -> Access {
        Access {
            workspace: workspace.into(),
            admin: false,
            service_account: account.into(),
            namespaces: namespaces.iter().map(|name| name.to_string()).collect(),
        }
    }

    #[test]
    fn without_access_only_the_own_namespace_is_admin() {
        assert!(Grant::of("platform", &cluster(vec![])).expect("own").admin);
        assert_eq!(Grant::of("team-a", &cluster(vec![])), None);
    }

    #[test]
    fn with_access_only_the_named_workspaces_reach_the_cluster() {
        let cluster = cluster(vec![tenant("team-a", "deployer", &["b", "a"])]);
        assert_eq!(Grant::of("platform", &cluster), None);
        let grant = Grant::of("team-a", &cluster).expect("named");
        assert!(grant.lockdown);
        assert_eq!(grant.namespaces, ["a", "b"]);
        assert!(grant.allows_namespace("a"));
        assert!(!grant.allows_namespace("kube-system"));
    }

    #[test]
    fn one_tenant_locks_the_cluster_down_for_all() {
        let admin = Access {
            workspace: "platform".into(),
            admin: true,
            ..Access::default()
        };
        let cluster = cluster(vec![admin, tenant("team-a", "x", &["a"])]);
        assert!(Grant::of("platform", &cluster).expect("admin").lockdown);
    }

    #[test]
    fn an_entry_that_grants_nothing_grants_nothing() {
        assert_eq!(Grant::of("t", &cluster(vec![tenant("t", "", &["a"])])), None);
        assert_eq!(Grant::of("t", &cluster(vec![tenant("t", "x", &[])])), None);
    }

    #[test]
    fn grants_can_be_compared() {
        let admin = Grant::of("platform", &cluster(vec![])).expect("own");
        let one = Grant::of("t", &cluster(vec![tenant("t", "x", &["a"])])).expect("named");
        let two = Grant::of("t", &cluster(vec![tenant("t", "x", &["a", "b"])])).expect("named");
        let other = Grant::of("t", &cluster(vec![tenant("t", "y", &["a"])])).expect("named");
        assert!(one.within(&admin) && one.within(&two) && one.within(&one));
        assert!(!admin.within(&one) && !two.within(&one) && !other.within(&one));
    }
}
