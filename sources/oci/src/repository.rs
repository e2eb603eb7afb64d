//! Names of repositories and of what is in them.

use std::{fmt, str::FromStr};

/// A repository of a registry, `oci://<registry>/<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Repository {
    registry: String,
    name: String,
}

/// Text that names no repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryError {
    /// Another scheme.
    #[error("'{url}' does not begin with oci://")]
    Scheme {
        /// As given, without credentials.
        url: String,
    },
    /// No host, or one that cannot be.
    #[error("'{url}' has no valid registry host")]
    Registry {
        /// As given, without credentials.
        url: String,
    },
    /// A name that the specification does not allow.
    #[error(
        "'{url}' has no valid repository name: lower-case letters, digits and '.', '_', '-' between them, \
         separated by '/'"
    )]
    Name {
        /// As given, without credentials.
        url: String,
    },
    /// A tag or digest where none belongs.
    #[error("'{url}' names a tag or digest, which belongs into a field of its own")]
    Reference {
        /// As given, without credentials.
        url: String,
    },
}

/// Docker Hub answers under another name than the one that people write.
const DOCKER_HUB: &str = "index.docker.io";
const DOCKER_HUB_HOSTS: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

impl Repository {
    /// Reads `oci://<registry>[:port]/<name>`, without tag or digest.
    ///
    /// # Errors
    /// It is another URL, or has a part that no registry takes.
    pub fn from_url(url: &str) -> Result<Self, RepositoryError> {
        match Self::from_url_with_reference(url)? {
            (repository, None) => Ok(repository),
            (_, Some(_)) => Err(RepositoryError::Reference { url: shown(url) }),
        }
    }

    /// Reads `oci://<registry>[:port]/<name>[:tag][@digest]`; the reference is a tag, or a digest when both are given.
    ///
    /// # Errors
    /// As [`Repository::from_url`].
    pub fn from_url_with_reference(url: &str) -> Result<(Self, Option<String>), RepositoryError> {
        let rest = url
            .strip_prefix("oci://")
            .ok_or_else(|| RepositoryError::Scheme { url: shown(url) })?;
        let (registry, path) = rest
            .split_once('/')
            .ok_or_else(|| RepositoryError::Name { url: shown(url) })?;
        if !is_host(registry) {
            return Err(RepositoryError::Registry { url: shown(url) });
        }
        let (path, digest) = match path.split_once('@') {
            Some((path, digest)) => (path, Some(digest)),
            None => (path, None),
        };
        let (name, tag) = match path.rsplit_once(':') {
            Some((name, tag)) => (name, Some(tag)),
            None => (path, None),
        };
        let name = name.trim_end_matches('/');
        if !is_name(name) {
            return Err(RepositoryError::Name { url: shown(url) });
        }
        let reference = match (digest, tag) {
            (Some(digest), _) if is_digest(digest) => Some(digest.to_owned()),
            (None, Some(tag)) if is_tag(tag) => Some(tag.to_owned()),
            (None, None) => None,
            _ => return Err(RepositoryError::Reference { url: shown(url) }),
        };
        let registry = registry.to_ascii_lowercase();
        let is_hub = DOCKER_HUB_HOSTS.contains(&registry.as_str());
        Ok((
            Repository {
                name: if is_hub && !name.contains('/') {
                    format!("library/{name}")
                } else {
                    name.to_owned()
                },
                registry: if is_hub { DOCKER_HUB.to_owned() } else { registry },
            },
            reference,
        ))
    }

    /// Host and port, as credentials are kept under it.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The name within the registry.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The repository `<name>/<below>`, as charts lie below the URL of a HelmRepository.
    ///
    /// # Errors
    /// `below` is no name.
    pub fn join(&self, below: &str) -> Result<Self, RepositoryError> {
        Self::from_url(&format!("oci://{}/{}/{below}", self.registry, self.name))
    }

    /// Whether the registry is on this machine or in a private network, where plain HTTP is tried when nobody speaks
    /// TLS (go-containerregistry's rule, which Flux has: `localhost`, `*.local`, loopback and private addresses).
    pub(crate) fn is_near(&self) -> bool {
        let host = match self.registry.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => &self.registry,
        };
        let address = host.trim_start_matches('[').trim_end_matches(']');
        match std::net::IpAddr::from_str(address) {
            Ok(std::net::IpAddr::V4(address)) => address.is_loopback() || address.is_private(),
            Ok(std::net::IpAddr::V6(address)) => address.is_loopback(),
            Err(_) => host == "localhost" || host.ends_with(".local") || host.ends_with(".localhost"),
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci://{}/{}", self.registry, self.name)
    }
}

fn shown(url: &str) -> String {
    nave_net::redact(url).chars().take(512).collect()
}

fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let plain = |text: &str| {
        !text.is_empty()
            && text.len() <= 253
            && text.split('.').all(|label| {
                !label.is_empty()
                    && label
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            })
    };
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
    (plain(host) || bracketed) && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0))
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` per segment, at most 255 characters.
fn is_name(text: &str) -> bool {
    let segment = |text: &str| {
        let edge = |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        edge(text.bytes().next())
            && edge(text.bytes().last())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
            && !text.contains("..")
            && !text.contains("___")
    };
    text.len() <= 255 && text.split('/').all(segment)
}

/// Whether a registry takes the text as a tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
pub(crate) fn is_tag(text: &str) -> bool {
    let first = text.bytes().next();
    first.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && text.len() <= 128
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn is_digest(text: &str) -> bool {
    text.parse::<nave_artifact::Digest>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: Result<(&str, &str, Option<&str>), &str>) {
        let found = Repository::from_url_with_reference(url);
        let found = found
            .as_ref()
            .map(|(repository, reference)| (repository.registry(), repository.name(), reference.as_deref()))
            .map_err(ToString::to_string);
        match expected {
            Ok(expected) => assert_eq!(found, Ok(expected), "{url}"),
            Err(part) => assert!(
                found.as_ref().is_err_and(|error| error.contains(part)),
                "{url}: {found:?}"
            ),
        }
    }

    #[test]
    fn urls() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        check("oci://ghcr.io/org/app", Ok(("ghcr.io", "org/app", None)));
        check(
            "oci://localhost:5000/a/b:v1.2_3",
            Ok(("localhost:5000", "a/b", Some("v1.2_3"))),
        );
        check(
            &format!("oci://h/a:tag@{digest}"),
            Ok(("h", "a", Some(digest.as_str()))),
        );
        check("oci://docker.io/nginx", Ok(("index.docker.io", "library/nginx", None)));
        check("oci://[::1]:5000/a", Ok(("[::1]:5000", "a", None)));
        check("https://h/a", Err("does not begin with oci://"));
        check("oci://h", Err("repository name"));
        check("oci://h/", Err("repository name"));
        check("oci://h/Upper", Err("repository name"));
        check("oci://h/a/../b", Err("repository name"));
        check("oci:///a", Err("registry host"));
        check("oci://user:pass@h/a", Err("registry host"));
        check("oci://h:99999/a", Err("registry host"));
        check("oci://h/a:", Err("belongs into a field"));
        check("oci://h/a@sha256:short", Err("belongs into a field"));
        let error = Repository::from_url("oci://h/a:1").unwrap_err().to_string();
        assert!(error.contains("names a tag"), "{error}");
    }

    #[test]
    fn plain_http_is_for_near_registries() {
        for (registry, near) in [
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("10.1.2.3", true),
            ("192.168.0.1:80", true),
            ("registry.flux-system.svc.cluster.local:5000", true),
            ("[::1]:5000", true),
            ("ghcr.io", false),
            ("8.8.8.8:5000", false),
            ("local.example.com", false),
        ] {
            let repository = Repository::from_url(&format!("oci://{registry}/a")).unwrap();
            assert_eq!(repository.is_near(), near, "{registry}");
        }
    }
}
