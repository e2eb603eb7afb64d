//! `cargo xtask oracle kustomize DIR…`: builds each directory with the reference and with ours.
//!
//! The reference is a Go module under `tests/oracle`, built once into the user's cache folder. Where Go is
//! missing, the command fails: an oracle that silently says nothing proves nothing.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nave_kustomize::{Answers, LoadRestriction, Options, Reorder, Step, Tree, build};
use nave_object::digest::sha256_hex;
use nave_object::yaml::write_documents;

/// Compares directories; `recursive` takes every directory below that has a kustomization file.
///
/// # Errors
/// The reference cannot be built or run, or a directory builds differently.
pub fn run(dirs: &[PathBuf], recursive: bool, restrict: bool) -> Result<()> {
    let mut found: Vec<PathBuf> = Vec::new();
    for dir in dirs {
        let dir = dir
            .canonicalize()
            .with_context(|| format!("finding {}", dir.display()))?;
        if recursive {
            collect(&dir, &mut found)?
        } else {
            found.push(dir)
        }
    }
    found.sort();
    let binary = oracle_binary("kustomize")?;
    let ours: Vec<Built> = found.iter().map(|dir| build_here(dir, restrict)).collect();
    // The oracle would try to fetch, and wait for every time-out.
    let local = found
        .iter()
        .zip(&ours)
        .filter(|(_, built)| !matches!(built, Built::Remote));
    let local: Vec<PathBuf> = local.map(|(dir, _)| dir.clone()).collect();
    let theirs = ask(&binary, &local, restrict)?;
    let mut totals: HashMap<&'static str, usize> = HashMap::new();
    for (dir, ours) in found.iter().zip(&ours) {
        let (verdict, detail) = match (ours, theirs.get(dir)) {
            (Built::Remote, _) => ("remote", String::new()),
            (ours, Some(theirs)) => compare(ours, theirs),
            (_, None) => bail!("the oracle left {} out", dir.display()),
        };
        *totals.entry(verdict).or_default() += 1;
        if verdict != "pass" && verdict != "both fail" && verdict != "remote" {
            println!("{verdict}: {}\n{detail}", dir.display());
        }
    }
    let mut summary: Vec<String> = totals
        .iter()
        .map(|(verdict, count)| format!("{count} {verdict}"))
        .collect();
    summary.sort();
    println!("{} directories: {}", found.len(), summary.join(", "));
    let good = ["pass", "both fail", "remote"];
    ensure!(
        totals.keys().all(|verdict| good.contains(verdict)),
        "some directories build differently"
    );
    Ok(())
}

enum Built {
    Text(String),
    Failed(String),
    /// Needs something from the network, which the comparison has not.
    Remote,
}

type Theirs = Result<String, String>;

fn compare(ours: &Built, theirs: &Theirs) -> (&'static str, String) {
    match (ours, theirs) {
        (Built::Remote, _) => ("remote", String::new()),
        (Built::Failed(_), Err(_)) => ("both fail", String::new()),
        (Built::Failed(ours), Ok(_)) => ("ours fails", format!("    {ours}")),
        (Built::Text(_), Err(theirs)) => (
            "theirs fails",
            format!("    {}", theirs.chars().take(600).collect::<String>()),
        ),
        (Built::Text(ours), Ok(theirs)) if ours == theirs => ("pass", String::new()),
        (Built::Text(ours), Ok(theirs)) => {
            let documents = |text: &str| {
                let mut list: Vec<String> = text.split("\n---\n").map(|d| d.trim().to_owned()).collect();
                list.sort();
                list
            };
            let verdict = if documents(ours) == documents(theirs) {
                "order"
            } else {
                "different"
            };
            (verdict, difference(theirs, ours))
        }
    }
}

/// The first lines that differ, `-` theirs and `+` ours.
fn difference(theirs: &str, ours: &str) -> String {
    let (theirs, ours): (Vec<_>, Vec<_>) = (theirs.lines().collect(), ours.lines().collect());
    let first = theirs.iter().zip(&ours).take_while(|(a, b)| a == b).count();
    let mut out = String::new();
    let start = theirs[..first]
        .iter()
        .rposition(|line| *line == "---")
        .map_or(0, |line| line + 1);
    let names = ["kind: ", "  name: ", "  namespace: "];
    let head = theirs[start..].iter().take_while(|line| **line != "---");
    for line in head.filter(|line| names.iter().any(|name| line.starts_with(name))) {
        out.push_str(&format!("    | {line}\n"));
    }
    for line in &theirs[first.saturating_sub(4)..first] {
        out.push_str(&format!("      {line}\n"));
    }
    for (sign, lines) in [('-', &theirs), ('+', &ours)] {
        for line in lines.iter().skip(first).take(5) {
            let line: String = line.chars().take(160).collect();
            out.push_str(&format!("    {sign} {line}\n"));
        }
    }
    out
}

fn build_here(dir: &Path, restrict: bool) -> Built {
    let options = Options {
        load: if restrict {
            LoadRestriction::RootOnly
        } else {
            LoadRestriction::None
        },
        reorder: Reorder::Legacy,
        allow_remote: true,
        ..Options::default()
    };
    let path = dir.to_string_lossy();
    match build(&Disk, path.trim_start_matches('/'), &options, &Answers::new()) {
        Ok(Step::Done(objects)) => Built::Text(write_documents(objects.iter().map(|object| object.as_value()))),
        Ok(Step::Needs(_)) => Built::Remote,
        Err(error) => Built::Failed(error.to_string()),
    }
}

/// The whole disk as a tree.
struct Disk;

impl Tree for Disk {
    fn read(&self, path: &str) -> Option<Cow<'_, [u8]>> {
        let path = Path::new("/").join(path);
        if path.is_dir() {
            None
        } else {
            fs::read(path).ok().map(Cow::Owned)
        }
    }

    fn is_dir(&self, path: &str) -> bool {
        Path::new("/").join(path).is_dir()
    }

    fn list(&self, dir: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(Path::new("/").join(dir)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

fn collect(dir: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    let names = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
    if names.iter().any(|name| dir.join(name).is_file()) {
        into.push(dir.to_owned());
    }
    for entry in fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), into)?;
        }
    }
    Ok(())
}

fn ask(binary: &Path, dirs: &[PathBuf], restrict: bool) -> Result<HashMap<PathBuf, Theirs>> {
    let mut command = Command::new(binary);
    if restrict {
        command.arg("-restrict");
    }
    // No network: what is left of remote places fails at once and not after a time-out.
    let mut child = command
        .arg("-")
        .env("GIT_ALLOW_PROTOCOL", "none")
        .env("HTTPS_PROXY", "http://127.0.0.1:1")
        .env("HTTP_PROXY", "http://127.0.0.1:1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("starting {}", binary.display()))?;
    let mut stdin = child.stdin.take().context("the oracle has a stdin")?;
    let lines: String = dirs.iter().map(|dir| format!("{}\n", dir.display())).collect();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().context("running the oracle")?;
    writer.join().map_err(|_| anyhow::anyhow!("writing to the oracle"))??;
    ensure!(output.status.success(), "the oracle failed with {}", output.status);
    let mut answers = HashMap::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let answer: serde_json::Value = serde_json::from_str(line)?;
        let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
        let result = if answer["error"].is_string() {
            Err(text("error"))
        } else {
            Ok(text("yaml"))
        };
        answers.insert(PathBuf::from(text("dir")), result);
    }
    Ok(answers)
}

/// The oracle's program, built if it is not in the cache folder yet.
///
/// # Errors
/// Go is missing, or the module does not build.
pub fn oracle_binary(name: &str) -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracle").join(name);
    let mut content = Vec::new();
    for file in ["go.mod", "go.sum", "main.go"] {
        let path = source.join(file);
        content.extend(fs::read(&path).with_context(|| format!("reading {}", path.display()))?);
    }
    let cache = match (std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")) {
        (Some(cache), _) => PathBuf::from(cache),
        (None, Some(home)) => PathBuf::from(home).join(".cache"),
        (None, None) => bail!("neither XDG_CACHE_HOME nor HOME says where the cache folder is"),
    };
    let binary = cache
        .join("nave/oracle")
        .join(format!("{name}-{}", &sha256_hex(&content)[..16]));
    if binary.is_file() {
        return Ok(binary);
    }
    fs::create_dir_all(binary.parent().context("the binary has a folder")?)?;
    let status = Command::new("go")
        .args(["build", "-trimpath", "-o"])
        .arg(&binary)
        .arg(".")
        .current_dir(&source)
        .status()
        .context("starting go, which builds the oracle; is it installed?")?;
    ensure!(status.success(), "building the oracle {name} failed with {status}");
    Ok(binary)
}
