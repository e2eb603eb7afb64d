//! Short-lived keys for a user of a directory: `AssumeRoleWithLDAPIdentity`, as MinIO's service and its clients have it.

use jiff::{SignedDuration, Timestamp};
use nave_net::{Explained, SecretText, explain};
use object_store::aws::AwsCredential;
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::{BucketError, http_service::Http};

/// Asks the service, and keeps what it gave until shortly before it expires.
#[derive(Debug)]
pub(crate) struct Ldap {
    http: Http,
    endpoint: String,
    user: Option<(String, SecretText)>,
    kept: Mutex<Option<(Timestamp, SharedKey)>>,
}

pub(crate) type SharedKey = std::sync::Arc<AwsCredential>;

/// Keys are renewed so long before they expire.
const MARGIN: SignedDuration = SignedDuration::from_secs(60);
/// For keys that carry no end.
const UNKNOWN_LIFE: SignedDuration = SignedDuration::from_secs(15 * 60);
/// Far above any answer.
const ANSWER: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(rename = "AssumeRoleWithLDAPIdentityResult")]
    result: Outcome,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Outcome {
    credentials: Given,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    access_key_id: String,
    secret_access_key: String,
    #[serde(default)]
    session_token: String,
    #[serde(default)]
    expiration: Option<String>,
}

impl Ldap {
    pub fn new(http: Http, endpoint: &str, user: Option<(String, SecretText)>) -> Self {
        Ldap {
            http,
            endpoint: endpoint.to_owned(),
            user,
            kept: Mutex::default(),
        }
    }

    pub async fn key(&self) -> Result<SharedKey, BucketError> {
        let mut kept = self.kept.lock().await;
        if let Some((until, key)) = &*kept
            && Timestamp::now() < *until
        {
            return Ok(key.clone());
        }
        let (until, key) = self.ask().await?;
        let key = SharedKey::new(key);
        *kept = Some((until, key.clone()));
        Ok(key)
    }

    async fn ask(&self) -> Result<(Timestamp, AwsCredential), BucketError> {
        let failed = |problem: String| {
            let endpoint = nave_net::redact(&self.endpoint);
            BucketError::Keys(format!("asking {endpoint} (spec.sts.endpoint) for keys: {problem}"))
        };
        let (username, password) = match &self.user {
            Some((username, password)) => (username.as_str(), password.expose()),
            None => ("", ""),
        };
        let form = [
            ("Action", "AssumeRoleWithLDAPIdentity"),
            ("Version", "2011-06-15"),
            ("LDAPUsername", username),
            ("LDAPPassword", password),
        ];
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let mut response = self
            .http
            .client()
            .post(&self.endpoint)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
            .map_err(|error| match explain(&error.without_url()) {
                Explained::Tls(text) | Explained::Other(text) => failed(text),
            })?;
        let status = response.status();
        let mut text = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| failed(error.without_url().to_string()))?
        {
            if text.len() + chunk.len() > ANSWER {
                return Err(failed("the answer does not end".to_owned()));
            }
            text.extend_from_slice(&chunk);
        }
        let text = String::from_utf8_lossy(&text);
        if !status.is_success() {
            let (code, message) = crate::request::xml_refusal(&text);
            return Err(failed(format!("{} {code}: {message}", status.as_u16())));
        }
        let answer: Answer =
            quick_xml::de::from_str(&text).map_err(|error| failed(format!("the answer cannot be read: {error}")))?;
        let given = answer.result.credentials;
        let fields = [&given.access_key_id, &given.secret_access_key, &given.session_token];
        if fields.iter().any(|field| field.chars().any(char::is_control)) {
            return Err(failed("the keys hold control characters".to_owned()));
        }
        let until = match given.expiration.as_deref().map(str::parse::<Timestamp>) {
            Some(Ok(end)) => end.saturating_sub(MARGIN).unwrap_or(end),
            _ => Timestamp::now().saturating_add(UNKNOWN_LIFE).unwrap_or(Timestamp::MAX),
        };
        let key = AwsCredential {
            key_id: given.access_key_id,
            secret_key: given.secret_access_key,
            token: Some(given.session_token).filter(|token| !token.is_empty()),
        };
        Ok((until, key))
    }
}
