//! `nave list`: what is in a registry.

use anyhow::{Context, Result};
use clap::Subcommand;
use nave_version::{Range, sort_descending};
use regex::Regex;

use super::pull;
use crate::{
    registry::{REQUEST, RegistryArguments},
    say,
    table::Table,
};

/// List the artifacts of a repository
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Tags of a repository with what they stand for
    #[command(
        visible_alias = "artifact",
        after_help = "\
Examples:
  nave list artifacts oci://ghcr.io/org/manifests --filter-semver '>= 1.0.0'"
    )]
    Artifacts(Artifacts),
}

#[derive(Debug, Clone, clap::Args)]
struct Artifacts {
    /// Address of the repository: oci://<registry>/<repository>
    url: String,
    /// Only tags that are versions within this range, highest first
    #[arg(long, value_name = "RANGE")]
    filter_semver: Option<String>,
    /// Only tags that match this regular expression
    #[arg(long, value_name = "REGEX")]
    filter_regex: Option<String>,
    #[command(flatten)]
    registry: RegistryArguments,
}

/// Lists what was asked for.
pub async fn run(arguments: Arguments) -> Result<()> {
    let What::Artifacts(arguments) = arguments.what;
    let (remote, _) = arguments.registry.open(&arguments.url)?;
    let tags = wanted(&arguments, remote.tags(REQUEST).await?)?;
    let mut table = Table::new(["Artifact", "Digest", "Source", "Revision"]);
    for tag in tags {
        // Tags of signatures and of other tools' things are no artifacts of ours, and do not hide those that are.
        let (digest, pulled) = match pull::manifest(&remote, &tag).await {
            Ok(found) => found,
            Err(error) => {
                say::warning(&format!("{tag}: {}", crate::hints::describe(&error)));
                continue;
            }
        };
        let note = |key: &str| {
            let key = format!("org.opencontainers.image.{key}");
            pulled.manifest.annotations.get(&key).cloned().unwrap_or_default()
        };
        let repository = remote.repository();
        table.row([
            format!("{}/{}:{tag}", repository.registry(), repository.name()),
            digest.to_string(),
            note("source"),
            note("revision"),
        ]);
    }
    table.print(true)?;
    Ok(())
}

fn wanted(arguments: &Artifacts, mut tags: Vec<String>) -> Result<Vec<String>> {
    if let Some(pattern) = &arguments.filter_regex {
        let pattern = Regex::new(pattern).with_context(|| format!("--filter-regex: '{pattern}'"))?;
        tags.retain(|tag| pattern.is_match(tag));
    }
    if let Some(range) = &arguments.filter_semver {
        let range = Range::parse(range).with_context(|| format!("--filter-semver: '{range}'"))?;
        let sorted = sort_descending(Some(&range), tags.iter().map(String::as_str));
        return Ok(sorted.into_iter().map(str::to_owned).collect());
    }
    Ok(tags)
}
