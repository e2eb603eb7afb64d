//! Access tokens of Google Cloud: of the metadata server, of a file, or for the token of a service account.

use serde_json::{Value, json as value};

use crate::{
    SecretText,
    cloud::{
        Cloud, CloudError, CloudToken, GoogleKey, Identity, Service,
        accounts::Account,
        aws::moment,
        http::{after, form, json, seconds, succeed, text},
    },
};

const METADATA: &str = "the metadata server of Google Cloud";
const STS: &str = "Google's Security Token Service";
const IAM: &str = "Google's IAM Service Account Credentials";
const SCOPES: [&str; 2] = [
    "https://www.googleapis.com/auth/cloud-platform",
    "https://www.googleapis.com/auth/userinfo.email",
];
const PROVIDER: &str = "gcp.auth.fluxcd.io/workload-identity-provider";
const EMAIL: &str = "iam.gke.io/gcp-service-account";
const NEAR: std::time::Duration = std::time::Duration::from_secs(5);

impl Cloud {
    /// An access token for all of Google Cloud's APIs.
    ///
    /// # Errors
    /// There is no identity, or Google refuses.
    pub async fn gcp_token(&self, identity: &Identity) -> Result<CloudToken, CloudError> {
        let account = self.account(identity).await?;
        let name = match &account {
            None => "gcp".to_owned(),
            Some(account) => format!(
                "gcp {identity} {} {}",
                account.annotation(PROVIDER).unwrap_or_default(),
                account.annotation(EMAIL).unwrap_or_default()
            ),
        };
        let fetch = async {
            let token = match &account {
                None => self.gcp_of_process().await?,
                Some(account) => self.gcp_of_account(account).await?,
            };
            let until = token.expires;
            Ok((token, until))
        };
        self.inner.tokens.get(name, self.usage.as_deref(), fetch).await
    }

    /// An access token for a key that was handed out as a file.
    ///
    /// # Errors
    /// The key cannot be used, or Google refuses.
    pub async fn gcp_token_of_key(&self, key: &GoogleKey) -> Result<CloudToken, CloudError> {
        let fetch = async {
            let token = key.token(&self.inner.client, &SCOPES.join(" ")).await?;
            let until = token.expires;
            Ok((token, until))
        };
        self.inner
            .tokens
            .get(format!("gcp key {}", key.name()), self.usage.as_deref(), fetch)
            .await
    }

    async fn gcp_of_process(&self) -> Result<CloudToken, CloudError> {
        if let Some(text) = self.inner.settings.file("GOOGLE_APPLICATION_CREDENTIALS").await? {
            let key = GoogleKey::from_json(&text)?;
            return key.token(&self.inner.client, &SCOPES.join(" ")).await;
        }
        let answer = self.metadata("instance/service-accounts/default/token").await?;
        let answer: Value = serde_json::from_slice(&answer).unwrap_or(Value::Null);
        token_of(METADATA, &answer)
    }

    async fn gcp_of_account(&self, account: &Account<'_>) -> Result<CloudToken, CloudError> {
        let (for_token, for_exchange) = match account.annotation(PROVIDER) {
            Some(_) => {
                let provider = account.needed(PROVIDER, is_workload_identity_provider)?;
                let audience = format!("//iam.googleapis.com/{provider}");
                (audience.clone(), audience)
            }
            None => self.gke_audiences().await?,
        };
        let email = match account.annotation(EMAIL) {
            Some(_) => Some(account.needed(EMAIL, is_email)?),
            None => None,
        };
        let token = account.token(&for_token).await?;
        let scope = match email {
            // The exchanged token is for one call only.
            Some(_) => SCOPES[0].to_owned(),
            None => SCOPES.join(" "),
        };
        let endpoints = &self.inner.settings;
        let sts = endpoints.endpoint(Service::GcpSts, || "https://sts.googleapis.com".to_owned());
        let request = form(
            self.inner.client.post(format!("{sts}/v1/token")),
            &[
                ("audience", for_exchange.as_str()),
                ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
                ("scope", &scope),
                ("subject_token", token.expose()),
                ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
            ],
        );
        let federated = token_of(STS, &json(STS, request).await?)?;
        let Some(email) = email else { return Ok(federated) };
        let iam = endpoints.endpoint(Service::GcpIam, || "https://iamcredentials.googleapis.com".to_owned());
        let body = value!({"lifetime": "3600s", "scope": SCOPES, "delegates": []}).to_string();
        let request = self
            .inner
            .client
            .post(format!(
                "{iam}/v1/projects/-/serviceAccounts/{email}:generateAccessToken"
            ))
            .header("authorization", format!("Bearer {}", federated.value.expose()))
            .header("content-type", "application/json")
            .body(body);
        let answer = json(IAM, request).await?;
        Ok(CloudToken {
            value: SecretText::new(text(IAM, &answer, "/accessToken")?),
            expires: moment(IAM, text(IAM, &answer, "/expireTime")?)?,
        })
    }

    /// What GKE's own pool wants: the audience of a token, and the audience of its exchange.
    async fn gke_audiences(&self) -> Result<(String, String), CloudError> {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
        let project = text(self.metadata("project/project-id").await?);
        let location = text(self.metadata("instance/attributes/cluster-location").await?);
        let cluster = text(self.metadata("instance/attributes/cluster-name").await?);
        let pool = format!("{project}.svc.id.goog");
        let exchange = format!(
            "identitynamespace:{pool}:https://container.googleapis.com/v1/projects/{project}/locations/{location}/clusters/{cluster}"
        );
        Ok((pool, exchange))
    }

    async fn metadata(&self, path: &str) -> Result<Vec<u8>, CloudError> {
        let address = self
            .inner
            .settings
            .endpoint(Service::GcpMetadata, || "http://169.254.169.254".to_owned());
        let request = self
            .inner
            .client
            .get(format!("{address}/computeMetadata/v1/{path}"))
            .header("metadata-flavor", "Google")
            .timeout(NEAR);
        succeed(METADATA, request).await.map_err(|error| match error {
            error @ CloudError::Refused { .. } => error,
            error => CloudError::Nowhere {
                provider: "Google Cloud",
                tried: format!("GOOGLE_APPLICATION_CREDENTIALS is not set, and {error}"),
            },
        })
    }
}

/// `access_token` with `expires_in`.
pub(crate) fn token_of(service: &'static str, answer: &Value) -> Result<CloudToken, CloudError> {
    Ok(CloudToken {
        value: SecretText::new(text(service, answer, "/access_token")?),
        expires: after(seconds(answer, "expires_in").unwrap_or(0)),
    })
}

/// `projects/<number>/locations/global/workloadIdentityPools/<pool>/providers/<provider>`, as Flux checks it.
fn is_workload_identity_provider(text: &str) -> bool {
    let parts: Vec<&str> = text.split('/').collect();
    let [
        "projects",
        project,
        "locations",
        "global",
        "workloadIdentityPools",
        pool,
        "providers",
        provider,
    ] = parts[..]
    else {
        return false;
    };
    let named = |text: &str| (1..=100).contains(&text.chars().count());
    (1..=30).contains(&project.len())
        && project.bytes().all(|byte| byte.is_ascii_digit())
        && named(pool)
        && named(provider)
}

/// It becomes part of a path.
fn is_email(text: &str) -> bool {
    let plain = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
    };
    text.split_once('@')
        .is_some_and(|(name, domain)| plain(name) && plain(domain))
}
