//! `nave create source`: each kind says what its spec is; the rest is the same for all.

mod git;

use std::time::Duration;

use anyhow::Result;
use clap::Subcommand;

use super::Common;
use crate::connection::{self, ConnectionArguments};

/// Create or change a source
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    source: Source,
    /// Limit of one fetch
    #[arg(long, global = true, value_name = "DURATION", value_parser = connection::duration)]
    fetch_timeout: Option<Duration>,
}

#[derive(Debug, Clone, Subcommand)]
enum Source {
    /// A GitRepository
    #[command(after_help = git::EXAMPLES)]
    Git(Box<git::Arguments>),
}

/// Creates what was asked for.
pub async fn run(arguments: Arguments, common: &Common, to: &ConnectionArguments) -> Result<()> {
    match arguments.source {
        Source::Git(typed) => git::run(*typed, arguments.fetch_timeout, common, to).await,
    }
}
