//! The way into a registry, from the Secrets that an object names.

use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::Api;
use nave_crds::meta::LocalRef;
use nave_oci::{Access, Credentials, DockerConfig, Repository};

use crate::{
    common::{Common, NamedSecret, refused},
    failure::{Failure, chain},
    source::Source,
};

/// The fields of a spec that lead into a registry.
pub(crate) struct Ways<'a> {
    pub secret: Option<&'a LocalRef>,
    pub service_account: &'a str,
    pub certificates: Option<&'a LocalRef>,
    pub proxy: Option<&'a LocalRef>,
    pub insecure: bool,
    /// A Secret with `username` and `password` will do, as for HelmRepositories.
    pub takes_basic: bool,
}

/// What was found, and whether any Secret with credentials was named at all.
pub(crate) struct Found {
    pub access: Access,
    pub names_credentials: bool,
}

impl<K: Source> Common<K> {
    /// Reads the Secrets that the object names for `repository`.
    pub(crate) async fn registry_access(
        &self,
        namespace: &str,
        repository: &Repository,
        ways: Ways<'_>,
    ) -> Result<Found, Failure> {
        let mut configs = Vec::new();
        let mut credentials = None;
        if let Some(secret) = self.secret(namespace, "secretRef", ways.secret).await? {
            if ways.takes_basic && !DockerConfig::is_in(&secret.data) {
                let basic = nave_net::BasicAuth::from_secret(&secret.data)
                    .map_err(|error| refused(format!("spec.secretRef: secret '{}': {error}", secret.name)))?
                    .ok_or_else(|| {
                        refused(format!(
                            "spec.secretRef: secret '{}' has neither \".dockerconfigjson\" nor \"username\" and \"password\"",
                            secret.name
                        ))
                    })?;
                credentials = Some(Credentials::Basic(basic));
            } else {
                configs.push(docker_config("spec.secretRef", &secret)?);
            }
        }
        if !ways.service_account.is_empty() {
            configs.extend(self.pull_secrets(namespace, ways.service_account).await?);
        }
        let names_credentials = credentials.is_some() || !configs.is_empty();
        let credentials = credentials
            .or_else(|| {
                configs
                    .iter()
                    .find_map(|config| config.credentials_for(repository).cloned())
            })
            .unwrap_or_default();
        Ok(Found {
            access: Access {
                credentials,
                tls: self.certificates(namespace, ways.certificates).await?,
                proxy: self.proxy(namespace, ways.proxy).await?,
                insecure: ways.insecure,
            },
            names_credentials,
        })
    }

    /// The image pull secrets of a ServiceAccount.
    async fn pull_secrets(&self, namespace: &str, name: &str) -> Result<Vec<DockerConfig>, Failure> {
        let field = "spec.serviceAccountName";
        let shown = format!("{namespace}/{name}");
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let account = accounts
            .get_opt(name)
            .await
            .map_err(|error| refused(format!("{field}: reading service account '{shown}': {}", chain(&error))))?
            .ok_or_else(|| refused(format!("{field}: service account '{shown}' not found")))?;
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let mut configs = Vec::new();
        for reference in account.image_pull_secrets.unwrap_or_default() {
            let name = format!("{namespace}/{}", reference.name);
            let secret = secrets
                .get_opt(&reference.name)
                .await
                .map_err(|error| refused(format!("{field}: reading secret '{name}': {}", chain(&error))))?
                .ok_or_else(|| {
                    refused(format!(
                        "{field}: image pull secret '{name}' of service account '{shown}' not found"
                    ))
                })?;
            let data = secret.data.unwrap_or_default();
            let data = data.into_iter().map(|(key, value)| (key, value.0)).collect();
            configs.push(docker_config(field, &NamedSecret { name, data })?);
        }
        Ok(configs)
    }
}

fn docker_config(field: &str, secret: &NamedSecret) -> Result<DockerConfig, Failure> {
    DockerConfig::from_secret(&secret.data)
        .map_err(|error| refused(format!("{field}: secret '{}': {}", secret.name, chain(&error))))
}
