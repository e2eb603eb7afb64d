//! One fleet object over all clusters.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use crate::bundle::Bundle;
use crate::check::{Frame, check, check_source};
use crate::claims::{Claims, Place};
use crate::denial::Denial;
use crate::grant::Grant;
use crate::model::{Cluster, ClusterKey, Delivery, FleetObject, Mode, Source};
use crate::overrides::{OverrideError, ReadyOverride, ReadySelector, applicable, apply, key_of, ready};
use crate::render;
use crate::variables::{Holes, VariableError};

/// What one fleet object means for one cluster that it selects.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The cluster.
    pub cluster: ClusterKey,
    /// What the workspace may do there now; `None` when nothing.
    pub grant: Option<Grant>,
    /// Where its objects live.
    pub place: Place,
    /// What is to be done.
    pub outcome: Outcome,
}

/// What is to be done on a cluster.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// These objects belong there.
    Place(Box<Bundle>),
    /// The fleet object may not go there as it is.
    Denied(Denial),
    /// The cluster is suspended: what it has stays as it is.
    Frozen,
}

/// What one fleet object means for the fleet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlanSet {
    /// One plan for each selected cluster, sorted by cluster.
    pub plans: Vec<Plan>,
    /// Names in the placement for which there is no cluster that the workspace can see, sorted.
    pub unknown_names: Vec<String>,
}

/// A fleet object that makes no sense for any cluster.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// A `${cluster.…}` cannot be read.
    #[error(transparent)]
    Variable(#[from] VariableError),
    /// A patch cannot be read.
    #[error(transparent)]
    Override(#[from] OverrideError),
    /// The hub fetches once for all clusters, so its source cannot differ between them.
    #[error(
        "spec.source.template depends on the cluster, which needs spec.delivery Source: with Artifact the hub fetches once for all clusters"
    )]
    SharedSource,
    /// Only what a cluster can fetch itself can be its source.
    #[error("spec.source.ref names an object of kind {0}, which a cluster cannot fetch; use spec.delivery Artifact")]
    UnfetchableSource(String),
    /// Nothing is cut down when clusters fetch themselves.
    #[error("spec.source.include works with spec.delivery Artifact only")]
    IncludeWithoutArtifact,
}

/// A fleet object, ready to be planned for many clusters.
#[derive(Debug)]
pub struct Planner<'a> {
    fleet: &'a FleetObject,
    placement: ReadySelector,
    exclude: ReadySelector,
    overrides: Vec<ReadyOverride>,
    source: Holes,
    secrets: Vec<String>,
}

/// The template with one combination of overrides applied, and its variables found.
type Variant = Result<(Value, Holes), VariantError>;

#[derive(Debug, Clone)]
enum VariantError {
    Denied(Denial),
    Variable(VariableError),
}

/// The most that the objects of one bundle may take, in bytes of text. The link takes items of
/// 1 MiB, and Kubernetes objects end at 1.5 MiB.
const LIMIT: usize = 512 * 1024;

impl<'a> Planner<'a> {
    /// Reads everything in a fleet object that does not depend on a cluster.
    pub fn new(fleet: &'a FleetObject) -> Result<Self, SpecError> {
        let workspace = fleet.owner.namespace.as_str();
        let overrides = ready(&fleet.overrides, workspace)?;
        // Also catches a template that no override makes good.
        Holes::find(&fleet.template, "spec.template")?;
        let source = match &fleet.source {
            Source::Template { spec, .. } => Holes::find(&Value::Object(spec.clone()), "spec.source.template.spec")?,
            Source::Reference { .. } => Holes::default(),
        };
        if fleet.delivery == Delivery::Artifact && !source.is_empty() {
            return Err(SpecError::SharedSource);
        }
        if fleet.delivery == Delivery::Source {
            if let Source::Reference { kind, .. } = &fleet.source
                && matches!(kind.as_str(), "ExternalArtifact" | "HelmChart")
            {
                return Err(SpecError::UnfetchableSource(kind.clone()));
            }
            if !fleet.include.is_empty() {
                return Err(SpecError::IncludeWithoutArtifact);
            }
        }
        Ok(Self {
            fleet,
            placement: ReadySelector::new(fleet.placement.selector.as_ref(), &fleet.placement.names, workspace),
            exclude: ReadySelector::new(
                fleet.placement.exclude.selector.as_ref(),
                &fleet.placement.exclude.names,
                workspace,
            ),
            overrides,
            source,
            secrets: fleet.secrets.iter().map(|one| one.name.clone()).collect(),
        })
    }

    /// Plans for every selected cluster. `claims` says which objects belong to others.
    pub fn plan<'c>(&self, clusters: impl IntoIterator<Item = &'c Cluster>, claims: &Claims) -> PlanSet {
        let workspace = self.fleet.owner.namespace.as_str();
        let mut variants: HashMap<Vec<usize>, Variant> = HashMap::new();
        let mut plans = Vec::new();
        let mut unknown: HashMap<ClusterKey, &String> = self
            .fleet
            .placement
            .names
            .iter()
            .map(|name| (key_of(name, workspace), name))
            .collect();
        for cluster in clusters {
            let grant = Grant::of(workspace, cluster);
            // A workspace does not see clusters of others that do not name it.
            if grant.is_none() && cluster.key.namespace != workspace {
                continue;
            }
            unknown.remove(&cluster.key);
            if !self.placement.matches(cluster) || self.exclude.matches(cluster) {
                continue;
            }
            let outcome = self
                .outcome(cluster, grant.as_ref(), claims, &mut variants)
                .unwrap_or_else(Outcome::Denied);
            plans.push(Plan {
                cluster: cluster.key.clone(),
                grant,
                place: place_of(cluster),
                outcome,
            });
        }
        plans.sort_by(|a, b| a.cluster.cmp(&b.cluster));
        let mut unknown_names: Vec<String> = unknown.into_values().cloned().collect();
        unknown_names.sort();
        PlanSet { plans, unknown_names }
    }

    /// Plans for some clusters only, those that changed: `None` for one that is gone. `unknown` are the names that no
    /// cluster had before. The plans are those of [`Planner::plan`] for these clusters, and the unknown names are all.
    pub fn plan_changed<'c>(
        &self,
        changed: impl IntoIterator<Item = (&'c ClusterKey, Option<&'c Cluster>)>,
        unknown: &[String],
        claims: &Claims,
    ) -> PlanSet {
        let workspace = self.fleet.owner.namespace.as_str();
        let mut keys = HashSet::new();
        let mut present = Vec::new();
        for (key, cluster) in changed {
            keys.insert(key);
            present.extend(cluster);
        }
        let mut set = self.plan(present, claims);
        let changed = |name: &String| keys.contains(&key_of(name, workspace));
        set.unknown_names.retain(changed);
        let as_before = unknown.iter().filter(|name| !changed(name)).cloned();
        set.unknown_names.extend(as_before);
        set.unknown_names.sort();
        set
    }

    fn outcome(
        &self,
        cluster: &Cluster,
        grant: Option<&Grant>,
        claims: &Claims,
        variants: &mut HashMap<Vec<usize>, Variant>,
    ) -> Result<Outcome, Denial> {
        let workspace = self.fleet.owner.namespace.as_str();
        let grant = grant.ok_or_else(|| Denial::NoAccess {
            cluster: cluster.key.to_string(),
            workspace: workspace.to_owned(),
        })?;
        if !cluster.accepted {
            return Err(Denial::NotAccepted {
                cluster: cluster.key.to_string(),
            });
        }
        if cluster.suspend {
            return Ok(Outcome::Frozen);
        }
        let indices = applicable(&self.overrides, cluster);
        let variant = variants
            .entry(indices)
            .or_insert_with_key(|indices| self.variant(indices));
        let (template, holes) = match variant {
            Ok(variant) => variant,
            Err(VariantError::Denied(denial)) => return Err(denial.clone()),
            Err(VariantError::Variable(error)) => {
                return Err(Denial::Invalid {
                    field: "spec.overrides".into(),
                    message: error.to_string(),
                });
            }
        };
        let mut value = template.clone();
        holes.fill(&mut value, "spec.template", cluster)?;
        let bundle = self.bundle(cluster, grant, value)?;

        let place = place_of(cluster);
        for object in &bundle.objects {
            let id = object.id();
            if let Some(owner) = claims.conflict(&place, &id, &self.fleet.owner) {
                return Err(Denial::Conflict {
                    object: id.to_string(),
                    owner: owner.to_string(),
                });
            }
        }
        let bytes: usize = bundle.objects.iter().map(|one| text_size(one.as_value())).sum();
        if bytes > LIMIT {
            return Err(Denial::TooLarge { bytes, limit: LIMIT });
        }
        Ok(Outcome::Place(Box::new(bundle)))
    }

    fn variant(&self, indices: &[usize]) -> Variant {
        let value = apply(&self.fleet.template, &self.overrides, indices).map_err(VariantError::Denied)?;
        let holes = Holes::find(&value, "spec.template").map_err(VariantError::Variable)?;
        Ok((value, holes))
    }

    fn bundle(&self, cluster: &Cluster, grant: &Grant, value: Value) -> Result<Bundle, Denial> {
        let workspace = self.fleet.owner.namespace.as_str();
        let on_hub = matches!(cluster.mode, Mode::KubeConfig(_));
        let on_cluster = match (&self.fleet.spoke_namespace, grant.namespaces.first()) {
            (Some(namespace), _) => namespace.as_str(),
            (None, Some(first)) if !grant.admin => first.as_str(),
            (None, _) => workspace,
        };
        let namespace = if on_hub { workspace } else { on_cluster };
        let frame = Frame {
            workspace,
            grant,
            namespace,
            on_cluster,
            on_hub,
            secrets: &self.secrets,
            fleet: self.fleet,
        };
        let checked = check(value, &frame)?;
        if on_hub {
            if cluster.key.namespace != workspace {
                return Err(Denial::Unsupported {
                    field: "spec.placement".into(),
                    message: format!(
                        "cluster {} is reached by a kubeconfig of another workspace, which this version cannot use without copying its credentials",
                        cluster.key
                    ),
                });
            }
            if !self.source.is_empty() {
                return Err(Denial::Unsupported {
                    field: "spec.source.template".into(),
                    message: "it depends on the cluster, but kubeconfig clusters share one source on the hub".into(),
                });
            }
            return render::for_kubeconfig(self.fleet, cluster, grant.clone(), on_cluster, checked);
        }
        let source = self.source_spec(cluster)?;
        if let Some(spec) = &source {
            check_source(spec, &frame)?;
        }
        render::for_agent(self.fleet, cluster, grant.clone(), namespace, checked, source)
    }

    /// The spec of the source on the spoke, for delivery `Source`.
    fn source_spec(&self, cluster: &Cluster) -> Result<Option<Map<String, Value>>, Denial> {
        if self.fleet.delivery == Delivery::Artifact {
            return Ok(None);
        }
        match &self.fleet.source {
            Source::Reference { spec, .. } => Ok(spec.clone()),
            Source::Template { spec, .. } => {
                let mut spec = Value::Object(spec.clone());
                self.source.fill(&mut spec, "spec.source.template.spec", cluster)?;
                match spec {
                    Value::Object(spec) => Ok(Some(spec)),
                    _ => unreachable!("filling replaces strings inside of an object"),
                }
            }
        }
    }
}

fn place_of(cluster: &Cluster) -> Place {
    match cluster.mode {
        Mode::Agent => Place::Spoke(cluster.key.clone()),
        Mode::KubeConfig(_) => Place::Hub,
    }
}

/// The bytes of all keys and strings of a value: a lower bound of its size that costs nothing.
fn text_size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(text_size).sum(),
        Value::Object(map) => map.iter().map(|(key, value)| key.len() + text_size(value)).sum(),
        _ => 4,
    }
}
