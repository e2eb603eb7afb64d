//! `nave tree`: what a Kustomization has applied, and what that has applied.

mod inventory;
mod node;

use anyhow::Result;
use clap::Subcommand;

use self::{inventory::Reader, node::Node};
use crate::{api, connection::ConnectionArguments, kinds, output};

/// Show what an object has applied, as a tree
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// The inventory of a Kustomization, with those of the Kustomizations and Helm releases in it
    #[command(
        visible_alias = "ks",
        after_help = "\
Kustomizations and Helm releases that are applied to other clusters are shown without what is in them.

Examples:
  nave tree kustomization flux-system
  nave tree kustomization flux-system --compact
  nave tree ks apps -o json"
    )]
    Kustomization(Kustomization),
}

#[derive(Debug, Clone, clap::Args)]
struct Kustomization {
    /// Name of the Kustomization
    name: String,
    /// Only objects of Flux
    #[arg(long)]
    compact: bool,
    /// Form of the output, in place of a drawing
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<output::DataFormat>,
}

/// Reads inventories and prints them.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    let What::Kustomization(arguments) = arguments.what;
    let connection = to.connect().await?;
    let namespace = to.flux_namespace(&connection);
    let object = api::get(&connection.client, &kinds::KUSTOMIZATION, &namespace, &arguments.name).await?;
    let mut reader = Reader::new(&connection.client, arguments.compact);
    let tree: Node = reader.kustomization(&object).await?;
    match arguments.output {
        None => output::print_text(&tree.draw()),
        Some(format) => output::print_value(&tree.to_value(), format),
    }
}
