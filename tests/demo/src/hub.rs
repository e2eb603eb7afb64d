//! `nave-hub` as a process beside its control plane.

use std::path::Path;

use anyhow::Result;
use nave_bed::{Plane, Proc, free_port};

use crate::Nave;

/// A running hub. Its addresses stay the same over restarts, as those of a Service would.
pub struct Hub {
    arguments: Vec<String>,
    log: std::path::PathBuf,
    /// `127.0.0.1:PORT` of the link.
    pub link: String,
    /// `http://127.0.0.1:PORT/hint`, for a git server's hook.
    pub hint_url: String,
    /// `http://127.0.0.1:PORT/metrics`.
    pub metrics_url: String,
    health: String,
    process: Option<Proc>,
}

impl Hub {
    /// Starts a hub against `plane`, with its storage and its log below `folder`.
    pub async fn start(plane: &Plane, folder: &Path, more: &[&str]) -> Result<Self> {
        let [link, storage, metrics, health, hint] = std::array::from_fn(|_| free_port());
        std::fs::create_dir_all(folder)?;
        let local = |port: u16| format!("127.0.0.1:{port}");
        let mut arguments: Vec<String> = [
            "--kubeconfig",
            &plane.kubeconfig_path().to_string_lossy(),
            "--namespace",
            "nave-system",
            "--listen",
            &local(link),
            "--advertise",
            &local(link),
            "--storage-path",
            &folder.join("artifacts").to_string_lossy(),
            "--storage-addr",
            &local(storage),
            "--storage-adv-addr",
            &local(storage),
            "--metrics-addr",
            &local(metrics),
            "--health-addr",
            &local(health),
            "--hint-addr",
            &local(hint),
            "--install-crds",
            "--allow-loopback-kubeconfig",
            "--log-encoding",
            "json",
        ]
        .map(str::to_owned)
        .to_vec();
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        let mut hub = Hub {
            arguments,
            log: folder.join("hub.log"),
            link: local(link),
            hint_url: format!("http://{}/hint", local(hint)),
            metrics_url: format!("http://{}/metrics", local(metrics)),
            health: format!("http://{}/readyz", local(health)),
            process: None,
        };
        hub.restart().await?;
        Ok(hub)
    }

    /// Starts the process (again) and waits until it is ready.
    pub async fn restart(&mut self) -> Result<()> {
        let binary = nave_bed::binary("nave-hub").await?;
        let process = Proc::start("nave-hub", &binary, &self.arguments, &[], &self.log)?;
        process.wait_ready(&self.health).await?;
        self.process = Some(process);
        Ok(())
    }

    /// Kills the process with -9 and leaves it dead.
    pub fn kill9(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill9();
        }
    }

    /// Asks it to end (SIGTERM) and waits.
    pub async fn stop(&mut self) -> Result<()> {
        if let Some(process) = self.process.take() {
            process.stop().await?;
        }
        Ok(())
    }

    /// The process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Proc::pid)
    }

    /// Everything that it logged so far, over all restarts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Makes a token with the CLI and gives back its text.
    pub async fn token(nave: &Nave, namespace: &str, name: &str, more: &[&str]) -> Result<String> {
        let mut arguments = vec!["-n", namespace, "hub", "token", "create", name];
        arguments.extend(more);
        Ok(nave.run(&arguments).await?.trim().to_owned())
    }
}
