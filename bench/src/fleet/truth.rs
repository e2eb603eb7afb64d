//! One real agent with a real control plane beside the simulated ones: what they say is compared with what it does.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, runtime::wait::await_condition};
use nave_bed::{Plane, PlaneOptions};
use nave_crds::Kustomization;
use nave_demo::{Agent, fleet};
use nave_runtime::Conditions;
use serde_json::json;
use std::time::Duration;

use super::{
    ask::now_us,
    pin,
    stage::{MOVING, WORKSPACE},
};

/// Long enough for a real cluster beside five thousand agents on one core.
const WITHIN: Duration = Duration::from_secs(300);

/// The real agent.
pub struct Truth {
    agent: Agent,
    client: Client,
    _plane: Plane,
    _folder: tempfile::TempDir,
}

/// When a commit had arrived, in microseconds since 1970.
pub struct Arrived {
    /// What it says is in the cluster.
    pub applied: u64,
    /// The Kustomization says that it is applied and ready.
    pub ready: u64,
}

impl Truth {
    /// Starts its control plane and joins it with a token. `objects` are the names of the fleet objects that it gets.
    pub async fn start(token: &str, objects: impl IntoIterator<Item = String>) -> Result<Self> {
        let plane = Plane::start(PlaneOptions::named("fleet-truth")).await?;
        if let Some(process) = plane.process() {
            pin::process(process.pid(), pin::OTHERS)?;
        }
        let client = plane.client();
        for name in objects {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            fleet::apply(&client, &namespace).await?;
        }
        let folder = tempfile::tempdir()?;
        let agent = Agent::start(&plane, folder.path(), Some(token), &["--log-level=info"]).await?;
        pin::process(agent.pid().context("the agent runs")?, pin::OTHERS)?;
        Ok(Truth {
            agent,
            client,
            _plane: plane,
            _folder: folder,
        })
    }

    /// Waits until a commit is in the cluster: `version` is what its ConfigMap says then.
    pub async fn arrived(&self, commit: &str, version: &str) -> Result<Arrived> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), MOVING);
        let says = |map: Option<&ConfigMap>| {
            let data = map.and_then(|map| map.data.as_ref());
            data.is_some_and(|data| data.get("version").is_some_and(|found| found == version))
        };
        let applied = async { await_condition(maps, "app", says).await.map(|_| now_us()) };
        let products: Api<Kustomization> = Api::namespaced(self.client.clone(), WORKSPACE);
        let is_ready = |object: Option<&Kustomization>| {
            let status = object.and_then(|object| object.status.as_ref());
            status.is_some_and(|status| {
                status.last_applied_revision.ends_with(commit) && status.conditions.is_true("Ready")
            })
        };
        let ready = async { await_condition(products, MOVING, is_ready).await.map(|_| now_us()) };
        let both = async { tokio::try_join!(applied, ready) };
        let waited = tokio::time::timeout(WITHIN, both).await;
        let (applied, ready) = waited
            .map_err(anyhow::Error::from)
            .and_then(|done| Ok(done?))
            .with_context(|| {
                format!(
                    "the real agent does not converge; the end of its log:\n{}",
                    self.end_of_log()
                )
            })?;
        Ok(Arrived { applied, ready })
    }

    fn end_of_log(&self) -> String {
        let log = self.agent.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}
