//! What reconciles a plane: Flux's two controllers, or Nave's agent.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use nave_bed::{Launch, Plane, Proc, free_tcp_port};
use nave_demo::{Agent, fleet};
use nave_oracle::flux_controller;
use serde_json::json;

/// How long a controller may take until it is ready, and to end, on a busy machine.
const WITHIN: Duration = Duration::from_secs(90);

/// Where Flux runs.
const NAMESPACE: &str = "flux-system";

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Flux's source-controller and kustomize-controller.
    Flux,
    /// `nave-agent`.
    Nave,
}

/// A running engine; it ends when this is dropped.
pub enum Engine {
    /// Both controllers.
    Flux(Vec<Proc>),
    /// The agent.
    Nave(Box<Agent>),
}

impl Engine {
    /// Starts it on a plane that has the definitions, and waits until it is ready. `folder` keeps its artifacts, which are served
    /// at `storage`, as behind one Service: what is taken over is found there.
    ///
    /// # Errors
    /// A program cannot be built or does not become ready.
    pub async fn start(which: Which, plane: &Plane, folder: &Path, storage: &str) -> Result<Engine> {
        std::fs::create_dir_all(folder)?;
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        fleet::apply(&plane.client(), &namespace).await?;
        match which {
            Which::Nave => {
                let flags = [
                    format!("--storage-addr={storage}"),
                    format!("--storage-adv-addr={storage}"),
                ];
                let agent = Agent::start(plane, folder, None, &flags.each_ref().map(String::as_str)).await?;
                Ok(Engine::Nave(Box::new(agent)))
            }
            Which::Flux => {
                let artifacts = folder.join("artifacts");
                std::fs::create_dir_all(&artifacts)?;
                let source = [
                    format!("--storage-path={}", artifacts.display()),
                    format!("--storage-addr={storage}"),
                    format!("--storage-adv-addr={storage}"),
                ];
                let source = controller("source-controller", plane, folder, &source).await?;
                let kustomize = controller("kustomize-controller", plane, folder, &[]).await?;
                Ok(Engine::Flux(vec![kustomize, source]))
            }
        }
    }

    /// Asks it to end and waits.
    ///
    /// # Errors
    /// It does not end.
    pub async fn stop(&mut self) -> Result<()> {
        match self {
            Engine::Nave(agent) => agent.stop().await?,
            Engine::Flux(controllers) => {
                for controller in controllers.drain(..) {
                    controller.terminate(WITHIN).await?;
                }
            }
        }
        Ok(())
    }

    /// The end of what it logged.
    pub fn log_tail(&self, lines: usize) -> String {
        match self {
            Engine::Flux(controllers) => controllers
                .iter()
                .map(|controller| controller.log_tail(lines))
                .collect(),
            Engine::Nave(agent) => {
                let log = agent.log();
                let all: Vec<&str> = log.lines().collect();
                all[all.len().saturating_sub(lines)..].join("\n")
            }
        }
    }
}

async fn controller(name: &'static str, plane: &Plane, folder: &Path, more: &[String]) -> Result<Proc> {
    let program = tokio::task::spawn_blocking(move || flux_controller(name))
        .await
        .context("building a controller of Flux")??;
    // It clears its temporary folder of what a former life left: it gets one that nobody else uses.
    let temporary = folder.join(name);
    std::fs::create_dir_all(&temporary)?;
    let health = free_tcp_port()?;
    let process = Launch::new(name, program)
        .args(["--watch-all-namespaces", "--log-encoding=json"])
        .arg(format!("--metrics-addr=127.0.0.1:{}", free_tcp_port()?))
        .arg(format!("--health-addr=127.0.0.1:{health}"))
        .args(more)
        .env("KUBECONFIG", plane.kubeconfig_path())
        .env("RUNTIME_NAMESPACE", NAMESPACE)
        .env("TMPDIR", &temporary)
        .start()?;
    process
        .wait_ready(&format!("http://127.0.0.1:{health}/readyz"), WITHIN)
        .await?;
    Ok(process)
}
