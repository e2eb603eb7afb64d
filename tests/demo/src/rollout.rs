//! When a Deployment on a spoke has fully become what the commit says: the truth, not what anybody reports of it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, future::try_join_all, pin_mut};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client,
    runtime::{WatchStreamExt, watcher},
};

/// One Deployment on one cluster, waited for by watch.
pub struct Rollout {
    cluster: String,
    api: Api<Deployment>,
    name: String,
    image: String,
}

impl Rollout {
    /// Waits for `image` in Deployment `namespace/name` of the cluster behind `client`.
    pub fn new(cluster: &str, client: Client, namespace: &str, name: &str, image: &str) -> Self {
        Rollout {
            cluster: cluster.to_owned(),
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            image: image.to_owned(),
        }
    }

    async fn complete(&self) -> Result<()> {
        let config = watcher::Config::default().fields(&format!("metadata.name={}", self.name));
        let objects = watcher(self.api.clone(), config).default_backoff().applied_objects();
        pin_mut!(objects);
        while let Some(object) = objects.next().await {
            if object.is_ok_and(|deployment| is_complete(&deployment, &self.image)) {
                return Ok(());
            }
        }
        bail!("the watch of {} on {} ended", self.name, self.cluster)
    }
}

/// Waits for all of them; `arrived` is called for each with the time since `start`.
pub async fn wait_all(
    rollouts: Vec<Rollout>,
    start: Instant,
    within: Duration,
    arrived: impl Fn(&str, Duration),
) -> Result<Vec<(String, Duration)>> {
    let arrived = &arrived;
    let waits = rollouts.into_iter().map(|rollout| async move {
        tokio::time::timeout(within, rollout.complete())
            .await
            .with_context(|| format!("{} does not run {} after {within:?}", rollout.cluster, rollout.image))??;
        let took = start.elapsed();
        arrived(&rollout.cluster, took);
        anyhow::Ok((rollout.cluster, took))
    });
    try_join_all(waits).await
}

fn is_complete(deployment: &Deployment, image: &str) -> bool {
    let Some(status) = &deployment.status else {
        return false;
    };
    let spec = &deployment.spec;
    let wanted = spec.replicas.unwrap_or(1);
    let runs = spec
        .template
        .spec
        .iter()
        .flat_map(|pod| &pod.containers)
        .any(|container| container.image.as_deref() == Some(image));
    runs && status.observed_generation == deployment.metadata.generation
        && status.updated_replicas.unwrap_or(0) == wanted
        && status.available_replicas.unwrap_or(0) == wanted
        && status.replicas.unwrap_or(0) == wanted
}
