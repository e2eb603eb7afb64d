//! Who we say we are to a registry, from Docker's configuration files as Secrets carry them.

use std::{cmp::Reverse, collections::BTreeMap};

use base64::{Engine, engine::general_purpose::STANDARD};
use nave_net::{BasicAuth, SecretData, SecretText};
use serde::Deserialize;

use crate::Repository;

/// Who we say we are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody.
    #[default]
    Anonymous,
    /// User name and password.
    Basic(BasicAuth),
    /// A refresh token that is exchanged for access tokens (`identitytoken`).
    Identity(SecretText),
    /// A token that is sent as it is (`registrytoken`).
    Token(SecretText),
}

/// The credentials of a Docker configuration file, by registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DockerConfig {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    host: String,
    path: String,
    credentials: Credentials,
}

/// A Secret that holds no usable Docker configuration.
#[derive(Debug, thiserror::Error)]
pub enum DockerConfigError {
    /// Neither of the two keys.
    #[error("key \".dockerconfigjson\" is missing")]
    Missing,
    /// Not the JSON that it should be.
    #[error("key {key:?} is not a Docker configuration")]
    Json {
        /// The key.
        key: &'static str,
        /// Where it is wrong; the text itself is not repeated.
        #[source]
        source: JsonPlace,
    },
    /// An `auth` that is not `base64(user:password)`.
    #[error("key {key:?}: the entry of registry '{registry}' has an \"auth\" that is not base64 of user:password")]
    Auth {
        /// The key.
        key: &'static str,
        /// The registry.
        registry: String,
    },
}

/// Where a JSON text stops making sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}")]
pub struct JsonPlace {
    line: usize,
    column: usize,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, FileEntry>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct FileEntry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

const CONFIG: &str = ".dockerconfigjson";
const LEGACY: &str = ".dockercfg";

impl DockerConfig {
    /// Reads a Secret of type `kubernetes.io/dockerconfigjson` or `kubernetes.io/dockercfg`.
    ///
    /// # Errors
    /// It has neither key, or its content cannot be used.
    pub fn from_secret(data: &SecretData) -> Result<Self, DockerConfigError> {
        let json = |key, source: serde_json::Error| DockerConfigError::Json {
            key,
            source: JsonPlace {
                line: source.line(),
                column: source.column(),
            },
        };
        if let Some(text) = data.get(CONFIG) {
            let file: File = serde_json::from_slice(text).map_err(|error| json(CONFIG, error))?;
            return Self::new(CONFIG, file.auths);
        }
        if let Some(text) = data.get(LEGACY) {
            let auths = serde_json::from_slice(text).map_err(|error| json(LEGACY, error))?;
            return Self::new(LEGACY, auths);
        }
        Err(DockerConfigError::Missing)
    }

    /// Whether the Secret is one for registries.
    pub fn is_in(data: &SecretData) -> bool {
        data.contains_key(CONFIG) || data.contains_key(LEGACY)
    }

    fn new(key: &'static str, auths: BTreeMap<String, FileEntry>) -> Result<Self, DockerConfigError> {
        let mut entries = Vec::with_capacity(auths.len());
        for (registry, entry) in auths {
            let given = |text: Option<String>| text.filter(|text| !text.is_empty());
            let credentials = if let Some(token) = given(entry.registrytoken) {
                Credentials::Token(SecretText::new(token))
            } else if let Some(token) = given(entry.identitytoken) {
                Credentials::Identity(SecretText::new(token))
            } else if let Some(auth) = given(entry.auth) {
                let pair = decode(&auth).ok_or_else(|| DockerConfigError::Auth {
                    key,
                    registry: registry.chars().take(255).collect(),
                })?;
                Credentials::Basic(pair)
            } else if let Some(username) = given(entry.username) {
                Credentials::Basic(BasicAuth {
                    username,
                    password: SecretText::new(entry.password.unwrap_or_default()),
                })
            } else {
                continue;
            };
            let (host, path) = place(&registry);
            entries.push(Entry {
                host,
                path,
                credentials,
            });
        }
        // The most specific path wins, and a name before a pattern.
        entries.sort_by_key(|entry| Reverse((entry.path.len(), !entry.host.contains('*'))));
        Ok(DockerConfig { entries })
    }

    /// The credentials for a repository, if there are any.
    pub fn credentials_for(&self, repository: &Repository) -> Option<&Credentials> {
        self.entries
            .iter()
            .find(|entry| {
                host_matches(&entry.host, repository.registry())
                    && (entry.path.is_empty()
                        || repository
                            .name()
                            .strip_prefix(entry.path.as_str())
                            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
            })
            .map(|entry| &entry.credentials)
    }
}

fn decode(auth: &str) -> Option<BasicAuth> {
    let bytes = STANDARD.decode(auth.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (username, password) = text.split_once(':')?;
    Some(BasicAuth {
        username: username.to_owned(),
        // Docker pads with NUL bytes.
        password: SecretText::new(password.trim_end_matches('\0')),
    })
}

/// Host and path of a key such as `https://index.docker.io/v1/` or `ghcr.io/org`.
fn place(registry: &str) -> (String, String) {
    let plain = registry
        .strip_prefix("https://")
        .or_else(|| registry.strip_prefix("http://"))
        .unwrap_or(registry);
    let (host, path) = plain.split_once('/').unwrap_or((plain, ""));
    let path = path.trim_matches('/');
    let path = if matches!(path, "v1" | "v2") { "" } else { path };
    let host = match host {
        "docker.io" | "registry-1.docker.io" => "index.docker.io",
        other => other,
    };
    (host.to_ascii_lowercase(), path.to_owned())
}

/// Kubernetes' rule: label by label, where `*` stands for any part of one label.
fn host_matches(pattern: &str, host: &str) -> bool {
    if !pattern.contains('*') {
        return pattern == host;
    }
    let (pattern, pattern_port) = split_port(pattern);
    let (host, port) = split_port(host);
    let labels: Vec<&str> = pattern.split('.').collect();
    let found: Vec<&str> = host.split('.').collect();
    pattern_port == port && labels.len() == found.len() && labels.iter().zip(found).all(|(p, l)| glob(p, l))
}

fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (host, Some(port)),
        _ => (host, None),
    }
}

/// `*` matches any run of characters; a label has at most 63, so that going back is cheap.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<DockerConfig, DockerConfigError> {
        DockerConfig::from_secret(&SecretData::from([(CONFIG.to_owned(), text.as_bytes().to_vec())]))
    }

    #[track_caller]
    fn check(config: &DockerConfig, url: &str, user: Option<&str>) {
        let found = config.credentials_for(&Repository::from_url(url).unwrap());
        let found = found.map(|credentials| match credentials {
            Credentials::Basic(basic) => basic.username.clone(),
            Credentials::Identity(token) => format!("identity {}", token.expose()),
            Credentials::Token(token) => format!("token {}", token.expose()),
            Credentials::Anonymous => String::new(),
        });
        assert_eq!(found.as_deref(), user, "{url}");
    }

    #[test]
    fn entries_are_found_by_host_and_path() {
        let config = config(
            r#"{"auths": {
                "https://index.docker.io/v1/": {"auth": "aHViOng="},
                "ghcr.io": {"username": "all", "password": "x"},
                "ghcr.io/org": {"username": "org", "password": "x"},
                "*.example.com": {"username": "wild"},
                "id.example.com": {"identitytoken": "r"},
                "azure.io:5000": {"registrytoken": "t", "auth": "aHViOng="},
                "empty.io": {}
            }, "credsStore": "ignored"}"#,
        )
        .unwrap();
        check(&config, "oci://docker.io/library/nginx", Some("hub"));
        check(&config, "oci://ghcr.io/org/app", Some("org"));
        check(&config, "oci://ghcr.io/organisation/app", Some("all"));
        check(&config, "oci://r.example.com/a", Some("wild"));
        check(&config, "oci://id.example.com/a", Some("identity r"));
        check(&config, "oci://a.b.example.com/a", None);
        check(&config, "oci://r.example.com:5000/a", None);
        check(&config, "oci://azure.io:5000/a", Some("token t"));
        check(&config, "oci://azure.io/a", None);
        check(&config, "oci://empty.io/a", None);
    }

    #[test]
    fn what_is_wrong_is_said_without_the_content() {
        let text = |error: DockerConfigError| {
            let source = std::error::Error::source(&error)
                .map(ToString::to_string)
                .unwrap_or_default();
            format!("{error} {source}")
        };
        let error = text(config("{\"auths\": canary").unwrap_err());
        assert!(error.contains("is not a Docker configuration line 1"), "{error}");
        assert!(!error.contains("canary"), "{error}");
        let error = text(config(r#"{"auths": {"h": {"auth": "Y2FuYXJ5"}}}"#).unwrap_err());
        assert!(error.contains("registry 'h'") && !error.contains("Y2F"), "{error}");
        let error = text(DockerConfig::from_secret(&SecretData::new()).unwrap_err());
        assert!(error.contains("\".dockerconfigjson\" is missing"), "{error}");
        let legacy = SecretData::from([(LEGACY.to_owned(), br#"{"h": {"auth": "YTpi"}}"#.to_vec())]);
        check(&DockerConfig::from_secret(&legacy).unwrap(), "oci://h/a", Some("a"));
    }

    #[test]
    fn stars_match_within_a_label() {
        for (pattern, text, matches) in [
            ("*", "abc", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "ab", false),
            ("*b*", "abc", true),
            ("a*b*c", "abbc", true),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(glob(pattern, text), matches, "{pattern} {text}");
        }
    }
}
