//! `nave approve`: a person says yes to a key, or to deletions.

mod plan;

use anyhow::{Result, bail};
use kube::api::DynamicObject;
use serde_json::{Value, json};

use crate::{
    api,
    connection::ConnectionArguments,
    failure::advised,
    fields::{self, field, flag},
    kinds::CLUSTER,
    say,
};

/// Let a key that waits for approval be its cluster's, or deletions that wait take place
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
A key waits when its token needs approval, when the name that it asks for is another key's, and when its certificate
ended longer ago than spec.identity.renewWithin. Compare the fingerprint with the one that the agent printed.

Deletions wait when they are over the budget of their fleet object, spec.deletion.budget, and when they take other
objects along. `nave describe` shows them.

Examples:
  nave approve eu-1 -n platform
  nave approve eu-1 --key sha256:4f1c --replace
  nave approve fleetkustomization/apps -n platform
  nave approve fleethelmrelease/web --plan sha256:90aa")]
pub struct Arguments {
    /// Name of the cluster, or kind and name of a fleet object whose deletions wait
    #[arg(value_name = "CLUSTER|KIND/NAME")]
    name: String,
    /// The key, or how its fingerprint begins; needed when several wait
    #[arg(long, value_name = "FINGERPRINT")]
    key: Option<String>,
    /// Take back the keys that the cluster had, and forget which cluster it was: the name is this key's from now on
    #[arg(long, requires = "key")]
    replace: bool,
    /// Of a fleet object: the plan that you have seen, or how its digest begins; another one is not approved
    #[arg(long, value_name = "DIGEST", conflicts_with = "key")]
    plan: Option<String>,
}

/// The API's bound on `spec.identity.keys`.
const MAX_KEYS: usize = 8;
/// The API's bound on `spec.identity.revokedKeys`.
const MAX_REVOKED: usize = 32;

/// Adds the key to those of the cluster, and accepts the cluster; or approves what a fleet object holds.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    if let Some((kind, name)) = plan::fleet_object(&arguments.name)? {
        if arguments.key.is_some() {
            bail!("--key is of clusters, and {} is a fleet object", arguments.name);
        }
        return plan::approve(kind, name, arguments.plan.as_deref(), to).await;
    }
    if arguments.plan.is_some() {
        bail!(
            "--plan is of fleet objects; {} is a cluster, fleetkustomization/NAME would be one",
            arguments.name
        );
    }
    let connection = to.connect().await?;
    let workspace = to.workspace_filter(&connection);
    let cluster = api::find(&connection.client, &CLUSTER, workspace.as_deref(), &arguments.name).await?;
    let name = fields::full_name(&cluster);
    let key = choose(&name, &waiting(&cluster), arguments.key.as_deref())?;
    let patch = approval(&cluster, &key, arguments.replace);
    api::merge(&connection.client, &CLUSTER, &cluster, &patch).await?;
    say::success(&format!("Cluster {name}: key {key} is approved"));
    Ok(())
}

/// Keys that wait, and why.
fn waiting(cluster: &DynamicObject) -> Vec<(String, String)> {
    let mut keys: Vec<(String, String)> = Vec::new();
    if !flag(cluster, "/spec/accepted") {
        let listed = fields::list(cluster, "/spec/identity/keys").iter();
        let why = "the cluster is not accepted yet".to_owned();
        keys.extend(
            listed
                .filter_map(Value::as_str)
                .map(|key| (key.to_owned(), why.clone())),
        );
    }
    for pending in fields::list(cluster, "/status/pendingKeys") {
        let key = field(pending, "fingerprint").to_owned();
        if !keys.iter().any(|(known, _)| *known == key) {
            keys.push((key, field(pending, "reason").to_owned()));
        }
    }
    keys
}

fn choose(name: &str, waiting: &[(String, String)], wanted: Option<&str>) -> Result<String> {
    let list = || -> String {
        let lines = waiting.iter().map(|(key, why)| format!("\n  {key}  {why}"));
        lines.collect()
    };
    let fits: Vec<&String> = waiting
        .iter()
        .map(|(key, _)| key)
        .filter(|key| wanted.is_none_or(|wanted| begins(key, wanted)))
        .collect();
    match (fits.as_slice(), wanted) {
        ([key], _) => Ok((*key).clone()),
        ([], None) => bail!("Cluster {name} has no key that waits for approval"),
        ([], Some(wanted)) => bail!(
            "Cluster {name} has no key {wanted} that waits for approval; waiting:{}",
            list()
        ),
        (_, None) => Err(advised(
            format!("several keys wait to be Cluster {name}:{}", list()),
            "choose one with --key; the agent prints its own",
        )),
        (_, Some(wanted)) => bail!("several keys begin with {wanted}:{}", list()),
    }
}

fn begins(key: &str, wanted: &str) -> bool {
    let bare = |text: &str| text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
    !bare(wanted).is_empty() && bare(key).starts_with(&bare(wanted))
}

fn approval(cluster: &DynamicObject, key: &str, replace: bool) -> Value {
    let texts = |pointer: &str| -> Vec<String> {
        let list = fields::list(cluster, pointer).iter();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut keys = texts("/spec/identity/keys");
    keys.retain(|known| known != key);
    let mut identity = json!({});
    if replace {
        let mut revoked = texts("/spec/identity/revokedKeys");
        revoked.retain(|known| known != key && !keys.contains(known));
        revoked.append(&mut keys);
        let excess = revoked.len().saturating_sub(MAX_REVOKED);
        revoked.drain(..excess);
        identity["revokedKeys"] = json!(revoked);
        identity["clusterUID"] = Value::Null;
    } else if keys.len() >= MAX_KEYS {
        keys.drain(..=keys.len() - MAX_KEYS);
    }
    keys.push(key.to_owned());
    identity["keys"] = json!(keys);
    json!({
        // A renewal in this moment would add a key that is not in the list.
        "metadata": {"resourceVersion": cluster.metadata.resource_version},
        "spec": {"accepted": true, "identity": identity},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(accepted: bool, keys: &[&str], pending: &[&str]) -> DynamicObject {
        let pending: Vec<Value> = pending
            .iter()
            .map(|key| json!({"fingerprint": key, "reason": "why"}))
            .collect();
        serde_json::from_value(json!({
            "apiVersion": "fleet.nave.dev/v1alpha1", "kind": "Cluster",
            "metadata": {"name": "eu-1", "namespace": "p", "resourceVersion": "7"},
            "spec": {"accepted": accepted, "identity": {"keys": keys, "clusterUID": "u"}},
            "status": {"pendingKeys": pending},
        }))
        .expect("an object")
    }

    fn check(cluster: &DynamicObject, wanted: Option<&str>, expected: &str) {
        let told = match choose("p/eu-1", &waiting(cluster), wanted) {
            Ok(key) => key,
            Err(error) => format!("{error:#}"),
        };
        assert!(told.contains(expected), "{told:?} has no {expected:?}");
    }

    #[test]
    fn the_one_that_waits_is_meant_and_of_several_one_is_named() {
        check(&cluster(true, &["sha256:aa"], &[]), None, "no key that waits");
        check(&cluster(false, &["sha256:aa"], &[]), None, "sha256:aa");
        check(&cluster(true, &["sha256:aa"], &["sha256:bb"]), None, "sha256:bb");
        let two = cluster(true, &["sha256:aa"], &["sha256:bb", "sha256:bc"]);
        check(
            &two,
            None,
            "several keys wait to be Cluster p/eu-1:\n  sha256:bb  why\n  sha256:bc  why",
        );
        check(&two, Some("BC"), "sha256:bc");
        check(&two, Some("sha256:b"), "several keys begin with sha256:b");
        check(&two, Some("aa"), "no key aa that waits");
        check(&two, Some("sha256:"), "no key sha256: that waits");
    }

    #[test]
    fn the_new_key_is_the_newest_and_may_be_the_only_one() {
        let object = cluster(true, &["sha256:aa"], &["sha256:bb"]);
        let patch = approval(&object, "sha256:bb", false);
        assert_eq!(
            patch["spec"],
            json!({"accepted": true, "identity": {"keys": ["sha256:aa", "sha256:bb"]}})
        );
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        let patch = approval(&object, "sha256:bb", true);
        assert_eq!(
            patch["spec"]["identity"],
            json!({"keys": ["sha256:bb"], "revokedKeys": ["sha256:aa"], "clusterUID": null})
        );
        let full: Vec<String> = (0..8).map(|number| format!("sha256:a{number}")).collect();
        let full: Vec<&str> = full.iter().map(String::as_str).collect();
        let patch = approval(&cluster(true, &full, &["sha256:bb"]), "sha256:bb", false);
        let keys = patch["spec"]["identity"]["keys"].as_array().expect("a list");
        assert_eq!(
            (keys.len(), &keys[0], &keys[7]),
            (8, &json!("sha256:a1"), &json!("sha256:bb"))
        );
    }
}
