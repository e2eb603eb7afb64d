//! `nave leave`: this cluster parts from its hub.
//!
//! The command line does the work itself and not the agent, so that it also works with an agent that is stopped or
//! broken, and every step can be repeated:
//!
//! ```text
//! survey ─► preview ─► yes? ─► cut the link ─► keep: real sources or suspended, labels off
//!                                          └─► purge: suspend, delete what was applied, delete the Flux objects
//! ```

mod keep;
mod link;
mod purge;

use anyhow::Result;

use crate::{
    confirm::confirm,
    connection::{ConnectionArguments, FLUX_NAMESPACE},
    fleet_owned::FleetOwned,
    say,
};

/// Part this cluster from its hub
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Run it against the cluster that leaves. --keep leaves every workload and plain Flux objects: a Kustomization whose files
came over the link gets the real source when this cluster can reach it, and is suspended with the reason written on it
when not. --purge shows what it will delete and asks.
The hub keeps its Cluster object until `nave forget`.

Examples:
  nave leave --keep --dry-run
  nave leave --purge --yes")]
pub struct Arguments {
    #[command(flatten)]
    mode: Mode,
    /// Show what would be done and touch nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Namespace of the agent
    #[arg(long, value_name = "NAMESPACE", default_value = FLUX_NAMESPACE)]
    agent_namespace: String,
}

#[derive(Debug, Clone, Copy, clap::Args)]
#[group(required = true, multiple = false)]
struct Mode {
    /// Keep everything that runs, as plain Flux objects
    #[arg(long)]
    keep: bool,
    /// Delete what the hub brought
    #[arg(long)]
    purge: bool,
}

/// Shows, asks, and does.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    let namespace = to
        .namespace
        .clone()
        .unwrap_or_else(|| arguments.agent_namespace.clone());
    let connection = to.connect().await?;
    let owned = FleetOwned::survey(&connection).await?;
    let link = link::Link::find(&connection, &namespace).await?;
    if owned.is_empty() && !link.exists() {
        say::success("this cluster belongs to no hub; nothing to do");
        return Ok(());
    }
    if arguments.mode.purge {
        let plan = purge::Plan::of(&connection, &owned, &namespace).await?;
        plan.show()?;
        if arguments.dry_run {
            return Ok(());
        }
        if !arguments.yes {
            confirm(
                &format!("delete {} objects at {}", plan.deletes(), connection.server),
                "--yes",
            )?;
        }
        link.cut(&connection, "purge", to.timeout).await?;
        plan.execute(&connection, to).await?;
    } else {
        keep::show(&owned);
        if arguments.dry_run {
            return Ok(());
        }
        if !arguments.yes {
            confirm(
                &format!("part {} from its hub and keep what runs", connection.server),
                "--yes",
            )?;
        }
        link.cut(&connection, "keep", to.timeout).await?;
        keep::execute(&connection, &owned, to).await?;
    }
    link.forget(&connection).await?;
    say::success("this cluster has left its hub");
    say::hint("on the hub, `nave forget NAME` removes the cluster there");
    Ok(())
}
