//! One process of the reference sops that encrypts many files.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::binary;

/// A running reference; it ends when this is dropped.
#[derive(Debug)]
pub struct Sops {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    identity: String,
}

/// A plain file and how to encrypt it.
#[derive(Debug, Clone, Default)]
pub struct SopsQuestion {
    /// `yaml`, `json`, `dotenv`, `ini` or `binary`.
    pub format: &'static str,
    /// The plain file.
    pub plain: Vec<u8>,
    /// Name of the rule in the metadata, such as `encrypted_regex`; empty for the default.
    pub rule: &'static str,
    /// Its value.
    pub value: &'static str,
    /// The code is over encrypted values alone.
    pub mac_only: bool,
    /// Key groups; more than one share the data key.
    pub groups: u32,
}

/// What the reference made of it.
#[derive(Debug, Clone)]
pub struct SopsAnswer {
    /// The encrypted file, when there is one.
    pub encrypted: Vec<u8>,
    /// What it decrypts that to, or its error.
    pub decrypted: Result<Vec<u8>, String>,
}

impl Sops {
    /// Starts the reference, building it first if need be.
    ///
    /// # Errors
    /// Go is missing, or the module does not build.
    pub fn start() -> Result<Sops> {
        let binary = binary("sops")?;
        let mut child = Command::new(&binary)
            .env_clear()
            .env("HOME", "/nonexistent")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {}", binary.display()))?;
        let stdin = child.stdin.take().context("the oracle has a stdin")?;
        let stdout = child.stdout.take().context("the oracle has a stdout")?;
        let mut sops = Sops {
            child,
            stdin,
            stdout: BufReader::new(stdout),
            identity: String::new(),
        };
        let first = sops.line()?;
        sops.identity = first.as_str().context("the first line is a text")?.to_owned();
        Ok(sops)
    }

    /// The age identity that opens all that this process encrypts.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Asks for one file.
    ///
    /// # Errors
    /// The process ended or answers in another form.
    pub fn ask(&mut self, question: &SopsQuestion) -> Result<SopsAnswer> {
        let line = json!({"format": question.format, "plain": STANDARD.encode(&question.plain), "rule": question.rule,
            "value": question.value, "macOnly": question.mac_only, "groups": question.groups});
        writeln!(self.stdin, "{line}").context("asking the oracle")?;
        self.stdin.flush().context("asking the oracle")?;
        let answer = self.line()?;
        let bytes = |field: &str| -> Result<Vec<u8>> {
            let text = answer.get(field).and_then(Value::as_str).unwrap_or_default();
            STANDARD.decode(text).context("the oracle sends base64")
        };
        Ok(SopsAnswer {
            encrypted: bytes("encrypted")?,
            decrypted: match answer.get("error").and_then(Value::as_str) {
                Some(error) => Err(error.to_owned()),
                None => Ok(bytes("decrypted")?),
            },
        })
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        let read = self
            .stdout
            .read_line(&mut line)
            .context("reading the oracle's answer")?;
        ensure!(read > 0, "the oracle ended");
        serde_json::from_str(&line).context("the oracle's answer is JSON")
    }
}

impl Drop for Sops {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
