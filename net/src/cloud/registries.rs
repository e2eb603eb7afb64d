//! What a cloud's registry takes as user name and password.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jiff::Timestamp;
use serde_json::Value;
use url::Url;

use crate::{
    BasicAuth, SecretText,
    cloud::{
        Cloud, CloudError, Identity, Provider, Service,
        aws::{bad_address, host_of, partition_suffix},
        http::{after, form, json, text},
        sigv4::{Signed, sign},
    },
};

const ECR: &str = "AWS ECR";
const ACR: &str = "the registry's token exchange";
const PUBLIC_ECR: &str = "public.ecr.aws";
/// Public repositories of AWS have their service in one region.
const PUBLIC_REGION: &str = "us-east-1";
/// Who comes with a token and not with a password (Azure's documentation of `az acr login --expose-token`).
const TOKEN_USER: &str = "00000000-0000-0000-0000-000000000000";
const AZURE_DOMAINS: [&str; 4] = [".azurecr.io", ".azurecr.cn", ".azurecr.de", ".azurecr.us"];
const AWS_DOMAINS: [&str; 9] = [
    "amazonaws.com",
    "amazonaws.com.cn",
    "amazonaws.eu",
    "sc2s.sgov.gov",
    "c2s.ic.gov",
    "cloud.adc-e.uk",
    "csp.hci.ic.gov",
    "on.aws",
    "on.amazonwebservices.com.cn",
];

/// Whether a registry's host is one of that cloud.
pub fn is_registry_of(provider: Provider, host: &str) -> bool {
    match provider {
        Provider::Aws => ecr_region(host).is_some(),
        Provider::Azure => AZURE_DOMAINS
            .iter()
            .any(|domain| host.strip_suffix(domain).is_some_and(|name| !name.is_empty())),
        Provider::Gcp => {
            host == "gcr.io"
                || host.strip_suffix(".gcr.io").is_some_and(|name| !name.is_empty())
                || host
                    .strip_suffix("-docker.pkg.dev")
                    .is_some_and(|name| !name.is_empty())
                || host == "docker.s3nsregistry.fr"
        }
    }
}

/// The region of a private registry, or of all public ones.
fn ecr_region(host: &str) -> Option<&str> {
    if host == PUBLIC_ECR {
        return Some(PUBLIC_REGION);
    }
    let (account, rest) = host.split_once(['.', '-'])?;
    let rest = rest.strip_prefix("dkr.").or_else(|| rest.strip_prefix("dkr-"))?;
    let rest = rest.strip_prefix("ecr-fips.").or_else(|| rest.strip_prefix("ecr."))?;
    let (region, domain) = rest.split_once('.')?;
    let is_account = !account.is_empty() && account.bytes().all(|byte| byte.is_ascii_digit());
    let is_region = !region.is_empty() && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (is_account && is_region && AWS_DOMAINS.contains(&domain)).then_some(region)
}

impl Cloud {
    /// User name and password for a registry of the cloud.
    ///
    /// # Errors
    /// The registry is not one of that cloud, there is no identity, or the cloud refuses.
    pub async fn registry_login(
        &self,
        provider: Provider,
        identity: &Identity,
        host: &str,
    ) -> Result<BasicAuth, CloudError> {
        if !is_registry_of(provider, host) {
            return Err(CloudError::NotOurs(format!(
                "registry '{host}' is not one of provider '{provider}'"
            )));
        }
        match provider {
            Provider::Gcp => Ok(BasicAuth {
                username: "oauth2accesstoken".to_owned(),
                password: self.gcp_token(identity).await?.value,
            }),
            Provider::Aws => {
                let region = ecr_region(host).unwrap_or(PUBLIC_REGION);
                let is_public = host == PUBLIC_ECR;
                // The credentials are kept themselves; other ones are another name.
                let credentials = self.aws_credentials(identity, Some(region)).await?;
                let name = format!("aws {identity} {region} {is_public} {}", credentials.id);
                let login = self.ecr_login(region, is_public, &credentials);
                self.inner
                    .logins
                    .get(name, self.usage.as_deref(), login)
                    .await
                    .map(|(login, _)| login)
            }
            Provider::Azure => {
                let management = if host.ends_with(".azurecr.cn") {
                    "https://management.chinacloudapi.cn/.default"
                } else if host.ends_with(".azurecr.us") {
                    "https://management.usgovcloudapi.net/.default"
                } else {
                    "https://management.azure.com/.default"
                };
                let token = self.azure_token(identity, management).await?;
                let login = self.acr_login(host, token.value);
                let name = format!("azure {identity} {host}");
                self.inner
                    .logins
                    .get(name, self.usage.as_deref(), login)
                    .await
                    .map(|(login, _)| login)
            }
        }
    }

    async fn ecr_login(
        &self,
        region: &str,
        is_public: bool,
        credentials: &crate::cloud::AwsCredentials,
    ) -> Result<((BasicAuth, Timestamp), Timestamp), CloudError> {
        let settings = &self.inner.settings;
        let suffix = partition_suffix(region);
        let (address, service, target) = if is_public {
            (
                settings.endpoint(Service::AwsEcrPublic, || {
                    format!("https://api.ecr-public.{region}.{suffix}")
                }),
                "ecr-public",
                "SpencerFrontendService.GetAuthorizationToken",
            )
        } else {
            (
                settings.endpoint(Service::AwsEcr, || format!("https://api.ecr.{region}.{suffix}")),
                "ecr",
                "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken",
            )
        };
        let url = Url::parse(&format!("{address}/")).map_err(|_| bad_address(&address))?;
        let host = host_of(&url).ok_or_else(|| bad_address(&address))?;
        let signed = Signed {
            method: "POST",
            host: &host,
            path: "/",
            query: &[],
            headers: &[("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target)],
            body: b"{}",
            region,
            service,
        };
        let mut request = self.inner.client.post(url).body("{}");
        for (name, value) in sign(&signed, credentials, Timestamp::now()) {
            request = request.header(name, value);
        }
        let answer = json(ECR, request).await?;
        // A list for private registries, an object for public ones.
        let data = answer.get("authorizationData").unwrap_or(&Value::Null);
        let data = data.get(0).unwrap_or(data);
        let wrong = |detail: &str| CloudError::Answer {
            service: ECR,
            detail: detail.to_owned(),
        };
        let token = STANDARD
            .decode(text(ECR, data, "/authorizationToken")?)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| wrong("its token is not base64"))?;
        let (username, password) = token
            .split_once(':')
            .ok_or_else(|| wrong("its token is no user name with a password"))?;
        let ends = data.get("expiresAt").and_then(Value::as_f64).unwrap_or_default();
        let expires = Timestamp::from_second(ends as i64).map_err(|_| wrong("its token ends at no point in time"))?;
        let login = BasicAuth {
            username: username.to_owned(),
            password: SecretText::new(password),
        };
        Ok(((login, expires), expires))
    }

    async fn acr_login(
        &self,
        host: &str,
        token: SecretText,
    ) -> Result<((BasicAuth, Timestamp), Timestamp), CloudError> {
        let address = self
            .inner
            .settings
            .endpoint(Service::AzureRegistry, || format!("https://{host}"));
        let request = form(
            self.inner.client.post(format!("{address}/oauth2/exchange")),
            &[
                ("grant_type", "access_token"),
                ("service", host),
                ("access_token", token.expose()),
            ],
        );
        let answer = json(ACR, request).await?;
        let refresh = text(ACR, &answer, "/refresh_token")?;
        let expires = end_of_token(refresh).unwrap_or_else(|| after(0));
        let login = BasicAuth {
            username: TOKEN_USER.to_owned(),
            password: SecretText::new(refresh),
        };
        Ok(((login, expires), expires))
    }
}

/// `exp` of a JSON web token. Nobody's signature is looked at: it only says when to ask again.
pub(crate) fn end_of_token(token: &str) -> Option<Timestamp> {
    let claims = token.split('.').nth(1)?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?).ok()?;
    let end = claims.get("exp")?;
    let second = end.as_i64().or_else(|| end.as_f64().map(|end| end as i64))?;
    Timestamp::from_second(second).ok()
}

#[cfg(test)]
mod checks {
    use super::*;

    #[test]
    fn registries_are_known_by_their_hosts() {
        for (host, provider) in [
            ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", Some(Provider::Aws)),
            (
                "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
                Some(Provider::Aws),
            ),
            ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", Some(Provider::Aws)),
            ("123456789012.dkr-ecr.eu-west-1.on.aws", Some(Provider::Aws)),
            ("public.ecr.aws", Some(Provider::Aws)),
            ("a.azurecr.io", Some(Provider::Azure)),
            ("a.azurecr.us", Some(Provider::Azure)),
            ("gcr.io", Some(Provider::Gcp)),
            ("eu.gcr.io", Some(Provider::Gcp)),
            ("europe-west1-docker.pkg.dev", Some(Provider::Gcp)),
            ("x.dkr.ecr.eu-west-1.amazonaws.com", None),
            ("1.dkr.ecr.eu-west-1.amazonaws.com.evil.example", None),
            ("1.dkr.ecr.evil.example/.amazonaws.com", None),
            (".azurecr.io", None),
            ("azurecr.io", None),
            ("evilgcr.io", None),
            ("ghcr.io", None),
        ] {
            for one in [Provider::Aws, Provider::Azure, Provider::Gcp] {
                assert_eq!(is_registry_of(one, host), provider == Some(one), "{host} {one}");
            }
        }
    }
}
