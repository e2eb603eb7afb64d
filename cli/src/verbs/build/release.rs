//! `nave build helmrelease`: what a HelmRelease installs.

use std::path::PathBuf;

use anyhow::Result;
use nave_chart::Printing;

use crate::{
    build::Cluster,
    connection::ConnectionArguments,
    output,
    release::{Offline, ReleaseArguments, build_release},
    say,
};

pub const EXAMPLES: &str = "\
Prints what the controller would install: the chart rendered with the values of the ConfigMaps and Secrets that valuesFrom
names and those of the spec, changed by the post-renderers, with common metadata and owner labels. Sources, ConfigMaps and
Secrets are taken from the file, else from the cluster; --dry-run asks none. Charts of a GitRepository need its directory
with --local-sources, or the chart's with --chart. Functions with random results give other ones each time.

Examples:
  nave build helmrelease podinfo
  nave build helmrelease podinfo.yaml --dry-run --kube-version 1.34
  nave build helmrelease web.yaml --chart ./charts/web
  nave build helmrelease web.yaml --local-sources GitRepository/flux-system/charts=.";

/// The command's own arguments.
#[derive(Debug, Clone, clap::Args)]
pub struct Release {
    #[command(flatten)]
    release: ReleaseArguments,
    /// Ask no cluster
    #[arg(long)]
    dry_run: bool,
    /// Version of Kubernetes that templates see in place of the cluster's
    #[arg(long, value_name = "VERSION")]
    kube_version: Option<String>,
    /// API versions that templates see besides those of the cluster; may be given several times
    #[arg(short, long, value_name = "VERSION", value_delimiter = ',')]
    api_versions: Vec<String>,
    /// Print files in crds/, too
    #[arg(long)]
    include_crds: bool,
    /// Print no hooks
    #[arg(long)]
    no_hooks: bool,
    /// Write to this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Renders and prints.
pub async fn run(arguments: Release, to: &ConnectionArguments) -> Result<()> {
    let cluster = (!arguments.dry_run).then(|| Cluster::new(to));
    let offline = Offline {
        kube_version: arguments.kube_version,
        api_versions: arguments.api_versions,
    };
    let built = build_release(&arguments.release, to, cluster.as_ref(), &offline).await?;
    for warning in &built.preview.rendered.warnings {
        say::warning(warning);
    }
    let text = built.preview.rendered.print(&Printing {
        crds: arguments.include_crds,
        hooks: !arguments.no_hooks,
        tests: true,
        only: Vec::new(),
    })?;
    match &arguments.output {
        Some(path) => super::write::one_file(path, text.as_bytes()),
        None => output::print_data(text.as_bytes()),
    }
}
