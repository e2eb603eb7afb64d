//! `nave suspend`: leave objects alone until they are resumed.

use anyhow::Result;
use kube::{
    ResourceExt,
    api::{DynamicObject, ListParams},
};

use super::target::{Names, SuspendTarget, namespace_of};
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
    let (kind, names) = arguments.target.split();
    for object in select(&connection, kind, &names, to).await? {
        let object = match object {
            Ok(object) => object,
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
    kind: &'static Kind,
    names: &Names,
    to: &ConnectionArguments,
) -> Result<Vec<Result<DynamicObject>>> {
    let namespace = namespace_of(kind, to, connection);
    if names.all {
        // "All" is never "all workspaces": that has to be said with a namespace.
        let namespace = namespace.unwrap_or_else(|| to.workspace(connection));
        let objects = api::list(&connection.client, kind, Some(&namespace), &ListParams::default()).await?;
        anyhow::ensure!(
            !objects.is_empty(),
            "no {} objects found in {namespace:?} namespace",
            kind.kind
        );
        return Ok(objects.into_iter().map(Ok).collect());
    }
    let mut objects = Vec::new();
    for name in &names.names {
        match api::find(&connection.client, kind, namespace.as_deref(), name).await {
            Err(error) if api::api_code(&error).is_some() => return Err(error),
            found => objects.push(found),
        }
    }
    Ok(objects)
}
