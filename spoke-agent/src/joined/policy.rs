//! The spoke's own cap on the hub: what no fleet object may touch here, and what each workspace may.

mod file;
mod rules;

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use nave_quic::AgentHandle;
use nave_runtime::{
    Tasks,
    ports::{Action, ApplyPolicy, OwnerRef},
};
use serde::{Deserialize, Serialize};

pub use file::PolicyFile;

/// Kinds that run with an account of their namespace, or give rights in it.
const ACTING: [(&str, &str); 12] = [
    ("", "Pod"),
    ("", "PodTemplate"),
    ("", "ReplicationController"),
    ("", "ServiceAccount"),
    ("apps", "DaemonSet"),
    ("apps", "Deployment"),
    ("apps", "ReplicaSet"),
    ("apps", "StatefulSet"),
    ("batch", "CronJob"),
    ("batch", "Job"),
    ("rbac.authorization.k8s.io", "Role"),
    ("rbac.authorization.k8s.io", "RoleBinding"),
];

/// What a workspace may do on this cluster, as the hub said and as it is checked here once more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Grant {
    /// The workspace.
    pub workspace: String,
    /// Everything but the protected set.
    pub admin: bool,
    /// The account that it acts as; not for admins.
    pub service_account: String,
    /// The namespaces that it may touch; not for admins.
    pub namespaces: Vec<String>,
    /// Some workspace on this cluster is no admin: accounts are forced and references across namespaces refused.
    pub lockdown: bool,
}

/// The grants in force, by UID of the fleet object, the protected set, and what the cluster's own people say.
#[derive(Clone)]
pub struct SpokePolicy {
    agent_namespace: Arc<str>,
    file: PolicyFile,
    grants: Arc<RwLock<HashMap<String, Grant>>>,
    lifted: Arc<AtomicBool>,
}

impl SpokePolicy {
    /// No grants yet: what carries a fleet owner is refused until its grant is known.
    pub fn new(agent_namespace: &str, file: PolicyFile) -> Self {
        SpokePolicy {
            agent_namespace: agent_namespace.into(),
            file,
            grants: Arc::default(),
            lifted: Arc::default(),
        }
    }

    /// There is no hub any more that would have to be capped.
    pub fn lift(&self) {
        self.lifted.store(true, Ordering::Relaxed);
    }

    /// The grant of one fleet object from now on.
    pub fn set(&self, fleet_uid: &str, grant: Grant) {
        self.grants
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(fleet_uid.to_owned(), grant);
    }

    /// Forgets a fleet object.
    pub fn remove(&self, fleet_uid: &str) {
        self.grants
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(fleet_uid);
    }

    /// Digest of the policy file, which the hub is told; empty without one.
    pub fn digest(&self) -> Vec<u8> {
        self.file.now().map(|read| read.digest.to_vec()).unwrap_or_default()
    }

    /// Tells the hub of every change of the policy file until shutdown.
    pub fn tell(&self, link: AgentHandle, tasks: &Tasks) {
        let (mut changes, shutdown) = (self.file.changes(), tasks.shutdown_token().clone());
        tasks.spawn("policy-told", async move {
            while let Some(Ok(())) = shutdown.run_until_cancelled(changes.changed()).await {
                let digest = changes.borrow_and_update().as_ref().map(|read| read.digest);
                digest.into_iter().for_each(|digest| link.policy_changed(digest));
            }
        });
    }

    /// Repositories that the policy file lets the agent be upgraded from, if it says so.
    pub fn upgrade_from(&self) -> Option<Vec<String>> {
        self.file.now()?.rules.upgrade_from().map(<[String]>::to_vec)
    }

    /// Whether the policy file lets so many objects, and those that take others along, be pruned without asking the hub.
    pub fn permits_without_hub(&self, objects: usize, cascades: usize) -> bool {
        let file = self.file.now();
        file.is_some_and(|read| read.rules.permits_without_hub(objects, cascades))
    }

    /// Whether the policy file lets a workspace send anything, with that grant.
    pub fn check_grant(&self, grant: &Grant) -> Result<(), String> {
        self.file.now().map_or(Ok(()), |read| read.rules.check_grant(grant))
    }

    /// Whether the policy file lets that object be touched by anything that a hub sends.
    pub fn check_object(&self, group: &str, kind: &str, namespace: &str, name: &str) -> Result<(), String> {
        self.file
            .now()
            .map_or(Ok(()), |read| read.rules.check_object(group, kind, namespace, name))
    }

    /// Whether an object in the agent's own namespace could act as the agent: run with its account, or be given its rights.
    fn may_act_as_agent(&self, group: &str, kind: &str, namespace: &str) -> bool {
        namespace == &*self.agent_namespace && ACTING.contains(&(group, kind))
    }

    /// What belongs to the agent itself: its namespace, and everything in it or cluster-wide that carries its name.
    pub fn is_protected(&self, group: &str, kind: &str, namespace: &str, name: &str) -> bool {
        let named_for_agent = name == "nave-agent" || name.starts_with("nave-agent-");
        (group.is_empty() && kind == "Namespace" && name == &*self.agent_namespace)
            || (namespace == &*self.agent_namespace
                && (named_for_agent || (kind == "Service" && name == "source-controller")))
            || (namespace.is_empty() && named_for_agent)
            || (group == "apiextensions.k8s.io" && (name.ends_with(".fluxcd.io") || name.ends_with(".fleet.nave.dev")))
    }
}

impl ApplyPolicy for SpokePolicy {
    fn check(
        &self,
        owner: &OwnerRef,
        _action: Action,
        group: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<(), String> {
        // What the cluster's own people apply is theirs to decide.
        let Some(fleet) = owner.fleet.as_ref().filter(|_| !self.lifted.load(Ordering::Relaxed)) else {
            return Ok(());
        };
        if self.is_protected(group, kind, namespace, name) {
            return Err(format!(
                "{kind} {} belongs to the agent; no fleet object may change it",
                display(namespace, name)
            ));
        }
        if self.may_act_as_agent(group, kind, namespace) {
            return Err(format!(
                "{kind} {}: in the agent's namespace it could act as the agent; put it into another one",
                display(namespace, name)
            ));
        }
        let grants = self.grants.read().unwrap_or_else(PoisonError::into_inner);
        let Some(grant) = grants.get(&fleet.uid) else {
            return Err(format!(
                "the grant of {} {}/{} on this cluster is not known",
                fleet.kind, fleet.namespace, fleet.name
            ));
        };
        if let Some(read) = self.file.now() {
            read.rules.check_grant(grant)?;
            read.rules.check_object(group, kind, namespace, name)?;
        }
        if grant.admin || grant.namespaces.iter().any(|granted| granted == namespace) {
            return Ok(());
        }
        // A tenant may restate the namespaces that it was given.
        if group.is_empty() && kind == "Namespace" && grant.namespaces.iter().any(|granted| granted == name) {
            return Ok(());
        }
        Err(format!(
            "workspace {} has no grant for {kind} {}; it may use the namespaces {}",
            grant.workspace,
            display(namespace, name),
            grant.namespaces.join(", ")
        ))
    }
}

fn display(namespace: &str, name: &str) -> String {
    if namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}/{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nave_runtime::ports::FleetRef;

    fn owner(uid: &str) -> OwnerRef {
        OwnerRef {
            kind: "Kustomization".into(),
            namespace: "flux-system".into(),
            name: "apps".into(),
            fleet: (!uid.is_empty()).then(|| FleetRef {
                kind: "FleetKustomization".into(),
                namespace: "team-a".into(),
                name: "apps".into(),
                uid: uid.into(),
            }),
        }
    }

    fn policy() -> SpokePolicy {
        let policy = SpokePolicy::new("flux-system", PolicyFile::default());
        policy.set(
            "admin",
            Grant {
                admin: true,
                workspace: "platform".into(),
                ..Grant::default()
            },
        );
        policy.set(
            "tenant",
            Grant {
                workspace: "team-a".into(),
                service_account: "team-a".into(),
                namespaces: vec!["team-a".into()],
                lockdown: true,
                ..Grant::default()
            },
        );
        policy
    }

    #[track_caller]
    fn check(uid: &str, object: (&str, &str, &str, &str), allowed: bool) {
        let (group, kind, namespace, name) = object;
        let verdict = policy().check(&owner(uid), Action::Apply, group, kind, namespace, name);
        assert_eq!(verdict.is_ok(), allowed, "{uid} {object:?}: {verdict:?}");
    }

    #[test]
    fn admins_touch_everything_but_the_agent() {
        check("admin", ("apps", "Deployment", "shop", "web"), true);
        check("admin", ("", "Namespace", "", "shop"), true);
        check("admin", ("", "ConfigMap", "flux-system", "settings"), true);
        check("admin", ("", "Namespace", "", "flux-system"), false);
        // With the agent's account it would be the agent, whatever its name.
        check("admin", ("", "Pod", "flux-system", "innocent"), false);
        check("admin", ("batch", "CronJob", "flux-system", "innocent"), false);
        check(
            "admin",
            ("rbac.authorization.k8s.io", "RoleBinding", "flux-system", "innocent"),
            false,
        );
        check(
            "admin",
            ("rbac.authorization.k8s.io", "RoleBinding", "shop", "team"),
            true,
        );
        check("", ("", "Pod", "flux-system", "innocent"), true);
        check("admin", ("", "Secret", "flux-system", "nave-agent-hub"), false);
        check("admin", ("apps", "Deployment", "flux-system", "nave-agent"), false);
        check(
            "admin",
            (
                "rbac.authorization.k8s.io",
                "ClusterRoleBinding",
                "",
                "nave-agent-reconciler-flux-system",
            ),
            false,
        );
        check(
            "admin",
            (
                "apiextensions.k8s.io",
                "CustomResourceDefinition",
                "",
                "kustomizations.kustomize.toolkit.fluxcd.io",
            ),
            false,
        );
    }

    #[test]
    fn the_policy_file_caps_admins_and_not_the_cluster_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.yaml");
        let text = "namespaces: [shop]\nadmins: [platform]\nupgradeFrom: [here/nave-agent]\ndeletionsWithoutHub: {objects: 2}\n";
        std::fs::write(&path, text).unwrap();
        let policy = SpokePolicy {
            file: PolicyFile::open(Some(&path)).unwrap(),
            ..policy()
        };
        let check = |uid: &str, namespace: &str| {
            let owner = owner(uid);
            policy.check(&owner, Action::Apply, "apps", "Deployment", namespace, "web")
        };
        assert_eq!(check("admin", "shop"), Ok(()));
        assert!(check("admin", "elsewhere").unwrap_err().contains("(namespaces)"));
        assert!(
            check("tenant", "team-a").unwrap_err().contains("(namespaces)"),
            "a grant is not more than the policy"
        );
        assert_eq!(
            check("", "elsewhere"),
            Ok(()),
            "what the cluster's own people apply is theirs to decide"
        );
        assert_eq!(policy.digest().len(), 32);
        assert_eq!(policy.upgrade_from(), Some(vec!["here/nave-agent".to_owned()]));
        assert!(policy.permits_without_hub(2, 0) && !policy.permits_without_hub(3, 0));
    }

    #[test]
    fn tenants_stay_in_their_namespaces() {
        check("tenant", ("apps", "Deployment", "team-a", "web"), true);
        check("tenant", ("", "Namespace", "", "team-a"), true);
        check("tenant", ("apps", "Deployment", "shop", "web"), false);
        check("tenant", ("", "Namespace", "", "shop"), false);
        check(
            "tenant",
            ("rbac.authorization.k8s.io", "ClusterRole", "", "mine"),
            false,
        );
    }

    #[test]
    fn a_cluster_that_left_its_hub_decides_for_itself() {
        let policy = policy();
        policy.lift();
        let verdict = policy.check(&owner("stranger"), Action::Delete, "apps", "Deployment", "shop", "web");
        assert_eq!(verdict, Ok(()));
    }

    #[test]
    fn an_unknown_fleet_owner_is_refused_and_the_cluster_itself_is_not() {
        check("stranger", ("apps", "Deployment", "team-a", "web"), false);
        check("", ("", "Namespace", "", "flux-system"), true);
    }
}
