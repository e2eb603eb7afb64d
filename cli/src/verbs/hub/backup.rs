//! `nave hub backup`: what makes a hub this hub, in one file.

use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt, path::PathBuf};

use anyhow::{Context, Result};
use kube::{
    ResourceExt,
    api::{DynamicObject, ListParams},
};
use serde_json::{Value, json};

use super::ca::STATE;
use crate::{
    api,
    connection::{Connection, ConnectionArguments, HUB_NAMESPACE},
    fields::text,
    kinds::{CLUSTER, HUB_STATE, Home, JOIN_TOKEN, Kind, RETIREMENT_LOG},
    say,
};

/// Write the hub's identity, its clusters, tokens and history to a file
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
The file holds private keys: whoever has it can be this hub. It has the hub's authorities, its checkpoints, every Cluster
with the Secret of its kubeconfig, every JoinToken and what is remembered of deleted fleet objects. Fleet objects and
sources are not in it: they are yours, and come from where you keep them.

Examples:
  nave hub backup --out hub.json")]
pub struct Arguments {
    /// Where to write; the file is made, readable by its owner only, and nothing is overwritten
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Namespace that the hub runs in
    #[arg(long, value_name = "NAMESPACE", default_value = HUB_NAMESPACE)]
    hub_namespace: String,
}

/// Secrets of a namespace.
pub(super) static SECRET: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Secret",
    plural: "secrets",
    word: "secret",
    home: Home::Flux,
};
/// The Secret with the hub's authorities.
pub(super) const AUTHORITY: &str = "nave-hub-authority";
/// Marks the file, and says how it is to be read.
pub(super) const FORMAT: &str = "nave-hub-backup/v1";

/// Collects and writes.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    let connection = to.connect().await?;
    let namespace = &arguments.hub_namespace;
    let objects = collect(&connection, namespace).await?;
    let count = objects.len();
    let file = json!({
        "format": FORMAT,
        "hubNamespace": namespace,
        "items": objects.iter().map(kept).collect::<Result<Vec<_>>>()?,
    });
    let path = arguments.out.display();
    let mut out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&arguments.out)
        .with_context(|| format!("creating {path}"))?;
    serde_json::to_writer_pretty(&mut out, &file).with_context(|| format!("writing {path}"))?;
    out.write_all(b"\n").with_context(|| format!("writing {path}"))?;
    out.sync_all().with_context(|| format!("writing {path}"))?;
    say::success(&format!("{count} objects of the hub are in {path}"));
    say::hint("it holds private keys: keep it as you keep those");
    Ok(())
}

/// Everything, in the order in which it is restored.
async fn collect(connection: &Connection, namespace: &str) -> Result<Vec<DynamicObject>> {
    let client = &connection.client;
    let all = ListParams::default();
    // Checkpoints before clusters: a change in between is then one that the backup does not know, never one that it
    // seems to know.
    let mut objects = vec![
        api::get(client, &SECRET, namespace, AUTHORITY).await?,
        api::get(client, &HUB_STATE, namespace, STATE).await?,
    ];
    objects.extend(api::list(client, &RETIREMENT_LOG, None, &all).await?);
    let clusters = api::list(client, &CLUSTER, None, &all).await?;
    for cluster in &clusters {
        let secret = text(cluster, "/spec/kubeConfig/secretRef/name");
        let workspace = cluster.namespace().unwrap_or_default();
        let known = |object: &DynamicObject| object.name_any() == secret && object.namespace() == cluster.namespace();
        if secret.is_empty() || objects.iter().any(known) {
            continue;
        }
        match api::get(client, &SECRET, &workspace, secret).await {
            Ok(found) => objects.push(found),
            Err(error) => say::warning(&format!(
                "Cluster {workspace}/{} is saved without its kubeconfig: {error:#}",
                cluster.name_any()
            )),
        }
    }
    objects.extend(clusters);
    objects.extend(api::list(client, &JOIN_TOKEN, None, &all).await?);
    Ok(objects)
}

/// The object without what only its API server knows.
fn kept(object: &DynamicObject) -> Result<Value> {
    let mut value = serde_json::to_value(object)?;
    let mut metadata = json!({"name": object.name_any(), "namespace": object.namespace()});
    if !object.labels().is_empty() {
        metadata["labels"] = json!(object.labels());
    }
    if !object.annotations().is_empty() {
        metadata["annotations"] = json!(object.annotations());
    }
    value["metadata"] = metadata;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_api_server_added_is_not_kept() {
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "fleet.nave.dev/v1alpha1", "kind": "Cluster",
            "metadata": {"name": "eu-1", "namespace": "p", "labels": {"a": "b"}, "uid": "u", "resourceVersion": "7",
                "generation": 3, "finalizers": ["x"], "managedFields": []},
            "spec": {"accepted": true}, "status": {"counts": {"ready": 1}},
        }))
        .expect("an object");
        assert_eq!(
            kept(&object).expect("JSON"),
            json!({
                "apiVersion": "fleet.nave.dev/v1alpha1", "kind": "Cluster",
                "metadata": {"name": "eu-1", "namespace": "p", "labels": {"a": "b"}},
                "spec": {"accepted": true}, "status": {"counts": {"ready": 1}},
            })
        );
    }
}
