//! `nave export`: objects as somebody could have written them.

mod helmrelease;
mod kustomization;
mod source;

use anyhow::{Result, ensure};
use clap::Subcommand;
use kube::api::{DynamicObject, ListParams};
use nave_object::yaml;
use serde_json::{Map, Value, json};

use crate::{
    api,
    connection::ConnectionArguments,
    kinds::{ARTIFACT_GENERATOR, Kind},
    output,
};

/// Print objects as YAML, without what the cluster added to them
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// HelmReleases
    #[command(name = "helmrelease", visible_alias = "hr", after_help = helmrelease::EXAMPLES)]
    HelmRelease(NameOrAll),
    /// What makes artifacts
    Artifact {
        #[command(subcommand)]
        artifact: Artifact,
    },
    /// Sources
    #[command(after_help = source::EXAMPLES)]
    Source(source::Arguments),
    /// Kustomizations
    #[command(visible_alias = "ks", after_help = kustomization::EXAMPLES)]
    Kustomization(NameOrAll),
}

#[derive(Debug, Clone, Subcommand)]
enum Artifact {
    /// ArtifactGenerators
    Generator(NameOrAll),
}

/// One object, or all of a namespace.
#[derive(Debug, Clone, clap::Args)]
pub struct NameOrAll {
    /// Name of the object
    #[arg(required_unless_present = "all")]
    name: Option<String>,
    /// Every object of the namespace
    #[arg(long, conflicts_with = "name")]
    all: bool,
}

/// Reads and prints.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    match arguments.what {
        What::HelmRelease(which) => helmrelease::run(which, to).await,
        What::Artifact {
            artifact: Artifact::Generator(which),
        } => export(&ARTIFACT_GENERATOR, which, to).await,
        What::Source(which) => source::run(which, to).await,
        What::Kustomization(which) => kustomization::run(which, to).await,
    }
}

/// Prints the objects of a kind that were asked for.
///
/// # Errors
/// There are none.
pub async fn export(kind: &'static Kind, which: NameOrAll, to: &ConnectionArguments) -> Result<()> {
    let connection = to.connect().await?;
    let namespace = to.flux_namespace(&connection);
    let objects = match which.name {
        Some(name) => vec![api::get(&connection.client, kind, &namespace, &name).await?],
        None => api::list(&connection.client, kind, Some(&namespace), &ListParams::default()).await?,
    };
    ensure!(
        !objects.is_empty(),
        "no {} objects found in {namespace:?} namespace",
        kind.kind
    );
    let text: String = objects.iter().map(|object| document(&exported(object, kind))).collect();
    output::print_data(text.as_bytes())
}

/// The object as a document of its own.
pub fn document(value: &Value) -> String {
    format!("---\n{}", yaml::write(value))
}

/// The object without status, and of its metadata only what a person writes.
pub(crate) fn exported(object: &DynamicObject, kind: &Kind) -> Value {
    let metadata = serde_json::to_value(&object.metadata).unwrap_or_default();
    let kept: Map<String, Value> = ["name", "namespace", "labels", "annotations"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), metadata.get(name)?.clone())))
        .collect();
    json!({
        "apiVersion": kind.api_version(), "kind": kind.kind, "metadata": kept,
        "spec": object.data.get("spec").cloned().unwrap_or_else(|| json!({})),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::KUSTOMIZATION;

    #[test]
    fn what_the_cluster_added_is_left_out() {
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {
                "name": "a", "namespace": "n", "uid": "u", "generation": 3, "finalizers": ["f"],
                "labels": {"team": "a"}, "annotations": {"x": "y"}, "creationTimestamp": "2026-11-21T07:00:00Z",
            },
            "spec": {"interval": "1m0s"}, "status": {"observedGeneration": 3}
        }))
        .expect("an object");
        assert_eq!(
            document(&exported(&object, &KUSTOMIZATION)),
            "---\napiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata:\n  annotations:\n    x: \"y\"\n  \
             labels:\n    team: a\n  name: a\n  namespace: \"n\"\nspec:\n  interval: 1m0s\n"
        );
    }
}
