//! The cluster that a Kustomization is applied to.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use nave_crds::{kustomize::Kustomization, meta::KubeConfigRef};
use nave_net::cloud::{CacheLimits, Cloud, Settings};
use nave_targets::{ClusterAccounts, ConfigMapAccess, KubeconfigPolicy, Target, Targets};

use crate::connection::Connection;

/// The connection's own cluster, or that of the kubeconfig or ConfigMap which the spec names. Asked as whoever runs the command: a
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
    if let Some(config_map) = &reference.config_map_ref {
        let client = &connection.client;
        let accounts = Arc::new(ClusterAccounts::new(client.clone()));
        // Whoever runs the command has credentials of clouds in the environment, as a controller has.
        let cloud = Cloud::new(Settings::of_process(), Some(accounts), CacheLimits::default())
            .context("preparing the HTTP client for clouds")?;
        let access = ConfigMapAccess {
            client,
            namespace,
            name: &config_map.name,
            account: None,
            cloud: Some(&cloud),
            // Whether the controller may do so is its own matter; here the caller's rights decide.
            gate: true,
            default_account: "",
        };
        let target = targets.by_config_map(access).await;
        return target.context("spec.kubeConfig.configMapRef");
    }
    let Some(reference) = &reference.secret_ref else {
        bail!("spec.kubeConfig has neither secretRef nor configMapRef");
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
