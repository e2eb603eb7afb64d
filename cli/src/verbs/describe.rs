//! `nave describe`: everything that is known of one cluster or fleet object, in words.

mod cluster;
mod fleet;
mod text;

use anyhow::Result;
use clap::Subcommand;

use crate::{
    api,
    connection::ConnectionArguments,
    kinds::{CLUSTER, FLEET_KUSTOMIZATION},
    output,
};

/// Show everything that is known of a cluster or fleet object
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// A cluster of the fleet
    Cluster(Name),
    /// A fleet object
    #[command(visible_alias = "fleetkustomization")]
    Fleet(Name),
}

#[derive(Debug, Clone, clap::Args)]
struct Name {
    /// Name of the object
    name: String,
}

/// Reads the object, what belongs to it and its events, and prints them.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    let connection = to.connect().await?;
    let workspace = to.workspace_filter(&connection);
    let text = match arguments.what {
        What::Cluster(Name { name }) => {
            let object = api::find(&connection.client, &CLUSTER, workspace.as_deref(), &name).await?;
            cluster::describe(&connection, &object).await?
        }
        What::Fleet(Name { name }) => {
            let object = api::find(&connection.client, &FLEET_KUSTOMIZATION, workspace.as_deref(), &name).await?;
            fleet::describe(&connection, &object).await?
        }
    };
    output::print_text(&text)
}
