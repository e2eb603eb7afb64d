//! The variables of `spec.postBuild`.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};
use nave_crds::kustomize::{Kustomization, PostBuild, SubstituteKind, SubstituteStrategy};
use nave_substitute::{Strategy, Variables};

/// Why variables cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VariablesError {
    #[error("substituteFrom: {kind} {namespace}/{name} was not found")]
    Missing {
        kind: &'static str,
        namespace: String,
        name: String,
    },
    #[error("substituteFrom: reading {kind} {namespace}/{name}: {source}")]
    Read {
        kind: &'static str,
        namespace: String,
        name: String,
        source: kube::Error,
    },
    #[error("substituteFrom: key {key:?} of {kind} {namespace}/{name} is not UTF-8 text")]
    NotText {
        kind: &'static str,
        namespace: String,
        name: String,
        key: String,
    },
}

impl VariablesError {
    /// Whether they may be had another time though nothing is changed.
    pub fn may_pass(&self) -> bool {
        matches!(self, VariablesError::Read { .. })
    }
}

/// From ConfigMaps and Secrets in order, then those in the spec, which win.
pub(crate) async fn variables_of(
    kustomization: &Kustomization,
    post_build: &PostBuild,
    client: &Client,
) -> Result<Variables, VariablesError> {
    let namespace = kustomization.metadata.namespace.clone().unwrap_or_default();
    let mut variables = Variables::new();
    for reference in &post_build.substitute_from {
        let name = &reference.name;
        let data = match reference.kind {
            SubstituteKind::ConfigMap => {
                let api: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
                api.get_opt(name).await.map(|found| {
                    found.map(|object| {
                        let data = object.data.unwrap_or_default();
                        data.into_iter()
                            .map(|(key, value)| (key, Some(value)))
                            .collect::<Vec<_>>()
                    })
                })
            }
            SubstituteKind::Secret => {
                let api: Api<Secret> = Api::namespaced(client.clone(), &namespace);
                api.get_opt(name).await.map(|found| {
                    found.map(|object| {
                        let data = object.data.unwrap_or_default();
                        data.into_iter()
                            .map(|(key, value)| (key, String::from_utf8(value.0).ok()))
                            .collect::<Vec<_>>()
                    })
                })
            }
        };
        let kind = match reference.kind {
            SubstituteKind::ConfigMap => "ConfigMap",
            SubstituteKind::Secret => "Secret",
        };
        match data {
            Ok(Some(data)) => {
                for (key, value) in data {
                    let value = value.ok_or_else(|| VariablesError::NotText {
                        kind,
                        namespace: namespace.clone(),
                        name: name.clone(),
                        key: key.clone(),
                    })?;
                    match reference.kind {
                        SubstituteKind::ConfigMap => variables.set(key, &value),
                        SubstituteKind::Secret => variables.set_secret(key, &value),
                    }
                }
            }
            Ok(None) if reference.optional => {}
            Ok(None) => {
                return Err(VariablesError::Missing {
                    kind,
                    namespace,
                    name: name.clone(),
                });
            }
            Err(source) => {
                return Err(VariablesError::Read {
                    kind,
                    namespace,
                    name: name.clone(),
                    source,
                });
            }
        }
    }
    for (key, value) in &post_build.substitute {
        variables.set(key, value);
    }
    Ok(variables)
}

pub(crate) fn strategy_of(post_build: &PostBuild) -> Strategy {
    match post_build.substitute_strategy {
        Some(SubstituteStrategy::Always) => Strategy::Always,
        Some(SubstituteStrategy::WithVariables) | None => Strategy::WithVariables,
    }
}
