//! `nave get`: tables of objects and their status.

mod columns;
mod watch;

use std::io::Write;

use anyhow::{Result, bail};
use clap::Subcommand;
use jiff::Timestamp;
use kube::api::{DynamicObject, ListParams};

use crate::{
    api,
    connection::{Connection, ConnectionArguments},
    failure::advised,
    fields,
    kinds::{self, Home, Kind},
    live::{self, LiveArguments, LiveCluster, Wanted},
    output::{self, DataFormat, Format},
};
pub use columns::Columns;

/// Show objects and their status
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Fleet objects are shown from every workspace unless one is chosen with -n; Flux objects from flux-system, or from every
namespace with -A. Nothing found is an error, except under `get all`.

Examples:
  nave get clusters
  nave get fleet --watch
  nave get kustomizations -A --status-selector ready=false
  nave get all -o name
  nave get pods --cluster eu-1 -n shop")]
#[command(arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    /// Any kind of the cluster that --cluster names
    #[arg(value_name = "KIND")]
    kind: Option<String>,
    /// Only the object of this name
    #[arg(value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Clusters of the fleet
    #[command(visible_alias = "cluster")]
    Clusters(Name),
    /// Fleet objects: Kustomizations and HelmReleases for many clusters
    Fleet(Name),
    /// Fleet objects that are Kustomizations
    #[command(name = "fleetkustomizations", visible_alias = "fks")]
    FleetKustomizations(Name),
    /// Fleet objects that are HelmReleases
    #[command(name = "fleethelmreleases", visible_alias = "fhr")]
    FleetHelmReleases(Name),
    /// Flux Kustomizations
    #[command(visible_aliases = ["kustomization", "ks"])]
    Kustomizations(Name),
    /// Flux HelmReleases
    #[command(name = "helmreleases", visible_aliases = ["helmrelease", "hr"])]
    HelmReleases(Name),
    /// Sources
    #[command(visible_alias = "source")]
    Sources {
        #[command(subcommand)]
        source: Source,
    },
    /// What makes artifacts
    #[command(visible_alias = "artifact")]
    Artifacts {
        #[command(subcommand)]
        artifact: Artifact,
    },
    /// Everything: fleet objects, sources, Kustomizations, HelmReleases
    All,
}

#[derive(Debug, Clone, Subcommand)]
enum Source {
    /// GitRepositories
    Git(Name),
    /// OCIRepositories
    Oci(Name),
    /// HelmRepositories
    Helm(Name),
    /// HelmCharts
    Chart(Name),
    /// Buckets
    Bucket(Name),
    /// ExternalArtifacts
    External(Name),
    /// Every kind of source
    All,
}

#[derive(Debug, Clone, Subcommand)]
enum Artifact {
    /// ArtifactGenerators
    #[command(visible_alias = "generator")]
    Generators(Name),
}

#[derive(Debug, Clone, clap::Args)]
struct Name {
    /// Only the object of this name
    name: Option<String>,
    /// Show the source of each object (Kustomizations, HelmReleases)
    #[arg(long)]
    show_source: bool,
}

#[derive(Debug, Clone, clap::Args)]
struct Options {
    /// Look in every namespace
    #[arg(short = 'A', long, global = true)]
    all_namespaces: bool,
    /// Print no headers
    #[arg(long, global = true)]
    no_header: bool,
    /// Go on showing what changes
    #[arg(short, long, global = true)]
    watch: bool,
    /// Only objects with these labels
    #[arg(short = 'l', long, global = true, value_name = "SELECTOR")]
    label_selector: Option<String>,
    /// Only objects whose condition has this status: type=status or type!=status, in any case
    #[arg(long, global = true, value_name = "CONDITION", value_parser = status_selector)]
    status_selector: Option<StatusSelector>,
    /// Form of the output
    #[arg(short, long, global = true, value_name = "FORMAT")]
    output: Option<Format>,
    #[command(flatten)]
    live: LiveArguments,
}

/// `type=status` or `type!=status`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct StatusSelector {
    kind: String,
    status: String,
    equal: bool,
}

/// What to list, and how to show it.
struct Request {
    kinds: Vec<&'static Kind>,
    name: Option<String>,
    show_source: bool,
    /// Several kinds in one answer: names are prefixed with their kind, missing kinds are skipped.
    mixed: bool,
}

/// Lists, and watches when asked to.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    if let Some(cluster) = arguments.options.live.cluster.clone() {
        return of_cluster(arguments, to, &cluster).await;
    }
    let what = arguments.what.ok_or_else(|| unknown_word(arguments.kind.as_deref()))?;
    let request = Request::of(what);
    let options = arguments.options;
    if options.watch && request.mixed {
        bail!("--watch works on one kind at a time");
    }
    if options.all_namespaces && to.namespace.is_some() {
        bail!("-A and -n exclude each other");
    }
    let connection = to.connect().await?;
    if options.watch {
        return watch::run(&request, &options, &connection, to).await;
    }
    let mut found = Vec::new();
    for kind in &request.kinds {
        let namespace = options.namespace(kind, &connection, to);
        let params = options.params(request.name.as_deref());
        let objects = match api::list_if_known(&connection.client, kind, namespace.as_deref(), &params).await? {
            Some(objects) => objects,
            None if request.kinds.len() > 1 => continue,
            None => return Err(unknown_kind(kind)),
        };
        let objects: Vec<_> = objects.into_iter().filter(|object| options.selects(object)).collect();
        if !objects.is_empty() {
            found.push((*kind, namespace, objects));
        } else if request.kinds.len() == 1 {
            return Err(nothing_found(kind, namespace.as_deref(), request.name.as_deref()));
        }
    }
    if found.is_empty() && !request.mixed {
        let kind = request.kinds[0];
        let namespace = options.namespace(kind, &connection, to);
        return Err(nothing_found(kind, namespace.as_deref(), request.name.as_deref()));
    }
    if found.is_empty() {
        return Err(advised(
            "no objects found",
            "look in every namespace with -A, or choose one with -n",
        ));
    }
    match options.output {
        None | Some(Format::Wide) => print_tables(&found, &request, &options),
        Some(format) => print_data(&found, &request, format),
    }
}

/// Any kind of a cluster of the fleet, with the columns of its API server.
async fn of_cluster(arguments: Arguments, to: &ConnectionArguments, cluster: &str) -> Result<()> {
    let options = arguments.options;
    if options.watch || options.status_selector.is_some() {
        bail!("--watch and --status-selector do not work with --cluster: objects are read once, as they are");
    }
    if options.all_namespaces && to.namespace.is_some() {
        bail!("-A and -n exclude each other");
    }
    let (resource, name, home) = match (arguments.what, arguments.kind) {
        (Some(what), _) => {
            let request = Request::of(what);
            let [kind] = request.kinds[..] else {
                bail!("--cluster shows one kind at a time");
            };
            let resource = format!("{}.{}", kind.plural, kind.group);
            (resource, request.name, "flux-system")
        }
        (None, Some(kind)) => match kind.split_once('/') {
            Some((kind, name)) => (kind.to_owned(), Some(name.to_owned()), "default"),
            None => (kind, arguments.name, "default"),
        },
        (None, None) => bail!("--cluster needs the kind of what to show, such as pods"),
    };
    let connection = to.connect().await?;
    let cluster = LiveCluster::find(&connection, cluster).await?;
    let wanted = Wanted {
        resource,
        name: name.unwrap_or_default(),
        namespace: (!options.all_namespaces).then(|| to.namespace.clone().unwrap_or_else(|| home.to_owned())),
        selector: options.label_selector.unwrap_or_default(),
        output: options.output,
        no_header: options.no_header,
    };
    live::objects(&connection, &cluster, &wanted).await
}

fn unknown_word(word: Option<&str>) -> anyhow::Error {
    let word = word.unwrap_or_default();
    advised(
        format!("{word:?} is nothing that `nave get` knows at this cluster"),
        "`nave get --help` lists what it knows; every kind of a cluster of the fleet is shown with --cluster NAME",
    )
}

type Found = (&'static Kind, Option<String>, Vec<DynamicObject>);

fn print_tables(found: &[Found], request: &Request, options: &Options) -> Result<()> {
    let now = Timestamp::now();
    for (index, (kind, namespace, objects)) in found.iter().enumerate() {
        if index > 0 {
            output::print_text("\n")?;
        }
        let mut columns = request.columns(kind, namespace.as_deref(), options);
        columns.prefixed |= found.len() > 1;
        let mut table = columns.table();
        for object in objects {
            table.row(columns.row(object, now));
        }
        table.print(!options.no_header)?;
    }
    Ok(())
}

fn print_data(found: &[Found], request: &Request, format: Format) -> Result<()> {
    let mut objects = found.iter().flat_map(|(_, _, objects)| objects);
    let format = match format {
        Format::Json => DataFormat::Json,
        Format::Yaml => DataFormat::Yaml,
        Format::Wide | Format::Name => {
            let mut out = std::io::stdout().lock();
            for object in objects {
                writeln!(out, "{}", output::object_name(object))?;
            }
            return Ok(());
        }
    };
    match (request.name.as_deref(), objects.next(), objects.next()) {
        (Some(_), Some(only), None) => output::print_value(&output::object_value(only)?, format),
        _ => {
            let all: Vec<_> = found
                .iter()
                .flat_map(|(_, _, objects)| objects.iter().cloned())
                .collect();
            output::print_value(&output::list_value(&all)?, format)
        }
    }
}

impl Request {
    fn of(what: What) -> Request {
        let (kinds, name): (Vec<&'static Kind>, _) = match what {
            What::Clusters(name) => (vec![&kinds::CLUSTER], Some(name)),
            What::Fleet(name) => (kinds::FLEET.to_vec(), Some(name)),
            What::FleetKustomizations(name) => (vec![&kinds::FLEET_KUSTOMIZATION], Some(name)),
            What::FleetHelmReleases(name) => (vec![&kinds::FLEET_HELM_RELEASE], Some(name)),
            What::Kustomizations(name) => (vec![&kinds::KUSTOMIZATION], Some(name)),
            What::HelmReleases(name) => (vec![&kinds::HELM_RELEASE], Some(name)),
            What::Sources {
                source: Source::Git(name),
            } => (vec![&kinds::GIT_REPOSITORY], Some(name)),
            What::Sources {
                source: Source::Oci(name),
            } => (vec![&kinds::OCI_REPOSITORY], Some(name)),
            What::Sources {
                source: Source::Helm(name),
            } => (vec![&kinds::HELM_REPOSITORY], Some(name)),
            What::Sources {
                source: Source::Chart(name),
            } => (vec![&kinds::HELM_CHART], Some(name)),
            What::Sources {
                source: Source::Bucket(name),
            } => (vec![&kinds::BUCKET], Some(name)),
            What::Sources {
                source: Source::External(name),
            } => (vec![&kinds::EXTERNAL_ARTIFACT], Some(name)),
            What::Sources { source: Source::All } => (
                kinds::ALL
                    .into_iter()
                    .filter(|kind| kind.group == nave_crds::source::GROUP)
                    .collect(),
                None,
            ),
            What::Artifacts {
                artifact: Artifact::Generators(name),
            } => (vec![&kinds::ARTIFACT_GENERATOR], Some(name)),
            What::All => (kinds::ALL.to_vec(), None),
        };
        Request {
            kinds,
            mixed: name.is_none(),
            show_source: name.as_ref().is_some_and(|name| name.show_source),
            name: name.and_then(|name| name.name),
        }
    }

    fn columns(&self, kind: &'static Kind, namespace: Option<&str>, options: &Options) -> Columns {
        Columns {
            kind,
            namespace: namespace.is_none(),
            prefixed: self.mixed,
            wide: options.output == Some(Format::Wide),
            source: self.show_source,
        }
    }
}

impl Options {
    /// None looks everywhere.
    fn namespace(&self, kind: &Kind, connection: &Connection, to: &ConnectionArguments) -> Option<String> {
        match kind.home {
            _ if self.all_namespaces => None,
            Home::Flux => Some(to.flux_namespace(connection)),
            Home::Workspace => to.workspace_filter(connection),
        }
    }

    fn params(&self, name: Option<&str>) -> ListParams {
        let mut params = ListParams::default();
        if let Some(name) = name {
            params = params.fields(&format!("metadata.name={name}"));
        }
        match &self.label_selector {
            Some(selector) => params.labels(selector),
            None => params,
        }
    }

    fn selects(&self, object: &DynamicObject) -> bool {
        self.status_selector
            .as_ref()
            .is_none_or(|selector| selector.selects(object))
    }
}

impl StatusSelector {
    /// A condition that is not there has no status that could be equal.
    fn selects(&self, object: &DynamicObject) -> bool {
        let conditions = fields::conditions(object);
        let condition = conditions
            .iter()
            .find(|condition| condition.kind.eq_ignore_ascii_case(&self.kind));
        condition.is_some_and(|condition| condition.status.eq_ignore_ascii_case(&self.status) == self.equal)
    }
}

fn status_selector(text: &str) -> Result<StatusSelector, String> {
    let (kind, status, equal) = match (text.split_once("!="), text.split_once('=')) {
        (Some((kind, status)), _) => (kind, status, false),
        (None, Some((kind, status))) => (kind, status, true),
        (None, None) => return Err("expected type=status or type!=status, such as ready=false".to_owned()),
    };
    if kind.is_empty() || status.is_empty() {
        return Err("type and status must not be empty".to_owned());
    }
    Ok(StatusSelector {
        kind: kind.to_owned(),
        status: status.to_owned(),
        equal,
    })
}

fn unknown_kind(kind: &Kind) -> anyhow::Error {
    let hint = match kind.home {
        Home::Flux => "`nave install --agent` installs the Flux kinds; is this the right --context?",
        Home::Workspace => {
            "fleet objects are on the hub; is this the right --context? `nave install --hub` makes a hub"
        }
    };
    advised(
        format!("the cluster does not know the kind {} ({})", kind.kind, kind.group),
        hint,
    )
}

fn nothing_found(kind: &Kind, namespace: Option<&str>, name: Option<&str>) -> anyhow::Error {
    if let Some(name) = name {
        return api::not_found(kind, namespace, name);
    }
    match namespace {
        Some(namespace) => advised(
            format!("no {} objects found in {namespace:?} namespace", kind.kind),
            "look in every namespace with -A, or choose one with -n",
        ),
        None => anyhow::anyhow!("no {} objects found in any namespace", kind.kind),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn status_selectors_compare_without_case() {
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "X", "metadata": {"name": "a"},
            "status": {"conditions": [{"type": "Ready", "status": "False"}]}
        }))
        .expect("an object");
        for (text, selected) in [
            ("ready=false", true),
            ("READY=False", true),
            ("ready=true", false),
            ("ready!=true", true),
            ("ready!=false", false),
            ("healthy=true", false),
            ("healthy!=true", false),
        ] {
            assert_eq!(status_selector(text).expect(text).selects(&object), selected, "{text}");
        }
        for text in ["", "ready", "=true", "ready=", "!=x"] {
            assert!(status_selector(text).is_err(), "{text}");
        }
    }
}
