//! What goes in: fleet objects and clusters as plain data.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::grant::Grant;
use crate::names;
use crate::overrides::key_of;
use crate::selector::Selector;

/// A cluster of the hub. Copies are one in memory: a hub names a cluster for each of its fleet objects, in many places.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "ClusterName", into = "ClusterName")]
pub struct ClusterKey(Arc<ClusterName>);

/// What a [`ClusterKey`] says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterName {
    /// Workspace that holds the Cluster object.
    pub namespace: String,
    /// Name of the Cluster object.
    pub name: String,
}

impl ClusterKey {
    /// The key of `<namespace>/<name>`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        let (namespace, name) = (namespace.into(), name.into());
        ClusterName { namespace, name }.into()
    }
}

impl From<ClusterName> for ClusterKey {
    fn from(name: ClusterName) -> Self {
        Self(Arc::new(name))
    }
}

impl From<ClusterKey> for ClusterName {
    fn from(key: ClusterKey) -> Self {
        Arc::unwrap_or_clone(key.0)
    }
}

impl Deref for ClusterKey {
    type Target = ClusterName;

    fn deref(&self) -> &ClusterName {
        &self.0
    }
}

impl fmt::Display for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The fleet object that owns something, and which life of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OwnerKey {
    /// `FleetKustomization` or `FleetHelmRelease`.
    pub kind: String,
    /// Workspace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID: an object that was deleted and made again is another owner.
    pub uid: String,
}

impl OwnerKey {
    /// Key of the owner's item on a cluster: `<kind>/<namespace>/<name>`.
    pub fn item_key(&self) -> String {
        format!("{}/{}/{}", self.kind, self.namespace, self.name)
    }

    /// What the fleet object is a template of.
    pub fn product(&self) -> Product {
        match self.kind.as_str() {
            names::FLEET_HELM_RELEASE => Product::HelmRelease,
            _ => Product::Kustomization,
        }
    }
}

/// What a fleet object is a template of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Product {
    /// A Kustomization.
    Kustomization,
    /// A HelmRelease.
    HelmRelease,
}

impl Product {
    /// Its kind.
    pub fn kind(self) -> &'static str {
        match self {
            Product::Kustomization => "Kustomization",
            Product::HelmRelease => "HelmRelease",
        }
    }
}

impl fmt::Display for OwnerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

/// A source object of the hub.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SourceKey {
    /// Kind, such as `GitRepository`.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for SourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

/// A fleet object: a Kustomization or HelmRelease for many clusters.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetObject {
    /// Who it is. The namespace is the workspace.
    pub owner: OwnerKey,
    /// Whether the Flux objects are suspended everywhere.
    pub suspend: bool,
    /// Value of the annotation that asks for a reconcile.
    pub requested_at: Option<String>,
    /// Namespace on spokes, if the object says.
    pub spoke_namespace: Option<String>,
    /// Which clusters.
    pub placement: Placement,
    /// Where the manifests come from.
    pub source: Source,
    /// Globs over the files that are sent; empty means all.
    pub include: Vec<String>,
    /// Who fetches.
    pub delivery: Delivery,
    /// `{metadata: {labels, annotations}, spec: {…}}`.
    pub template: Value,
    /// Changes of the template, in order.
    pub overrides: Vec<Override>,
    /// Secrets that go along.
    pub secrets: Vec<SecretUse>,
    /// What happens when a cluster is no longer selected.
    pub policy: Policy,
}

impl FleetObject {
    /// The object of the hub whose artifact clusters get with delivery [`Delivery::Artifact`]: the source itself, or the
    /// HelmChart that takes a chart out of it, which has the name of the fleet object.
    pub fn artifact_source(&self) -> SourceKey {
        let source = self.source.key(&self.owner);
        if self.owner.product() == Product::HelmRelease && self.source.has_charts() {
            return SourceKey {
                kind: "HelmChart".to_owned(),
                namespace: self.owner.namespace.clone(),
                name: self.owner.name.clone(),
            };
        }
        source
    }

    /// `spec.chart.spec` of a HelmRelease: which chart of the source.
    pub fn chart(&self) -> Option<&Map<String, Value>> {
        self.template.pointer("/spec/chart/spec")?.as_object()
    }
}

/// Which clusters: the selector's and the named ones, less the excluded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Placement {
    /// By label; `None` matches nothing.
    pub selector: Option<Selector>,
    /// By name, `<namespace>/<name>` for one of another namespace.
    pub names: Vec<String>,
    /// What is left out.
    pub exclude: ClusterSelector,
}

impl Placement {
    /// Whether a plan of a workspace's fleet object may look at this cluster: it sees it, and means it by label or name.
    /// One that is excluded is looked at too.
    pub fn looks_at(&self, workspace: &str, cluster: &Cluster) -> bool {
        let sees = cluster.key.namespace == workspace || Grant::of(workspace, cluster).is_some();
        let by_label = || {
            let selector = self.selector.as_ref();
            selector.is_some_and(|selector| selector.matches(&cluster.labels))
        };
        sees && (by_label() || self.names.iter().any(|name| key_of(name, workspace) == cluster.key))
    }
}

/// Clusters by label or by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClusterSelector {
    /// By label; `None` matches nothing.
    pub selector: Option<Selector>,
    /// By name, `<namespace>/<name>` for one of another namespace.
    pub names: Vec<String>,
}

/// Where manifests come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A source to make, named after the fleet object.
    Template {
        /// Kind, such as `GitRepository`.
        kind: String,
        /// Its spec.
        spec: Map<String, Value>,
    },
    /// A source of the hub in the same namespace.
    Reference {
        /// Kind, such as `GitRepository`.
        kind: String,
        /// Its name.
        name: String,
        /// Its spec, where it is known: delivery `Source` copies it to the spoke.
        spec: Option<Map<String, Value>>,
    },
}

impl Source {
    /// Its kind.
    pub fn kind(&self) -> &str {
        match self {
            Source::Template { kind, .. } | Source::Reference { kind, .. } => kind,
        }
    }

    /// Whether it holds charts and is none itself.
    pub fn has_charts(&self) -> bool {
        matches!(self.kind(), "GitRepository" | "HelmRepository" | "Bucket")
    }

    /// The source object on the hub.
    pub fn key(&self, owner: &OwnerKey) -> SourceKey {
        let (kind, name) = match self {
            Source::Template { kind, .. } => (kind, &owner.name),
            Source::Reference { kind, name, .. } => (kind, name),
        };
        SourceKey {
            kind: kind.clone(),
            namespace: owner.namespace.clone(),
            name: name.clone(),
        }
    }
}

/// Who fetches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Delivery {
    /// The hub; spokes get files.
    #[default]
    Artifact,
    /// Each spoke.
    Source,
}

/// A change of the template for some clusters; `merge` goes before `patches`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Override {
    /// For which clusters.
    pub clusters: ClusterSelector,
    /// JSON merge patch (RFC 7386).
    pub merge: Option<Value>,
    /// JSON patch (RFC 6902), as a list of operations.
    pub patches: Vec<Value>,
}

/// A Secret that goes along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretUse {
    /// Its name, in the workspace.
    pub name: String,
    /// Whether it may be missing.
    pub optional: bool,
}

/// What happens to objects that are no longer wanted on a cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Policy {
    /// Workloads are deleted.
    #[default]
    Prune,
    /// Flux objects go, workloads stay.
    Orphan,
}

/// A cluster. There is no field for what its agent claims: that selects nothing.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Which one.
    pub key: ClusterKey,
    /// Labels of the Cluster object, as a hub user or a join token set them.
    pub labels: BTreeMap<String, String>,
    /// Variables of the Cluster object.
    pub variables: BTreeMap<String, String>,
    /// What each workspace may do; empty means the own namespace as admin.
    pub access: Vec<Access>,
    /// Whether its desired state is frozen.
    pub suspend: bool,
    /// Whether it may receive anything.
    pub accepted: bool,
    /// How it is reached.
    pub mode: Mode,
    exported: OnceLock<Vec<(String, String)>>,
}

/// How a cluster is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// By its agent.
    Agent,
    /// By the hub, with a kubeconfig.
    KubeConfig(KubeConfigKey),
}

/// A kubeconfig in a Secret in the namespace of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeConfigKey {
    /// Name of the Secret.
    pub secret: String,
    /// Key in the Secret; empty for the default.
    pub key: String,
}

/// What one workspace may do on a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Which workspace.
    pub workspace: String,
    /// Whether everything is allowed.
    pub admin: bool,
    /// The service account of everyone else.
    pub service_account: String,
    /// The namespaces of everyone else.
    pub namespaces: Vec<String>,
}

impl Cluster {
    /// A cluster that is accepted, not suspended, and driven by an agent.
    pub fn new(key: ClusterKey) -> Self {
        Self {
            key,
            labels: BTreeMap::new(),
            variables: BTreeMap::new(),
            access: Vec::new(),
            suspend: false,
            accepted: true,
            mode: Mode::Agent,
            exported: OnceLock::new(),
        }
    }

    /// Variables for manifests, sorted: `cluster_name`, then `cluster_<x>` for each variable and
    /// label. What cannot stand in a variable's name becomes `_`.
    ///
    /// Variables win over labels, and the cluster's name over both. Two labels that end up with one
    /// name are both left out: which one a manifest would get could change with any new label.
    pub(crate) fn exported(&self) -> &[(String, String)] {
        self.exported.get_or_init(|| {
            let mut all: BTreeMap<String, Option<&str>> = BTreeMap::new();
            for (key, value) in &self.labels {
                all.entry(exported_name(key))
                    .and_modify(|entry| *entry = None)
                    .or_insert(Some(value));
            }
            for (key, value) in &self.variables {
                all.insert(exported_name(key), Some(value));
            }
            all.insert("cluster_name".into(), Some(&self.key.name));
            all.into_iter()
                .filter_map(|(name, value)| Some((name, value?.to_owned())))
                .collect()
        })
    }
}

/// The name of a label or variable among the variables of manifests.
fn exported_name(key: &str) -> String {
    let mut name = String::with_capacity(key.len() + 8);
    name.push_str("cluster_");
    name.extend(key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }));
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_get_labels_and_variables_by_plain_names() {
        let mut cluster = Cluster::new(ClusterKey::new("platform", "eu-1"));
        for (key, value) in [
            ("env", "prod"),
            ("topology.kubernetes.io/zone", "a"),
            ("same.name", "1"),
            ("same/name", "2"),
            ("name", "forged"),
        ] {
            cluster.labels.insert(key.into(), value.into());
        }
        cluster.variables.insert("env".into(), "variable".into());
        let exported: Vec<String> = cluster
            .exported()
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            exported,
            [
                "cluster_env=variable",
                "cluster_name=eu-1",
                "cluster_topology_kubernetes_io_zone=a"
            ]
        );
    }
}
