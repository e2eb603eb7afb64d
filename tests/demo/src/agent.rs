//! `nave-agent` as a process beside its control plane, joined or alone.

use std::path::{Path, PathBuf};

use anyhow::Result;
use nave_bed::{Plane, Proc, free_port};

/// A running agent.
pub struct Agent {
    arguments: Vec<String>,
    log: PathBuf,
    health: String,
    /// `http://127.0.0.1:PORT/hint`.
    pub hint_url: String,
    /// `http://127.0.0.1:PORT/metrics`.
    pub metrics_url: String,
    process: Option<Proc>,
}

impl Agent {
    /// Starts an agent against `plane` and waits until it is ready. With `token` it joins a hub; its state is kept in
    /// `folder`, so that a restart is the same agent.
    pub async fn start(
        plane: &Plane,
        folder: &Path,
        token: Option<&str>,
        more: &[&str],
    ) -> Result<Self> {
        let mut agent = Self::prepare(plane, folder, token, more)?;
        agent.restart().await?;
        Ok(agent)
    }

    /// The same without starting it, for agents that are expected to be refused.
    pub fn prepare(
        plane: &Plane,
        folder: &Path,
        token: Option<&str>,
        more: &[&str],
    ) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let [storage, metrics, health, hint] = std::array::from_fn(|_| free_port());
        let local = |port: u16| format!("127.0.0.1:{port}");
        let mut arguments: Vec<String> = [
            "--kubeconfig",
            &plane.kubeconfig_path().to_string_lossy(),
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
        if let Some(token) = token {
            let config = folder.join("hub.yaml");
            std::fs::write(
                &config,
                format!("token: {token}\nstate: {}\n", folder.join("state.json").display()),
            )?;
            arguments.extend(["--hub-config".to_owned(), config.to_string_lossy().into_owned()]);
        }
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        Ok(Agent {
            arguments,
            log: folder.join("agent.log"),
            health: format!("http://{}/readyz", local(health)),
            hint_url: format!("http://{}/hint", local(hint)),
            metrics_url: format!("http://{}/metrics", local(metrics)),
            process: None,
        })
    }

    /// Starts the process (again) and waits until it is ready.
    pub async fn restart(&mut self) -> Result<()> {
        self.launch().await?;
        if let Some(process) = &self.process {
            process.wait_ready(&self.health).await?;
        }
        Ok(())
    }

    /// Starts the process and does not wait.
    pub async fn launch(&mut self) -> Result<()> {
        let binary = nave_bed::binary("nave-agent").await?;
        self.process = Some(Proc::start(
            "nave-agent",
            &binary,
            &self.arguments,
            &[],
            &self.log,
        )?);
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
}
