//! `nave hub token`: make, list and take back join tokens.

mod spec;

use std::{io::Write, path::Path};

use anyhow::{Context, Result};
use clap::Subcommand;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams, PostParams},
};
use nave_identity::{JoinToken, KeyFingerprint};
use serde_json::{Value, json};

use super::info::HubInfo;
use crate::{
    age, api,
    connection::{Connection, ConnectionArguments, HUB_NAMESPACE},
    failure::advised,
    fields::{self, field, flag, number, text},
    kinds::{CLUSTER, Home, JOIN_TOKEN},
    output::{self, DataFormat, Format},
    say,
    table::Table,
};
use spec::TokenArguments;

#[derive(Debug, Clone, Subcommand)]
pub enum What {
    /// Make a token and print it, once
    #[command(after_help = CREATE_HELP)]
    Create(Box<Create>),
    /// List tokens; the tokens themselves are not kept anywhere
    List(List),
    /// Take tokens back; clusters that joined with them stay, unless --with-clusters is given
    Revoke(Revoke),
}

const CREATE_HELP: &str = "\
The token is printed to stdout and kept nowhere: the hub has only its hash. It holds the hub's addresses, the
fingerprint of its root and a secret. The workspace that the cluster will belong to is chosen with -n; without it
$NAVE_WORKSPACE, then nave-system.

Examples:
  nave hub token create eu-1 --cluster eu-1 --label env=prod --variable overlay=eu -n platform
  nave hub token create edge --name-prefix edge- --uses 200 --ttl 24h -n platform
  nave hub token create eu-1 --access platform=admin --access team-a=team-a/team-a-1,team-a-2
  nave --context spoke join --token \"$(nave --context hub hub token create eu-1)\"";

/// What `create` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Create {
    /// Name of the JoinToken; also of the cluster unless --cluster or --name-prefix is given
    name: String,
    #[command(flatten)]
    token: TokenArguments,
    /// Address that the agent dials; may be given several times; the hub's own when not given
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    address: Vec<String>,
    /// Namespace that the hub runs in
    #[arg(long, value_name = "NAMESPACE", default_value = HUB_NAMESPACE)]
    hub_namespace: String,
}

/// What `list` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct List {
    /// Look in every workspace
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Print no headers
    #[arg(long)]
    no_header: bool,
    /// Form of the output
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
}

/// What `revoke` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Revoke {
    /// Names of the JoinTokens
    #[arg(required = true)]
    names: Vec<String>,
    /// Revoke the keys of the clusters that joined with them too: live sessions end, and the clusters have to join again
    #[arg(long)]
    with_clusters: bool,
}

/// Runs the verb below `hub token`.
pub async fn run(what: What, to: &ConnectionArguments) -> Result<()> {
    match what {
        What::Create(arguments) => create(*arguments, to).await,
        What::List(arguments) => list(&arguments, to).await,
        What::Revoke(arguments) => revoke(&arguments, to).await,
    }
}

async fn create(mut arguments: Create, to: &ConnectionArguments) -> Result<()> {
    if let Some(kubeconfig) = arguments.token.for_kubeconfig.take() {
        arguments.token.cluster_uid = Some(cluster_uid(&kubeconfig, to).await?);
    }
    let mut spec = arguments.token.spec(&arguments.name)?;
    let connection = to.connect().await?;
    let workspace = to.workspace(&connection);
    let info = HubInfo::read(&connection, &arguments.hub_namespace).await?;
    let addresses = if arguments.address.is_empty() {
        info.addresses
    } else {
        arguments.address
    };
    if addresses.is_empty() {
        return Err(advised(
            "the hub does not know which address agents are to dial",
            "name it here with --address HOST:PORT, or once with `nave install --hub --advertise HOST:PORT`",
        ));
    }
    spec["expiresAt"] = json!(arguments.token.expires_at(Timestamp::now())?);
    let text = make(
        &connection,
        &workspace,
        &arguments.name,
        &addresses,
        info.root_pin,
        &mut spec,
    )
    .await?;
    say::success(&format!("JoinToken {workspace}/{} created", arguments.name));
    say::detail(&format!("dials {}", addresses.join(", ")));
    say::detail(&format!("trusts {}", info.root_pin));
    say::detail(&format!("ends {}", field(&spec, "expiresAt")));
    if let Some(uid) = &arguments.token.cluster_uid {
        say::detail(&format!("admits only the cluster {uid}"));
    }
    print(&text)
}

/// Prints a token, and nothing else, to standard output.
pub(crate) fn print(token: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{token}")?;
    out.flush()?;
    Ok(())
}

/// Makes a token from a spec without hash, which is filled in. Gives back its text.
pub(crate) async fn make(
    connection: &Connection,
    workspace: &str,
    name: &str,
    addresses: &[String],
    pin: KeyFingerprint,
    spec: &mut Value,
) -> Result<String> {
    let id = format!("{workspace}/{name}");
    let issued = JoinToken::issue(addresses.to_vec(), pin, id).context("making a join token")?;
    spec["hash"] = json!(issued.hash.to_string());
    let object: DynamicObject = serde_json::from_value(json!({
        "apiVersion": JOIN_TOKEN.api_version(),
        "kind": JOIN_TOKEN.kind,
        "metadata": {"name": name, "namespace": workspace},
        "spec": spec,
    }))?;
    let created = JOIN_TOKEN
        .api(&connection.client, workspace)
        .create(
            &PostParams {
                field_manager: Some(api::FIELD_MANAGER.to_owned()),
                ..PostParams::default()
            },
            &object,
        )
        .await;
    match created {
        Ok(_) => Ok(issued.token.to_text().to_string()),
        Err(kube::Error::Api(status)) if status.code == 409 => Err(advised(
            format!("JoinToken {workspace}/{name} exists already, and its token was printed when it was made"),
            format!(
                "choose another name, or take it back and delete it: kubectl -n {workspace} delete jointoken {name}"
            ),
        )),
        Err(error) => Err(error).with_context(|| format!("creating JoinToken {workspace}/{name}")),
    }
}

/// A cluster is known by the UID of its namespace `kube-system`, which nobody can choose.
async fn cluster_uid(kubeconfig: &Path, to: &ConnectionArguments) -> Result<String> {
    let what = || format!("asking the cluster of {} for its UID", kubeconfig.display());
    let connection = to.of_file(kubeconfig).connect().await.with_context(what)?;
    let namespaces: Api<Namespace> = Api::all(connection.client.clone());
    let system = namespaces.get_metadata("kube-system").await.with_context(what)?;
    system.uid().with_context(what)
}

async fn list(arguments: &List, to: &ConnectionArguments) -> Result<()> {
    let connection = to.connect().await?;
    let namespace = if arguments.all_namespaces {
        None
    } else {
        to.workspace_filter(&connection)
    };
    let tokens = api::list(
        &connection.client,
        &JOIN_TOKEN,
        namespace.as_deref(),
        &ListParams::default(),
    )
    .await?;
    match arguments.output {
        Some(Format::Json) => return output::print_value(&output::list_value(&tokens)?, DataFormat::Json),
        Some(Format::Yaml) => return output::print_value(&output::list_value(&tokens)?, DataFormat::Yaml),
        Some(Format::Name) => {
            let names: String = tokens
                .iter()
                .map(|token| format!("{}\n", output::object_name(token)))
                .collect();
            return output::print_text(&names);
        }
        None | Some(Format::Wide) => {}
    }
    if tokens.is_empty() {
        return Err(advised(
            "no join tokens found",
            "`nave hub token create NAME` makes one",
        ));
    }
    let mut table = table(
        &tokens,
        namespace.is_none(),
        arguments.output == Some(Format::Wide),
        Timestamp::now(),
    );
    table.print(!arguments.no_header)?;
    Ok(())
}

fn table(tokens: &[DynamicObject], with_namespace: bool, wide: bool, now: Timestamp) -> Table {
    let columns = ["Name", "Cluster", "Uses", "State", "Expires", "Used by"];
    let more = wide.then_some(["Approval", "Hash"]).into_iter().flatten();
    let mut table = Table::new(
        with_namespace
            .then_some("Namespace")
            .into_iter()
            .chain(columns)
            .chain(more),
    );
    for token in tokens {
        let used = fields::list(token, "/status/used");
        let mut row = Vec::new();
        if with_namespace {
            row.push(token.namespace().unwrap_or_default());
        }
        let prefix = text(token, "/spec/cluster/namePrefix");
        row.push(token.name_any());
        row.push(if prefix.is_empty() {
            text(token, "/spec/cluster/name").to_owned()
        } else {
            format!("{prefix}*")
        });
        row.push(format!("{}/{}", used.len(), number(token, "/spec/uses").max(1)));
        row.push(state(token, used.len(), now).to_owned());
        row.push(expires(text(token, "/spec/expiresAt"), now));
        row.push(
            used.iter()
                .map(|used| field(used, "cluster"))
                .collect::<Vec<_>>()
                .join(","),
        );
        if wide {
            row.push(text(token, "/spec/approval").to_owned());
            row.push(fields::shorten(text(token, "/spec/hash")));
        }
        table.row(row);
    }
    table
}

fn state(token: &DynamicObject, used: usize, now: Timestamp) -> &'static str {
    let expired = text(token, "/spec/expiresAt")
        .parse::<Timestamp>()
        .is_ok_and(|end| end <= now);
    if flag(token, "/spec/revoked") {
        "Revoked"
    } else if used as i64 >= number(token, "/spec/uses").max(1) {
        "Used"
    } else if expired {
        "Expired"
    } else {
        "Open"
    }
}

/// `in 45m`, or `3m ago`.
fn expires(text: &str, now: Timestamp) -> String {
    match text.parse::<Timestamp>() {
        Ok(end) if end > now => format!("in {}", age::since(now, end)),
        Ok(end) => format!("{} ago", age::since(end, now)),
        Err(_) => "<unknown>".to_owned(),
    }
}

async fn revoke(arguments: &Revoke, to: &ConnectionArguments) -> Result<()> {
    let connection: Connection = to.connect().await?;
    debug_assert_eq!(JOIN_TOKEN.home, Home::Workspace);
    let workspace = to.workspace_filter(&connection);
    for name in &arguments.names {
        let token = api::find(&connection.client, &JOIN_TOKEN, workspace.as_deref(), name).await?;
        api::merge(
            &connection.client,
            &JOIN_TOKEN,
            &token,
            &json!({"spec": {"revoked": true}}),
        )
        .await?;
        say::success(&format!("JoinToken {} revoked", fields::full_name(&token)));
        let mut clusters: Vec<&str> = fields::list(&token, "/status/used")
            .iter()
            .map(|used| field(used, "cluster"))
            .collect();
        clusters.sort_unstable();
        clusters.dedup();
        if arguments.with_clusters {
            for cluster in clusters {
                revoke_cluster(&connection, &token.namespace().unwrap_or_default(), cluster).await?;
            }
        } else if !clusters.is_empty() {
            say::hint(&format!(
                "{} joined with it and stay; --with-clusters takes their keys back as well",
                clusters.join(", ")
            ));
        }
    }
    Ok(())
}

/// The API's bound on `spec.identity.revokedKeys`.
const MAX_REVOKED: usize = 32;

/// All keys, not the one that joined: an agent changes its key whenever it renews.
pub(crate) async fn revoke_cluster(connection: &Connection, workspace: &str, name: &str) -> Result<()> {
    let found = CLUSTER.api(&connection.client, workspace).get_opt(name).await;
    let Some(cluster) = found.with_context(|| format!("getting Cluster {workspace}/{name}"))? else {
        return Ok(()); // forgotten meanwhile
    };
    let keys = |pointer: &str| fields::list(&cluster, pointer).to_vec();
    let (accepted, mut revoked) = (keys("/spec/identity/keys"), keys("/spec/identity/revokedKeys"));
    if accepted.is_empty() {
        return Ok(());
    }
    revoked.retain(|key| !accepted.contains(key));
    revoked.extend(accepted.iter().cloned());
    // The API takes so many; the oldest are of certificates long gone.
    let excess = revoked.len().saturating_sub(MAX_REVOKED);
    revoked.drain(..excess);
    let patch = json!({
        // A renewal in this moment would add a key that is not in the list.
        "metadata": {"resourceVersion": cluster.metadata.resource_version},
        "spec": {"identity": {"keys": [], "revokedKeys": revoked}},
    });
    api::merge(&connection.client, &CLUSTER, &cluster, &patch).await?;
    say::success(&format!("Cluster {workspace}/{name}: {} keys revoked", accepted.len()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(spec: Value, used: &[&str]) -> DynamicObject {
        let used: Vec<Value> = used.iter().map(|cluster| json!({"cluster": cluster})).collect();
        serde_json::from_value(json!({
            "apiVersion": "fleet.nave.dev/v1alpha1", "kind": "JoinToken",
            "metadata": {"name": "t", "namespace": "platform"}, "spec": spec, "status": {"used": used}
        }))
        .expect("an object")
    }

    #[test]
    fn tokens_say_what_they_are_still_good_for() {
        let now = "2026-11-21T08:00:00Z".parse().expect("a time");
        let spec = |uses: i64, end: &str, revoked: bool| json!({"uses": uses, "expiresAt": end, "revoked": revoked, "cluster": {"namePrefix": "edge-"}});
        let (later, before) = ("2026-11-21T08:30:00Z", "2026-11-21T07:00:00Z");
        let tokens = [
            token(json!({"expiresAt": later, "cluster": {"name": "eu-1"}}), &[]),
            token(spec(2, later, false), &["edge-1"]),
            token(spec(1, later, false), &["edge-1"]),
            token(spec(2, before, false), &[]),
            token(spec(2, later, true), &[]),
        ];
        assert_eq!(
            table(&tokens, true, false, now).into_text(),
            "NAMESPACE   NAME   CLUSTER   USES   STATE     EXPIRES   USED BY\n\
             platform    t      eu-1      0/1    Open      in 30m\n\
             platform    t      edge-*    1/2    Open      in 30m    edge-1\n\
             platform    t      edge-*    1/1    Used      in 30m    edge-1\n\
             platform    t      edge-*    0/2    Expired   60m ago\n\
             platform    t      edge-*    0/2    Revoked   in 30m\n"
        );
    }
}
