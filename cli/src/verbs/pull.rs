//! `nave pull`: files out of a registry.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use nave_artifact::{Digest, FileTree, Limits, unpack};
use nave_oci::{Pulled, Remote};

use crate::{
    registry::{REQUEST, RegistryArguments},
    say,
};

/// Pull the files of an artifact
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Write the files of an artifact's first layer into a directory
    #[command(after_help = "\
Examples:
  nave pull artifact oci://ghcr.io/org/manifests:latest --output ./manifests")]
    Artifact(Artifact),
}

#[derive(Debug, Clone, clap::Args)]
struct Artifact {
    /// Address with a tag or digest; the tag latest when there is neither
    url: String,
    /// Directory to write to; it has to exist
    #[arg(short, long, value_name = "DIRECTORY")]
    output: PathBuf,
    #[command(flatten)]
    registry: RegistryArguments,
}

/// The most that a layer from the command line may have.
const MAX_LAYER: u64 = 1 << 30;

/// Pulls what was asked for.
pub async fn run(arguments: Arguments) -> Result<()> {
    let What::Artifact(arguments) = arguments.what;
    ensure!(
        arguments.output.is_dir(),
        "{} is no directory",
        arguments.output.display()
    );
    let (remote, reference) = arguments.registry.open(&arguments.url)?;
    say::action(&format!("pulling artifact from {}", arguments.url));
    let (digest, pulled) = manifest(&remote, reference.as_deref().unwrap_or("latest")).await?;
    let layer = pulled.manifest.layers.first().context("the artifact has no layer")?;
    let data = remote.blob(layer, MAX_LAYER, REQUEST).await?;
    let tree = tokio::task::spawn_blocking(move || unpack(data.as_slice(), &Limits::default()))
        .await
        .context("unpacking the layer")??;
    write(&tree, &arguments.output)?;
    for (name, key) in [
        ("source", "org.opencontainers.image.source"),
        ("revision", "org.opencontainers.image.revision"),
    ] {
        if let Some(value) = pulled.manifest.annotations.get(key) {
            say::success(&format!("{name} {}", crate::table::one_line(value)));
        }
    }
    say::success(&format!("digest {digest}"));
    say::success(&format!("artifact content extracted to {}", arguments.output.display()));
    Ok(())
}

/// The manifest that a tag or digest names, and the digest that it was asked for with.
pub async fn manifest(remote: &Remote, reference: &str) -> Result<(Digest, Pulled)> {
    let digest = match reference.parse() {
        Ok(digest) => digest,
        Err(_) => remote.resolve(reference, REQUEST).await?.digest,
    };
    Ok((digest, remote.manifest(&digest, REQUEST).await?))
}

/// A tree's paths lead nowhere else; what is on the disk already might, by a symbolic link.
fn write(tree: &FileTree, into: &Path) -> Result<()> {
    let root = into
        .canonicalize()
        .with_context(|| format!("reading {}", into.display()))?;
    for (path, file) in tree.iter() {
        let target = root.join(path);
        let parent = target.parent().unwrap_or(&root);
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        let real = parent
            .canonicalize()
            .with_context(|| format!("reading {}", parent.display()))?;
        ensure!(
            real.starts_with(&root),
            "{} leads out of {}",
            parent.display(),
            root.display()
        );
        if target.is_symlink() {
            fs::remove_file(&target).with_context(|| format!("replacing {}", target.display()))?;
        }
        fs::write(&target, &file.data).with_context(|| format!("writing {}", target.display()))?;
        #[cfg(unix)]
        if file.executable {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&target, fs::Permissions::from_mode(0o755))
                .with_context(|| format!("making {} executable", target.display()))?;
        }
    }
    Ok(())
}
