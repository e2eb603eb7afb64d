//! `kustomization NAME`, `source git NAME`, …: the objects that several verbs act on.

use clap::Subcommand;

use crate::kinds::{self, Home, Kind};

/// What a source is.
#[derive(Debug, Clone, Subcommand)]
pub enum SourceTarget<Names: clap::Args> {
    /// A GitRepository
    Git(Names),
    /// An OCIRepository
    Oci(Names),
    /// A HelmRepository
    Helm(Names),
    /// A HelmChart
    Chart(Names),
    /// A Bucket
    Bucket(Names),
}

impl<Names: clap::Args> SourceTarget<Names> {
    /// The kind and what was typed after it.
    pub fn split(self) -> (&'static Kind, Names) {
        match self {
            SourceTarget::Git(names) => (&kinds::GIT_REPOSITORY, names),
            SourceTarget::Oci(names) => (&kinds::OCI_REPOSITORY, names),
            SourceTarget::Helm(names) => (&kinds::HELM_REPOSITORY, names),
            SourceTarget::Chart(names) => (&kinds::HELM_CHART, names),
            SourceTarget::Bucket(names) => (&kinds::BUCKET, names),
        }
    }
}

/// What can be reconciled.
#[derive(Debug, Clone, Subcommand)]
pub enum ReconcileTarget<Names: clap::Args, FluxNames: clap::Args> {
    /// A Kustomization
    #[command(visible_alias = "ks")]
    Kustomization(FluxNames),
    /// A fleet object, on the hub
    #[command(visible_alias = "fleetkustomization")]
    Fleet(Names),
    /// A source
    Source {
        #[command(subcommand)]
        source: SourceTarget<Names>,
    },
}

/// What can be suspended.
#[derive(Debug, Clone, Subcommand)]
pub enum SuspendTarget<Names: clap::Args> {
    /// Kustomizations
    #[command(visible_alias = "ks")]
    Kustomization(Names),
    /// Fleet objects, on the hub
    #[command(visible_alias = "fleetkustomization")]
    Fleet(Names),
    /// Clusters, on the hub: their desired state is frozen
    Cluster(Names),
    /// Sources
    Source {
        #[command(subcommand)]
        source: SourceTarget<Names>,
    },
}

impl<Names: clap::Args> SuspendTarget<Names> {
    /// The kind and what was typed after it.
    pub fn split(self) -> (&'static Kind, Names) {
        match self {
            SuspendTarget::Kustomization(names) => (&kinds::KUSTOMIZATION, names),
            SuspendTarget::Fleet(names) => (&kinds::FLEET_KUSTOMIZATION, names),
            SuspendTarget::Cluster(names) => (&kinds::CLUSTER, names),
            SuspendTarget::Source { source } => source.split(),
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
