//! Small Go programs of `tests/oracle/`, built once per content into the user's cache folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::{keeper, program};

/// The program of the Go module `tests/oracle/<name>`. Blocks while it is built.
pub(crate) fn build(name: &str) -> Result<PathBuf> {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../oracle").join(name);
    let mut hash = Sha256::new();
    for file in ["go.mod", "go.sum", "main.go"] {
        let path = source.join(file);
        hash.update(fs::read(&path).with_context(|| format!("reading {}", path.display()))?);
    }
    let content: String = hash
        .finalize()
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let folder = program::cache_dir()?.join("oracle");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let binary = folder.join(format!("{name}-{content}"));
    if binary.is_file() {
        return Ok(binary);
    }
    let lock_path = folder.join(format!("{name}.lock"));
    let lock = File::create(&lock_path).with_context(|| format!("creating {}", lock_path.display()))?;
    lock.lock()
        .with_context(|| format!("locking {}", lock_path.display()))?;
    if binary.is_file() {
        return Ok(binary);
    }
    eprintln!(
        "bed: building {name} for tests (once, some minutes) from {}",
        source.display()
    );
    let partial = binary.with_extension("partial");
    let mut go = Command::new("go");
    go.args(["build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o"])
        .arg(&partial)
        .arg(".")
        .current_dir(&source)
        .env("GOFLAGS", "")
        .env("GOWORK", "off")
        .env("CGO_ENABLED", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let mut child = keeper::spawn(go).context("starting go, which builds a program for tests; is it installed?")?;
    let status = child.wait().context("waiting for go build")?;
    keeper::forget(&child);
    if !status.success() {
        bail!("go build in {} ended with {status}", source.display());
    }
    fs::rename(&partial, &binary).with_context(|| format!("moving {name} to {}", binary.display()))?;
    Ok(binary)
}
