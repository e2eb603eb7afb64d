//! What was typed behind `nave build kustomization`, and what it shares with `nave diff`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::ValueEnum;
use nave_kustomize::LoadRestriction;

use crate::{build::Request, failure::advised};

pub const EXAMPLES: &str = "\
Alone, a directory is built as `kubectl kustomize` builds it: the same objects in the same order with the same text.
Remote bases are fetched: files and public repositories over HTTP and HTTPS by nave itself; repositories over ssh, in
folders, and those that ask for credentials, by the git program with what it is set up to use. What nave itself fetches
comes with its submodules and without symbolic links. With --enable-helm, entries of helmCharts are rendered: charts of the
directory, of chart repositories and, by their version, of registries.

With --kustomization-file, or with the name of a Kustomization of the cluster and --path, the fields of that Flux
Kustomization are added as its controller adds them: target namespace, patches, images, components, variables, labels.
ConfigMaps and Secrets of substituteFrom are read from the cluster, unless --dry-run says that there is none. Values that
SOPS encrypted are printed as **SOPS**. Nothing is written into the directory.

Examples:
  nave build kustomization ./apps/overlays/staging
  nave build kustomization 'https://github.com/stefanprodan/podinfo//kustomize?ref=6.9.0'
  nave build kustomization ./apps -o apps.yaml
  nave build kustomization apps --path ./apps/overlays/staging
  nave build kustomization apps --path ./apps --kustomization-file apps.yaml --dry-run
  nave build kustomization flux-system --path ./clusters/eu --recursive \\
    --local-sources GitRepository/flux-system/flux-system=.";

/// The command's own arguments.
#[derive(Debug, Clone, clap::Args)]
pub struct Kustomization {
    /// Directory to build, or address of one in a repository; with --path the name of a Kustomization
    #[arg(value_name = "PATH|NAME")]
    what: Option<String>,
    /// Directory to build for the Kustomization that is named
    #[arg(long, value_name = "PATH")]
    path: Option<PathBuf>,
    /// Ask no cluster: ConfigMaps and Secrets with variables are passed over
    #[arg(long, requires = "kustomization_file")]
    pub dry_run: bool,
    #[command(flatten)]
    flux: FluxArguments,
    /// Which files may be read
    #[arg(long, value_name = "RULE", value_enum, default_value_t = LoadRestrictor::LoadRestrictionsRootOnly,
          conflicts_with_all = ["path", "kustomization_file"])]
    pub load_restrictor: LoadRestrictor,
    /// Allow helmCharts
    #[arg(long, conflicts_with_all = ["path", "kustomization_file"])]
    pub enable_helm: bool,
    /// Write to this file, or one file for each object into this directory
    #[arg(short, long, value_name = "FILE|DIR")]
    pub output: Option<PathBuf>,
}

/// What a build of a Flux Kustomization can be told.
#[derive(Debug, Clone, clap::Args)]
pub struct FluxArguments {
    /// File with the Flux Kustomization, in place of the cluster's; it may hold others, and other objects, too
    #[arg(long, value_name = "FILE")]
    pub kustomization_file: Option<PathBuf>,
    /// Fail on variables that are not set
    #[arg(long)]
    pub strict_substitute: bool,
    /// Files that a generated kustomization.yaml leaves out, as in .gitignore; may be given several times
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub ignore_paths: Vec<String>,
    /// Build in memory, which is always done: nothing is written into the directory
    #[arg(long)]
    pub in_memory_build: bool,
    /// Build Kustomizations among the objects too
    #[arg(short, long, requires = "local_sources")]
    pub recursive: bool,
    /// Directories of the sources of such Kustomizations; may be given several times
    #[arg(long, value_name = "KIND/NAMESPACE/NAME=PATH", value_delimiter = ',', value_parser = local_source)]
    pub local_sources: Vec<(String, PathBuf)>,
}

/// kustomize's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(clippy::enum_variant_names)] // the words are kustomize's
pub enum LoadRestrictor {
    /// Files in and below the directory of their kustomization file
    #[value(name = "LoadRestrictionsRootOnly")]
    LoadRestrictionsRootOnly,
    /// Files wherever they are
    #[value(name = "LoadRestrictionsNone")]
    LoadRestrictionsNone,
}

impl From<LoadRestrictor> for LoadRestriction {
    fn from(restrictor: LoadRestrictor) -> Self {
        match restrictor {
            LoadRestrictor::LoadRestrictionsRootOnly => LoadRestriction::RootOnly,
            LoadRestrictor::LoadRestrictionsNone => LoadRestriction::None,
        }
    }
}

impl Kustomization {
    /// Whether a Flux Kustomization is built, and not just a directory.
    pub fn is_flux(&self) -> bool {
        self.path.is_some() || self.flux.kustomization_file.is_some()
    }

    /// What can be seen to make no sense before anything is read.
    ///
    /// # Errors
    /// Flags that only mean something for a Flux Kustomization.
    pub fn check(&self) -> Result<()> {
        let flux = &self.flux;
        let flag = match flux {
            _ if self.is_flux() => return Ok(()),
            FluxArguments {
                strict_substitute: true,
                ..
            } => "--strict-substitute",
            FluxArguments { recursive: true, .. } => "--recursive",
            FluxArguments { ignore_paths, .. } if !ignore_paths.is_empty() => "--ignore-paths",
            FluxArguments { local_sources, .. } if !local_sources.is_empty() => "--local-sources",
            _ => return Ok(()),
        };
        Err(advised(
            format!("{flag} is for Flux Kustomizations, and a plain directory is built here"),
            "name the Kustomization and its --path, or the file that it is in with --kustomization-file",
        ))
    }

    /// The first word; the working directory without one, as with kustomize.
    pub fn name_or_path(&self) -> &str {
        self.what.as_deref().unwrap_or(".")
    }

    /// What is to be built, with a Flux Kustomization on top.
    pub fn request(&self) -> Request<'_> {
        match &self.path {
            Some(path) => self.flux.request(path, self.what.as_deref()),
            None => self.flux.request(Path::new(self.name_or_path()), None),
        }
    }
}

impl FluxArguments {
    /// What is to be built.
    pub fn request<'a>(&'a self, path: &'a Path, name: Option<&'a str>) -> Request<'a> {
        Request {
            path,
            name,
            file: self.kustomization_file.as_deref(),
            strict: self.strict_substitute,
            ignore: &self.ignore_paths,
            recursive: self.recursive,
            local_sources: &self.local_sources,
        }
    }
}

fn local_source(text: &str) -> Result<(String, PathBuf), String> {
    let (source, path) = text
        .split_once('=')
        .filter(|(source, path)| {
            source.split('/').count() == 3 && !source.split('/').any(str::is_empty) && !path.is_empty()
        })
        .ok_or("expected Kind/namespace/name=path, such as GitRepository/flux-system/apps=./apps")?;
    Ok((source.to_owned(), PathBuf::from(path)))
}
