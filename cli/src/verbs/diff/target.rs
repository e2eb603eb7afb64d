//! The cluster that a Kustomization is applied to.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use nave_crds::{kustomize::Kustomization, meta::KubeConfigRef};
use nave_targets::{KubeconfigPolicy, Target, Targets};

use crate::connection::Connection;

/// The connection's own cluster, or that of the kubeconfig which the spec names. Asked as whoever runs the command: a
/// service account of the spec is not impersonated, as with flux.
///
/// # Errors
/// There is no such Secret, it may not be read, or its kubeconfig cannot be used.
pub async fn target_of(kustomization: &Kustomization, connection: &Connection) -> Result<Arc<Target>> {
    let namespace = kustomization.metadata.namespace.as_deref().unwrap_or_default();
    target_for(kustomization.spec.kube_config.as_ref(), namespace, connection).await
}

/// The same for an object of any kind, in `namespace`.
///
/// # Errors
/// As [`target_of`].
pub async fn target_for(
    kube_config: Option<&KubeConfigRef>,
    namespace: &str,
    connection: &Connection,
) -> Result<Arc<Target>> {
    let policy = KubeconfigPolicy {
        // Whoever runs the command may well sit beside the server, which a controller in a pod does not.
        allow_local_servers: true,
        ..KubeconfigPolicy::default()
    };
    let targets = Targets::new(connection.client.clone(), policy);
    let Some(reference) = kube_config else {
        return Ok(targets.local(None)?);
    };
    let Some(reference) = &reference.secret_ref else {
        bail!("spec.kubeConfig.configMapRef is not supported by this version");
    };
    let what = || format!("kubeconfig secret {namespace}/{}", reference.name);
    let api: Api<Secret> = Api::namespaced(connection.client.clone(), namespace);
    let Some(secret) = api
        .get_opt(&reference.name)
        .await
        .with_context(|| format!("reading {}", what()))?
    else {
        bail!("{} was not found", what());
    };
    let data = secret.data.unwrap_or_default();
    let keys: &[&str] = match reference.key.as_str() {
        "" => &["value", "value.yaml"],
        key => &[key],
    };
    let Some(kubeconfig) = keys.iter().find_map(|key| data.get(*key)) else {
        bail!("{} has no key {:?}", what(), keys[0]);
    };
    targets.remote(&kubeconfig.0, None).await.with_context(what)
}
