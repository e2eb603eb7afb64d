//! `nave template`: what a Helm chart gives, from the files on this machine.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use nave_chart::{Chart, KubeVersion, Printing, RenderRequest, check_release_name, render, values::ValueFlags};

use crate::{build::read_chart, connection::ConnectionArguments, failure::advised, output, say};

const EXAMPLES: &str = "\
Prints what `helm template` prints. No cluster is asked: --kube-version and --api-versions say what there is, and the
template function lookup finds nothing. Functions with random results give other ones each time.

Examples:
  nave template ./charts/web
  nave template shop ./charts/web -n shop -f values.yaml --set image.tag=1.2.3
  nave template shop web-1.0.0.tgz --show-only templates/deployment.yaml
  nave template shop ./charts/web --kube-version 1.33 --api-versions monitoring.coreos.com/v1";

/// What a release is called that nobody names.
const NAME: &str = "release-name";

/// Render a Helm chart
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Name of the release, which may be left out, and the chart: a folder or a .tgz file
    #[arg(value_name = "[NAME] CHART", required = true, num_args = 1..=2)]
    name_and_chart: Vec<String>,
    /// File with values, - for stdin; may be given several times, later ones win
    #[arg(short = 'f', long, value_name = "FILE", value_delimiter = ',')]
    values: Vec<String>,
    /// Values such as a.b=1,c={x,y}; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// As --set, and every value is a text
    #[arg(long, value_name = "KEY=VALUE")]
    set_string: Vec<String>,
    /// As --set, and every value is the name of a file with the text
    #[arg(long, value_name = "KEY=FILE")]
    set_file: Vec<String>,
    /// As --set, and every value is JSON
    #[arg(long, value_name = "KEY=JSON")]
    set_json: Vec<String>,
    /// One key and a text that is taken as it is
    #[arg(long, value_name = "KEY=TEXT")]
    set_literal: Vec<String>,
    /// Version of Kubernetes that templates see
    #[arg(long, value_name = "VERSION")]
    kube_version: Option<String>,
    /// API versions that templates see besides those of Kubernetes; may be given several times
    #[arg(short, long, value_name = "VERSION", value_delimiter = ',')]
    api_versions: Vec<String>,
    /// Print files in crds/, too
    #[arg(long)]
    include_crds: bool,
    /// Print no hooks
    #[arg(long)]
    no_hooks: bool,
    /// Print no tests
    #[arg(long)]
    skip_tests: bool,
    /// Only what these templates give: patterns such as templates/*.yaml; may be given several times
    #[arg(short, long, value_name = "PATTERN")]
    show_only: Vec<String>,
    /// Set .Release.IsUpgrade in place of .Release.IsInstall
    #[arg(long)]
    is_upgrade: bool,
    /// Do not look at values.schema.json
    #[arg(long)]
    skip_schema_validation: bool,
    /// Download charts that are missing in charts/; this version cannot
    #[arg(long)]
    dependency_update: bool,
    /// Check against the cluster; this version cannot
    #[arg(long, hide = true)]
    validate: bool,
}

/// Renders and prints YAML.
pub fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    if arguments.validate {
        return Err(advised(
            "--validate is not supported: no cluster is asked",
            "`nave diff` compares with a cluster, and so does `kubectl apply --dry-run=server -f -`",
        ));
    }
    let (name, path) = match arguments.name_and_chart.as_slice() {
        [path] => (NAME, path),
        [name, path] => (name.as_str(), path),
        _ => unreachable!("clap takes one or two"),
    };
    check_release_name(name).with_context(|| format!("release name {name:?}"))?;
    let chart = load(path, arguments.dependency_update)?;
    let namespace = to.namespace.as_deref().unwrap_or("default");
    let mut request = RenderRequest::install(name, namespace, values(&arguments)?);
    if let Some(version) = &arguments.kube_version {
        request.capabilities.kube_version =
            KubeVersion::parse(version).with_context(|| format!("invalid kube version '{version}'"))?;
    }
    let known = request.capabilities.api_versions.iter().chain(&arguments.api_versions);
    request.capabilities.api_versions = known.cloned().collect();
    request.release.is_upgrade = arguments.is_upgrade;
    request.skip_schema_validation = arguments.skip_schema_validation;
    request.now = Timestamp::now();
    request.seed = crate::random::seed()?;
    let rendered = render(&chart, &request)?;
    for warning in &rendered.warnings {
        say::warning(warning);
    }
    let text = rendered.print(&Printing {
        crds: arguments.include_crds,
        hooks: !arguments.no_hooks,
        tests: !arguments.skip_tests,
        only: arguments.show_only,
    })?;
    output::print_data(text.as_bytes())
}

fn load(path: &str, update: bool) -> Result<Chart> {
    let file = Path::new(path);
    if !file.exists() {
        let is_remote = path.contains("://") || (path.contains('/') && !path.starts_with('.') && !file.is_absolute());
        return Err(match is_remote {
            true => advised(
                format!("chart {path:?} is not on this machine, and charts are not downloaded by this version"),
                "`helm pull` downloads a chart",
            ),
            false => anyhow::anyhow!("path {path:?} not found"),
        });
    }
    let chart = read_chart(file)?;
    if !matches!(chart.metadata.kind.as_str(), "" | "application") {
        bail!("{} charts are not installable", chart.metadata.kind);
    }
    if chart.metadata.deprecated {
        say::warning("this chart is deprecated");
    }
    let missing = chart.missing_dependencies();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return Err(advised(
            match update {
                true => format!("--dependency-update: charts are not downloaded by this version: {missing}"),
                false => format!("found in Chart.yaml, but missing in charts/ directory: {missing}"),
            },
            format!("`helm dependency build {path}` downloads them"),
        ));
    }
    Ok(chart)
}

fn values(arguments: &Arguments) -> Result<nave_chart::Values> {
    let flags = ValueFlags {
        files: arguments.values.clone(),
        set_json: arguments.set_json.clone(),
        set: arguments.set.clone(),
        set_string: arguments.set_string.clone(),
        set_file: arguments.set_file.clone(),
        set_literal: arguments.set_literal.clone(),
    };
    Ok(flags.merge(|file| match file.trim() {
        "-" => {
            let mut content = Vec::new();
            io::stdin().read_to_end(&mut content).map(|_| content)
        }
        file if file.contains("://") => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "values are not downloaded by this version",
        )),
        _ => fs::read(file),
    })?)
}
