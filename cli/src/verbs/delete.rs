//! `nave delete`: an object, after a question.

mod helmrelease;
mod kustomization;

use anyhow::{Context, Result};
use clap::Subcommand;
use kube::api::DeleteParams;

use crate::{api, confirm::confirm, connection::ConnectionArguments, kinds::Kind, say};

/// Delete objects
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
    /// Do not ask
    #[arg(short, long, global = true)]
    silent: bool,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// A HelmRelease, with what it has installed
    #[command(name = "helmrelease", visible_alias = "hr", after_help = helmrelease::EXAMPLES)]
    HelmRelease(Name),
    /// A Kustomization, with what it has applied if its spec says so
    #[command(visible_alias = "ks", after_help = kustomization::EXAMPLES)]
    Kustomization(Name),
}

/// The name of an object.
#[derive(Debug, Clone, clap::Args)]
pub struct Name {
    /// Name of the object
    name: String,
}

/// Asks and deletes.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    match arguments.what {
        What::HelmRelease(name) => helmrelease::run(name, arguments.silent, to).await,
        What::Kustomization(name) => kustomization::run(name, arguments.silent, to).await,
    }
}

/// Deletes one object; `consequence` is what follows from it, for the question.
///
/// # Errors
/// There is no such object, or nobody said yes.
pub async fn delete(
    kind: &'static Kind,
    name: &Name,
    silent: bool,
    to: &ConnectionArguments,
    consequence: impl FnOnce(&kube::api::DynamicObject) -> String,
) -> Result<()> {
    let connection = to.connect().await?;
    let namespace = to.flux_namespace(&connection);
    let name = &name.name;
    let object = api::get(&connection.client, kind, &namespace, name).await?;
    if !silent {
        let question = format!(
            "Are you sure you want to delete {} {namespace}/{name}{}",
            kind.kind,
            consequence(&object)
        );
        confirm(&question, "--silent")?;
    }
    say::action(&format!("deleting {} {name} in {namespace} namespace", kind.word));
    kind.api(&connection.client, &namespace)
        .delete(name, &DeleteParams::default())
        .await
        .with_context(|| format!("deleting {} {namespace}/{name}", kind.kind))?;
    say::success(&format!("{} deleted", kind.word));
    Ok(())
}
