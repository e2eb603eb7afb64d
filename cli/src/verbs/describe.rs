//! `nave describe`: everything that is known of one cluster or fleet object, in words.

mod cluster;
mod fleet;
mod history;
mod text;
mod told;
mod traffic;

use anyhow::{Result, anyhow};
use clap::Subcommand;

use super::target::find_first;
use crate::{
    api,
    connection::ConnectionArguments,
    failure::advised,
    kinds::{CLUSTER, FLEET, FLEET_HELM_RELEASE, Kind},
    live::{self, LiveArguments, LiveCluster, Wanted},
    output,
};

/// Show everything that is known of a cluster or fleet object, or of an object in a cluster of the fleet
#[derive(Debug, Clone, clap::Args)]
#[command(
    arg_required_else_help = true,
    after_help = "\
Examples:
  nave describe cluster eu-1
  nave describe fleet apps
  nave describe --cluster eu-1 -n shop pod web-1"
)]
pub struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    /// Kind of an object in the cluster that --cluster names, or KIND/NAME
    #[arg(value_name = "KIND", requires = "cluster")]
    kind: Option<String>,
    /// Its name
    #[arg(value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    live: LiveArguments,
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
    if let Some(cluster) = &arguments.live.cluster {
        let wanted = wanted(&arguments, to)?;
        let cluster = LiveCluster::find(&connection, cluster).await?;
        return output::print_text(&live::describe(&connection, &cluster, &wanted).await?);
    }
    let Some(what) = arguments.what else {
        return Err(anyhow!("nothing to describe is named"));
    };
    let workspace = to.workspace_filter(&connection);
    let fleet = async |kinds: &[&'static Kind], name: &str| {
        let (kind, object) = find_first(&connection.client, kinds, workspace.as_deref(), name).await?;
        fleet::describe(&connection, kind, &object).await
    };
    let text = match what {
        What::Cluster(Name { name }) => {
            let object = api::find(&connection.client, &CLUSTER, workspace.as_deref(), &name).await?;
            cluster::describe(&connection, &object).await?
        }
        What::Fleet(Name { name }) => fleet(&FLEET, &name).await?,
        What::FleetHelmRelease(Name { name }) => fleet(&[&FLEET_HELM_RELEASE], &name).await?,
    };
    output::print_text(&text)
}

/// The object of a cluster that is asked for: `pod web-1` or `pod/web-1`.
fn wanted(arguments: &Arguments, to: &ConnectionArguments) -> Result<Wanted> {
    let typed = arguments.kind.as_deref().unwrap_or_default();
    let (resource, name) = match (typed.split_once('/'), &arguments.name) {
        (Some((kind, name)), None) => (kind, name.to_owned()),
        (None, Some(name)) if !typed.is_empty() => (typed, name.clone()),
        _ => {
            return Err(advised(
                "--cluster describes one object, and none is named",
                "name its kind and itself: `nave describe --cluster NAME pod web-1`",
            ));
        }
    };
    Ok(Wanted {
        resource: resource.to_owned(),
        name,
        namespace: Some(to.namespace.clone().unwrap_or_else(|| "default".to_owned())),
        ..Wanted::default()
    })
}
