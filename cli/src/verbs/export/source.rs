//! `nave export source`.

use anyhow::{Context, Result};
use clap::Subcommand;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::{Map, Value, json};

use super::{NameOrAll, document, exported};
use crate::{api, connection::ConnectionArguments, fields, kinds, output, verbs::target::SourceTarget};

pub const EXAMPLES: &str = "\
Examples:
  nave export source git app > app.yaml
  nave export source git app --with-credentials
  nave export source helm --all -n team";

/// What was typed.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    source: Source,
    /// Print the Secrets with their credentials too
    #[arg(long, global = true)]
    with_credentials: bool,
}

#[derive(Debug, Clone, Subcommand)]
enum Source {
    #[command(flatten)]
    Fetched(SourceTarget<NameOrAll>),
    /// An ExternalArtifact
    External(NameOrAll),
}

/// Prints sources, and their Secrets when asked to.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    let (kind, which) = match arguments.source {
        Source::Fetched(source) => source.split(),
        Source::External(which) => (&kinds::EXTERNAL_ARTIFACT, which),
    };
    if !arguments.with_credentials {
        return super::export(kind, which, to).await;
    }
    let connection = to.connect().await?;
    let namespace = to.flux_namespace(&connection);
    let objects = match which.name {
        Some(name) => vec![api::get(&connection.client, kind, &namespace, &name).await?],
        None => api::list(&connection.client, kind, Some(&namespace), &ListParams::default()).await?,
    };
    anyhow::ensure!(
        !objects.is_empty(),
        "no {} objects found in {namespace:?} namespace",
        kind.kind
    );
    let secrets: Api<Secret> = Api::namespaced(connection.client.clone(), &namespace);
    let mut text = String::new();
    for object in &objects {
        text += &document(&exported(object, kind));
        for field in SECRETS {
            let name = fields::text(object, &format!("/spec/{field}/name"));
            if name.is_empty() {
                continue;
            }
            let secret = secrets.get(name).await.with_context(|| {
                format!(
                    "getting Secret {namespace}/{name} of {} {}",
                    kind.kind,
                    object.name_any()
                )
            })?;
            text += &document(&printed(&secret));
        }
    }
    output::print_data(text.as_bytes())
}

/// Fields of sources that name a Secret with credentials.
const SECRETS: [&str; 3] = ["secretRef", "certSecretRef", "proxySecretRef"];

fn printed(secret: &Secret) -> Value {
    let metadata = serde_json::to_value(&secret.metadata).unwrap_or_default();
    let kept: Map<String, Value> = ["name", "namespace", "labels", "annotations"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), metadata.get(name)?.clone())))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": kept,
        "type": secret.type_.as_deref().unwrap_or("Opaque"), "data": secret.data,
    })
}
