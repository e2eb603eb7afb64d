//! One process of the reference kustomize that builds many directories.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::binary;

/// A running reference; it ends when this is dropped.
#[derive(Debug)]
pub struct Kustomize {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

/// What the reference says to one directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The text, or its error.
    pub result: Result<String, String>,
    /// What it wrote to stderr while it built.
    pub warnings: Vec<String>,
}

impl Kustomize {
    /// Starts the reference, building it first if need be.
    ///
    /// # Errors
    /// Go is missing, or the module does not build.
    pub fn start() -> Result<Kustomize> {
        let binary = binary("kustomize")?;
        // No network: what is left of remote places fails at once and not after a time-out.
        let mut child = Command::new(&binary)
            .arg("serve")
            .env("GIT_ALLOW_PROTOCOL", "none")
            .env("HTTPS_PROXY", "http://127.0.0.1:1")
            .env("HTTP_PROXY", "http://127.0.0.1:1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {}", binary.display()))?;
        let stdin = child.stdin.take().context("the oracle has a stdin")?;
        let stdout = child.stdout.take().context("the oracle has a stdout")?;
        Ok(Kustomize {
            child,
            stdin,
            stdout: BufReader::new(stdout),
        })
    }

    /// The facts that our tables are made of, as JSON; `tables.go` has their shape.
    ///
    /// # Errors
    /// Go is missing, or the reference's source is not what it was.
    pub fn tables() -> Result<Value> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("kustomize");
        let mut command = Command::new(binary("kustomize")?);
        let output = command.arg("tables").current_dir(source).output();
        let output = output.context("asking the oracle for its tables")?;
        let problem = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the oracle has no tables: {problem}");
        serde_json::from_slice(&output.stdout).context("reading the oracle's tables")
    }

    /// Builds a directory; `restrict` confines files to the directory of their kustomization file.
    ///
    /// # Errors
    /// The process is gone; what the build itself says is in the answer.
    pub fn build(&mut self, dir: &Path, restrict: bool) -> Result<Answer> {
        let answer = self.ask(&json!({"dir": dir, "restrict": restrict}))?;
        let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
        let result = if answer["error"].is_string() {
            Err(text("error"))
        } else {
            Ok(text("yaml"))
        };
        let warnings = text("warnings").lines().map(str::to_owned).collect();
        Ok(Answer { result, warnings })
    }

    fn ask(&mut self, question: &Value) -> Result<Value> {
        writeln!(self.stdin, "{question}").context("writing to the oracle")?;
        self.stdin.flush().context("writing to the oracle")?;
        let mut line = String::new();
        let length = self.stdout.read_line(&mut line).context("reading from the oracle")?;
        ensure!(length > 0, "the oracle ended at {question}");
        serde_json::from_str(&line).with_context(|| format!("reading the oracle's answer to {question}"))
    }
}

impl Drop for Kustomize {
    fn drop(&mut self) {
        // It is idle or stuck, and has nothing to keep.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
