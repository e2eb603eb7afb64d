//! `nave join`: the agent of this cluster becomes a spoke of a hub.

mod config;
mod link_view;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use k8s_openapi::{
    ByteString,
    api::core::v1::{Namespace, Secret},
};
use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams},
};
use link_view::{LINK_MESSAGE, LINK_STATE};
use nave_crds::labels;
use nave_identity::JoinToken;
use serde_json::json;

use super::install;
use crate::{
    api,
    connection::{Connection, ConnectionArguments, FLUX_NAMESPACE},
    failure::advised,
    hints,
    manifests::{Component, InstallOptions},
    say, wait,
};

pub use config::read_token;
pub use link_view::LinkView;

/// Secret of the agent: key `token` and, once the agent started, key `state`.
pub const HUB_SECRET: &str = "nave-agent-hub";

/// Join this cluster to a hub
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Run it against the cluster that is to join. Compare the printed fingerprint with the one that the hub shows in
`nave describe cluster`. Without a cluster to install into, --print-config writes the file for
`nave-agent --hub-config FILE`.

Examples:
  nave join --token nave1.…
  nave join --token nave1.… --name edge-17
  nave join --token nave1.… --print-config hub.yaml")]
pub struct Arguments {
    /// Join token, as `nave hub token create` printed it; `-` reads it from standard input
    // Has the identifier of the global flag for a bearer token and takes its place below this verb.
    #[arg(long, value_name = "TOKEN", required = true, help_heading = None)]
    token: Option<String>,
    /// Name to ask for, with a token that leaves the choice
    #[arg(long)]
    name: Option<String>,
    /// Namespace of the agent
    #[arg(long, value_name = "NAMESPACE", default_value = FLUX_NAMESPACE)]
    agent_namespace: String,
    /// Image to run, in place of that of this version
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// Write the configuration of an agent run by hand to this file, or to standard output with `-`, and do nothing else
    #[arg(long, value_name = "FILE")]
    print_config: Option<PathBuf>,
    /// File in which an agent run by hand keeps its key, roots and boot counter
    #[arg(long, value_name = "FILE", requires = "print_config")]
    state: Option<PathBuf>,
    /// Install the agent even where Flux's own controllers run
    #[arg(long)]
    force: bool,
    /// Join even though the cluster belongs to a hub already
    #[arg(long)]
    rejoin: bool,
}

/// Writes the secret, installs the agent and waits until the hub has taken it in.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    let text = read_token(arguments.token.as_deref().unwrap_or_default())?;
    let token: JoinToken = text.parse().map_err(|error| {
        advised(
            format!("{error}"),
            "a token is one line that begins with nave1.; `nave hub token create` prints one",
        )
    })?;
    if let Some(file) = &arguments.print_config {
        return config::write(file, &text, arguments.name.as_deref(), arguments.state.as_deref());
    }
    // What stands in `--token` is no bearer token for the API server.
    let to = ConnectionArguments {
        token: None,
        ..to.clone()
    };
    let namespace = to
        .namespace
        .clone()
        .unwrap_or_else(|| arguments.agent_namespace.clone());
    let connection = to.connect().await?;
    if !arguments.rejoin {
        refuse_second_hub(&connection, &namespace).await?;
    }
    say::action(&format!("joining the hub at {}", token.addresses.join(", ")));
    say::detail(&format!("which has to show the root {}", token.root_pin));
    write_secret(&connection, &namespace, &text, arguments.name.as_deref()).await?;
    let options = InstallOptions {
        namespace: Some(namespace.clone()),
        image: arguments.image.clone(),
        hub_secret: Some(HUB_SECRET.to_owned()),
        ..InstallOptions::default()
    };
    install::install(Component::Agent, options, arguments.force, &connection, &to).await?;
    say::waiting("waiting for the hub");
    match joined(&connection, &namespace, to.timeout).await {
        Ok(message) => {
            say::success(&message);
            Ok(())
        }
        Err(error) => Err(not_joined(&connection, &namespace, error).await),
    }
}

/// What to do depends on who has to do something: a person with another token, or nobody.
async fn not_joined(connection: &Connection, namespace: &str, error: anyhow::Error) -> anyhow::Error {
    let secrets: Api<Secret> = Api::namespaced(connection.client.clone(), namespace);
    let refused = match secrets.get_opt(HUB_SECRET).await {
        Ok(secret) => secret.as_ref().map(LinkView::of).is_some_and(|view| view.is_refused()),
        Err(_) => false, // the error in hand is the one to be told
    };
    let text = format!("the cluster has not joined: {}", hints::describe(&error));
    if refused {
        return advised(
            text,
            "`nave hub token create NAME`, run against the hub, makes another token; then join again with that",
        );
    }
    advised(
        text,
        format!("the agent goes on trying by itself; `kubectl -n {namespace} logs deployment/nave-agent` shows how"),
    )
}

/// Joining another hub would leave the objects of the first one without an owner.
async fn refuse_second_hub(connection: &Connection, namespace: &str) -> Result<()> {
    let secrets: Api<Secret> = Api::namespaced(connection.client.clone(), namespace);
    let found = secrets
        .get_opt(HUB_SECRET)
        .await
        .with_context(|| format!("looking for Secret {namespace}/{HUB_SECRET}"))?;
    match found.as_ref().map(LinkView::of) {
        Some(LinkView {
            cluster: Some(cluster), ..
        }) => Err(advised(
            format!("this cluster is joined already, as {cluster}"),
            "`nave leave --keep` parts from that hub and keeps what runs; --rejoin starts over with the new token",
        )),
        _ => Ok(()),
    }
}

/// Writes the token, and forgets what is left of an earlier join.
async fn write_secret(connection: &Connection, namespace: &str, token: &str, name: Option<&str>) -> Result<()> {
    let what = || format!("writing Secret {namespace}/{HUB_SECRET}");
    let namespaces: Api<Namespace> = Api::all(connection.client.clone());
    let params = PatchParams::apply(api::FIELD_MANAGER).force();
    if namespaces
        .get_metadata_opt(namespace)
        .await
        .with_context(what)?
        .is_none()
    {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        namespaces
            .patch(namespace, &params, &Patch::Apply(&object))
            .await
            .with_context(what)?;
    }
    let secrets: Api<Secret> = Api::namespaced(connection.client.clone(), namespace);
    if let Some(existing) = secrets.get_opt(HUB_SECRET).await.with_context(what)?
        && LinkView::of(&existing).cluster.is_some()
    {
        secrets
            .delete(HUB_SECRET, &DeleteParams::default())
            .await
            .with_context(what)?;
    }
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let data = [("token", Some(token)), ("name", name)];
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(HUB_SECRET.to_owned()),
            labels: Some(BTreeMap::from([
                (labels::PART_OF.to_owned(), labels::PART_OF_FLUX.to_owned()),
                (labels::COMPONENT.to_owned(), "nave-agent".to_owned()),
            ])),
            // A verdict on the token before must not be taken for one on this token.
            annotations: Some(BTreeMap::from([
                (LINK_STATE.to_owned(), String::new()),
                (LINK_MESSAGE.to_owned(), String::new()),
            ])),
            ..ObjectMeta::default()
        },
        data: Some(
            data.into_iter()
                .filter_map(|(key, text)| Some((key.to_owned(), bytes(text?))))
                .collect(),
        ),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    };
    secrets
        .patch(HUB_SECRET, &params, &Patch::Apply(&secret))
        .await
        .map_err(|error| without_body(error, what()))?;
    Ok(())
}

/// An API server may repeat a refused object in its answer, and this one holds a secret.
fn without_body(error: kube::Error, what: String) -> anyhow::Error {
    match error {
        kube::Error::Api(status) => {
            anyhow::anyhow!("{what}: the API server answered {} {}", status.code, status.reason)
        }
        other => anyhow::Error::new(other).context(what),
    }
}

/// Waits for the agent's word in the secret.
async fn joined(connection: &Connection, namespace: &str, timeout: Duration) -> Result<String> {
    let resource = ApiResource::erase::<Secret>(&());
    let secrets: Api<DynamicObject> = Api::namespaced_with(connection.client.clone(), namespace, &resource);
    wait::until(secrets, HUB_SECRET, "waiting for the hub's answer", timeout, |object| {
        let secret = serde_json::to_value(object).and_then(serde_json::from_value::<Secret>);
        secret.map_or_else(
            |error| wait::Verdict::Failed(error.to_string()),
            |secret| LinkView::of(&secret).judge(),
        )
    })
    .await
}
