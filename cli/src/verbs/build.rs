//! `nave build`: what would be applied, from the files on this machine.

mod arguments;
mod release;
mod write;

use anyhow::Result;
use clap::Subcommand;
use nave_object::{Object, yaml};

pub use arguments::FluxArguments;
use arguments::Kustomization;

use crate::{
    build::{Cluster, Plain, build_all, plain},
    connection::ConnectionArguments,
    output,
};

/// Build manifests as they would be applied
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Build a directory with kustomize, or a Flux Kustomization from it
    #[command(visible_alias = "ks", after_help = arguments::EXAMPLES)]
    Kustomization(Kustomization),
    /// Render a HelmRelease, from a file or of the cluster
    #[command(name = "helmrelease", visible_alias = "hr", after_help = release::EXAMPLES)]
    HelmRelease(release::Release),
}

/// Builds and prints YAML.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    let arguments = match arguments.what {
        What::Kustomization(arguments) => arguments,
        What::HelmRelease(arguments) => return release::run(arguments, to).await,
    };
    arguments.check()?;
    let objects = if arguments.is_flux() {
        let cluster = (!arguments.dry_run).then(|| Cluster::new(to));
        let built = build_all(&arguments.request(), to, cluster.as_ref()).await?;
        built.into_iter().flat_map(|built| built.objects).collect()
    } else {
        let options = Plain {
            load: arguments.load_restrictor.into(),
            helm: arguments.enable_helm,
            timeout: to.timeout,
        };
        plain(arguments.name_or_path(), options).await?
    };
    match &arguments.output {
        Some(path) if path.is_dir() => write::one_file_each(path, &objects),
        Some(path) => write::one_file(path, text_of(&objects).as_bytes()),
        None => output::print_data(text_of(&objects).as_bytes()),
    }
}

fn text_of(objects: &[Object]) -> String {
    yaml::write_documents(objects.iter().map(Object::as_value))
}
