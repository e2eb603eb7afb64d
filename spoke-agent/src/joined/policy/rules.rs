//! What the cluster's own people let a hub do, whatever the hub says.

use anyhow::{Result, ensure};
use nave_object::yaml::{self, Dialect};
use serde::Deserialize;

use super::Grant;

/// The contents of `--policy-file`. What is not named is not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rules {
    /// Workspaces of the hub that may send anything.
    workspaces: Option<Vec<String>>,
    /// Workspaces that may be admins here, if the hub says that they are.
    admins: Option<Vec<String>>,
    /// Namespaces that may be touched; `*` stands for any text.
    namespaces: Option<Vec<String>>,
    /// Namespaces that may not, also when `namespaces` names them.
    denied_namespaces: Vec<String>,
    /// Kinds that may not be touched, as `ClusterRole.rbac.authorization.k8s.io`, `Node`, or `*.admissionregistration.k8s.io`.
    denied_kinds: Vec<String>,
    /// Whether objects without a namespace may be touched; Namespaces are judged by their name.
    cluster_scoped: Option<bool>,
    /// Repositories that the agent may be upgraded from; none at all when empty.
    upgrade_from: Option<Vec<String>>,
    /// What may be pruned while the hub cannot be asked.
    deletions_without_hub: DeletionsWithoutHub,
}

/// What may be pruned while the hub cannot be asked; nothing by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct DeletionsWithoutHub {
    /// Objects of one Kustomization or release at once.
    objects: usize,
    /// Also what takes others along: Namespaces, CustomResourceDefinitions, Flux objects, Helm releases.
    cascades: bool,
}

impl Rules {
    /// Reads the file's text.
    ///
    /// # Errors
    /// It is no YAML, more than one document, or has a field that is not known or of another type. An empty file limits
    /// nothing, and is refused: it is more likely an accident.
    pub fn parse(text: &str) -> Result<Self> {
        let mut documents = yaml::read_documents(text, Dialect::K8s)?;
        ensure!(
            documents.len() == 1,
            "expected one YAML document, found {}",
            documents.len()
        );
        let rules: Rules = serde_json::from_value(documents.remove(0))?;
        let namespaces = rules.namespaces.iter().flatten().chain(&rules.denied_namespaces);
        for pattern in namespaces.chain(&rules.denied_kinds) {
            ensure!(!pattern.is_empty(), "an empty text names no namespace and no kind");
        }
        Ok(rules)
    }

    /// Whether what a workspace sends is taken at all, with that grant.
    pub fn check_grant(&self, grant: &Grant) -> Result<(), String> {
        let workspace = &grant.workspace;
        if self.workspaces.as_ref().is_some_and(|known| !known.contains(workspace)) {
            return Err(format!(
                "this cluster's policy takes nothing from workspace {workspace} (workspaces)"
            ));
        }
        if grant.admin && self.admins.as_ref().is_some_and(|known| !known.contains(workspace)) {
            return Err(format!(
                "this cluster's policy takes workspace {workspace} for no admin (admins); give it namespaces and an account \
                 in spec.access of the Cluster"
            ));
        }
        Ok(())
    }

    /// Whether an object may be touched.
    pub fn check_object(&self, group: &str, kind: &str, namespace: &str, name: &str) -> Result<(), String> {
        let refused = |field: &str| {
            let place = if namespace.is_empty() {
                String::new()
            } else {
                format!("{namespace}/")
            };
            Err(format!("this cluster's policy refuses {kind} {place}{name} ({field})"))
        };
        let full = if group.is_empty() {
            kind.to_owned()
        } else {
            format!("{kind}.{group}")
        };
        if self.denied_kinds.iter().any(|pattern| matches(pattern, &full)) {
            return refused("deniedKinds");
        }
        let is_namespace = group.is_empty() && kind == "Namespace";
        let within = if is_namespace { name } else { namespace };
        if within.is_empty() {
            return match self.cluster_scoped {
                Some(false) => refused("clusterScoped"),
                _ => Ok(()),
            };
        }
        if self.denied_namespaces.iter().any(|pattern| matches(pattern, within)) {
            return refused("deniedNamespaces");
        }
        let allowed = |patterns: &Vec<String>| patterns.iter().any(|pattern| matches(pattern, within));
        match self.namespaces.as_ref().is_none_or(allowed) {
            true => Ok(()),
            false => refused("namespaces"),
        }
    }

    /// Repositories that the agent may be upgraded from, when the policy says so.
    pub fn upgrade_from(&self) -> Option<&[String]> {
        self.upgrade_from.as_deref()
    }

    /// Whether so many objects, and those that take others along, may be pruned without asking the hub.
    pub fn permits_without_hub(&self, objects: usize, cascades: usize) -> bool {
        let allowed = self.deletions_without_hub;
        objects <= allowed.objects && (cascades == 0 || allowed.cascades)
    }
}

/// Whether a text is what a pattern says, in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = pieces.next_back() else {
        return rest.is_empty(); // no star
    };
    for piece in pieces {
        match rest.find(piece) {
            Some(found) => rest = &rest[found + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "\
workspaces: [platform, team-a]
admins: [platform]
namespaces: [shop, 'team-*', kube-system]
deniedNamespaces: [kube-*]
deniedKinds: [ClusterRole.rbac.authorization.k8s.io, '*.admissionregistration.k8s.io', Node]
clusterScoped: true
upgradeFrom: []
deletionsWithoutHub: {objects: 5}
";

    #[track_caller]
    fn check(object: (&str, &str, &str, &str), field: &str) {
        let (group, kind, namespace, name) = object;
        let verdict = Rules::parse(POLICY).unwrap().check_object(group, kind, namespace, name);
        match verdict {
            Ok(()) => assert_eq!(field, "", "{object:?} is let through"),
            Err(why) => assert!(why.ends_with(&format!("({field})")), "{object:?}: {why}"),
        }
    }

    #[test]
    fn objects_are_judged_by_kind_and_namespace() {
        check(("apps", "Deployment", "shop", "web"), "");
        check(("apps", "Deployment", "team-a", "web"), "");
        check(("apps", "Deployment", "teams", "web"), "namespaces");
        check(("apps", "Deployment", "kube-system", "web"), "deniedNamespaces");
        check(("", "Namespace", "", "team-b"), "");
        check(("", "Namespace", "", "elsewhere"), "namespaces");
        check(("", "Namespace", "", "kube-node-lease"), "deniedNamespaces");
        check(("", "Node", "", "one"), "deniedKinds");
        check(("rbac.authorization.k8s.io", "ClusterRole", "", "mine"), "deniedKinds");
        check(("rbac.authorization.k8s.io", "ClusterRoleBinding", "", "mine"), "");
        let hook = (
            "admissionregistration.k8s.io",
            "ValidatingWebhookConfiguration",
            "",
            "all",
        );
        check(hook, "deniedKinds");
        let closed = Rules::parse("clusterScoped: false\n").unwrap();
        assert!(closed.check_object("", "PersistentVolume", "", "disk").is_err());
        assert!(closed.check_object("", "Namespace", "", "shop").is_ok());
        assert!(closed.check_object("", "ConfigMap", "shop", "settings").is_ok());
    }

    #[test]
    fn workspaces_and_admins_are_those_that_are_named() {
        let rules = Rules::parse(POLICY).unwrap();
        let grant = |workspace: &str, admin| Grant {
            workspace: workspace.to_owned(),
            admin,
            ..Grant::default()
        };
        assert_eq!(rules.check_grant(&grant("platform", true)), Ok(()));
        assert_eq!(rules.check_grant(&grant("team-a", false)), Ok(()));
        assert!(
            rules
                .check_grant(&grant("team-a", true))
                .unwrap_err()
                .contains("(admins)")
        );
        assert!(
            rules
                .check_grant(&grant("team-b", false))
                .unwrap_err()
                .contains("(workspaces)")
        );
        assert_eq!(Rules::default().check_grant(&grant("anyone", true)), Ok(()));
    }

    #[test]
    fn deletions_without_a_hub_need_a_budget() {
        let rules = Rules::parse(POLICY).unwrap();
        assert!(rules.permits_without_hub(5, 0));
        assert!(!rules.permits_without_hub(6, 0));
        assert!(!rules.permits_without_hub(5, 1));
        assert!(!Rules::default().permits_without_hub(1, 0));
    }

    #[test]
    fn what_is_wrong_in_the_file_is_named() {
        for (text, named) in [
            ("workspace: [a]\n", "workspace"),
            ("namespaces: shop\n", "sequence"),
            ("deniedKinds: ['']\n", "empty"),
            ("", "found 0"),
            ("a: 1\n---\nb: 1\n", "found 2"),
            ("namespaces: [", "line"),
        ] {
            let error = format!("{:#}", Rules::parse(text).unwrap_err());
            assert!(error.contains(named), "{text:?}: {error}");
        }
    }

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, text, fits) in [
            ("shop", "shop", true),
            ("shop", "shopping", false),
            ("*", "", true),
            ("team-*", "team-", true),
            ("*-prod-*", "eu-prod-1", true),
            ("a*a", "a", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxcyyb", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
