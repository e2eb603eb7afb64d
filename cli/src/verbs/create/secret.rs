//! `nave create secret`: credentials in the keys that sources read.

pub mod git;
mod githubapp;
pub mod key;
mod proxy;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Subcommand;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{Common, check_name};
use crate::{api::FIELD_MANAGER, connection::ConnectionArguments, output, say, verbs::export::document};

/// Create or change a Secret with credentials
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    secret: Kind,
}

#[derive(Debug, Clone, Subcommand)]
enum Kind {
    /// Credentials of a git repository
    #[command(after_help = git::EXAMPLES)]
    Git(Box<git::Arguments>),
    /// A GitHub App
    #[command(name = "githubapp", after_help = githubapp::EXAMPLES)]
    GitHubApp(githubapp::Arguments),
    /// A proxy
    #[command(after_help = proxy::EXAMPLES)]
    Proxy(proxy::Arguments),
}

/// A Secret that is nothing in particular to Kubernetes.
pub const OPAQUE: &str = "Opaque";

/// What a Secret holds, by key.
pub type Data = BTreeMap<&'static str, String>;

/// Creates what was asked for.
pub async fn run(arguments: Arguments, common: &Common, to: &ConnectionArguments) -> Result<()> {
    match arguments.secret {
        Kind::Git(typed) => git::run(*typed, common, to).await,
        Kind::GitHubApp(typed) => githubapp::run(typed, common, to).await,
        Kind::Proxy(typed) => proxy::run(typed, common, to).await,
    }
}

/// Prints a Secret, or writes it; keys of an earlier `create` that are not in `data` go.
///
/// # Errors
/// The API server refuses it.
pub async fn apply(
    name: &str,
    kind: &'static str,
    data: Data,
    common: &Common,
    to: &ConnectionArguments,
) -> Result<()> {
    check_name(name)?;
    if common.export {
        let namespace = to.flux_namespace_unconnected();
        let mut printed = object(name, &namespace, common);
        printed["stringData"] = json!(data);
        printed["type"] = json!(kind);
        return output::print_data(document(&printed).as_bytes());
    }
    let connection = to.connect().await?;
    let namespace = to.flux_namespace(&connection);
    let mut written = object(name, &namespace, common);
    let encoded: BTreeMap<&str, String> = data.iter().map(|(key, value)| (*key, STANDARD.encode(value))).collect();
    written["data"] = json!(encoded);
    written["type"] = json!(kind);
    let api: Api<Secret> = Api::namespaced(connection.client.clone(), &namespace);
    api.patch(
        name,
        &PatchParams::apply(FIELD_MANAGER).force(),
        &Patch::Apply(&written),
    )
    .await
    .with_context(|| format!("writing Secret {namespace}/{name}"))?;
    say::success(&format!("secret '{name}' created in '{namespace}' namespace"));
    Ok(())
}

fn object(name: &str, namespace: &str, common: &Common) -> Value {
    let mut metadata = json!({"name": name, "namespace": namespace});
    if !common.labels.is_empty() {
        metadata["labels"] = json!(common.labels.iter().cloned().collect::<BTreeMap<_, _>>());
    }
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
}
