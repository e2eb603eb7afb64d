//! Access tokens of Microsoft Entra ID: for the process, for a service account, or for a key that was handed out.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Value, json as value};
use sha2::{Digest, Sha256};

use crate::{
    SecretText,
    cloud::{
        Cloud, CloudError, CloudToken, Identity, Service,
        gcp::token_of,
        google_key::signed_token,
        http::{detail, fetch, form, json},
        sigv4::hex,
    },
};

/// An application of Entra ID, or a managed identity, as a Secret names it.
#[derive(Clone)]
pub enum AzureKey {
    /// An application with a secret.
    Secret {
        /// `tenantId`.
        tenant: String,
        /// `clientId`.
        client: String,
        /// `clientSecret`.
        secret: SecretText,
        /// `authorityHost`, where it is not the public cloud's.
        authority: Option<String>,
    },
    /// An application with a certificate.
    Certificate {
        /// `tenantId`.
        tenant: String,
        /// `clientId`.
        client: String,
        /// `clientCertificate`: PEM, certificate and private key.
        pem: SecretText,
        /// `clientCertificateSendChain`.
        send_chain: bool,
        /// `authorityHost`, where it is not the public cloud's.
        authority: Option<String>,
    },
    /// A managed identity of this machine.
    Managed {
        /// `clientId`.
        client: String,
    },
}

impl fmt::Debug for AzureKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, client) = match self {
            AzureKey::Secret { client, .. } => ("secret", client),
            AzureKey::Certificate { client, .. } => ("certificate", client),
            AzureKey::Managed { client } => ("managed", client),
        };
        f.debug_tuple("AzureKey").field(&kind).field(client).finish()
    }
}

const LOGIN: &str = "Microsoft Entra ID";
const METADATA: &str = "the metadata service of Azure";
const AUDIENCE: &str = "api://AzureADTokenExchange";
const CLIENT: &str = "azure.workload.identity/client-id";
const TENANT: &str = "azure.workload.identity/tenant-id";
const NEAR: std::time::Duration = std::time::Duration::from_secs(5);
/// Of Azure DevOps.
const DEVOPS: &str = "499b84ac-1321-427f-aa17-267ca6975798/.default";

/// How an application shows who it is.
enum Proof<'a> {
    Secret(&'a str),
    Assertion(&'a str),
}

impl Cloud {
    /// An access token for a scope such as `https://vault.azure.net/.default`.
    ///
    /// # Errors
    /// There is no identity, or Entra ID refuses.
    pub async fn azure_token(&self, identity: &Identity, scope: &str) -> Result<CloudToken, CloudError> {
        let account = self.account(identity).await?;
        let named = match &account {
            None => None,
            Some(account) => Some((account.needed(TENANT, is_id)?, account.needed(CLIENT, is_id)?)),
        };
        let name = format!("azure {identity} {named:?} {scope}");
        let fetch = async {
            let token = match (&account, named) {
                (Some(account), Some((tenant, client))) => {
                    let assertion = account.token(AUDIENCE).await?;
                    let proof = Proof::Assertion(assertion.expose());
                    self.azure_login(None, tenant, client, proof, scope).await?
                }
                _ => self.azure_of_process(scope).await?,
            };
            let until = token.expires;
            Ok((token, until))
        };
        self.inner.tokens.get(name, self.usage.as_deref(), fetch).await
    }

    /// An access token for a key that was handed out.
    ///
    /// # Errors
    /// The key cannot be used, or Entra ID refuses.
    pub async fn azure_token_of_key(&self, key: &AzureKey, scope: &str) -> Result<CloudToken, CloudError> {
        let fetch = async {
            let token = self.azure_of_key(key, scope).await?;
            let until = token.expires;
            Ok((token, until))
        };
        self.inner
            .tokens
            .get(
                format!("azure key {} {scope}", key.name()),
                self.usage.as_deref(),
                fetch,
            )
            .await
    }

    /// A token of Azure DevOps, which git takes as a bearer token.
    ///
    /// # Errors
    /// As [`Cloud::azure_token`].
    pub async fn azure_devops_token(&self, identity: &Identity) -> Result<CloudToken, CloudError> {
        self.azure_token(identity, DEVOPS).await
    }

    async fn azure_of_process(&self, scope: &str) -> Result<CloudToken, CloudError> {
        let settings = &self.inner.settings;
        let (tenant, client) = (settings.get("AZURE_TENANT_ID"), settings.get("AZURE_CLIENT_ID"));
        if let (Some(tenant), Some(client)) = (tenant, client) {
            if let Some(secret) = settings.get("AZURE_CLIENT_SECRET") {
                return self
                    .azure_login(None, tenant, client, Proof::Secret(secret), scope)
                    .await;
            }
            if let Some(token) = settings.file("AZURE_FEDERATED_TOKEN_FILE").await? {
                return self
                    .azure_login(None, tenant, client, Proof::Assertion(&token), scope)
                    .await;
            }
        }
        self.azure_of_machine(client, scope).await
    }

    async fn azure_of_key(&self, key: &AzureKey, scope: &str) -> Result<CloudToken, CloudError> {
        match key {
            AzureKey::Managed { client } => self.azure_of_machine(Some(client), scope).await,
            AzureKey::Secret {
                tenant,
                client,
                secret,
                authority,
            } => {
                let proof = Proof::Secret(secret.expose());
                self.azure_login(authority.as_deref(), tenant, client, proof, scope)
                    .await
            }
            AzureKey::Certificate {
                tenant,
                client,
                pem,
                send_chain,
                authority,
            } => {
                let authority = authority.as_deref();
                let audience = self.token_address(authority, tenant)?;
                let assertion = assertion(client, &audience, pem, *send_chain)?;
                let proof = Proof::Assertion(assertion.expose());
                self.azure_login(authority, tenant, client, proof, scope).await
            }
        }
    }

    fn token_address(&self, authority: Option<&str>, tenant: &str) -> Result<String, CloudError> {
        if !is_id(tenant) {
            return Err(CloudError::Setting(format!("'{tenant}' is no id of a tenant")));
        }
        let usual = || "https://login.microsoftonline.com".to_owned();
        let address = match authority {
            Some(address) if address.starts_with("https://") => address.trim_end_matches('/').to_owned(),
            Some(address) => {
                return Err(CloudError::Setting(format!(
                    "authority host '{address}' does not begin with https://"
                )));
            }
            None => self.inner.settings.endpoint(Service::AzureLogin, usual),
        };
        Ok(format!("{address}/{tenant}/oauth2/v2.0/token"))
    }

    async fn azure_login(
        &self,
        authority: Option<&str>,
        tenant: &str,
        client: &str,
        proof: Proof<'_>,
        scope: &str,
    ) -> Result<CloudToken, CloudError> {
        let address = self.token_address(authority, tenant)?;
        let mut fields = vec![
            ("client_id", client),
            ("grant_type", "client_credentials"),
            ("scope", scope),
        ];
        match proof {
            Proof::Secret(secret) => fields.push(("client_secret", secret)),
            Proof::Assertion(token) => fields.extend([
                ("client_assertion", token),
                (
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                ),
            ]),
        }
        let answer = json(LOGIN, form(self.inner.client.post(address), &fields)).await?;
        token_of(LOGIN, &answer)
    }

    /// The managed identity of the machine.
    async fn azure_of_machine(&self, client: Option<&str>, scope: &str) -> Result<CloudToken, CloudError> {
        let address = self
            .inner
            .settings
            .endpoint(Service::AzureMetadata, || "http://169.254.169.254".to_owned());
        let resource = scope.trim_end_matches("/.default");
        let fields = [("api-version", "2018-02-01"), ("resource", resource)];
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields.into_iter().chain(client.map(|client| ("client_id", client))))
            .finish();
        let request = self
            .inner
            .client
            .get(format!("{address}/metadata/identity/oauth2/token?{query}"))
            .header("metadata", "true")
            .timeout(NEAR);
        let nowhere = |what: String| CloudError::Nowhere {
            provider: "Azure",
            tried: format!(
                "the environment has neither AZURE_CLIENT_SECRET nor AZURE_FEDERATED_TOKEN_FILE with a tenant and a \
                 client, and {what}"
            ),
        };
        let (status, body) = fetch(METADATA, request)
            .await
            .map_err(|error| nowhere(error.to_string()))?;
        if status != 200 {
            let what = format!("{METADATA} answered with HTTP {status}: {}", detail(&body));
            return Err(nowhere(what));
        }
        let answer: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        token_of(METADATA, &answer)
    }
}

impl AzureKey {
    /// Names the key without showing it.
    fn name(&self) -> String {
        match self {
            AzureKey::Secret {
                tenant, client, secret, ..
            } => format!("{tenant} {client} {}", hex(&Sha256::digest(secret.expose()))),
            AzureKey::Certificate {
                tenant, client, pem, ..
            } => format!("{tenant} {client} {}", hex(&Sha256::digest(pem.expose()))),
            AzureKey::Managed { client } => format!("managed {client}"),
        }
    }
}

/// A token that an application signs with its own key. It names the certificate by its digest.
fn assertion(client: &str, audience: &str, pem: &SecretText, send_chain: bool) -> Result<SecretText, CloudError> {
    let wrong = |detail: &str| CloudError::Key {
        what: "client certificate",
        detail: detail.to_owned(),
    };
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem.expose().as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| wrong("it is not PEM; PKCS#12 is not supported"))?;
    let first = certificates.first().ok_or_else(|| {
        wrong("it holds no PEM certificate; PKCS#12 and encrypted keys are not supported, use PEM without a password")
    })?;
    let mut header = value!({
        "alg": "RS256",
        "typ": "JWT",
        "x5t#S256": URL_SAFE_NO_PAD.encode(Sha256::digest(first)),
    });
    if send_chain {
        let chain: Vec<String> = certificates
            .iter()
            .map(|certificate| base64::engine::general_purpose::STANDARD.encode(certificate))
            .collect();
        header["x5c"] = value!(chain);
    }
    let now = Timestamp::now();
    let seconds = now.as_second();
    let claims = value!({
        "aud": audience, "iss": client, "sub": client, "jti": format!("{client}-{}", now.as_nanosecond()),
        "nbf": seconds, "iat": seconds, "exp": seconds + 600,
    });
    signed_token(&header, &claims, pem)
}

/// Ids of tenants and clients become parts of paths.
fn is_id(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}
