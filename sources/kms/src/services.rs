//! Which service a request is for, and what all have in common.

use std::time::Duration;

use nave_net::{
    ClientError, TlsOptions,
    cloud::{CacheLimits, Cloud, Settings},
    http_client, is_local, redact,
};
use nave_sops::{Answer, KeyService, Request};
use serde_json::Value;

use crate::{Credentials, aws, azure, gcp, vault};

/// One request, from its first byte to the last of the answer.
const DEADLINE: Duration = Duration::from_secs(30);
/// A data key is 32 bytes; what is around it in JSON is little.
const LARGEST_ANSWER: usize = 64 * 1024;

/// Clients of the services. Cloning shares their connections.
#[derive(Debug, Clone)]
pub struct KeyServices {
    pub(crate) client: reqwest::Client,
    /// Where keys of Secrets are exchanged for tokens. It has no identity of its own.
    pub(crate) exchange: Cloud,
    /// In place of the region's own endpoint.
    aws_endpoint: Option<String>,
    /// In place of Google's own.
    gcp_endpoint: Option<String>,
    /// In place of what a file says, with its scope.
    azure_endpoint: Option<String>,
    /// Loopback and link-local addresses may be asked.
    allow_local: bool,
}

impl KeyServices {
    /// With the system's root certificates and the proxies of the environment.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn new() -> Result<KeyServices, ClientError> {
        let builder = http_client(&TlsOptions::default(), None)?
            .timeout(DEADLINE)
            // Tokens go to who was named and to nobody else.
            .redirect(reqwest::redirect::Policy::none());
        Ok(KeyServices::with_client(builder.build().map_err(ClientError::Build)?))
    }

    /// With a client of the caller's; it should follow no redirects.
    pub fn with_client(client: reqwest::Client) -> KeyServices {
        let exchange = Cloud::with_client(client.clone(), Settings::default(), None, CacheLimits::default());
        KeyServices {
            client,
            exchange,
            aws_endpoint: None,
            gcp_endpoint: None,
            azure_endpoint: None,
            allow_local: false,
        }
    }

    /// Asks AWS at this address, for endpoints in a private network.
    pub fn with_aws_endpoint(self, endpoint: impl Into<String>) -> KeyServices {
        KeyServices {
            aws_endpoint: Some(endpoint.into()),
            ..self
        }
    }

    /// With an endpoint that stands for Google's.
    pub fn with_gcp_endpoint(self, endpoint: impl Into<String>) -> KeyServices {
        KeyServices {
            gcp_endpoint: Some(endpoint.into()),
            ..self
        }
    }

    /// With an endpoint that stands for every vault of Azure.
    pub fn with_azure_endpoint(self, endpoint: impl Into<String>) -> KeyServices {
        KeyServices {
            azure_endpoint: Some(endpoint.into()),
            ..self
        }
    }

    /// Whether addresses of this machine and its link may be asked. A file names its Vault itself: who decrypts the
    /// files of others must not reach for them what only this process can reach.
    pub fn allow_local_addresses(self, allow: bool) -> KeyServices {
        KeyServices {
            allow_local: allow,
            ..self
        }
    }

    /// Has a data key decrypted. The error says what the service answered; it shows no credentials.
    pub async fn decrypt(&self, request: &Request, credentials: &Credentials) -> Answer {
        let ciphertext = &request.ciphertext;
        match &request.service {
            KeyService::Vault {
                address,
                engine_path,
                key_name,
            } => {
                let url = vault::url_of(address, engine_path, key_name)?;
                if !self.allow_local && is_local(&url) {
                    return Err("the address is one of this machine, which is not allowed".to_owned());
                }
                vault::decrypt(&self.client, (address, url), ciphertext, credentials).await
            }
            KeyService::AwsKms { arn, role, context, .. } => {
                let endpoint = self.aws_endpoint.as_deref();
                let key = aws::Key { arn, role, context };
                aws::decrypt(self, endpoint, key, ciphertext, credentials).await
            }
            KeyService::GcpKms { resource_id } => {
                let endpoint = self.gcp_endpoint.as_deref();
                gcp::decrypt(self, endpoint, resource_id, ciphertext, credentials).await
            }
            KeyService::AzureKeyVault {
                vault_url,
                name,
                version,
            } => {
                let endpoint = self.azure_endpoint.as_deref();
                let key = azure::Key {
                    vault_url,
                    name,
                    version,
                };
                azure::decrypt(self, endpoint, key, ciphertext, credentials).await
            }
        }
    }
}

/// Sends a request and reads JSON; the status is for the caller to judge.
pub(crate) async fn send(request: reqwest::RequestBuilder) -> Result<(u16, Value), String> {
    let failed = |error: reqwest::Error| {
        let error = error.without_url();
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        redact(&text)
    };
    let mut answer = request.send().await.map_err(failed)?;
    let status = answer.status().as_u16();
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        if bytes.len() + chunk.len() > LARGEST_ANSWER {
            return Err(format!("the answer is larger than {LARGEST_ANSWER} bytes"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
}
