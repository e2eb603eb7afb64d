//! What a registry asks for (`WWW-Authenticate`), and the token that answers it.

use std::time::{Duration, Instant};

use nave_net::SecretText;
use serde::Deserialize;
use url::Url;

use crate::{Credentials, OciError, request::bounded_body, session::Session};

/// What a registry wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Nothing, or nothing that we know of yet.
    None,
    /// User name and password.
    Basic,
    /// A token from a service.
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

impl Challenge {
    /// Reads the values of `WWW-Authenticate` headers; a bearer token is preferred.
    pub fn parse<'a>(headers: impl IntoIterator<Item = &'a str>) -> Challenge {
        let mut best = Challenge::None;
        for header in headers {
            let (scheme, rest) = header.split_once(' ').unwrap_or((header, ""));
            if scheme.eq_ignore_ascii_case("bearer") {
                let mut realm = None;
                let (mut service, mut scope) = (None, None);
                for (key, value) in parameters(rest) {
                    match key.to_ascii_lowercase().as_str() {
                        "realm" => realm = Some(value),
                        "service" => service = Some(value),
                        "scope" => scope = Some(value),
                        _ => {}
                    }
                }
                if let Some(realm) = realm {
                    return Challenge::Bearer { realm, service, scope };
                }
            } else if scheme.eq_ignore_ascii_case("basic") {
                best = Challenge::Basic;
            }
        }
        best
    }
}

/// `key="value",key=value` with backslash escapes inside of quotes.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim_matches([' ', ',']).to_owned();
        let mut value = String::new();
        let mut end = after.len();
        if let Some(quoted) = after.strip_prefix('"') {
            let mut escaped = false;
            for (at, character) in quoted.char_indices() {
                match character {
                    _ if escaped => {
                        value.push(character);
                        escaped = false;
                    }
                    '\\' => escaped = true,
                    '"' => {
                        end = at + 2;
                        break;
                    }
                    other => value.push(other),
                }
            }
        } else {
            end = after.find(',').unwrap_or(after.len());
            value.push_str(after[..end].trim());
        }
        found.push((key, value));
        rest = after.get(end..).unwrap_or_default();
    }
    found
}

/// A token and when it must be fetched again.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub value: SecretText,
    pub scope: String,
    pub until: Instant,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

/// What the specification says when a service does not.
const LIFETIME: u64 = 60;
/// Longer than this no token is trusted to be good, whatever its service says.
const LONGEST: u64 = 3600;
/// A token may be used until so long before its end.
const MARGIN: u64 = 10;
const MAX_ANSWER: u64 = 1 << 20;
const WHAT: &str = "asking for access to";

impl Session {
    /// Fetches a token for `scope` from the service that the registry names.
    pub(crate) async fn fetch_token(&self, realm: &str, service: Option<&str>, scope: &str) -> Result<Token, OciError> {
        let protocol = |detail: String| OciError::Protocol {
            what: WHAT,
            repository: self.repository.to_string(),
            detail,
        };
        let mut url = Url::parse(realm)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| {
                protocol("the registry names a token service that is no http or https address".to_owned())
            })?;
        // Credentials that the registry itself gets over TLS do not leave it.
        if url.scheme() == "http" && self.scheme() == "https" && !self.is_insecure() {
            return Err(protocol(format!(
                "the registry speaks https and its token service {} does not",
                url.host_str().unwrap_or_default()
            )));
        }
        let request = match &self.credentials {
            Credentials::Identity(token) => {
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                form.append_pair("grant_type", "refresh_token")
                    .append_pair("client_id", "nave")
                    .append_pair("refresh_token", token.expose())
                    .append_pair("scope", scope);
                if let Some(service) = service {
                    form.append_pair("service", service);
                }
                self.client
                    .post(url)
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(form.finish())
            }
            credentials => {
                {
                    let mut query = url.query_pairs_mut();
                    if let Some(service) = service {
                        query.append_pair("service", service);
                    }
                    query.append_pair("scope", scope);
                }
                let request = self.client.get(url);
                match credentials {
                    Credentials::Basic(basic) => request.header("authorization", basic.header().expose()),
                    _ => request,
                }
            }
        };
        let response = self.transport(request).await?;
        let status = response.status();
        let body = bounded_body(response, MAX_ANSWER, WHAT, &self.repository).await?;
        if !status.is_success() {
            return Err(self.failure(WHAT, "the repository".to_owned(), status, &body));
        }
        let answer: Answer =
            serde_json::from_slice(&body).map_err(|_| protocol("the token service sent no token".to_owned()))?;
        let value = answer
            .token
            .or(answer.access_token)
            .filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()))
            .ok_or_else(|| protocol("the token service sent no token".to_owned()))?;
        let lifetime = answer.expires_in.unwrap_or(LIFETIME).clamp(LIFETIME, LONGEST);
        Ok(Token {
            value: SecretText::new(value),
            scope: scope.to_owned(),
            until: Instant::now() + Duration::from_secs(lifetime - MARGIN),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        };
        for (header, expected) in [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
                bearer(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                    Some("repository:a/b:pull,push"),
                ),
            ),
            (
                r#"bearer realm="x\"y", error="invalid_token""#,
                bearer("x\"y", None, None),
            ),
            ("Bearer realm=plain, service=s", bearer("plain", Some("s"), None)),
            (r#"Basic realm="basic-realm""#, Challenge::Basic),
            ("Bearer", Challenge::None),
            (r#"Bearer service="s""#, Challenge::None),
            (r#"Bearer realm="unfinished"#, bearer("unfinished", None, None)),
            ("Negotiate", Challenge::None),
            ("", Challenge::None),
        ] {
            assert_eq!(Challenge::parse([header]), expected, "{header}");
        }
        let both = ["Basic realm=\"x\"", "Bearer realm=\"y\""];
        assert_eq!(Challenge::parse(both), bearer("y", None, None));
    }
}
