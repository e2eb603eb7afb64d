//! `nave template`: what a Helm chart gives, from the files on this machine.

mod naming;
mod without_effect;
mod written;

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use nave_chart::{
    Chart, KubeVersion, Printing, RenderRequest, SchemaDocuments, check_release_name, render, values::ValueFlags,
};
use nave_helm_controller::{HostResolver, WebDocuments};

use crate::{
    build::read_chart,
    charts::{ChartArguments, from_address, from_registry, from_repository, with_dependencies},
    connection::ConnectionArguments,
    failure::advised,
    output, say,
};

use self::{naming::NameArguments, without_effect::WithoutEffect};

const EXAMPLES: &str = "\
Prints what `helm template` prints. No cluster is asked: --kube-version and --api-versions say what there is, and the
template function lookup finds nothing. Functions with random results give other ones each time. Documents that
values.schema.json refers to by their address are fetched; --skip-schema-validation keeps it from that.

A chart is a folder or archive of this machine, a name in the repository of --repo, an address of an archive, or a
repository of a registry; registries get the credentials of `helm registry login` or `docker login` unless --username says
another. --dependency-update fetches what Chart.yaml asks for into memory; charts/ stays as it is.

Examples:
  nave template ./charts/web
  nave template shop ./charts/web -n shop -f values.yaml --set image.tag=1.2.3
  nave template shop web-1.0.0.tgz --show-only templates/deployment.yaml
  nave template shop ./charts/web --kube-version 1.33 --api-versions monitoring.coreos.com/v1
  nave template podinfo podinfo --repo https://stefanprodan.github.io/podinfo --version 6.x
  nave template podinfo oci://ghcr.io/stefanprodan/charts/podinfo --version 6.9.0";

/// Render a Helm chart
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Name of the release, which may be left out, and the chart: a folder, a .tgz file, an address, or a name with --repo
    #[arg(value_name = "[NAME] CHART", required = true, num_args = 1..=2)]
    name_and_chart: Vec<String>,
    #[command(flatten)]
    naming: NameArguments,
    /// File or address with values, - for stdin; may be given several times, later ones win
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
    /// Fetch what Chart.yaml asks for when it is missing in charts/
    #[arg(long)]
    dependency_update: bool,
    /// Let getHostByName look addresses up, which gives an empty text otherwise
    #[arg(long)]
    enable_dns: bool,
    /// Write a file for each template into this folder, and print their names
    #[arg(long, value_name = "FOLDER", conflicts_with = "show_only")]
    output_dir: Option<PathBuf>,
    /// Put a folder of the release's name into that of --output-dir
    #[arg(long)]
    release_name: bool,
    #[command(flatten)]
    from: ChartArguments,
    #[command(flatten)]
    without_effect: WithoutEffect,
}

/// Renders and prints YAML.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    arguments.without_effect.check()?;
    let now = Timestamp::now();
    let (name, path) = arguments.naming.name_and_chart(&arguments.name_and_chart, now)?;
    check_release_name(&name).with_context(|| format!("release name {name:?}"))?;
    let chart = load(path, &arguments, to.timeout).await?;
    let namespace = to.namespace.as_deref().unwrap_or("default");
    let mut request = RenderRequest::install(name.clone(), namespace, values(&arguments)?);
    if let Some(version) = &arguments.kube_version {
        request.capabilities.kube_version =
            KubeVersion::parse(version).with_context(|| format!("invalid kube version '{version}'"))?;
    }
    let known = request.capabilities.api_versions.iter().chain(&arguments.api_versions);
    request.capabilities.api_versions = known.cloned().collect();
    request.release.is_upgrade = arguments.is_upgrade;
    request.skip_schema_validation = arguments.skip_schema_validation;
    request.schema_documents = Some(Arc::new(WebDocuments));
    if arguments.enable_dns {
        request.resolve = Some(Arc::new(HostResolver));
    }
    request.now = now;
    request.seed = crate::random::seed()?;
    let rendered = render(&chart, &request)?;
    for warning in &rendered.warnings {
        say::warning(warning);
    }
    let printing = Printing {
        crds: arguments.include_crds,
        hooks: !arguments.no_hooks,
        tests: !arguments.skip_tests,
        only: arguments.show_only,
    };
    let text = match &arguments.output_dir {
        Some(folder) => {
            let release = arguments.release_name.then_some(name.as_str());
            written::write(&rendered, &printing, folder, release)?
        }
        None => rendered.print(&printing)?,
    };
    output::print_data(text.as_bytes())
}

async fn load(path: &str, arguments: &Arguments, timeout: Duration) -> Result<Chart> {
    let way = arguments.from.way()?;
    let file = Path::new(path);
    let wanted = arguments.from.wanted();
    let chart = match &arguments.from.repo {
        Some(repo) if repo.starts_with("oci://") => {
            let url = format!("{}/{path}", repo.trim_end_matches('/'));
            from_registry(&url, wanted, &way, timeout).await?.chart
        }
        Some(repo) => from_repository(repo, path, wanted, &way, timeout).await?,
        None if path.starts_with("oci://") => from_registry(path, wanted, &way, timeout).await?.chart,
        None if path.contains("://") => from_address(path, &way, timeout).await?,
        None if file.exists() => read_chart(file)?,
        None => return Err(not_there(path)),
    };
    if !matches!(chart.metadata.kind.as_str(), "" | "application") {
        bail!("{} charts are not installable", chart.metadata.kind);
    }
    if chart.metadata.deprecated {
        say::warning("this chart is deprecated");
    }
    if chart.missing_dependencies().is_empty() {
        return Ok(chart);
    }
    if arguments.dependency_update {
        return with_dependencies(chart, file.is_dir().then_some(file), &way, timeout).await;
    }
    Err(advised(
        format!(
            "found in Chart.yaml, but missing in charts/ directory: {}",
            chart.missing_dependencies().join(", ")
        ),
        format!("--dependency-update fetches them for this once, `helm dependency build {path}` for good"),
    ))
}

fn not_there(path: &str) -> anyhow::Error {
    let names_repository = path.contains('/') && !path.starts_with('.') && !Path::new(path).is_absolute();
    match names_repository {
        true => advised(
            format!("chart {path:?} is not on this machine, and names of helm's own repositories are not known"),
            "name the repository's address with --repo, or the chart's with oci://",
        ),
        false => anyhow::anyhow!("path {path:?} not found"),
    }
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
        file if file.starts_with("https://") || file.starts_with("http://") => {
            WebDocuments.document(file).map_err(io::Error::other)
        }
        file if file.contains("://") => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "values are downloaded from http and https addresses only",
        )),
        _ => fs::read(file),
    })?)
}
