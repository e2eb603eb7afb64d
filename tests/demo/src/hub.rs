//! `nave-hub` as a process beside its control plane.

use std::path::Path;

use anyhow::Result;
use nave_bed::Plane;

use crate::{
    Nave,
    program::{Program, local_addresses},
};

/// A running hub. Its addresses stay the same over restarts, as those of a Service would.
pub struct Hub {
    program: Program,
    /// `127.0.0.1:PORT` of the link.
    pub link: String,
    /// `http://127.0.0.1:PORT/hint`, for a git server's hook.
    pub hint_url: String,
    /// `http://127.0.0.1:PORT/metrics`.
    pub metrics_url: String,
}

impl Hub {
    /// Starts a hub against `plane`, with its storage and its log below `folder`.
    pub async fn start(plane: &Plane, folder: &Path, more: &[&str]) -> Result<Self> {
        let mut hub = Self::prepare(plane, folder, more)?;
        hub.restart().await?;
        Ok(hub)
    }

    /// The same without starting it.
    pub fn prepare(plane: &Plane, folder: &Path, more: &[&str]) -> Result<Self> {
        let [link, storage, metrics, health, hint] = local_addresses()?;
        std::fs::create_dir_all(folder)?;
        let mut arguments: Vec<String> = [
            "--kubeconfig",
            &plane.kubeconfig_path().to_string_lossy(),
            "--namespace",
            "nave-system",
            "--listen",
            &link,
            "--advertise",
            &link,
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
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        Ok(Hub {
            program: Program::new("nave-hub", arguments, &health),
            link,
            hint_url: format!("http://{hint}/hint"),
            metrics_url: format!("http://{metrics}/metrics"),
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

    /// Everything that it logged so far, over all restarts.
    pub fn log(&self) -> String {
        self.program.log()
    }

    /// Makes a token with the CLI and gives back its text.
    pub async fn token(nave: &Nave, namespace: &str, name: &str, more: &[&str]) -> Result<String> {
        let mut arguments = vec!["-n", namespace, "hub", "token", "create", name];
        arguments.extend(more);
        Ok(nave.run(&arguments).await?.trim().to_owned())
    }
}
