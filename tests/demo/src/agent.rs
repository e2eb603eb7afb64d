//! `nave-agent` as a process beside its control plane, joined or alone.

use std::path::{Path, PathBuf};

use anyhow::Result;
use nave_bed::Plane;

use crate::program::{Program, local_addresses};

/// A running agent.
pub struct Agent {
    program: Program,
    /// `http://127.0.0.1:PORT/hint`.
    pub hint_url: String,
    /// `http://127.0.0.1:PORT/metrics`.
    pub metrics_url: String,
    /// The policy file of a joined agent; not there until somebody writes it.
    pub policy_file: PathBuf,
}

impl Agent {
    /// Starts an agent against `plane` and waits until it is ready. With `token` it joins a hub; its state is kept in
    /// `folder`, so that a restart is the same agent.
    pub async fn start(plane: &Plane, folder: &Path, token: Option<&str>, more: &[&str]) -> Result<Self> {
        let mut agent = Self::prepare(plane, folder, token, more)?;
        agent.restart().await?;
        Ok(agent)
    }

    /// The same without starting it, for agents that are expected to be refused.
    pub fn prepare(plane: &Plane, folder: &Path, token: Option<&str>, more: &[&str]) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let [storage, metrics, health, hint] = local_addresses()?;
        let mut arguments: Vec<String> = [
            "--kubeconfig",
            &plane.kubeconfig_path().to_string_lossy(),
            "--storage-path",
            &folder.join("artifacts").to_string_lossy(),
            "--storage-addr",
            &storage,
            "--storage-adv-addr",
            &storage,
            "--metrics-addr",
            &metrics,
            "--health-addr",
            &health,
            "--hint-addr",
            &hint,
            "--install-crds",
            "--allow-loopback-kubeconfig",
            "--log-encoding",
            "json",
        ]
        .map(str::to_owned)
        .to_vec();
        let policy_file = folder.join("policy.yaml");
        if let Some(token) = token {
            arguments.extend(["--policy-file".to_owned(), policy_file.to_string_lossy().into_owned()]);
            let config = folder.join("hub.yaml");
            std::fs::write(
                &config,
                format!("token: {token}\nstate: {}\n", folder.join("state.json").display()),
            )?;
            arguments.extend(["--hub-config".to_owned(), config.to_string_lossy().into_owned()]);
        }
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        Ok(Agent {
            program: Program::new("nave-agent", arguments, &health),
            hint_url: format!("http://{hint}/hint"),
            metrics_url: format!("http://{metrics}/metrics"),
            policy_file,
        })
    }

    /// Sets an environment variable for all lives to come.
    pub fn env(&mut self, key: &str, value: &str) {
        self.program.env(key, value);
    }

    /// Starts the process (again) and waits until it is ready.
    pub async fn restart(&mut self) -> Result<()> {
        self.program.launch()?;
        self.program.wait_ready().await
    }

    /// Starts the process and does not wait.
    pub fn launch(&mut self) -> Result<()> {
        self.program.launch()
    }

    /// Kills the process with -9 and leaves it dead.
    pub fn kill9(&mut self) {
        self.program.kill9();
    }

    /// Asks it to end (SIGTERM) and waits.
    pub async fn stop(&mut self) -> Result<()> {
        self.program.stop().await
    }

    /// The process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.program.pid()
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> Result<u64> {
        self.program.resident_kib()
    }

    /// Everything that it logged so far, over all restarts.
    pub fn log(&self) -> String {
        self.program.log()
    }
}
