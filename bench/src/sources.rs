//! Sources: from a change at a remote to an artifact, and what it costs to find that nothing has changed.

mod git;
mod index;
mod oci;

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
pub use index::convert as convert_index;
use nave_bed::{Plane, PlaneOptions};
use nave_demo::{Agent, fleet};
use tokio::task::JoinHandle;

use crate::{apps::namespace, process};

/// Where all sources are.
const HOME: &str = "flux-system";

/// Runs all three parts and prints their tables.
pub async fn run(files: &[usize], repositories: usize, index: usize) -> Result<()> {
    for files in files {
        git::run(*files).await?;
    }
    oci::run(repositories).await?;
    index::run(index)
}

/// A plane with an agent on it that has nothing to do yet.
struct Stage {
    plane: Plane,
    agent: Agent,
    pid: u32,
    _folder: tempfile::TempDir,
}

impl Stage {
    async fn start() -> Result<Self> {
        eprintln!("► control plane, agent");
        let plane = Plane::start(PlaneOptions::named("bench")).await?;
        let folder = tempfile::tempdir()?;
        let agent = Agent::start(&plane, folder.path(), None, &["--log-level=error"]).await?;
        let pid = agent.pid().context("the agent runs")?;
        fleet::apply(&plane.client(), &namespace(HOME)).await?;
        Ok(Stage {
            plane,
            agent,
            pid,
            _folder: folder,
        })
    }
}

/// Watches a process, because the kernel keeps no peak of anonymous memory.
struct Peak {
    highest: Arc<std::sync::Mutex<(f64, f64)>>,
    task: JoinHandle<()>,
}

impl Peak {
    fn watch(pid: u32) -> Self {
        let highest = Arc::new(std::sync::Mutex::new((0.0, 0.0)));
        let shared = highest.clone();
        let task = tokio::spawn(async move {
            while let Ok((resident, anonymous)) = process::memory(pid) {
                {
                    let mut highest = shared.lock().expect("nothing panics while it holds the pair");
                    *highest = (f64::max(highest.0, resident), f64::max(highest.1, anonymous));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Peak { highest, task }
    }

    /// Resident and anonymous memory in MiB, the highest seen of each.
    fn end(self) -> (f64, f64) {
        self.task.abort();
        *self.highest.lock().expect("nothing panics while it holds the pair")
    }
}
