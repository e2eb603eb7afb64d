//! The credentials of one remote, renewed when they expire, and putting them onto a request.

use std::sync::Arc;

use http::{HeaderValue, header::AUTHORIZATION};
use object_store::{
    CredentialProvider,
    aws::{AwsAuthorizer, AwsCredential},
    azure::{AzureAccessKey, AzureAuthorizer, AzureCredential, MicrosoftAzureBuilder},
    client::HttpRequest,
    gcp::{GcpCredential, GoogleCloudStorageBuilder},
};

use crate::{
    Access, AzureKeys, BucketError, CloudAsk, CloudCredentials, CloudKey, Keys,
    http_service::{Http, chain},
    ldap::Ldap,
};

/// Where the credentials of one remote come from.
#[derive(Debug)]
pub(crate) enum KeySource {
    None,
    Static(Arc<AwsCredential>),
    Ldap(Ldap),
    Google(Arc<dyn CredentialProvider<Credential = GcpCredential>>),
    Azure(Arc<dyn CredentialProvider<Credential = AzureCredential>>),
    AzureStatic(Arc<AzureCredential>),
    Cloud(CloudAsk, Option<Arc<dyn CloudCredentials>>),
}

/// Credentials that are valid now.
#[derive(Debug, Clone)]
pub(crate) enum Current {
    None,
    Aws(Arc<AwsCredential>),
    Bearer(HeaderValue),
    Azure(Arc<AzureCredential>),
}

impl KeySource {
    pub fn new(access: &Access, http: &Http, cloud: Option<Arc<dyn CloudCredentials>>) -> Result<Self, BucketError> {
        let wrong = |problem: String| BucketError::Keys(format!("spec.secretRef: {problem}"));
        Ok(match &access.keys {
            Keys::Anonymous => KeySource::None,
            Keys::Static { access, secret } => KeySource::Static(Arc::new(AwsCredential {
                key_id: access.clone(),
                secret_key: secret.expose().to_owned(),
                token: None,
            })),
            Keys::Ldap { endpoint, user, tls } => {
                let http = Http::new(tls, access.proxy.as_ref(), true)?;
                KeySource::Ldap(Ldap::new(http, endpoint, user.clone()))
            }
            Keys::Google(key) => {
                check_google(key.expose()).map_err(wrong)?;
                let storage = GoogleCloudStorageBuilder::new()
                    .with_bucket_name(access.bucket.clone())
                    .with_service_account_key(key.expose())
                    .with_http_connector(http.clone())
                    .build()
                    // Its text may quote the key.
                    .map_err(|_| wrong("key 'serviceaccount' is no usable key of a service account".to_owned()))?;
                KeySource::Google(storage.credentials().clone())
            }
            Keys::Azure(AzureKeys::Account(key)) => {
                let key = AzureAccessKey::try_new(key.expose())
                    .map_err(|_| wrong("key 'accountKey' is not base64".to_owned()))?;
                KeySource::AzureStatic(Arc::new(AzureCredential::AccessKey(key)))
            }
            Keys::Azure(AzureKeys::Signature(key)) => {
                let query = key.expose().trim_start_matches('?');
                let pairs = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
                KeySource::AzureStatic(Arc::new(AzureCredential::SASToken(pairs)))
            }
            Keys::Azure(AzureKeys::ClientSecret {
                tenant,
                client,
                secret,
                authority,
            }) => {
                let mut builder = MicrosoftAzureBuilder::new()
                    .with_account("unused")
                    .with_container_name(access.bucket.clone())
                    .with_client_secret_authorization(client.clone(), secret.expose(), tenant.clone())
                    .with_http_connector(http.clone());
                if let Some(authority) = authority {
                    builder = builder.with_authority_host(authority.trim_end_matches('/'));
                }
                azure(builder)?
            }
            Keys::Azure(AzureKeys::Managed { client }) => azure(
                MicrosoftAzureBuilder::new()
                    .with_account("unused")
                    .with_container_name(access.bucket.clone())
                    .with_client_id(client.clone())
                    .with_http_connector(http.clone()),
            )?,
            Keys::Cloud(ask) => KeySource::Cloud(ask.clone(), cloud),
        })
    }

    pub async fn current(&self) -> Result<Current, BucketError> {
        Ok(match self {
            KeySource::None => Current::None,
            KeySource::Static(key) => Current::Aws(key.clone()),
            KeySource::Ldap(ldap) => Current::Aws(ldap.key().await?),
            KeySource::AzureStatic(key) => Current::Azure(key.clone()),
            KeySource::Google(provider) => {
                let key = provider
                    .get_credential()
                    .await
                    .map_err(|error| no_token("a token of the service account", &error))?;
                bearer(&key.bearer)?
            }
            KeySource::Azure(provider) => {
                let key = provider
                    .get_credential()
                    .await
                    .map_err(|error| no_token("a token of the directory", &error))?;
                Current::Azure(key)
            }
            KeySource::Cloud(ask, None) => {
                return Err(BucketError::Keys(format!(
                    "spec.provider: '{}' without spec.secretRef needs an identity of the cloud, which is not supported by \
                     this version; name a Secret with keys",
                    ask.provider
                )));
            }
            KeySource::Cloud(ask, Some(cloud)) => match cloud.key(ask).await.map_err(BucketError::Keys)? {
                CloudKey::Aws { access, secret, token } => Current::Aws(Arc::new(AwsCredential {
                    key_id: access,
                    secret_key: secret.expose().to_owned(),
                    token: Some(token.expose().to_owned()).filter(|token| !token.is_empty()),
                })),
                CloudKey::Bearer(token) if ask.provider == "azure" => {
                    Current::Azure(Arc::new(AzureCredential::BearerToken(token.expose().to_owned())))
                }
                CloudKey::Bearer(token) => bearer(token.expose())?,
            },
        })
    }
}

impl Current {
    /// Signs a request, or gives it a token.
    pub fn authorize(&self, request: &mut HttpRequest, region: &str, account: &str) -> Result<(), BucketError> {
        let failed = |error: object_store::Error| BucketError::Keys(format!("signing a request: {}", chain(&error)));
        match self {
            Current::None => Ok(()),
            Current::Aws(key) => AwsAuthorizer::new(key, "s3", region)
                .try_authorize(request, None)
                .map_err(failed),
            Current::Bearer(value) => {
                request.headers_mut().insert(AUTHORIZATION, value.clone());
                Ok(())
            }
            Current::Azure(key) => AzureAuthorizer::new(key, account)
                .try_authorize(request)
                .map_err(failed),
        }
    }
}

fn azure(builder: MicrosoftAzureBuilder) -> Result<KeySource, BucketError> {
    let storage = builder
        .build()
        .map_err(|error| BucketError::Keys(format!("spec.secretRef: {}", chain(&error))))?;
    Ok(KeySource::Azure(storage.credentials().clone()))
}

/// Other kinds of files would be taken for something else, or make the library look into the environment.
fn check_google(json: &str) -> Result<(), String> {
    let wrong = |problem: &str| format!("key 'serviceaccount': {problem}");
    let value: serde_json::Value = serde_json::from_str(json).map_err(|_| wrong("it is not JSON"))?;
    match value.get("type").and_then(serde_json::Value::as_str) {
        Some("service_account") | None => Ok(()),
        Some(_) => Err(wrong(
            "only keys of type 'service_account' are supported by this version",
        )),
    }
}

fn bearer(token: &str) -> Result<Current, BucketError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| BucketError::Keys("the token holds control characters".to_owned()))?;
    value.set_sensitive(true);
    Ok(Current::Bearer(value))
}

fn no_token(what: &str, error: &object_store::Error) -> BucketError {
    BucketError::Keys(format!("asking for {what}: {}", chain(error)))
}
