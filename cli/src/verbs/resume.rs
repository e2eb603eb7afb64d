//! `nave resume`: reconcile objects again.

use anyhow::{Context, Result};
use futures::future::join_all;
use kube::{ResourceExt, api::DynamicObject};

use super::{
    suspend::select,
    target::{Names, SuspendTarget},
};
use crate::{
    api,
    connection::{Connection, ConnectionArguments},
    failure::quiet,
    hints,
    kinds::{self, Kind},
    say, wait,
};

/// Reconcile suspended objects again
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
A single object is waited for; several only with --wait. The exit code is 1 when one of them fails.

Examples:
  nave resume kustomization apps
  nave resume source git --all --wait")]
pub struct Arguments {
    #[command(subcommand)]
    target: SuspendTarget<Names>,
    /// Wait until each object is ready
    #[arg(long, global = true)]
    wait: bool,
}

/// Clears `spec.suspend` on each object and waits.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    let connection = to.connect().await?;
    let (targets, names) = arguments.target.split();
    let mut failed = false;
    let mut resumed = Vec::new();
    for found in select(&connection, &targets, &names, to).await? {
        match found {
            Ok((kind, object)) => {
                let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
                say::action(&format!("resuming {} {name} in {namespace} namespace", kind.kind));
                resumed.push((kind, api::set_suspend(&connection.client, kind, &object, false).await?));
                say::success(&format!("{} {name} resumed", kind.kind));
            }
            Err(error) => {
                say::failure(&hints::describe(&error));
                failed = true;
            }
        }
    }
    // A cluster has no reconcile of its own to wait for.
    let single = !names.all && names.names.len() == 1;
    let kind = targets[0];
    if (arguments.wait || single) && *kind != kinds::CLUSTER && !resumed.is_empty() {
        say::waiting(&format!("waiting for {} reconciliation", kind.kind));
        let waits = resumed
            .iter()
            .map(|(kind, object)| wait_for(&connection, kind, object, to));
        for outcome in join_all(waits).await {
            match outcome {
                Ok(message) => say::success(&message),
                Err(error) => {
                    say::failure(&hints::describe(&error));
                    hints::hints(&error).iter().for_each(|hint| say::hint(hint));
                    failed = true;
                }
            }
        }
    }
    if failed { Err(quiet()) } else { Ok(()) }
}

async fn wait_for(
    connection: &Connection,
    kind: &Kind,
    object: &DynamicObject,
    to: &ConnectionArguments,
) -> Result<String> {
    let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
    let what = format!("waiting for {} {name}", kind.kind);
    let message = wait::until(
        kind.api(&connection.client, &namespace),
        &name,
        &what,
        to.timeout,
        wait::observed,
    )
    .await
    .with_context(|| format!("{} reconciliation failed", kind.kind))?;
    Ok(format!("{} {name}: {message}", kind.kind))
}
