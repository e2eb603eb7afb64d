//! The cluster and the identity that a HelmRelease is installed with.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use nave_crds::helm::HelmRelease;
use nave_targets::{ConfigMapAccess, ConfigMapError, ServiceAccount, Target, TargetError};

use crate::{Options, Ports};

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetOfError {
    #[error("kubeconfig secret {namespace}/{name} was not found")]
    SecretMissing { namespace: String, name: String },
    #[error("kubeconfig secret {namespace}/{name} has no key {key:?}")]
    KeyMissing {
        namespace: String,
        name: String,
        key: String,
    },
    #[error("reading kubeconfig secret {namespace}/{name}: {source}")]
    Read {
        namespace: String,
        name: String,
        source: kube::Error,
    },
    #[error("spec.kubeConfig has neither secretRef nor configMapRef")]
    NoReference,
    #[error("spec.kubeConfig.configMapRef: {0}")]
    ConfigMap(#[from] ConfigMapError),
    #[error("kubeconfig of secret {namespace}/{name}: {source}")]
    Kubeconfig {
        namespace: String,
        name: String,
        source: TargetError,
    },
    #[error("spec.serviceAccountName: {0}")]
    Account(TargetError),
}

/// The account that is impersonated: the one of the spec, else the default one; both in the object's namespace.
pub(crate) fn account_of(release: &HelmRelease, options: &Options) -> Option<ServiceAccount> {
    let name = match release.spec.service_account_name.as_str() {
        "" => options.default_service_account.as_str(),
        name => name,
    };
    (!name.is_empty()).then(|| ServiceAccount {
        namespace: release.metadata.namespace.clone().unwrap_or_default(),
        name: name.to_owned(),
    })
}

pub(crate) async fn target_of(
    release: &HelmRelease,
    ports: &Ports,
    options: &Options,
) -> Result<Arc<Target>, TargetOfError> {
    let account = account_of(release, options);
    let Some(reference) = &release.spec.kube_config else {
        return ports.targets.local(account.as_ref()).map_err(TargetOfError::Account);
    };
    let namespace = release.metadata.namespace.clone().unwrap_or_default();
    if let Some(config_map) = &reference.config_map_ref {
        let name = release.metadata.name.as_deref().unwrap_or_default();
        let clouds = options.cloud.as_ref();
        let cloud = clouds.map(|cloud| cloud.of_object("HelmRelease", &namespace, name));
        let access = ConfigMapAccess {
            client: &ports.client,
            namespace: &namespace,
            name: &config_map.name,
            account: account.as_ref(),
            cloud: cloud.as_ref(),
            gate: options.gates.object_level_workload_identity,
            default_account: &options.default_kubeconfig_service_account,
        };
        return Ok(ports.targets.by_config_map(access).await?);
    }
    let secret_ref = reference.secret_ref.as_ref().ok_or(TargetOfError::NoReference)?;
    let name = secret_ref.name.clone();
    let api: Api<Secret> = Api::namespaced(ports.client.clone(), &namespace);
    let secret = match api.get_opt(&name).await {
        Ok(Some(secret)) => secret,
        Ok(None) => return Err(TargetOfError::SecretMissing { namespace, name }),
        Err(source) => {
            return Err(TargetOfError::Read {
                namespace,
                name,
                source,
            });
        }
    };
    let data = secret.data.unwrap_or_default();
    let keys: &[&str] = match secret_ref.key.as_str() {
        "" => &["value", "value.yaml"],
        key => &[key],
    };
    let Some(kubeconfig) = keys.iter().find_map(|key| data.get(*key)) else {
        return Err(TargetOfError::KeyMissing {
            namespace,
            name,
            key: keys[0].to_owned(),
        });
    };
    ports
        .targets
        .remote(&kubeconfig.0, account.as_ref())
        .await
        .map_err(|source| TargetOfError::Kubeconfig {
            namespace,
            name,
            source,
        })
}
