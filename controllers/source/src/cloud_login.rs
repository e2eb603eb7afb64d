//! `spec.provider`: what a cloud's registry takes, for the identity of an account or of this process.

use nave_crds::{
    conditions::FETCH_FAILED,
    reasons::{FEATURE_GATE_DISABLED, source as reasons},
    source::OciProvider,
};
use nave_net::cloud::{Cloud, CloudError, Identity, Provider};
use nave_oci::Credentials;

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

impl<K: Source> Common<K> {
    /// User name and password for a cloud's registry; `field` names what asked for it.
    pub(crate) async fn cloud_login(
        &self,
        field: &str,
        namespace: &str,
        provider: OciProvider,
        whose: Whose<'_>,
        host: &str,
    ) -> Result<Credentials, Failure> {
        let stalled = |reason, message: String| Failure::new(Retry::Stalled, FETCH_FAILED, reason, message);
        let provider = match provider {
            OciProvider::Generic => return Ok(Credentials::Anonymous),
            OciProvider::Aws => Provider::Aws,
            OciProvider::Azure => Provider::Azure,
            OciProvider::Gcp => Provider::Gcp,
        };
        let Some(cloud) = &self.options.cloud else {
            return Err(stalled(
                reasons::INVALID_PROVIDER_CONFIGURATION,
                format!("{field}: '{provider}' cannot be used here, use 'generic' with a secret"),
            ));
        };
        let failed = |error: CloudError| {
            let message = format!("{field}: '{provider}': {error}");
            match error {
                CloudError::Gate { .. } => stalled(FEATURE_GATE_DISABLED, message),
                CloudError::NotOurs(_) => stalled(reasons::INVALID_PROVIDER_CONFIGURATION, message),
                _ => refused(message),
            }
        };
        let identity = match whose {
            Whose::Process => Identity::Process,
            Whose::Account(name) => Cloud::identity_of(
                namespace,
                name,
                &self.options.default_service_account,
                self.options.object_level_workload_identity,
            )
            .map_err(failed)?,
        };
        let login = cloud.registry_login(provider, &identity, host).await.map_err(failed)?;
        Ok(Credentials::Basic(login))
    }
}
