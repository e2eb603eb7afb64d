//! `spec.provider`: who an object is in a cloud, and what the cloud's servers take from it.

use kube::ResourceExt as _;
use nave_crds::{
    conditions::FETCH_FAILED,
    reasons::{FEATURE_GATE_DISABLED, source as reasons},
    source::OciProvider,
};
use nave_net::{
    ProxyOptions,
    cloud::{Cloud, CloudError, GitLogin, Identity, Provider},
};
use nave_oci::Credentials;
use url::Url;

use crate::{
    common::{Common, refused},
    failure::{Failure, Retry},
    source::Source,
};

/// Whose identity counts.
pub(crate) enum Whose<'a> {
    /// Of the account that the spec names, of the default one, or of this process.
    Account(&'a str),
    /// Of this process, whatever accounts there are.
    Process,
}

fn stalled(reason: &'static str, message: String) -> Failure {
    Failure::new(Retry::Stalled, FETCH_FAILED, reason, message)
}

/// What a cloud's refusal means for the object; `field` names what asked for it.
fn failed(field: &str, provider: Provider, error: &CloudError) -> Failure {
    let message = format!("{field}: '{provider}': {error}");
    match error {
        CloudError::Gate { .. } => stalled(FEATURE_GATE_DISABLED, message),
        CloudError::NotOurs(_) => stalled(reasons::INVALID_PROVIDER_CONFIGURATION, message),
        _ => refused(message),
    }
}

impl<K: Source> Common<K> {
    /// The clouds, asked on behalf of the object and as it wants it.
    fn cloud(
        &self,
        field: &str,
        object: &K,
        provider: Provider,
        proxy: Option<&ProxyOptions>,
    ) -> Result<Cloud, Failure> {
        let Some(cloud) = &self.options.cloud else {
            return Err(stalled(
                reasons::INVALID_PROVIDER_CONFIGURATION,
                format!("{field}: '{provider}' cannot be used here, use 'generic' with a secret"),
            ));
        };
        let namespace = object.namespace().unwrap_or_default();
        let cloud = cloud.of_object(K::KIND, &namespace, &object.name_any());
        match proxy {
            None => Ok(cloud),
            Some(proxy) => cloud
                .through(proxy)
                .map_err(|error| refused(format!("spec.proxySecretRef: {error}"))),
        }
    }

    /// As whom the cloud is asked.
    pub(crate) fn cloud_identity(
        &self,
        field: &str,
        provider: Provider,
        namespace: &str,
        whose: &Whose<'_>,
    ) -> Result<Identity, Failure> {
        match whose {
            Whose::Process => Ok(Identity::Process),
            Whose::Account(name) => Cloud::identity_of(
                namespace,
                name,
                &self.options.default_service_account,
                self.options.object_level_workload_identity,
            )
            .map_err(|error| failed(field, provider, &error)),
        }
    }

    /// User name and password for a cloud's registry; `field` names what asked for it.
    pub(crate) async fn cloud_login(
        &self,
        field: &str,
        object: &K,
        provider: OciProvider,
        whose: Whose<'_>,
        host: &str,
    ) -> Result<Credentials, Failure> {
        let provider = match provider {
            OciProvider::Generic => return Ok(Credentials::Anonymous),
            OciProvider::Aws => Provider::Aws,
            OciProvider::Azure => Provider::Azure,
            OciProvider::Gcp => Provider::Gcp,
        };
        let cloud = self.cloud(field, object, provider, None)?;
        let namespace = object.namespace().unwrap_or_default();
        let identity = self.cloud_identity(field, provider, &namespace, &whose)?;
        let login = cloud
            .registry_login(provider, &identity, host)
            .await
            .map_err(|error| failed(field, provider, &error))?;
        Ok(Credentials::Basic(login))
    }

    /// What a cloud's git server takes, and whose it is.
    pub(crate) async fn git_login(
        &self,
        object: &K,
        provider: Provider,
        account: &str,
        url: &Url,
        proxy: Option<&ProxyOptions>,
    ) -> Result<(GitLogin, Identity), Failure> {
        let field = "spec.provider";
        let cloud = self.cloud(field, object, provider, proxy)?;
        let namespace = object.namespace().unwrap_or_default();
        let identity = self.cloud_identity(field, provider, &namespace, &Whose::Account(account))?;
        let login = cloud
            .git_login(provider, &identity, url)
            .await
            .map_err(|error| failed(field, provider, &error))?;
        Ok((login, identity))
    }
}
