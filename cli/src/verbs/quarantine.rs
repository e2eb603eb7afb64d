//! `nave quarantine`: a person does not trust what a cluster says any more.

use anyhow::{Result, bail};
use kube::api::DynamicObject;
use serde_json::json;

use crate::{
    api,
    confirm::confirm,
    connection::ConnectionArguments,
    fields::{self, text},
    kinds::CLUSTER,
    say,
};

/// The API's bound on `spec.identity.quarantined`.
const MAX_REASON: usize = 256;

/// Send a cluster nothing and count nothing that it says, until it is released
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
The agent goes on with what it has: nothing on the cluster is changed or deleted. It stays connected, so that it is seen,
but gets no desired state, no permit to delete and no certificate, and its status counts as unknown. `nave release` ends
the quarantine: the keys that the cluster had are taken back, and its agent joins again with the token that is printed.

Examples:
  nave quarantine eu-1 --reason \"its disk was copied\"
  nave release eu-1 -n platform --yes")]
pub struct Arguments {
    /// Name of the cluster
    name: String,
    /// Why, for whoever looks at the cluster
    #[arg(long, value_name = "TEXT", default_value = "no reason was given")]
    reason: String,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Notes it on the cluster; the hub acts.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    let reason = checked(&arguments.reason)?;
    let connection = to.connect().await?;
    let workspace = to.workspace_filter(&connection);
    let cluster = api::find(&connection.client, &CLUSTER, workspace.as_deref(), &arguments.name).await?;
    let name = fields::full_name(&cluster);
    refuse(&cluster, &name)?;
    if !arguments.yes {
        confirm(&format!("quarantine Cluster {name}"), "--yes")?;
    }
    let patch = json!({"spec": {"identity": {"quarantined": reason}}});
    api::merge(&connection.client, &CLUSTER, &cluster, &patch).await?;
    say::success(&format!("Cluster {name} is quarantined: {reason}"));
    say::hint("`nave release` takes its keys back and lets it join again");
    Ok(())
}

fn checked(reason: &str) -> Result<&str> {
    let reason = reason.trim();
    match reason.chars().count() {
        0 => bail!("--reason is empty"),
        1..=MAX_REASON => Ok(reason),
        count => bail!("--reason has {count} characters, {MAX_REASON} are possible"),
    }
}

fn refuse(cluster: &DynamicObject, name: &str) -> Result<()> {
    if text(cluster, "/spec/mode") == "KubeConfig" {
        bail!("Cluster {name} has no agent: the hub reaches it by kubeconfig; `nave suspend` stops that");
    }
    match text(cluster, "/spec/identity/quarantined") {
        "" => Ok(()),
        why => bail!("Cluster {name} is quarantined already: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_cluster_with_an_agent_and_once() {
        let told = |spec: serde_json::Value| {
            let cluster = serde_json::from_value(json!({
                "apiVersion": "fleet.nave.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "eu-1"}, "spec": spec,
            }));
            refuse(&cluster.expect("an object"), "p/eu-1")
                .err()
                .map(|error| error.to_string())
        };
        assert_eq!(told(json!({"mode": "Agent"})), None);
        assert!(told(json!({"mode": "KubeConfig"})).is_some_and(|why| why.contains("has no agent")));
        let already = told(json!({"identity": {"quarantined": "copied"}}));
        assert_eq!(
            already.as_deref(),
            Some("Cluster p/eu-1 is quarantined already: copied")
        );
        assert!(checked(" ").is_err() && checked(&"x".repeat(257)).is_err());
        assert_eq!(checked(" why ").expect("a reason"), "why");
    }
}
