//! `nave version`: of this program and of what is installed.

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::{Map, Value, json};

use super::check::images;
use crate::{
    connection::ConnectionArguments,
    output::{self, DataFormat},
};

/// Print the version of this program and of what is installed
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Only of this program; asks no cluster
    #[arg(long)]
    client: bool,
    /// Form of the output
    #[arg(short, long, value_name = "FORMAT", default_value = "yaml")]
    output: DataFormat,
}

/// The version of this program, as `v0.1.0`.
pub const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

/// Prints a map: `nave`, `distribution`, and an entry for each image.
pub async fn run(arguments: Arguments, to: &ConnectionArguments) -> Result<()> {
    let mut versions = Map::from_iter([("nave".to_owned(), json!(VERSION))]);
    if !arguments.client {
        let connection = to.connect().await?;
        let deployments: Api<Deployment> = Api::all(connection.client.clone());
        let selector = ListParams::default().labels("app.kubernetes.io/part-of in (flux,nave)");
        let found = deployments
            .list(&selector)
            .await
            .context("looking for what is installed")?;
        for deployment in &found.items {
            let label = |key: &str| deployment.labels().get(key);
            if let (Some(part_of), Some(version)) =
                (label("app.kubernetes.io/part-of"), label("app.kubernetes.io/version"))
            {
                versions
                    .entry("distribution")
                    .or_insert_with(|| json!(format!("{part_of}-{version}")));
            }
            for image in images(deployment) {
                let (name, tag) = name_and_tag(&image);
                versions.insert(name.to_owned(), json!(tag));
            }
        }
    }
    output::print_value(&Value::Object(versions), arguments.output)
}

/// `registry:5000/nave-agent:v1@sha256:…` is `nave-agent` in version `v1`; a digest alone stands for itself.
fn name_and_tag(image: &str) -> (&str, &str) {
    let last = image.rsplit('/').next().unwrap_or(image);
    let (tagged, digest) = match last.split_once('@') {
        Some((tagged, digest)) => (tagged, digest),
        None => (last, ""),
    };
    match tagged.split_once(':') {
        Some((name, tag)) => (name, tag),
        None if digest.is_empty() => (tagged, "latest"),
        None => (tagged, digest),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn images_are_split_into_name_and_tag() {
        for (image, want) in [
            ("nave.dev/nave-agent:v0.1.0", ("nave-agent", "v0.1.0")),
            ("registry:5000/x/nave-hub", ("nave-hub", "latest")),
            ("a/b@sha256:1", ("b", "sha256:1")),
            ("a/b:v1@sha256:1", ("b", "v1")),
        ] {
            assert_eq!(super::name_and_tag(image), want, "{image}");
        }
    }
}
