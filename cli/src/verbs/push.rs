//! `nave push`: files into a registry.

use std::{collections::BTreeMap, io::Read, path::PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use jiff::Timestamp;
use nave_artifact::{File, FileTree, pack};
use nave_oci::flux_artifact;
use serde_json::json;

use crate::{
    output::{self, DataFormat},
    registry::{self, IGNORED, REQUEST, RegistryArguments},
    say,
};

/// Push files to a registry as an artifact
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Push files as an artifact that an OCIRepository can fetch
    #[command(after_help = "\
Examples:
  nave push artifact oci://ghcr.io/org/manifests:latest --path ./deploy \\
    --source https://git.example.com/org/app --revision main@sha1:$(git rev-parse HEAD)
  kustomize build . | nave push artifact oci://localhost:5000/app:dev -f - --source local --revision dev")]
    Artifact(Artifact),
}

#[derive(Debug, Clone, clap::Args)]
struct Artifact {
    /// Address with a tag: oci://<registry>/<repository>:<tag>
    url: String,
    /// Directory or file to push; - reads one manifest from standard input
    #[arg(short = 'f', long, value_name = "PATH")]
    path: PathBuf,
    /// Where the files come from, such as the URL of a Git repository
    #[arg(long)]
    source: String,
    /// Which revision of it they are, such as main@sha1:<commit>
    #[arg(long)]
    revision: String,
    /// Patterns in the form of .gitignore of what stays out
    #[arg(long, value_delimiter = ',', default_value = IGNORED, hide_default_value = true, value_name = "PATTERN")]
    ignore_paths: Vec<String>,
    /// More such patterns
    #[arg(long, value_delimiter = ',', value_name = "PATTERN")]
    add_ignore_paths: Vec<String>,
    /// Facts to note in the manifest: key=value
    #[arg(short, long, value_name = "KEY=VALUE")]
    annotations: Vec<String>,
    /// Form of the output
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<DataFormat>,
    /// Note 1970 as the time, so that the same files make the same digest
    #[arg(long)]
    reproducible: bool,
    /// Push what symbolic links lead to; else they are left out
    #[arg(long)]
    resolve_symlinks: bool,
    #[command(flatten)]
    registry: RegistryArguments,
}

/// Pushes what was asked for.
pub async fn run(arguments: Arguments) -> Result<()> {
    let What::Artifact(arguments) = arguments.what;
    ensure!(!arguments.source.is_empty(), "--source is empty");
    ensure!(!arguments.revision.is_empty(), "--revision is empty");
    let (remote, reference) = arguments.registry.open(&arguments.url)?;
    let tag = registry::tag_of(&arguments.url, reference)?;
    let annotations = annotations(&arguments, Timestamp::now())?;
    let tree = tree(&arguments)?;
    let packed = tokio::task::spawn_blocking(move || pack(&tree))
        .await
        .context("packing the files")?;
    let repository = remote.repository().clone();
    let place = format!("{}/{}", repository.registry(), repository.name());
    say::action(&format!("pushing artifact to {place}:{tag}"));
    let digest = remote
        .push_artifact(&tag, flux_artifact(packed.into(), annotations), REQUEST)
        .await?;
    match arguments.output {
        None => say::success(&format!("artifact successfully pushed to {place}@{digest}")),
        Some(format) => output::print_value(
            &json!({
                "url": format!("oci://{place}:{tag}"),
                "repository": place,
                "tag": tag,
                "digest": digest.to_string(),
            }),
            format,
        )?,
    }
    Ok(())
}

fn annotations(arguments: &Artifact, now: Timestamp) -> Result<BTreeMap<String, String>> {
    let mut annotations = BTreeMap::new();
    for annotation in &arguments.annotations {
        let (key, value) = annotation
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .with_context(|| format!("--annotations: '{annotation}' is not of the form key=value"))?;
        annotations.insert(key.to_owned(), value.to_owned());
    }
    let created = if arguments.reproducible {
        Timestamp::UNIX_EPOCH
    } else {
        now
    };
    let created = created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    for (key, value) in [
        ("created", created),
        ("source", arguments.source.clone()),
        ("revision", arguments.revision.clone()),
    ] {
        annotations.insert(format!("org.opencontainers.image.{key}"), value);
    }
    Ok(annotations)
}

/// Manifests from a pipe are one file.
const PIPED: &str = "manifests.yaml";

fn tree(arguments: &Artifact) -> Result<FileTree> {
    if arguments.path.as_os_str() == "-" {
        let mut text = Vec::new();
        std::io::stdin()
            .read_to_end(&mut text)
            .context("reading standard input")?;
        ensure!(!text.is_empty(), "nothing came through standard input");
        let mut tree = FileTree::new();
        tree.insert(PIPED, File::plain(text))?;
        return Ok(tree);
    }
    let mut ignored = arguments.ignore_paths.clone();
    ignored.extend(arguments.add_ignore_paths.iter().cloned());
    registry::files(&arguments.path, &ignored, arguments.resolve_symlinks)
}
