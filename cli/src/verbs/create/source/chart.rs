//! `nave create source chart`.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{begin, say_fetched, verify::VerifyArguments};
use crate::{
    connection::ConnectionArguments,
    kinds::{BUCKET, GIT_REPOSITORY, HELM_CHART, HELM_REPOSITORY},
    verbs::create::{Common, create},
};

pub const EXAMPLES: &str = "\
Examples:
  nave create source chart app --source HelmRepository/charts --chart app --chart-version '>=1.0.0'
  nave create source chart app --source GitRepository/app --chart ./deploy/chart --reconcile-strategy Revision
  nave create source chart app --source Bucket/charts --chart app-1.0.0.tgz --export > app.yaml";

/// What was typed.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Name of the source
    name: String,
    /// Where the chart is: HelmRepository/NAME, GitRepository/NAME or Bucket/NAME
    #[arg(long, value_name = "KIND/NAME", value_parser = source)]
    source: (&'static str, String),
    /// Name of the chart; with GitRepository and Bucket its path
    #[arg(long)]
    chart: String,
    /// Version, or a range of versions
    #[arg(long, value_name = "RANGE")]
    chart_version: Option<String>,
    /// What makes a new artifact
    #[arg(long, default_value = "ChartVersion", value_parser = ["ChartVersion", "Revision"])]
    reconcile_strategy: String,
    #[command(flatten)]
    verify: VerifyArguments,
}

/// Prints or creates it.
pub async fn run(
    arguments: Arguments,
    fetch_timeout: Option<Duration>,
    common: &Common,
    to: &ConnectionArguments,
) -> Result<()> {
    let spec = arguments.spec(fetch_timeout, common)?;
    if let Some(made) = create(&HELM_CHART, &arguments.name, spec, common, to).await? {
        say_fetched(&made);
    }
    Ok(())
}

impl Arguments {
    fn spec(&self, fetch_timeout: Option<Duration>, common: &Common) -> Result<Value> {
        ensure!(
            fetch_timeout.is_none(),
            "--fetch-timeout: a HelmChart has no limit of its own, its source has"
        );
        ensure!(!self.chart.is_empty(), "--chart is empty");
        let mut spec = begin(None, common);
        let (kind, name) = &self.source;
        spec["sourceRef"] = json!({"kind": kind, "name": name});
        spec["chart"] = json!(self.chart);
        spec["reconcileStrategy"] = json!(self.reconcile_strategy);
        if let Some(version) = &self.chart_version {
            spec["version"] = json!(version);
        }
        if let Some(verify) = self.verify.spec()? {
            spec["verify"] = verify;
        }
        Ok(spec)
    }
}

fn source(text: &str) -> Result<(&'static str, String), String> {
    let wrong = || "expected HelmRepository/NAME, GitRepository/NAME or Bucket/NAME".to_owned();
    let (kind, name) = text.split_once('/').ok_or_else(wrong)?;
    let known = [&HELM_REPOSITORY, &GIT_REPOSITORY, &BUCKET]
        .into_iter()
        .find(|known| known.kind.eq_ignore_ascii_case(kind));
    match known {
        Some(known) if !name.is_empty() && !name.contains('/') => Ok((known.kind, name.to_owned())),
        _ => Err(wrong()),
    }
}
