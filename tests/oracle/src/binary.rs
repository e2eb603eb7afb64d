//! A reference's program, built once into the user's cache folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use nave_object::digest::sha256_hex;

/// The program of the Go module `tests/oracle/<name>`, built if it is not in the cache folder yet.
///
/// # Errors
/// Go is missing, or the module does not build.
pub fn binary(name: &str) -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let mut files: Vec<PathBuf> = fs::read_dir(&source)
        .with_context(|| format!("listing {}", source.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.sort();
    let mut content = Vec::new();
    for path in files {
        content.extend(fs::read(&path).with_context(|| format!("reading {}", path.display()))?);
    }
    let folder = cache_folder()?;
    let binary = folder.join(format!("{name}-{}", &sha256_hex(&content)[..16]));
    if binary.is_file() {
        return Ok(binary);
    }
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    // Two builds at once must not see half of each other's file.
    let unfinished = binary.with_extension(std::process::id().to_string());
    let status = Command::new("go")
        // A library does not know its version, and labels and templates have it.
        .args([
            "build",
            "-trimpath",
            "-ldflags=-s -w -X=sigs.k8s.io/kustomize/api/provenance.version=v5.8.1 \
             -X=helm.sh/helm/v4/internal/version.version=v4.3.1",
            "-o",
        ])
        .arg(&unfinished)
        .arg(".")
        .current_dir(&source)
        .status()
        .context("starting go, which builds the oracle; is it installed?")?;
    ensure!(status.success(), "building the oracle {name} failed with {status}");
    fs::rename(&unfinished, &binary).with_context(|| format!("moving the oracle to {}", binary.display()))?;
    Ok(binary)
}

/// Where the programs of references are kept.
pub(crate) fn cache_folder() -> Result<PathBuf> {
    let cache = match (std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")) {
        (Some(cache), _) => PathBuf::from(cache),
        (None, Some(home)) => PathBuf::from(home).join(".cache"),
        (None, None) => bail!("neither XDG_CACHE_HOME nor HOME says where the cache folder is"),
    };
    Ok(cache.join("nave/oracle"))
}
