//! The Kustomization that is built: from a file, or from the cluster.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nave_crds::kustomize::{GROUP, Kustomization};
use nave_object::yaml::{self, Dialect};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::{
    api,
    connection::{Connection, ConnectionArguments},
    failure::advised,
    kinds::KUSTOMIZATION,
};

/// What to build.
pub struct Request<'a> {
    /// The directory.
    pub path: &'a Path,
    /// Name of the Kustomization; none takes the only one of the file.
    pub name: Option<&'a str>,
    /// File that it is in; none takes it from the cluster.
    pub file: Option<&'a Path>,
    /// Fail on variables that are not set.
    pub strict: bool,
    /// Files that a generated kustomization file leaves out.
    pub ignore: &'a [String],
    /// Build Kustomizations among the objects too.
    pub recursive: bool,
    /// Directories of sources, by `Kind/namespace/name`.
    pub local_sources: &'a [(String, PathBuf)],
}

/// A cluster that is asked when the first question comes.
pub struct Cluster<'a> {
    to: &'a ConnectionArguments,
    connection: OnceCell<Connection>,
}

impl<'a> Cluster<'a> {
    /// Opens nothing yet.
    pub fn new(to: &'a ConnectionArguments) -> Self {
        Cluster {
            to,
            connection: OnceCell::new(),
        }
    }

    /// The connection, prepared once.
    ///
    /// # Errors
    /// A kubeconfig that cannot be used.
    pub async fn connection(&self) -> Result<&Connection> {
        self.connection.get_or_try_init(|| self.to.connect()).await
    }

    /// The Kustomization as the cluster has it.
    ///
    /// # Errors
    /// It does not exist, or may not be read.
    pub async fn kustomization(&self, namespace: &str, name: &str) -> Result<Kustomization> {
        let object = api::get(&self.connection().await?.client, &KUSTOMIZATION, namespace, name).await?;
        serde_json::from_value(serde_json::to_value(object)?)
            .with_context(|| format!("reading Kustomization {namespace}/{name}"))
    }
}

/// The Kustomization that a request is about, with a namespace. `cluster` is none in a dry run.
///
/// # Errors
/// There is none, or more than one.
pub async fn given(
    request: &Request<'_>,
    to: &ConnectionArguments,
    cluster: Option<&Cluster<'_>>,
) -> Result<Kustomization> {
    let Some(file) = request.file else {
        let (Some(name), Some(cluster)) = (request.name, cluster) else {
            return Err(advised(
                "which Kustomization is to be built was not said",
                "name one of the cluster, or the file that it is in with --kustomization-file",
            ));
        };
        let namespace = to.flux_namespace(cluster.connection().await?);
        return cluster.kustomization(&namespace, name).await;
    };
    let mut kustomization = read(file, request.name, to.namespace.as_deref())?;
    if kustomization.metadata.namespace.is_none() {
        let namespace = match cluster {
            // Only whoever follows the context of the kubeconfig has to have one.
            Some(cluster) if to.ns_follows_kube_context => to.flux_namespace(cluster.connection().await?),
            _ => to.flux_namespace_unconnected(),
        };
        kustomization.metadata.namespace = Some(namespace);
    }
    Ok(kustomization)
}

/// The Kustomization in a file that may hold others, and other objects, beside it.
fn read(file: &Path, name: Option<&str>, namespace: Option<&str>) -> Result<Kustomization> {
    let shown = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {shown}"))?;
    let mut found = Vec::new();
    let mut others = Vec::new();
    for value in yaml::read_documents(&text, Dialect::K8s).with_context(|| format!("reading {shown}"))? {
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let is_flux = text("/apiVersion").split('/').next() == Some(GROUP);
        if !is_flux || text("/kind") != "Kustomization" {
            continue;
        }
        let (its_name, its_namespace) = (text("/metadata/name"), text("/metadata/namespace"));
        let wanted = name.is_none_or(|name| name == its_name)
            && (its_namespace.is_empty() || namespace.is_none_or(|namespace| namespace == its_namespace));
        if wanted {
            found.push(value);
        } else {
            others.push(format!("{its_namespace}/{its_name}"));
        }
    }
    if found.len() > 1 {
        return Err(advised(
            format!(
                "{shown} holds {} Kustomizations, and only one can be built",
                found.len()
            ),
            "say which one by its name, and by --namespace if several have that name",
        ));
    }
    match (found.pop(), name) {
        (Some(value), _) => {
            serde_json::from_value(value).with_context(|| format!("reading the Kustomization in {shown}"))
        }
        (None, Some(name)) if !others.is_empty() => {
            bail!("{shown} holds no Kustomization {name:?}, but {}", others.join(", "))
        }
        (None, _) if !others.is_empty() => bail!("{shown} holds no such Kustomization, but {}", others.join(", ")),
        (None, _) => bail!(
            "{shown} holds no Kustomization of {}",
            nave_crds::kustomize::API_VERSION
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: apps}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: apps, namespace: eu}
spec: {interval: 1m, prune: true, sourceRef: {kind: GitRepository, name: x}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: apps, namespace: us}
spec: {interval: 1m, prune: true, sourceRef: {kind: GitRepository, name: x}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: base}
spec: {interval: 1m, prune: true, sourceRef: {kind: GitRepository, name: x}}
---
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: []
";

    #[track_caller]
    fn check(name: Option<&str>, namespace: Option<&str>, wanted: Result<&str, &str>) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ks.yaml");
        std::fs::write(&file, FILE).expect("a file");
        match (read(&file, name, namespace), wanted) {
            (Ok(found), Ok(wanted)) => {
                let metadata = found.metadata;
                let text = format!(
                    "{}/{}",
                    metadata.namespace.unwrap_or_default(),
                    metadata.name.unwrap_or_default()
                );
                assert_eq!(text, wanted);
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (found, _) => panic!("{name:?} {namespace:?}: {found:?}"),
        }
    }

    #[test]
    fn the_one_that_was_named_is_taken() {
        check(Some("apps"), Some("us"), Ok("us/apps"));
        check(Some("base"), Some("us"), Ok("/base"));
        check(Some("base"), None, Ok("/base"));
        check(Some("apps"), None, Err("2 Kustomizations"));
        check(None, None, Err("3 Kustomizations"));
        check(Some("web"), None, Err("but eu/apps, us/apps, /base"));
    }
}
