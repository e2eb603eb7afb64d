//! `nave tag`: further names for what is in a registry.

use anyhow::{Context, Result};
use clap::Subcommand;

use crate::{
    registry::{REQUEST, RegistryArguments},
    say,
};

/// Tag an artifact
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Give an artifact further tags
    #[command(after_help = "\
Examples:
  nave tag artifact oci://ghcr.io/org/manifests:6ac0973 --tag latest --tag v1.2.3")]
    Artifact(Artifact),
}

#[derive(Debug, Clone, clap::Args)]
struct Artifact {
    /// Address with a tag or digest
    url: String,
    /// Tags to add
    #[arg(long, value_delimiter = ',', required = true)]
    tag: Vec<String>,
    #[command(flatten)]
    registry: RegistryArguments,
}

/// Tags what was asked for.
pub async fn run(arguments: Arguments) -> Result<()> {
    let What::Artifact(arguments) = arguments.what;
    let (remote, reference) = arguments.registry.open(&arguments.url)?;
    let reference = reference.with_context(|| format!("{} names no tag or digest", arguments.url))?;
    say::action("tagging artifact");
    let digest = match reference.parse() {
        Ok(digest) => digest,
        Err(_) => remote.resolve(&reference, REQUEST).await?.digest,
    };
    for tag in &arguments.tag {
        remote.tag(&digest, tag, REQUEST).await?;
        let repository = remote.repository();
        say::success(&format!(
            "artifact tagged as {}/{}:{tag}",
            repository.registry(),
            repository.name()
        ));
    }
    Ok(())
}
