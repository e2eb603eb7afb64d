//! `nave tree`: what a Kustomization has applied, and what that has applied; what an ArtifactGenerator has made.

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
    /// Artifacts
    Artifact {
        #[command(subcommand)]
        of: Artifact,
    },
}

#[derive(Debug, Clone, Subcommand)]
enum Artifact {
    /// The ExternalArtifacts that an ArtifactGenerator has made
    #[command(after_help = "\
Examples:
  nave tree artifact generator monorepo
  nave tree artifact generator monorepo -o yaml")]
    Generator(Generator),
}

#[derive(Debug, Clone, clap::Args)]
struct Generator {
    /// Name of the ArtifactGenerator
    name: String,
    /// Form of the output, in place of a drawing
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<output::DataFormat>,
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
    let connection = to.connect().await?;
    let namespace = to.flux_namespace(&connection);
    let (tree, format): (Node, _) = match arguments.what {
        What::Kustomization(arguments) => {
            let object = api::get(&connection.client, &kinds::KUSTOMIZATION, &namespace, &arguments.name).await?;
            let mut reader = Reader::new(&connection.client, arguments.compact);
            (reader.kustomization(&object).await?, arguments.output)
        }
        What::Artifact {
            of: Artifact::Generator(arguments),
        } => {
            let kind = &kinds::ARTIFACT_GENERATOR;
            let object = api::get(&connection.client, kind, &namespace, &arguments.name).await?;
            (inventory::generator(&object), arguments.output)
        }
    };
    match format {
        None => output::print_text(&tree.draw()),
        Some(format) => output::print_value(&tree.to_value(), format),
    }
}
