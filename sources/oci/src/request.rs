//! One request: with credentials, tried again where that can help, and what its failure means.

use std::time::Duration;

use reqwest::{RequestBuilder, Response, StatusCode};
use serde::Deserialize;

use crate::{
    Credentials, OciError, Repository,
    auth::Challenge,
    session::{Right, Session, challenge},
};

/// Delays before the second and third try of what reads.
const DELAYS: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];
const MAX_DETAIL: usize = 512;

impl Session {
    /// Sends what `make` makes, with credentials. A broken connection and a server in trouble are met with two more
    /// tries when the request only reads; a token that is no longer taken is fetched again once.
    pub async fn send(
        &self,
        right: Right,
        is_read: bool,
        make: impl Fn(&reqwest::Client) -> RequestBuilder,
    ) -> Result<Response, OciError> {
        self.greet().await?;
        let mut delays = DELAYS.iter();
        let mut renewed = false;
        loop {
            let mut request = make(&self.client);
            if let Some(value) = self.authorization(right).await? {
                request = request.header("authorization", value.expose());
            }
            let next = if is_read { delays.next() } else { None };
            let response = match (request.send().await, next) {
                (Ok(response), _) => response,
                (Err(error), Some(delay)) if !error.is_builder() && !error.is_redirect() => {
                    tokio::time::sleep(*delay).await;
                    continue;
                }
                (Err(error), _) => return Err(self.unreachable(&error)),
            };
            let status = response.status();
            if status == StatusCode::UNAUTHORIZED && !renewed {
                renewed = true;
                let asked = challenge(&response);
                let held = self.challenge();
                let can_answer = match (&asked, &self.credentials) {
                    (_, Credentials::Token(_)) | (Challenge::None, _) => false,
                    (Challenge::Basic, Credentials::Basic(_)) => held.as_ref() != Some(&asked),
                    (Challenge::Basic, _) => false,
                    (Challenge::Bearer { .. }, _) => true,
                };
                if can_answer {
                    self.learn(asked);
                    self.forget_token();
                    continue;
                }
            }
            let in_trouble = status == StatusCode::TOO_MANY_REQUESTS
                || matches!(status.as_u16(), 502..=504)
                || status == StatusCode::REQUEST_TIMEOUT;
            match next {
                Some(delay) if in_trouble => tokio::time::sleep(*delay).await,
                _ => return Ok(response),
            }
        }
    }

    /// Sends a request as it is.
    pub async fn transport(&self, request: RequestBuilder) -> Result<Response, OciError> {
        request.send().await.map_err(|error| self.unreachable(&error))
    }

    /// The address of something in the repository.
    pub fn url(&self, path: &str) -> String {
        let repository = &self.repository;
        format!(
            "{}://{}/v2/{}/{path}",
            self.scheme(),
            repository.registry(),
            repository.name()
        )
    }

    /// What an answer means that is no success.
    pub fn failure(&self, what: &'static str, wanted: String, status: StatusCode, body: &[u8]) -> OciError {
        let detail = detail(body);
        let repository = self.repository.to_string();
        match status.as_u16() {
            status @ (401 | 403) => OciError::Unauthorized {
                repository,
                status,
                hint: match (&self.credentials, status) {
                    (Credentials::Anonymous, _) => "it asks for credentials, and none are given",
                    (_, 401) => "check the credentials",
                    _ => "the credentials do not allow it",
                },
                detail,
            },
            404 => OciError::NotFound {
                what: wanted,
                repository,
                detail,
            },
            status => OciError::Status {
                what,
                repository,
                status,
                detail,
            },
        }
    }

    /// The answer when it is a success, its meaning when it is not.
    pub async fn success(
        &self,
        what: &'static str,
        wanted: impl FnOnce() -> String,
        response: Response,
    ) -> Result<Response, OciError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = bounded_body(response, 64 << 10, what, &self.repository)
            .await
            .unwrap_or_default();
        Err(self.failure(what, wanted(), status, &body))
    }
}

/// The whole body, when it is not larger than `limit`.
pub(crate) async fn bounded_body(
    mut response: Response,
    limit: u64,
    what: &'static str,
    repository: &Repository,
) -> Result<Vec<u8>, OciError> {
    let too_large = || OciError::TooLarge {
        what,
        repository: repository.to_string(),
        limit,
    };
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    loop {
        let chunk = response.chunk().await.map_err(|error| OciError::Connect {
            registry: repository.registry().to_owned(),
            detail: match nave_net::explain(&error) {
                nave_net::Explained::Tls(detail) | nave_net::Explained::Other(detail) => detail,
            },
        })?;
        let Some(chunk) = chunk else { return Ok(body) };
        if body.len() as u64 + chunk.len() as u64 > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
}

#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// What the registry itself says, `: CODE: message`. Only the form of the specification is repeated: anything else may
/// be a page of a proxy.
fn detail(body: &[u8]) -> String {
    let Ok(Errors { errors }) = serde_json::from_slice(body) else {
        return String::new();
    };
    let Some(first) = errors.first() else {
        return String::new();
    };
    let text = [first.code.as_str(), first.message.as_str()]
        .into_iter()
        .filter(|text| !text.is_empty())
        .collect::<Vec<_>>()
        .join(": ");
    if text.is_empty() {
        return text;
    }
    let text: String = text.chars().filter(|c| !c.is_control()).take(MAX_DETAIL).collect();
    format!(": {}", nave_net::redact(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_specification_s_errors_are_repeated() {
        let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest\nunknown","detail":{"Tag":"x"}}]}"#;
        assert_eq!(detail(body), ": MANIFEST_UNKNOWN: manifestunknown");
        assert_eq!(detail(br#"{"errors":[{"code":"DENIED"}]}"#), ": DENIED");
        for nothing in [
            "",
            "<html>",
            "{}",
            r#"{"errors":[]}"#,
            r#"{"errors":[{}]}"#,
            r#"{"errors":"x"}"#,
        ] {
            assert_eq!(detail(nothing.as_bytes()), "", "{nothing}");
        }
    }
}
