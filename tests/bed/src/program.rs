//! The control plane program: built once per content, kept in the user's cache folder.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::keeper;

/// Where its Go module is.
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../controlplane");

/// Programs kept in the cache folder; each is about 125 MB.
const KEPT: usize = 3;

/// The version of Kubernetes is not in its module but is set by whoever links it; without, a plane calls itself v0.0.0.
const VERSION_PACKAGE: &str = "k8s.io/component-base/version";

/// The package that is compiled last; what follows is linking.
const LAST_PACKAGE: &str = "nave.dev/nave/tests/controlplane";

/// Finds the program, and builds it when there is none for the present content of its module.
///
/// Building takes some minutes; how far it is goes to standard error every ten seconds. Several processes that need it
/// wait for one of them to build it. This blocks: call it from a thread that may.
pub fn build_controlplane() -> Result<PathBuf> {
    // Planes that start at the same time in one process: the first looks and builds, the others find.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let go = go_version()?;
    let source = &fs::canonicalize(SOURCE).with_context(|| format!("finding {SOURCE}"))?;
    let cache = cache_dir()?;
    fs::create_dir_all(&cache).with_context(|| format!("creating {}", cache.display()))?;
    let arguments = build_arguments(source)?;
    let program = cache.join(format!(
        "controlplane-{}",
        content_hash(source, &[&[go], &arguments[..]].concat())?
    ));
    if program.exists() {
        touch(&program);
        return Ok(program);
    }

    let lock_path = cache.join("controlplane.lock");
    let lock = File::create(&lock_path).with_context(|| format!("creating {}", lock_path.display()))?;
    if lock.try_lock().is_err() {
        eprintln!("bed: waiting for another process that builds the control plane");
        lock.lock()
            .with_context(|| format!("locking {}", lock_path.display()))?;
    }
    if !program.exists() {
        let partial = program.with_extension("partial");
        build(source, &arguments, &partial)?;
        fs::rename(&partial, &program).with_context(|| format!("moving the program to {}", program.display()))?;
        remove_old(&cache, &program);
    }
    Ok(program)
}

fn go_version() -> Result<String> {
    let output = Command::new("go")
        .args(["env", "GOVERSION", "GOARCH"])
        .current_dir(SOURCE)
        .output()
        .context(
            "running go: the control plane for tests is a Go program; install Go 1.26 or newer (https://go.dev/dl), \
         or set KUBEBUILDER_ASSETS to a folder with etcd and kube-apiserver, or NAVE_TEST_KUBECONFIGS to clusters of \
         your own",
        )?;
    if !output.status.success() {
        bail!("go env failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" "))
}

pub(crate) fn cache_dir() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => std::env::home_dir()
            .context("finding the home folder (HOME or XDG_CACHE_HOME)")?
            .join(".cache"),
    };
    Ok(base.join("nave"))
}

/// The arguments of go but for where the program goes.
fn build_arguments(source: &Path) -> Result<Vec<String>> {
    let path = source.join("go.mod");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let version = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes "))
        .with_context(|| format!("finding the version of k8s.io/kubernetes in {}", path.display()))?;
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let mut linking = "-ldflags=-s -w".to_owned();
    for (name, value) in [
        ("gitVersion", version),
        ("gitMajor", major),
        ("gitMinor", minor),
        ("gitTreeState", "clean"),
    ] {
        linking.push_str(&format!(" -X {VERSION_PACKAGE}.{name}={value}"));
    }
    Ok([
        "build",
        "-v",
        "-buildvcs=false",
        "-trimpath",
        "-tags=providerless,grpcnotrace",
        &linking,
    ]
    .map(str::to_owned)
    .to_vec())
}

/// Twelve hex digits over what decides the program: the module's files, the Go that builds it, and how.
fn content_hash(source: &Path, recipe: &[String]) -> Result<String> {
    let mut files = Vec::new();
    list(source, &mut files)?;
    files.sort();
    let mut hash = Sha256::new();
    hash.update(recipe.join("\0"));
    for file in files {
        let content = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        let name = file
            .strip_prefix(source)
            .expect("it was listed below the source folder");
        hash.update(format!("\0{}\0{}\0", name.display(), content.len()));
        hash.update(content);
    }
    Ok(hash
        .finalize()
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

fn list(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))? {
        let path = entry.with_context(|| format!("listing {}", dir.display()))?.path();
        let extension = path
            .extension()
            .and_then(|extension| extension.to_str())
            .unwrap_or_default();
        if path.is_dir() {
            list(&path, files)?;
        } else if matches!(extension, "go" | "mod" | "sum" | "yaml" | "jq") {
            files.push(path);
        }
    }
    Ok(())
}

fn build(source: &Path, arguments: &[String], target: &Path) -> Result<()> {
    let started = Instant::now();
    eprintln!(
        "bed: building the control plane for tests (once, some minutes) from {}",
        source.display()
    );
    let mut go = Command::new("go");
    go.args(arguments)
        .arg("-o")
        .arg(target)
        .arg(".")
        .current_dir(source)
        .env("GOFLAGS", "")
        .env("GOWORK", "off")
        .env("CGO_ENABLED", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    // A build that is cut short is not lost: Go keeps the packages it has compiled.
    let mut child = keeper::spawn(go)?;
    let output = BufReader::new(child.stderr.take().expect("standard error was asked to be a pipe"));
    // One line per package, a few thousand at most; the reader waits when nobody takes them.
    let (sender, lines) = mpsc::sync_channel(64);
    let reader = thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });

    let (mut downloaded, mut compiled, mut said, mut messages) = (0, 0, started, Vec::new());
    let mut phase = "preparing".to_owned();
    loop {
        match lines.recv_timeout(Duration::from_secs(1)) {
            Ok(line) if line.starts_with("go: downloading ") => {
                downloaded += 1;
                phase = format!("downloading modules ({downloaded})");
            }
            Ok(line) if line == LAST_PACKAGE => phase = format!("linking after {compiled} packages"),
            Ok(line) if !line.contains([' ', ':']) => {
                compiled += 1;
                phase = format!("compiling (package {compiled}: {line})");
            }
            Ok(line) => messages.push(line),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if said.elapsed() > Duration::from_secs(10) {
            said = Instant::now();
            eprintln!(
                "bed: building the control plane: {} s, {phase}",
                started.elapsed().as_secs()
            );
        }
    }
    let _ = reader.join();
    let status = child.wait().context("waiting for go build")?;
    keeper::forget(&child);
    if !status.success() {
        bail!(
            "go build in {} ended with {status}:\n{}",
            source.display(),
            messages.join("\n")
        );
    }
    eprintln!("bed: built the control plane in {} s", started.elapsed().as_secs());
    Ok(())
}

/// Marks the program as used, so that it is not the one that is removed.
fn touch(program: &Path) {
    if let Ok(file) = File::open(program) {
        let _ = file.set_modified(std::time::SystemTime::now());
    }
}

fn remove_old(cache: &Path, newest: &Path) {
    let Ok(entries) = fs::read_dir(cache) else { return };
    let mut programs: Vec<_> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            path != newest && name.starts_with("controlplane-")
        })
        .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
        .collect();
    programs.sort();
    programs.reverse();
    for (_, path) in programs.into_iter().skip(KEPT - 1) {
        // A running program keeps its file; one that cannot be removed is tried again after the next build.
        let _ = fs::remove_file(path);
    }
}
