//! Keys of storages, from the identities of clouds.

use futures::{FutureExt as _, future::BoxFuture};
use nave_bucket::{CloudAsk, CloudCredentials, CloudKey};
use nave_net::{
    SecretText,
    cloud::{Cloud, Identity},
};

/// The scope of Azure's storages.
const AZURE_STORAGE: &str = "https://storage.azure.com/.default";

/// Asks the clouds for every exchange; they keep what they were given.
#[derive(Debug)]
pub(crate) struct CloudKeys(pub Cloud);

impl CloudCredentials for CloudKeys {
    fn key<'a>(&'a self, ask: &'a CloudAsk) -> BoxFuture<'a, Result<CloudKey, String>> {
        async move {
            let cloud = self.0.of_object("Bucket", &ask.namespace, &ask.name);
            let cloud = match &ask.proxy {
                None => cloud,
                Some(proxy) => cloud
                    .through(proxy)
                    .map_err(|error| format!("spec.proxySecretRef: {error}"))?,
            };
            let identity = match ask.service_account.as_str() {
                "" => Identity::Process,
                name => Identity::Account {
                    namespace: ask.namespace.clone(),
                    name: name.to_owned(),
                },
            };
            let key = match ask.provider {
                "aws" => {
                    let region = Some(ask.region.as_str()).filter(|region| !region.is_empty());
                    cloud
                        .aws_credentials_of(&identity, region, ask.sts_endpoint.as_deref())
                        .await
                        .map(|found| CloudKey::Aws {
                            access: found.id,
                            secret: found.secret,
                            token: found.session_token.unwrap_or_else(|| SecretText::new("")),
                        })
                }
                "gcp" => cloud
                    .gcp_token(&identity)
                    .await
                    .map(|token| CloudKey::Bearer(token.value)),
                _ => cloud
                    .azure_token(&identity, AZURE_STORAGE)
                    .await
                    .map(|token| CloudKey::Bearer(token.value)),
            };
            key.map_err(|error| format!("spec.provider: '{}': {error}", ask.provider))
        }
        .boxed()
    }
}
