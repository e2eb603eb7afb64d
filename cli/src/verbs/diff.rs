//! `nave diff`: what applying the files of this machine would change.

mod compare;
mod release;
mod target;
mod text;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Subcommand;

use self::compare::{Found, compare};
pub use self::target::target_for;
use super::build::FluxArguments;
use crate::{
    api,
    build::{Built, Cluster, build_all},
    connection::ConnectionArguments,
    failure::{advised, coded, quiet},
    progress::Progress,
    say,
};

/// The exit code of a diff that could not be made, as flux has it.
const FAILED: u8 = 2;

/// Show what applying the files on this machine would change
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Build a Flux Kustomization from a directory and compare the result with the cluster
    #[command(visible_alias = "ks", after_help = EXAMPLES)]
    Kustomization(Kustomization),
    /// Render a HelmRelease and compare the result with the cluster
    #[command(name = "helmrelease", visible_alias = "hr", after_help = release::EXAMPLES)]
    HelmRelease(release::Release),
}

const EXAMPLES: &str = "\
The API server says by server-side dry runs what every object would become; nothing is written. One line for each object
that would be created, drifted (with the difference below it), deleted (it is in the inventory of the Kustomization, which
prunes) or skipped (a label or annotation says so). Values of Secrets are hidden; of what SOPS encrypted only the keys
are compared. An object whose namespace or definition comes with it counts as created without being tried. Fields that
were set with kubectl and are not in the files go when the controller applies; that is not shown. The API server is asked
as whoever runs the command, not as spec.serviceAccountName. A Kustomization with spec.kubeConfig is compared with the
cluster of that kubeconfig, and not at all when it is found inside of another one.

Exit codes: 0 no difference, 1 a difference, 2 an error.

Examples:
  nave diff kustomization apps --path ./apps/overlays/staging
  nave diff kustomization apps --path ./apps --kustomization-file apps.yaml
  nave diff kustomization flux-system --path ./clusters/eu --recursive \\
    --local-sources GitRepository/flux-system/flux-system=.";

#[derive(Debug, Clone, clap::Args)]
struct Kustomization {
    /// Name of the Kustomization
    name: String,
    /// Directory that matches its spec.path
    #[arg(long, value_name = "PATH")]
    path: PathBuf,
    /// Show on a terminal how far the comparison is
    #[arg(long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", action = clap::ArgAction::Set)]
    progress_bar: bool,
    /// Take a Kustomization that the cluster does not have for a new one
    #[arg(long, requires = "kustomization_file")]
    ignore_not_found: bool,
    #[command(flatten)]
    flux: FluxArguments,
}

/// Compares and prints.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    let differs = match arguments.what {
        What::Kustomization(arguments) => diff(&arguments, to).await,
        What::HelmRelease(arguments) => release::diff(&arguments, to).await,
    };
    match differs {
        Ok(false) => Ok(()),
        Ok(true) => {
            say::warning("identified at least one change, exiting with non-zero exit code");
            Err(quiet())
        }
        Err(error) => Err(coded(FAILED, error)),
    }
}

/// Whether there is a difference.
async fn diff(arguments: &Kustomization, to: &ConnectionArguments) -> Result<bool> {
    ensure!(
        arguments.path.is_dir(),
        "--path {} is no directory",
        arguments.path.display()
    );
    let cluster = Cluster::new(to);
    let request = arguments.flux.request(&arguments.path, Some(&arguments.name));
    let mut built = build_all(&request, to, Some(&cluster)).await?;
    let mut found = Found::default();
    for (position, built) in built.iter_mut().enumerate() {
        let name = name_of(built);
        if position > 0 && built.kustomization.spec.kube_config.is_some() {
            say::warning(&format!(
                "Kustomization {name} is for another cluster (spec.kubeConfig) and is not compared"
            ));
            continue;
        }
        let from_file = position > 0 || request.file.is_some();
        if from_file {
            let may_be_new = position > 0 || arguments.ignore_not_found;
            take_status(built, &cluster, may_be_new).await?;
        }
        let target = target::target_of(&built.kustomization, cluster.connection().await?)
            .await
            .with_context(|| format!("Kustomization {name}"))?;
        let progress = arguments
            .progress_bar
            .then(|| Progress::bar(built.objects.len(), format!("comparing {name}")));
        compare(built, &target, progress.as_ref(), &mut found).await?;
    }
    if found.problems.is_empty() {
        return Ok(found.differs);
    }
    let (last, others) = found.problems.split_last().expect("there is one");
    for problem in others {
        say::failure(problem);
    }
    Err(anyhow::anyhow!("{last}"))
}

/// What was built comes from a file; what was applied, only the cluster knows.
async fn take_status(built: &mut Built, cluster: &Cluster<'_>, may_be_new: bool) -> Result<()> {
    let metadata = &built.kustomization.metadata;
    let (namespace, name) = (
        metadata.namespace.clone().unwrap_or_default(),
        metadata.name.clone().unwrap_or_default(),
    );
    match cluster.kustomization(&namespace, &name).await {
        Ok(live) => {
            built.kustomization.status = live.status;
            Ok(())
        }
        Err(error) if error.is::<crate::failure::Advised>() || api::is_not_found(&error) => {
            if may_be_new {
                built.kustomization.status = None;
                return Ok(());
            }
            Err(advised(
                crate::hints::describe(&error),
                "add --ignore-not-found to compare a Kustomization that is still to be created",
            ))
        }
        Err(error) => Err(error),
    }
}

fn name_of(built: &Built) -> String {
    let metadata = &built.kustomization.metadata;
    format!(
        "{}/{}",
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default()
    )
}
