//! `kustomization NAME`, `source git NAME`, …: the objects that several verbs act on.

use anyhow::Result;
use clap::Subcommand;
use kube::api::DynamicObject;

use crate::{
    api,
    kinds::{self, Home, Kind},
};

/// What a source is.
#[derive(Debug, Clone, Subcommand)]
pub enum SourceTarget<Names: clap::Args, ChartNames: clap::Args = Names> {
    /// A GitRepository
    Git(Names),
    /// An OCIRepository
    Oci(Names),
    /// A HelmRepository
    Helm(Names),
    /// A HelmChart
    Chart(ChartNames),
    /// A Bucket
    Bucket(Names),
}

impl<Names: clap::Args, ChartNames: clap::Args + Into<Names>> SourceTarget<Names, ChartNames> {
    /// The kind and what was typed after it.
    pub fn split(self) -> (&'static Kind, Names) {
        match self {
            SourceTarget::Git(names) => (&kinds::GIT_REPOSITORY, names),
            SourceTarget::Oci(names) => (&kinds::OCI_REPOSITORY, names),
            SourceTarget::Helm(names) => (&kinds::HELM_REPOSITORY, names),
            SourceTarget::Chart(names) => (&kinds::HELM_CHART, names.into()),
            SourceTarget::Bucket(names) => (&kinds::BUCKET, names),
        }
    }
}

/// What makes artifacts.
#[derive(Debug, Clone, Subcommand)]
pub enum ArtifactTarget<Names: clap::Args> {
    /// An ArtifactGenerator
    Generator(Names),
}

/// What can be reconciled.
#[derive(Debug, Clone, Subcommand)]
pub enum ReconcileTarget<Names: clap::Args, FluxNames: clap::Args, ReleaseNames: clap::Args> {
    /// A Kustomization
    #[command(visible_alias = "ks")]
    Kustomization(FluxNames),
    /// A HelmRelease
    #[command(name = "helmrelease", visible_alias = "hr")]
    HelmRelease(ReleaseNames),
    /// A fleet object, on the hub
    #[command(visible_alias = "fleetkustomization")]
    Fleet(Names),
    /// A fleet object, on the hub, if another one has the same name
    #[command(name = "fleethelmrelease", visible_alias = "fhr")]
    FleetHelmRelease(Names),
    /// A source
    Source {
        #[command(subcommand)]
        source: SourceTarget<Names, FluxNames>,
    },
    /// What makes artifacts
    Artifact {
        #[command(subcommand)]
        artifact: ArtifactTarget<Names>,
    },
}

/// What can be suspended.
#[derive(Debug, Clone, Subcommand)]
pub enum SuspendTarget<Names: clap::Args> {
    /// Kustomizations
    #[command(visible_alias = "ks")]
    Kustomization(Names),
    /// HelmReleases
    #[command(name = "helmrelease", visible_alias = "hr")]
    HelmRelease(Names),
    /// Fleet objects, on the hub
    #[command(visible_alias = "fleetkustomization")]
    Fleet(Names),
    /// Fleet objects, on the hub, if others have the same names
    #[command(name = "fleethelmrelease", visible_alias = "fhr")]
    FleetHelmRelease(Names),
    /// Clusters, on the hub: their desired state is frozen
    Cluster(Names),
    /// Sources
    Source {
        #[command(subcommand)]
        source: SourceTarget<Names>,
    },
    /// What makes artifacts
    Artifact {
        #[command(subcommand)]
        artifact: ArtifactTarget<Names>,
    },
}

impl<Names: clap::Args> SuspendTarget<Names> {
    /// The kinds that are meant, and what was typed after them.
    pub fn split(self) -> (Vec<&'static Kind>, Names) {
        match self {
            SuspendTarget::Kustomization(names) => (vec![&kinds::KUSTOMIZATION], names),
            SuspendTarget::HelmRelease(names) => (vec![&kinds::HELM_RELEASE], names),
            SuspendTarget::Fleet(names) => (kinds::FLEET.to_vec(), names),
            SuspendTarget::FleetHelmRelease(names) => (vec![&kinds::FLEET_HELM_RELEASE], names),
            SuspendTarget::Cluster(names) => (vec![&kinds::CLUSTER], names),
            SuspendTarget::Source { source } => {
                let (kind, names) = source.split();
                (vec![kind], names)
            }
            SuspendTarget::Artifact {
                artifact: ArtifactTarget::Generator(names),
            } => (vec![&kinds::ARTIFACT_GENERATOR], names),
        }
    }
}

/// Names of objects, or all of them.
#[derive(Debug, Clone, clap::Args)]
pub struct Names {
    /// Names of the objects
    #[arg(value_name = "NAME", required_unless_present = "all")]
    pub names: Vec<String>,
    /// Every object of the namespace
    #[arg(long, conflicts_with = "names")]
    pub all: bool,
}

/// The object of this name of the first kind that has one.
///
/// # Errors
/// None of the kinds has one, or several namespaces have.
pub async fn find_first(
    client: &kube::Client,
    kinds: &[&'static Kind],
    namespace: Option<&str>,
    name: &str,
) -> Result<(&'static Kind, DynamicObject)> {
    let mut first = None;
    for kind in kinds {
        match api::find(client, kind, namespace, name).await {
            Ok(object) => return Ok((kind, object)),
            // A hub of an earlier version may not know a kind.
            Err(error) if api::api_code(&error).is_none() || api::is_not_found(&error) => {
                first.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(first.expect("there is at least one kind"))
}

/// Where to look for objects of a kind.
pub fn namespace_of(
    kind: &Kind,
    arguments: &crate::connection::ConnectionArguments,
    connection: &crate::connection::Connection,
) -> Option<String> {
    match kind.home {
        Home::Flux => Some(arguments.flux_namespace(connection)),
        Home::Workspace => arguments.workspace_filter(connection),
    }
}
