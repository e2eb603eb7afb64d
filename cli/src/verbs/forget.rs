//! `nave forget`: the hub lets go of a cluster, whatever has become of it.

use anyhow::{Context, Result};
use kube::{
    ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams},
};
use nave_crds::labels;
use serde_json::json;

use crate::{
    api,
    confirm::confirm,
    connection::{Connection, ConnectionArguments},
    fields::{self, text},
    kinds::{CLUSTER, KUSTOMIZATION, Kind},
    say, wait,
};

/// How long controllers are given to take their finalizers off.
const FINALIZER_PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// Remove a cluster from the hub
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Acts on the hub alone: the cluster is not asked and what runs there stays. Its key is no longer known, so its agent is
turned away. `nave leave`, run against the cluster, is the other half.

Examples:
  nave forget eu-1 -n platform --yes")]
pub struct Arguments {
    /// Name of the cluster
    name: String,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Freezes the cluster, takes the hub's Kustomizations for it away without pruning, and deletes it.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    let connection = to.connect().await?;
    let workspace = to.workspace_filter(&connection);
    let cluster = api::find(&connection.client, &CLUSTER, workspace.as_deref(), &arguments.name).await?;
    let name = fields::full_name(&cluster);
    let kustomizations = kustomizations(&connection, &cluster).await?;
    if !arguments.yes {
        say::action(&format!(
            "Cluster {name} ({}) and {} Kustomizations of the hub go; what runs on the cluster stays",
            text(&cluster, "/spec/mode"),
            kustomizations.len()
        ));
        confirm(&format!("forget {name}"), "--yes")?;
    }
    // Suspended first: a suspended Kustomization is deleted without pruning, and nothing new is placed meanwhile.
    api::set_suspend(&connection.client, &CLUSTER, &cluster, true).await?;
    for kustomization in &kustomizations {
        api::set_suspend(&connection.client, &KUSTOMIZATION, kustomization, true).await?;
    }
    remove(&connection, &CLUSTER, &cluster).await?;
    for kustomization in &kustomizations {
        remove(&connection, &KUSTOMIZATION, kustomization).await?;
    }
    say::success(&format!("Cluster {name} is forgotten"));
    let secret = text(&cluster, "/spec/kubeConfig/secretRef/name");
    if !secret.is_empty() {
        say::hint(&format!(
            "its kubeconfig is still in Secret {}/{secret}",
            cluster.namespace().unwrap_or_default()
        ));
    }
    Ok(())
}

/// Kustomizations that the hub itself reconciles for this cluster (mode KubeConfig).
async fn kustomizations(connection: &Connection, cluster: &DynamicObject) -> Result<Vec<DynamicObject>> {
    let selector = format!(
        "{}={},{}={}",
        labels::FLEET_CLUSTER,
        cluster.name_any(),
        labels::FLEET_CLUSTER_NAMESPACE,
        cluster.namespace().unwrap_or_default()
    );
    let params = ListParams::default().labels(&selector);
    Ok(api::list_if_known(&connection.client, &KUSTOMIZATION, None, &params)
        .await?
        .unwrap_or_default())
}

/// `forget` always succeeds: a finalizer that nobody takes off is removed.
async fn remove(connection: &Connection, kind: &Kind, object: &DynamicObject) -> Result<()> {
    let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
    let api = kind.api(&connection.client, &namespace);
    match api.delete(&name, &DeleteParams::default()).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("deleting {} {namespace}/{name}", kind.kind)),
    }
    if !wait::until_gone(api, &name, FINALIZER_PATIENCE).await? {
        match api::merge(
            &connection.client,
            kind,
            object,
            &json!({"metadata": {"finalizers": null}}),
        )
        .await
        {
            Err(error) if !api::is_not_found(&error) => return Err(error),
            _ => {}
        }
    }
    say::success(&format!("{} {namespace}/{name} deleted", kind.kind));
    Ok(())
}
