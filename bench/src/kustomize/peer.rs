//! Whom we are measured against: kustomize's library in the Go program under `tests/oracle/kustomize`, and `kubectl`.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nave_object::digest::sha256_hex;
use serde_json::Value;

/// The version that the oracle's `go.mod` pins.
pub const LIBRARY: &str = "sigs.k8s.io/kustomize/api of kustomize 5.8.1";

/// The Go program.
pub struct Oracle {
    binary: PathBuf,
}

/// What a user would have run in place of `nave build kustomization`.
pub enum Tool {
    /// `kubectl kustomize`, with its own words about its version.
    Kubectl { binary: PathBuf, version: String },
    /// The oracle, run once per build.
    Oracle(PathBuf),
}

impl Oracle {
    /// Builds the program into the user's cache folder, unless it is there.
    ///
    /// # Errors
    /// There is no Go, or the program does not build.
    pub fn build() -> Result<Oracle> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracle/kustomize");
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
        // The same place as `cargo xtask oracle` uses.
        let name = format!("kustomize-{}", &sha256_hex(&content)[..16]);
        let binary = cache.join("nave/oracle").join(name);
        if !binary.is_file() {
            fs::create_dir_all(binary.parent().context("the binary has a folder")?)?;
            eprintln!("► building the oracle");
            let status = Command::new("go")
                .args(["build", "-trimpath", "-o"])
                .arg(&binary)
                .arg(".")
                .current_dir(&source)
                .status()
                .context("starting go, which builds the oracle; is it installed?")?;
            ensure!(status.success(), "building the oracle failed with {status}");
        }
        Ok(Oracle { binary })
    }

    /// The text of each directory.
    ///
    /// # Errors
    /// The library refuses one of them.
    pub fn build_all(&self, dirs: &[&Path]) -> Result<Vec<String>> {
        let output = Command::new(&self.binary)
            .arg("-restrict")
            .args(dirs)
            .output()
            .with_context(|| format!("starting {}", self.binary.display()))?;
        String::from_utf8(output.stdout)?
            .lines()
            .map(|line| {
                let answer: Value = serde_json::from_str(line).context("reading the oracle's answer")?;
                match answer["yaml"].as_str() {
                    Some(text) => Ok(text.to_owned()),
                    None => bail!("the oracle: {}", answer["error"]),
                }
            })
            .collect()
    }

    /// Time per build of `count` builds of all directories one after another, in a process that has built the first
    /// one before the clock starts.
    ///
    /// # Errors
    /// The library refuses one of them.
    pub fn repeat(&self, dirs: &[&Path], count: usize) -> Result<Duration> {
        let mut child = Command::new(&self.binary)
            .args(["-restrict", "-repeat", &count.to_string(), "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", self.binary.display()))?;
        let lines: String = dirs.iter().map(|dir| format!("{}\n", dir.display())).collect();
        let mut stdin = child.stdin.take().context("the oracle has a stdin")?;
        stdin.write_all(lines.as_bytes())?;
        drop(stdin);
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "the oracle failed with {}", output.status);
        let nanos: u64 = String::from_utf8(output.stdout)?.trim().parse()?;
        Ok(Duration::from_nanos(nanos))
    }
}

impl Tool {
    /// `kubectl` where there is one, else the oracle.
    pub fn find(oracle: &Oracle) -> Tool {
        let version = Command::new("kubectl").args(["version", "--client"]).output();
        match version {
            Ok(output) if output.status.success() => {
                let said = String::from_utf8_lossy(&output.stdout);
                Tool::Kubectl {
                    binary: PathBuf::from("kubectl"),
                    version: said.lines().map(str::trim).collect::<Vec<_>>().join(", "),
                }
            }
            _ => Tool::Oracle(oracle.binary.clone()),
        }
    }

    /// For the head of a table.
    pub fn describe(&self) -> String {
        match self {
            Tool::Kubectl { version, .. } => format!("`kubectl kustomize` ({version})"),
            Tool::Oracle(_) => format!("the oracle, a small Go program with {LIBRARY} (there is no kubectl)"),
        }
    }

    /// The command line that builds one directory.
    pub fn command(&self, dir: &Path) -> Vec<PathBuf> {
        match self {
            Tool::Kubectl { binary, .. } => vec![binary.clone(), "kustomize".into(), dir.to_owned()],
            Tool::Oracle(binary) => vec![binary.clone(), "-restrict".into(), dir.to_owned()],
        }
    }
}
