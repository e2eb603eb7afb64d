//! `nave build`: what would be applied, from the files on this machine.

mod flux;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use nave_kustomize::{Answers, LoadRestriction, Need, Options, Reorder, Step};
use nave_object::{Object, yaml};

use crate::{connection::ConnectionArguments, disk_tree::DiskTree, failure::advised, output};

/// Build manifests as they would be applied
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Build a directory with kustomize, and with a Flux Kustomization on top when one is given
    #[command(visible_alias = "ks", after_help = EXAMPLES)]
    Kustomization(Kustomization),
}

const EXAMPLES: &str = "\
Alone, a directory is built as `kustomize build` does it. With --kustomization-file the fields of a Flux Kustomization
are added as its controller adds them: target namespace, patches, images, components, variables, labels.

Examples:
  nave build kustomization ./apps/overlays/staging
  nave build kustomization ./apps --kustomization-file apps.yaml --dry-run";

#[derive(Debug, Clone, clap::Args)]
struct Kustomization {
    /// Directory to build
    path: PathBuf,
    /// File with a Flux Kustomization whose fields are added
    #[arg(long, value_name = "FILE")]
    kustomization_file: Option<PathBuf>,
    /// Ask no cluster: ConfigMaps and Secrets with variables are passed over
    #[arg(long, requires = "kustomization_file")]
    dry_run: bool,
    /// Fail on variables that are not set
    #[arg(long, requires = "kustomization_file")]
    strict_substitute: bool,
}

/// Builds and prints YAML.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    let What::Kustomization(arguments) = arguments.what;
    let objects = match &arguments.kustomization_file {
        None => plain(&arguments.path)?,
        Some(file) => {
            let request = flux::Request {
                path: &arguments.path,
                file,
                ask_cluster: !arguments.dry_run,
                strict: arguments.strict_substitute,
            };
            flux::build(&request, to).await?
        }
    };
    output::print_text(&yaml::write_documents(objects.iter().map(Object::as_value)))
}

/// As `kustomize build`: files only from below the kustomization, objects in kustomize's order.
fn plain(path: &Path) -> Result<Vec<Object>> {
    let options = Options {
        load: LoadRestriction::RootOnly,
        reorder: Reorder::Legacy,
        ..Options::default()
    };
    let (tree, directory) = DiskTree::around(path)?;
    done(
        nave_kustomize::build(&tree, &directory, &options, &Answers::new()),
        path,
    )
}

/// The objects of a build, or what is in its way.
fn done(step: Result<Step<Vec<Object>>, nave_kustomize::BuildError>, path: &Path) -> Result<Vec<Object>> {
    match step.with_context(|| format!("building {}", path.display()))? {
        Step::Done(objects) => Ok(objects),
        Step::Needs(needs) => {
            let needs: Vec<String> = needs.iter().map(describe).collect();
            if needs.is_empty() {
                bail!(
                    "building {}: the build asks for nothing and does not end",
                    path.display()
                );
            }
            Err(advised(
                format!(
                    "building {}: it needs {}, which is not on this machine",
                    path.display(),
                    needs.join(" and ")
                ),
                "put a copy beside your manifests and refer to that",
            ))
        }
    }
}

fn describe(need: &Need) -> String {
    match need {
        Need::File { url } => format!("the file {url}"),
        Need::Repository(repository) => format!("the repository {}", repository.clone_url()),
        Need::Chart(_) => "a rendered Helm chart".to_owned(),
    }
}
