//! Tokens of a GitHub App's installation (docs.github.com, *Authenticating as a GitHub App installation*).

use std::{fmt, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use nave_artifact::{Algorithm, Hasher};
use nave_net::{ProxyOptions, SecretData, SecretText, TlsOptions};
use reqwest::{Method, StatusCode, header};
use rsa::{RsaPrivateKey, pkcs1::DecodeRsaPrivateKey, pkcs1v15::SigningKey, pkcs8::DecodePrivateKey, sha2::Sha256};
use serde_json::{Value, json};
use url::Url;

/// A GitHub App, as a Secret describes it.
#[derive(Clone, PartialEq, Eq)]
pub struct GitHubApp {
    id: String,
    key: SecretText,
    installation: Installation,
    api: Url,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Installation {
    Id(String),
    Owner(String),
}

/// What an installation may do for an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallationToken {
    /// To be sent as password of the user `x-access-token`.
    pub token: SecretText,
    /// Its end.
    pub expires: Timestamp,
}

/// An App that cannot be used, or that GitHub does not know.
#[derive(Debug, thiserror::Error)]
pub enum GitHubAppError {
    /// A key of the Secret is missing or wrong.
    #[error("key {key:?} {what}")]
    Key {
        /// Which.
        key: &'static str,
        /// What is wrong.
        what: String,
    },
    /// TLS or proxy settings that cannot be used.
    #[error("preparing to talk to {url}")]
    Client {
        /// The API.
        url: String,
        /// What is wrong with them.
        #[source]
        source: nave_net::ClientError,
    },
    /// No answer.
    #[error("asking {url} for a token: {detail}")]
    Connect {
        /// What was asked.
        url: String,
        /// Why not.
        detail: String,
    },
    /// An answer that says no.
    #[error("{url} answered with HTTP {status}: {said}")]
    Refused {
        /// What was asked.
        url: String,
        /// The status.
        status: u16,
        /// What GitHub says.
        said: String,
    },
    /// An answer that is not understood.
    #[error("{url} did not answer as GitHub does: {detail}")]
    Answer {
        /// What was asked.
        url: String,
        /// What is missing.
        detail: &'static str,
    },
    /// The App is not installed there.
    #[error("GitHub App {app} is not installed for {owner:?}")]
    NotInstalled {
        /// The App's number.
        app: String,
        /// The user or organization.
        owner: String,
    },
}

const API: &str = "https://api.github.com";
const ID: &str = "githubAppID";
const KEY: &str = "githubAppPrivateKey";
const INSTALLATION: &str = "githubAppInstallationID";
const OWNER: &str = "githubAppInstallationOwner";
const BASE: &str = "githubAppBaseURL";
/// GitHub's bound is ten minutes, and clocks differ.
const JWT_LASTS: i64 = 9 * 60;
const SKEW: i64 = 60;
const MAX_ANSWER: usize = 4 << 20;
/// Of a hundred installations each.
const MAX_PAGES: usize = 50;

impl fmt::Debug for GitHubApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GitHubApp({}, {:?}, {})", self.id, self.installation, self.api)
    }
}

impl GitHubApp {
    /// Whether a Secret describes an App.
    pub fn is_in(data: &SecretData) -> bool {
        [ID, KEY, INSTALLATION, OWNER].iter().any(|key| data.contains_key(*key))
    }

    /// Reads `githubAppID`, `githubAppPrivateKey`, one of `githubAppInstallationID` and `githubAppInstallationOwner`, and
    /// `githubAppBaseURL` where the App is not one of github.com.
    ///
    /// # Errors
    /// A key is missing, or cannot be used.
    pub fn from_secret(data: &SecretData) -> Result<Self, GitHubAppError> {
        let wrong = |key, what: &str| GitHubAppError::Key {
            key,
            what: what.to_owned(),
        };
        let get = |key: &'static str| -> Result<Option<String>, GitHubAppError> {
            let Some(value) = data.get(key) else { return Ok(None) };
            let text = std::str::from_utf8(value)
                .map_err(|_| wrong(key, "is not valid UTF-8"))?
                .trim();
            Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
        };
        let number = |key, text: String| {
            if text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit()) {
                Ok(text)
            } else {
                Err(wrong(key, "is not a number"))
            }
        };
        let missing = |key| wrong(key, "is missing");
        let id = get(ID)?.ok_or_else(|| missing(ID))?;
        // A client id (`Iv1.…`) is taken by GitHub in the same place.
        if id.len() > 64 || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.') {
            return Err(wrong(ID, "is not the id of an App"));
        }
        let installation = match (get(INSTALLATION)?, get(OWNER)?) {
            (Some(_), Some(_)) => return Err(wrong(INSTALLATION, "and \"githubAppInstallationOwner\" are both set")),
            (Some(id), None) => Installation::Id(number(INSTALLATION, id)?),
            (None, Some(owner)) => Installation::Owner(owner),
            (None, None) => return Err(wrong(INSTALLATION, "or \"githubAppInstallationOwner\" is missing")),
        };
        let api = get(BASE)?.unwrap_or_else(|| API.to_owned());
        let api =
            Url::parse(api.trim_end_matches('/')).map_err(|error| wrong(BASE, &format!("is not a URL: {error}")))?;
        if !matches!(api.scheme(), "http" | "https") {
            return Err(wrong(BASE, "is not a URL of http or https"));
        }
        let key = SecretText::new(get(KEY)?.ok_or_else(|| missing(KEY))?);
        let app = GitHubApp {
            id,
            key,
            installation,
            api,
        };
        app.signing_key()?;
        Ok(app)
    }

    /// What tells this App, installation and key from others: who has another key must not get this one's tokens.
    pub fn identity(&self) -> String {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(self.key.expose().as_bytes());
        format!(
            "{} {} {:?} {}",
            self.api,
            self.id,
            self.installation,
            hasher.finish().hex()
        )
    }

    /// Asks GitHub for a token of the installation.
    ///
    /// # Errors
    /// See [`GitHubAppError`].
    pub async fn token(
        &self,
        tls: &TlsOptions,
        proxy: Option<&ProxyOptions>,
        timeout: Duration,
        now: Timestamp,
    ) -> Result<InstallationToken, GitHubAppError> {
        let failed = |source| GitHubAppError::Client {
            url: self.api.to_string(),
            source,
        };
        let client = nave_net::http_client(tls, proxy)
            .map_err(failed)?
            // The App's own token goes to nobody else.
            .redirect(reqwest::redirect::Policy::none())
            .timeout(timeout)
            .build()
            .map_err(|source| failed(nave_net::ClientError::Build(source)))?;
        let jwt = self.jwt(now)?;
        let installation = match &self.installation {
            Installation::Id(id) => id.clone(),
            Installation::Owner(owner) => self.installation_of(&client, &jwt, owner).await?,
        };
        let path = format!("app/installations/{installation}/access_tokens");
        let answer = self.ask(&client, Method::POST, &path, &jwt).await?;
        let url = self.url(&path);
        let missing = |detail| GitHubAppError::Answer {
            url: url.clone(),
            detail,
        };
        let token = answer["token"].as_str().ok_or_else(|| missing("there is no token"))?;
        let expires = answer["expires_at"]
            .as_str()
            .and_then(|time| time.parse::<Timestamp>().ok())
            .ok_or_else(|| missing("it does not say when the token expires"))?;
        Ok(InstallationToken {
            token: SecretText::new(token),
            expires,
        })
    }

    async fn installation_of(
        &self,
        client: &reqwest::Client,
        jwt: &SecretText,
        owner: &str,
    ) -> Result<String, GitHubAppError> {
        for page in 1..=MAX_PAGES {
            let path = format!("app/installations?per_page=100&page={page}");
            let answer = self.ask(client, Method::GET, &path, jwt).await?;
            let Some(all) = answer.as_array() else {
                return Err(GitHubAppError::Answer {
                    url: self.url(&path),
                    detail: "it is not a list",
                });
            };
            for one in all {
                let login = one["account"]["login"].as_str().unwrap_or_default();
                if login.eq_ignore_ascii_case(owner)
                    && let Some(id) = one["id"].as_u64()
                {
                    return Ok(id.to_string());
                }
            }
            if all.len() < 100 {
                break;
            }
        }
        Err(GitHubAppError::NotInstalled {
            app: self.id.clone(),
            owner: owner.to_owned(),
        })
    }

    async fn ask(
        &self,
        client: &reqwest::Client,
        method: Method,
        path: &str,
        jwt: &SecretText,
    ) -> Result<Value, GitHubAppError> {
        let url = self.url(path);
        let broken = |error: &reqwest::Error| GitHubAppError::Connect {
            url: url.clone(),
            detail: match nave_net::explain(error) {
                nave_net::Explained::Tls(text) => format!("TLS: {text}"),
                nave_net::Explained::Other(text) => text,
            },
        };
        let mut response = client
            .request(method, &url)
            .header(header::ACCEPT, "application/vnd.github+json")
            .header("X-GitHub-Api-Version", "2022-11-28")
            .bearer_auth(jwt.expose())
            .send()
            .await
            .map_err(|error| broken(&error))?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER {
                return Err(GitHubAppError::Answer {
                    url,
                    detail: "it is larger than 4 MiB",
                });
            }
        }
        let answer: Option<Value> = serde_json::from_slice(&body).ok();
        if !matches!(status, StatusCode::OK | StatusCode::CREATED) {
            let said = answer
                .as_ref()
                .and_then(|answer| answer["message"].as_str())
                .unwrap_or("it does not say why");
            return Err(GitHubAppError::Refused {
                url,
                status: status.as_u16(),
                said: nave_net::redact(said).chars().take(300).collect(),
            });
        }
        answer.ok_or(GitHubAppError::Answer {
            url,
            detail: "it is not JSON",
        })
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.api.as_str().trim_end_matches('/'))
    }

    /// Who we say we are, signed with the App's key.
    fn jwt(&self, now: Timestamp) -> Result<SecretText, GitHubAppError> {
        let now = now.as_second();
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!(
            "{}.{}",
            part(json!({"alg": "RS256", "typ": "JWT"})),
            part(json!({"iat": now - SKEW, "exp": now + JWT_LASTS, "iss": self.id})),
        );
        let key = SigningKey::<Sha256>::new(self.signing_key()?);
        let signature =
            rsa::signature::Signer::try_sign(&key, signed.as_bytes()).map_err(|error| GitHubAppError::Key {
                key: KEY,
                what: format!("cannot sign: {error}"),
            })?;
        let signature = rsa::signature::SignatureEncoding::to_vec(&signature);
        Ok(SecretText::new(format!(
            "{signed}.{}",
            URL_SAFE_NO_PAD.encode(signature)
        )))
    }

    fn signing_key(&self) -> Result<RsaPrivateKey, GitHubAppError> {
        let text = self.key.expose();
        RsaPrivateKey::from_pkcs1_pem(text)
            .or_else(|_| RsaPrivateKey::from_pkcs8_pem(text))
            .map_err(|_| GitHubAppError::Key {
                key: KEY,
                what: "is not an RSA private key in PEM".to_owned(),
            })
    }
}
