//! Which pod is the active hub: a label that the Services in front of it select by.
//!
//! A standby is ready, or every roll-out would wait for it. So readiness cannot say who listens, and the Services would
//! send agents to pods that do not.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use nave_crds::{labels, managers};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// Between two tries to say so.
const AGAIN: Duration = Duration::from_secs(2);
/// How often the labels are looked at afterwards.
const LOOK: Duration = Duration::from_secs(30);

/// The pod of this process.
#[derive(Clone)]
pub struct ActivePod {
    pods: Api<Pod>,
    name: String,
}

impl ActivePod {
    /// The pod that the environment names; none outside of a cluster.
    pub fn of_environment(client: &Client, namespace: &str) -> Option<Self> {
        let name = std::env::var("POD_NAME").ok().filter(|name| !name.is_empty())?;
        Some(Self::new(client, namespace, &name))
    }

    /// A pod by its name.
    pub fn new(client: &Client, namespace: &str, name: &str) -> Self {
        ActivePod {
            pods: Api::namespaced(client.clone(), namespace),
            name: name.to_owned(),
        }
    }

    /// This process leads no more, or not yet: its container may have been started again in the same pod.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn stand_by(&self) -> kube::Result<()> {
        self.label(&self.name, None).await
    }

    /// This process leads: its pod has the label, and no other has.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn take_over(&self) -> kube::Result<()> {
        let active = ListParams::default().labels(&format!("{}={}", labels::HUB_ROLE, labels::HUB_ROLE_ACTIVE));
        let marked = self.pods.list_metadata(&active).await?;
        for other in marked.iter().filter(|pod| pod.name_any() != self.name) {
            self.label(&other.name_any(), None).await?;
        }
        if marked.iter().any(|pod| pod.name_any() == self.name) {
            return Ok(());
        }
        self.label(&self.name, Some(labels::HUB_ROLE_ACTIVE)).await
    }

    /// Sees to it that the label stands where it should until shutdown.
    pub async fn lead(self, shutdown: CancellationToken) {
        loop {
            let wait = match self.take_over().await {
                Ok(()) => LOOK,
                Err(error) => {
                    tracing::error!(
                        pod = self.name,
                        error = &error as &dyn std::error::Error,
                        "marking the pod of the active hub; Services do not find it meanwhile"
                    );
                    AGAIN
                }
            };
            tokio::select! {
                _ = shutdown.cancelled() => return,
                _ = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn label(&self, name: &str, value: Option<&str>) -> kube::Result<()> {
        let patch = Patch::Merge(json!({"metadata": {"labels": {labels::HUB_ROLE: value}}}));
        let parameters = PatchParams {
            field_manager: Some(managers::HUB.to_owned()),
            ..PatchParams::default()
        };
        match self.pods.patch_metadata(name, &parameters, &patch).await {
            // A pod that is gone has no label.
            Err(kube::Error::Api(status)) if status.code == 404 && value.is_none() => Ok(()),
            other => other.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_of_the_hub_sends_to_the_active_one() {
        let selector = format!("{}: {}", labels::HUB_ROLE, labels::HUB_ROLE_ACTIVE);
        let services = include_str!("../../deploy/base/hub/service.yaml");
        for service in services.split("\n---\n") {
            assert!(
                service.contains("kind: Service") && service.contains(&selector),
                "{service}"
            );
        }
        let deployment = include_str!("../../deploy/base/hub/deployment.yaml");
        assert!(deployment.contains("name: POD_NAME"), "without it nothing is marked");
    }
}
