//! Flux's own controllers, built once per version into the user's cache folder. Nothing of Flux is in this repository.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::binary::cache_folder;

/// The controllers that can be had, with their versions: the newest of Flux 2.9 whose modules the module proxy had in full.
pub const FLUX_CONTROLLERS: [(&str, &str); 2] = [("kustomize-controller", "v1.9.5"), ("source-controller", "v1.9.3")];

/// The program of `kustomize-controller` or `source-controller`, built if it is not in the cache folder yet.
///
/// Go's checksum database vouches for what is downloaded. This blocks, for many minutes the first time.
///
/// # Errors
/// Go is missing or too old, the module proxy is out of reach, or the module does not build.
pub fn flux_controller(name: &str) -> Result<PathBuf> {
    let version = FLUX_CONTROLLERS
        .into_iter()
        .find_map(|(known, version)| (known == name).then_some(version))
        .with_context(|| format!("{name} is no controller that can be built"))?;
    let folder = cache_folder()?;
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let program = folder.join(format!("{name}-{version}"));
    if program.is_file() {
        return Ok(program);
    }
    let lock_path = folder.join(format!("{name}.lock"));
    let lock = File::create(&lock_path).with_context(|| format!("making {}", lock_path.display()))?;
    lock.lock()
        .with_context(|| format!("locking {}", lock_path.display()))?;
    // Another process may have built it while this one waited.
    if !program.is_file() {
        let started = Instant::now();
        eprintln!("oracle: building {name} {version} (once, many minutes)");
        let unfinished = program.with_extension("partial");
        build(name, version, &unfinished)?;
        fs::rename(&unfinished, &program).with_context(|| format!("moving {name} to {}", program.display()))?;
        eprintln!("oracle: built {name} in {:.0} s", started.elapsed().as_secs_f64());
    }
    Ok(program)
}

fn build(name: &str, version: &str, target: &Path) -> Result<()> {
    let module = format!("github.com/fluxcd/{name}");
    let folder = download(&module, version)?;
    // Its go.mod points to a folder beside it for its API, which is a module of its own and so not part of the download.
    let scratch = target.with_extension("mod.d");
    fs::create_dir_all(&scratch).with_context(|| format!("making {}", scratch.display()))?;
    for file in ["go.mod", "go.sum"] {
        let text = fs::read(folder.join(file)).with_context(|| format!("reading {file} of {module}"))?;
        fs::write(scratch.join(file), text).with_context(|| format!("writing {file} of {module}"))?;
    }
    let drop = format!("-dropreplace={module}/api");
    run(go(&scratch).args(["mod", "edit", &drop, "go.mod"]))?;
    let modfile = format!("-modfile={}", scratch.join("go.mod").display());
    let mut command = go(&folder);
    command.args([
        "build",
        &modfile,
        "-mod=mod",
        "-buildvcs=false",
        "-trimpath",
        "-ldflags=-s -w",
        "-o",
    ]);
    run(command.arg(target).arg("."))?;
    fs::remove_dir_all(&scratch).with_context(|| format!("removing {}", scratch.display()))
}

/// Downloads and verifies the module; gives the folder of its files, which cannot be written.
fn download(module: &str, version: &str) -> Result<PathBuf> {
    let output = go(Path::new("."))
        .args(["mod", "download", "-json", &format!("{module}@{version}")])
        .output()
        .context("starting go, which builds the oracle; is it installed?")?;
    let answer: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("reading what go says of {module}: {}", output.status))?;
    let folder = answer["Dir"]
        .as_str()
        .with_context(|| format!("downloading {module}: {}", answer["Error"]))?;
    Ok(folder.into())
}

fn go(folder: &Path) -> Command {
    let mut command = Command::new("go");
    command
        .current_dir(folder)
        .env("GOFLAGS", "")
        .env("GOWORK", "off")
        .env("CGO_ENABLED", "0");
    command
}

fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .context("starting go, which builds the oracle; is it installed?")?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
