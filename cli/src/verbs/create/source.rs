//! `nave create source`: each kind says what its spec is; the rest is the same for all.

mod bucket;
mod chart;
mod git;
mod helm;
mod oci;
mod verify;

use std::time::Duration;

use anyhow::Result;
use clap::Subcommand;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::{Common, go};
use crate::{
    connection::{self, ConnectionArguments},
    fields, say,
};

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
    /// A Bucket
    #[command(after_help = bucket::EXAMPLES)]
    Bucket(Box<bucket::Arguments>),
    /// A HelmChart
    #[command(after_help = chart::EXAMPLES)]
    Chart(Box<chart::Arguments>),
    /// A GitRepository
    #[command(after_help = git::EXAMPLES)]
    Git(Box<git::Arguments>),
    /// A HelmRepository
    #[command(after_help = helm::EXAMPLES)]
    Helm(Box<helm::Arguments>),
    /// An OCIRepository
    #[command(after_help = oci::EXAMPLES)]
    Oci(Box<oci::Arguments>),
}

/// Creates what was asked for.
pub async fn run(arguments: Arguments, common: &Common, to: &ConnectionArguments) -> Result<()> {
    let limit = arguments.fetch_timeout;
    match arguments.source {
        Source::Bucket(typed) => bucket::run(*typed, limit, common, to).await,
        Source::Chart(typed) => chart::run(*typed, limit, common, to).await,
        Source::Git(typed) => git::run(*typed, limit, common, to).await,
        Source::Helm(typed) => helm::run(*typed, limit, common, to).await,
        Source::Oci(typed) => oci::run(*typed, limit, common, to).await,
    }
}

/// What every source has: how often, and how long at most.
fn begin(fetch_timeout: Option<Duration>, common: &Common) -> Value {
    let mut spec = json!({"interval": go(common.interval)});
    if let Some(timeout) = fetch_timeout {
        spec["timeout"] = go(timeout);
    }
    spec
}

/// Fields that name a Secret.
fn refer(spec: &mut Value, fields: &[(&str, &Option<String>)]) {
    for (field, name) in fields {
        if let Some(name) = name {
            spec[*field] = json!({"name": name});
        }
    }
}

/// Says what was fetched.
fn say_fetched(made: &DynamicObject) {
    let revision = fields::text(made, "/status/artifact/revision");
    if !revision.is_empty() {
        say::success(&format!("fetched revision: {}", fields::shorten(revision)));
    }
}
