//! `nave describe`: everything that is known of one cluster or fleet object, in words.

mod cluster;
mod fleet;
mod text;

use anyhow::Result;
use clap::Subcommand;

use super::target::find_first;
use crate::{
    api,
    connection::ConnectionArguments,
    kinds::{CLUSTER, FLEET, FLEET_HELM_RELEASE, Kind},
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
    /// A fleet object, if another one has the same name
    #[command(name = "fleethelmrelease", visible_alias = "fhr")]
    FleetHelmRelease(Name),
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
    let fleet = async |kinds: &[&'static Kind], name: &str| {
        let (kind, object) = find_first(&connection.client, kinds, workspace.as_deref(), name).await?;
        fleet::describe(&connection, kind, &object).await
    };
    let text = match arguments.what {
        What::Cluster(Name { name }) => {
            let object = api::find(&connection.client, &CLUSTER, workspace.as_deref(), &name).await?;
            cluster::describe(&connection, &object).await?
        }
        What::Fleet(Name { name }) => fleet(&FLEET, &name).await?,
        What::FleetHelmRelease(Name { name }) => fleet(&[&FLEET_HELM_RELEASE], &name).await?,
    };
    output::print_text(&text)
}
