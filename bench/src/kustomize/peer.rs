//! Whom we are measured against: kustomize's library in the Go program under `tests/oracle/kustomize`, and `kubectl`.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
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
        let binary = nave_oracle::binary("kustomize")?;
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
