//! The variables of `spec.postBuild`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};
use nave_crds::kustomize::{Kustomization, PostBuild, SubstituteKind};
use nave_substitute::Variables;

use super::given::Cluster;
use crate::say;

/// ConfigMaps and Secrets in their order, then the variables in the spec.
///
/// # Errors
/// A ConfigMap or Secret that is missing or may not be read; a name that no manifest could refer to.
pub async fn variables(
    kustomization: &Kustomization,
    post_build: &PostBuild,
    cluster: Option<&Cluster<'_>>,
) -> Result<Variables> {
    let mut variables = Variables::new();
    match cluster {
        _ if post_build.substitute_from.is_empty() => {}
        None => say::warning("dry run: variables of spec.postBuild.substituteFrom are not known"),
        Some(cluster) => {
            let client = &cluster.connection().await?.client;
            let namespace = kustomization.metadata.namespace.as_deref().unwrap_or_default();
            for reference in &post_build.substitute_from {
                let data = data_of(client, namespace, reference.kind, &reference.name).await?;
                match data {
                    Some(data) => data.iter().for_each(|(key, value)| variables.set(key, value)),
                    None if reference.optional => {}
                    None => bail!(
                        "substituteFrom: {:?} {namespace}/{} was not found",
                        reference.kind,
                        reference.name
                    ),
                }
            }
        }
    }
    for (name, value) in &post_build.substitute {
        variables.set(name, value);
    }
    variables.validate()?;
    Ok(variables)
}

async fn data_of(
    client: &Client,
    namespace: &str,
    kind: SubstituteKind,
    name: &str,
) -> Result<Option<BTreeMap<String, String>>> {
    let what = || format!("substituteFrom: reading {kind:?} {namespace}/{name}");
    match kind {
        SubstituteKind::ConfigMap => {
            let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
            let found = api.get_opt(name).await.with_context(what)?;
            Ok(found.map(|map| map.data.unwrap_or_default()))
        }
        SubstituteKind::Secret => {
            let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
            let Some(secret) = api.get_opt(name).await.with_context(what)? else {
                return Ok(None);
            };
            let pairs = secret.data.unwrap_or_default().into_iter();
            let texts = pairs.map(|(key, bytes)| {
                let text = String::from_utf8(bytes.0).with_context(|| format!("{}: key {key:?} is no text", what()))?;
                Ok((key, text))
            });
            texts.collect::<Result<_>>().map(Some)
        }
    }
}
