//! `nave release`: a cluster whose key was copied gets another one.

use std::time::Duration;

use anyhow::Result;
use jiff::{Timestamp, Unit};
use kube::{ResourceExt, api::DynamicObject};
use serde_json::{Value, json};

use super::hub::{info::HubInfo, token};
use crate::{
    api,
    confirm::confirm,
    connection::{ConnectionArguments, HUB_NAMESPACE, duration},
    failure::advised,
    fields::text,
    kinds::CLUSTER,
    say,
};

/// End the quarantine of a cluster: its keys are taken back, and a token for a new one is printed
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
A cluster is quarantined when two agents say that they are it: one of them has a copy of the other's key. The hub cannot
know which, so both go on with what they have and are sent nothing. `nave quarantine` does the same by hand. Stop the one that is not the cluster, then join the
other again with the token that is printed here; what runs on it stays.

Examples:
  nave release eu-1 -n platform --yes
  nave --context spoke join --token \"$(nave --context hub release eu-1 --yes)\"")]
pub struct Arguments {
    /// Name of the cluster
    name: String,
    /// How long the token is good for
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    ttl: Duration,
    /// Let another cluster have the name; without it the token is for the cluster that had it
    #[arg(long)]
    any_cluster: bool,
    /// Namespace that the hub runs in
    #[arg(long, value_name = "NAMESPACE", default_value = HUB_NAMESPACE)]
    hub_namespace: String,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Revokes the keys and makes a bound token.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    let connection = to.connect().await?;
    let workspace = to.workspace_filter(&connection);
    let cluster = api::find(&connection.client, &CLUSTER, workspace.as_deref(), &arguments.name).await?;
    let (name, namespace) = (cluster.name_any(), cluster.namespace().unwrap_or_default());
    let info = HubInfo::read(&connection, &arguments.hub_namespace).await?;
    if info.addresses.is_empty() {
        return Err(advised(
            "the hub does not know which address agents are to dial",
            "tell it once with `nave install --hub --advertise HOST:PORT`",
        ));
    }
    if !arguments.yes {
        confirm(&format!("take back the keys of Cluster {namespace}/{name}"), "--yes")?;
    }
    let now = Timestamp::now();
    let mut spec = spec(&cluster, arguments.any_cluster);
    spec["expiresAt"] = json!(now.checked_add(arguments.ttl)?.round(Unit::Second)?.to_string());
    let quarantined = !text(&cluster, "/spec/identity/quarantined").is_empty();
    // The token first: when making it fails, the cluster still has its keys.
    let token_name = format!("{name}-release-{}", now.as_second());
    let text = token::make(
        &connection,
        &namespace,
        &token_name,
        &info.addresses,
        info.root_pin,
        &mut spec,
    )
    .await?;
    say::success(&format!("JoinToken {namespace}/{token_name} created"));
    if arguments.any_cluster {
        let patch = json!({"spec": {"identity": {"clusterUID": null}}});
        api::merge(&connection.client, &CLUSTER, &cluster, &patch).await?;
    }
    token::revoke_cluster(&connection, &namespace, &name).await?;
    if quarantined {
        // The keys first: whoever has them is not let in for a moment.
        let patch = json!({"spec": {"identity": {"quarantined": null}}});
        api::merge(&connection.client, &CLUSTER, &cluster, &patch).await?;
    }
    say::hint("stop the agent that has the copy, then join the other again with this token");
    token::print(&text)
}

fn spec(cluster: &DynamicObject, any_cluster: bool) -> Value {
    let mut spec = json!({"uses": 1, "approval": "Automatic", "cluster": {"name": cluster.name_any()}});
    let uid = text(cluster, "/spec/identity/clusterUID");
    if !any_cluster && !uid.is_empty() {
        spec["clusterUID"] = json!(uid);
    }
    // Joining writes these again; what a person gave the cluster meanwhile has to stay.
    for (field, pointer) in [("variables", "/spec/variables"), ("access", "/spec/access")] {
        if let Some(value) = cluster.data.pointer(pointer).filter(|value| !is_empty(value)) {
            spec["cluster"][field] = value.clone();
        }
    }
    let labels = cluster.labels();
    if !labels.is_empty() {
        spec["cluster"]["labels"] = json!(labels);
    }
    spec
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_bound_to_what_the_cluster_was() {
        let cluster = serde_json::from_value(json!({
            "apiVersion": "fleet.nave.dev/v1alpha1", "kind": "Cluster",
            "metadata": {"name": "eu-1", "namespace": "p", "labels": {"env": "prod"}},
            "spec": {"accepted": true, "variables": {}, "access": [{"workspace": "p", "admin": true}],
                "identity": {"keys": ["sha256:aa"], "clusterUID": "u"}},
        }))
        .expect("an object");
        assert_eq!(
            spec(&cluster, false),
            json!({"uses": 1, "approval": "Automatic", "clusterUID": "u", "cluster": {
                "name": "eu-1", "labels": {"env": "prod"}, "access": [{"workspace": "p", "admin": true}]}})
        );
        assert_eq!(spec(&cluster, true)["clusterUID"], Value::Null);
    }
}
