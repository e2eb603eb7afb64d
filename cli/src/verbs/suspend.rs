//! `nave suspend`: leave objects alone until they are resumed.

use anyhow::Result;
use kube::{
    ResourceExt,
    api::{DynamicObject, ListParams},
};

use super::target::{Names, SuspendTarget, find_first, namespace_of};
use crate::{
    api,
    connection::{Connection, ConnectionArguments},
    hints,
    kinds::Kind,
    say,
};

/// Stop reconciling objects until they are resumed
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
A name that does not exist is reported and does not change the exit code, as with flux.

Examples:
  nave suspend kustomization apps infrastructure
  nave suspend fleet apps
  nave suspend cluster eu-1")]
pub struct Arguments {
    #[command(subcommand)]
    target: SuspendTarget<Names>,
}

/// Sets `spec.suspend` on each object.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    let connection = to.connect().await?;
    let (kinds, names) = arguments.target.split();
    for found in select(&connection, &kinds, &names, to).await? {
        let (kind, object) = match found {
            Ok(found) => found,
            Err(error) => {
                say::failure(&hints::describe(&error));
                continue;
            }
        };
        let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
        say::action(&format!("suspending {} {name} in {namespace} namespace", kind.kind));
        api::set_suspend(&connection.client, kind, &object, true).await?;
        say::success(&format!("{} {name} suspended", kind.kind));
    }
    Ok(())
}

/// The objects that were meant; each name that does not exist is an error of its own.
pub async fn select(
    connection: &Connection,
    kinds: &[&'static Kind],
    names: &Names,
    to: &ConnectionArguments,
) -> Result<Vec<Result<(&'static Kind, DynamicObject)>>> {
    let namespace = namespace_of(kinds[0], to, connection);
    if names.all {
        // "All" is never "all workspaces": that has to be said with a namespace.
        let namespace = namespace.unwrap_or_else(|| to.workspace(connection));
        let mut found = Vec::new();
        for (position, kind) in kinds.iter().enumerate() {
            let params = ListParams::default();
            let objects = match api::list(&connection.client, kind, Some(&namespace), &params).await {
                // A hub of an earlier version may not know the others.
                Err(error) if position > 0 && api::is_not_found(&error) => continue,
                objects => objects?,
            };
            found.extend(objects.into_iter().map(|object| Ok((*kind, object))));
        }
        anyhow::ensure!(
            !found.is_empty(),
            "no {} objects found in {namespace:?} namespace",
            kinds[0].kind
        );
        return Ok(found);
    }
    let mut objects = Vec::new();
    for name in &names.names {
        match find_first(&connection.client, kinds, namespace.as_deref(), name).await {
            Err(error) if api::api_code(&error).is_some() => return Err(error),
            found => objects.push(found),
        }
    }
    Ok(objects)
}
