//! Running the `nave` command as a person would.

use std::{path::PathBuf, process::Output};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

/// The `nave` binary against one cluster.
#[derive(Debug, Clone)]
pub struct Nave {
    binary: PathBuf,
    kubeconfig: PathBuf,
}

impl Nave {
    /// Builds the binary if need be.
    pub fn new(kubeconfig: impl Into<PathBuf>) -> Result<Self> {
        Ok(Nave {
            binary: tokio::task::block_in_place(|| nave_bed::binary("nave"))?,
            kubeconfig: kubeconfig.into(),
        })
    }

    /// Runs `nave ARGUMENTS` and gives back everything, whatever its exit code.
    pub async fn output(&self, arguments: &[&str]) -> Result<Output> {
        Command::new(&self.binary)
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("starting {}", self.binary.display()))
    }

    /// Runs `nave ARGUMENTS`, which must succeed, and gives back what it printed.
    pub async fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.output(arguments).await?;
        if !output.status.success() {
            bail!(
                "nave {} ended with {}\n{}{}",
                arguments.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
