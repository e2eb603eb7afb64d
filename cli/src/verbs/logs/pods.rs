//! Which pods to ask: one of each Deployment.

use anyhow::{Context, Result};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{Api, Client, api::ListParams};

use crate::failure::advised;

/// One pod of each Deployment of the agent and of Flux's controllers, or of the hub.
///
/// # Errors
/// There is none.
pub async fn pods(client: &Client, namespace: &str, hub: bool) -> Result<Vec<Pod>> {
    let part_of = if hub { "nave" } else { "flux" };
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let selector = format!("app.kubernetes.io/part-of={part_of}");
    let found = deployments
        .list(&ListParams::default().labels(&selector))
        .await
        .context("listing Deployments")?;
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let mut pods = Vec::new();
    for deployment in found.items {
        let labels = deployment.spec.selector.match_labels.unwrap_or_default();
        let selector: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let found = api
            .list(&ListParams::default().labels(&selector.join(",")))
            .await
            .context("listing pods")?;
        // The one that runs; of several, whichever: only one of them is the leader, and the API does not say which.
        pods.extend(found.items.into_iter().max_by_key(is_running));
    }
    if pods.is_empty() {
        return Err(advised(
            format!(
                "no pods of {} found in {namespace:?} namespace",
                if hub { "the hub" } else { "Flux or the agent" }
            ),
            "choose where they are with --flux-namespace, or --hub for the hub",
        ));
    }
    Ok(pods)
}

fn is_running(pod: &Pod) -> bool {
    pod.status
        .as_ref()
        .is_some_and(|status| status.phase.as_deref() == Some("Running"))
}
