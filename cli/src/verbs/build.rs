//! `nave build`: what would be applied.

use anyhow::Result;
use clap::Subcommand;

use crate::connection::ConnectionArguments;

/// Build manifests as they would be applied
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Build a directory with kustomize
    #[command(visible_alias = "ks")]
    Kustomization(Kustomization),
}

#[derive(Debug, Clone, clap::Args)]
pub struct Kustomization {
    /// Directory to build
    path: std::path::PathBuf,
    /// File
    #[arg(long, value_name = "FILE")]
    kustomization_file: Option<std::path::PathBuf>,
    /// Ask no cluster
    #[arg(long)]
    dry_run: bool,
}

/// Builds and prints.
pub async fn run(_arguments: Arguments, _to: &ConnectionArguments) -> Result<()> {
    Ok(())
}
