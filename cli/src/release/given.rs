//! The HelmRelease and what stands beside it: in a file, or in the cluster.

use std::path::Path;

use anyhow::{Context, Result, bail};
use nave_crds::helm::{GROUP, HelmRelease};
use nave_object::{
    Gvk,
    yaml::{self, Dialect},
};
use serde_json::Value;

use crate::{
    api,
    build::Cluster,
    connection::ConnectionArguments,
    failure::advised,
    kinds::{HELM_RELEASE, Kind},
    server_apply::Applier,
};

/// A HelmRelease with a namespace, and where to look for what it names.
pub struct Given<'a> {
    pub release: HelmRelease,
    /// Other objects of the file.
    others: Vec<Value>,
    cluster: Option<&'a Cluster<'a>>,
}

impl<'a> Given<'a> {
    /// `what` is a file when there is one of that name, else a HelmRelease of the cluster.
    pub async fn of(what: &str, to: &ConnectionArguments, cluster: Option<&'a Cluster<'a>>) -> Result<Given<'a>> {
        let path = Path::new(what);
        if !path.is_file() {
            let Some(cluster) = cluster else {
                bail!("--dry-run asks no cluster, and there is no file {what:?}");
            };
            if what.contains('/') || what.ends_with(".yaml") || what.ends_with(".yml") {
                bail!("there is no file {what:?}");
            }
            let connection = cluster.connection().await?;
            let namespace = to.flux_namespace(connection);
            let object = api::get(&connection.client, &HELM_RELEASE, &namespace, what).await?;
            let release = serde_json::from_value(serde_json::to_value(object)?)
                .with_context(|| format!("reading HelmRelease {namespace}/{what}"))?;
            return Ok(Given {
                release,
                others: Vec::new(),
                cluster: Some(cluster),
            });
        }
        let (mut release, others) = read(path)?;
        if release.metadata.namespace.is_none() {
            let namespace = match cluster {
                // Only whoever follows the context of the kubeconfig has to have one.
                Some(cluster) if to.ns_follows_kube_context => to.flux_namespace(cluster.connection().await?),
                _ => to.flux_namespace_unconnected(),
            };
            release.metadata.namespace = Some(namespace);
        }
        Ok(Given {
            release,
            others,
            cluster,
        })
    }

    /// The namespace of the HelmRelease.
    pub fn namespace(&self) -> &str {
        self.release.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// An object that the HelmRelease names: from the file, else from the cluster.
    pub async fn find(&self, gvk: &Gvk, namespace: &str, name: &str) -> Result<Option<Value>> {
        let text = |value: &Value, pointer: &str| {
            let text = value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            text.to_owned()
        };
        let found = self.others.iter().find(|value| {
            let of = text(value, "/metadata/namespace");
            text(value, "/kind") == gvk.kind
                && text(value, "/apiVersion").split('/').next() == gvk.api_version().split('/').next()
                && text(value, "/metadata/name") == name
                && (of.is_empty() || of == namespace)
        });
        if let Some(found) = found {
            return Ok(Some(found.clone()));
        }
        let Some(cluster) = self.cluster else {
            return Ok(None);
        };
        let client = cluster.connection().await?.client.clone();
        let Some(objects) = Applier::new(client).api_if_known(gvk, Some(namespace)).await? else {
            return Ok(None);
        };
        let found = objects
            .get_opt(name)
            .await
            .with_context(|| format!("reading {} {namespace}/{name}", gvk.kind))?;
        Ok(found.map(serde_json::to_value).transpose()?)
    }

    /// A source; one that is nowhere is an error.
    pub async fn source<K: serde::de::DeserializeOwned>(&self, kind: &Kind, namespace: &str, name: &str) -> Result<K> {
        let gvk = Gvk::new(&kind.api_version(), kind.kind);
        let what = || format!("{} {namespace}/{name}", kind.kind);
        match self.find(&gvk, namespace, name).await? {
            Some(found) => serde_json::from_value(found).with_context(|| format!("reading {}", what())),
            None => Err(advised(
                format!("{} was not found", what()),
                "put it into the file of the HelmRelease, or name the chart with --chart",
            )),
        }
    }
}

/// The HelmRelease of a file, and the objects beside it.
fn read(file: &Path) -> Result<(HelmRelease, Vec<Value>)> {
    let shown = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {shown}"))?;
    let (mut found, mut others) = (Vec::new(), Vec::new());
    for value in yaml::read_documents(&text, Dialect::K8s).with_context(|| format!("reading {shown}"))? {
        let group = value["apiVersion"].as_str().unwrap_or_default().split('/').next();
        if group == Some(GROUP) && value["kind"] == "HelmRelease" {
            found.push(value);
        } else {
            others.push(value);
        }
    }
    let count = found.len();
    match found.pop() {
        Some(value) if count == 1 => {
            let release =
                serde_json::from_value(value).with_context(|| format!("reading the HelmRelease in {shown}"))?;
            Ok((release, others))
        }
        Some(_) => bail!("{shown} holds {count} HelmReleases, and only one can be built"),
        None => bail!("{shown} holds no HelmRelease of {}", nave_crds::helm::API_VERSION),
    }
}
