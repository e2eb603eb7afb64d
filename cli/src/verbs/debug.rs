//! `nave debug`: what an object came to, for whoever looks for a fault in it.

use anyhow::{Context, Result};
use clap::Subcommand;
use nave_crds::kustomize::Kustomization;
use serde_json::Value;

use crate::{
    build::{Cluster, variables},
    connection::ConnectionArguments,
    output::{self, DataFormat},
};

/// Show what an object came to; secrets are printed in clear
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// A Kustomization
    #[command(
        visible_alias = "ks",
        after_help = "\
Examples:
  nave debug kustomization apps --show-status
  nave debug kustomization apps --show-vars > apps.env"
    )]
    Kustomization(KustomizationArguments),
}

#[derive(Debug, Clone, clap::Args)]
struct KustomizationArguments {
    /// Name of the Kustomization
    name: String,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = false)]
struct Shown {
    /// Its status, as YAML
    #[arg(long)]
    show_status: bool,
    /// Its variables, as NAME=VALUE: those of substituteFrom, and those of substitute in their place
    #[arg(long)]
    show_vars: bool,
    /// What was applied before, newest first, as YAML
    #[arg(long)]
    show_history: bool,
}

/// Reads the object, and what it refers to where that is asked for.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    let What::Kustomization(KustomizationArguments { name, shown }) = arguments.what;
    let cluster = Cluster::new(to);
    let namespace = to.flux_namespace(cluster.connection().await?);
    let kustomization = cluster.kustomization(&namespace, &name).await?;
    if shown.show_vars {
        return show_variables(&kustomization, &cluster).await;
    }
    let status = serde_json::to_value(&kustomization.status).context("writing the status")?;
    let value = match shown.show_history {
        true => status.get("history").cloned().unwrap_or(Value::Array(Vec::new())),
        false => status,
    };
    output::print_value(&value, DataFormat::Yaml)
}

async fn show_variables(kustomization: &Kustomization, cluster: &Cluster<'_>) -> Result<()> {
    let Some(post_build) = &kustomization.spec.post_build else {
        return Ok(()); // it has none
    };
    let variables = variables(kustomization, post_build, Some(cluster)).await?;
    let mut lines: Vec<String> = variables
        .iter()
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect();
    lines.sort();
    output::print_text(&lines.concat())
}
