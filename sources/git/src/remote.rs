//! A repository somewhere else, and how to get in.

use nave_net::{BasicAuth, ProxyOptions, SecretText, TlsOptions};
use url::Url;

use crate::SshAuth;

/// Who we say we are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Auth {
    /// Nobody.
    #[default]
    None,
    /// User name and password.
    Basic(BasicAuth),
    /// A token in an `Authorization: Bearer` header.
    Bearer(SecretText),
    /// A key, over SSH.
    Ssh(SshAuth),
}

/// A repository behind HTTP, HTTPS or SSH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    pub(crate) url: Url,
    pub(crate) auth: Auth,
    pub(crate) tls: TlsOptions,
    pub(crate) proxy: Option<ProxyOptions>,
    /// Says whose objects these are, where the credentials are others each hour.
    pub(crate) identity: Option<String>,
}

/// A remote that cannot be asked at all, whatever the network does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// Not a URL.
    #[error("URL {url:?} cannot be read")]
    Url {
        /// The text, without credentials.
        url: String,
        /// What is wrong with it.
        #[source]
        source: url::ParseError,
    },
    /// Another scheme than http and https.
    #[error("URL scheme {scheme:?} is not supported, expected http, https or ssh")]
    Scheme {
        /// The scheme.
        scheme: String,
    },
    /// `git@host:path`, which is no URL.
    #[error("{given:?} is not a URL; write it as {instead:?}")]
    ScpLike {
        /// As given.
        given: String,
        /// The URL that it means.
        instead: String,
    },
    /// SSH without a key, or a key for something else.
    #[error("{0}")]
    Key(&'static str),
    /// A proxy in front of SSH.
    #[error("a proxy is not supported for ssh, only for http and https")]
    SshProxy,
    /// A token and a user name at once.
    #[error("a bearer token and a user name are both given, only one of them can be sent")]
    TwoIdentities,
    /// A token that HTTP cannot carry.
    #[error("the bearer token holds characters that no HTTP header may carry")]
    Token,
}

impl Remote {
    /// A remote with its ways in. Credentials in the URL are used when `auth` has none.
    ///
    /// Credentials are sent over plain HTTP too, as Flux does: inside a cluster that is common, and refusing would break
    /// what works today.
    ///
    /// # Errors
    /// The URL is not one of http or https, there are two identities, or the token cannot be sent.
    pub fn new(url: &str, auth: Auth, tls: TlsOptions, proxy: Option<ProxyOptions>) -> Result<Self, RemoteError> {
        if let Some(instead) = scp_like(url) {
            return Err(RemoteError::ScpLike {
                given: url.chars().take(512).collect(),
                instead: instead.chars().take(512).collect(),
            });
        }
        let mut parsed = Url::parse(url).map_err(|source| RemoteError::Url {
            url: nave_net::redact(url).chars().take(512).collect(),
            source,
        })?;
        match (parsed.scheme(), &auth) {
            ("ssh", Auth::Ssh(_)) => return Remote::over_ssh(parsed, auth, proxy),
            ("ssh", _) => {
                return Err(RemoteError::Key(
                    "ssh needs a key: \"identity\" and \"known_hosts\" of a secret",
                ));
            }
            ("http" | "https", Auth::Ssh(_)) => return Err(RemoteError::Key("a key is of use for ssh only")),
            _ => {}
        }
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(RemoteError::Scheme {
                scheme: parsed.scheme().to_owned(),
            });
        }
        let embedded = embedded(&parsed);
        // Neither fails for http and https, which always have a host.
        let _ = parsed.set_username("");
        let _ = parsed.set_password(None);
        let auth = match (auth, embedded) {
            (Auth::None, Some(basic)) => Auth::Basic(basic),
            (Auth::Bearer(_), Some(_)) => return Err(RemoteError::TwoIdentities),
            (given, _) => given,
        };
        if let Auth::Bearer(token) = &auth
            && !token.expose().bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(RemoteError::Token);
        }
        Ok(Remote {
            url: parsed,
            auth,
            tls,
            proxy,
            identity: None,
        })
    }

    /// Objects are shared among users of the same `identity`, whatever their credentials are at the moment: for tokens
    /// that are others each hour. Whoever has an identity must be allowed to read what any other holder of it reads.
    pub fn with_identity(mut self, identity: impl Into<String>) -> Self {
        self.identity = Some(identity.into());
        self
    }

    fn over_ssh(mut url: Url, auth: Auth, proxy: Option<ProxyOptions>) -> Result<Self, RemoteError> {
        if proxy.is_some() {
            return Err(RemoteError::SshProxy);
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(RemoteError::Url {
                url: nave_net::redact(url.as_str()).chars().take(512).collect(),
                source: url::ParseError::EmptyHost,
            });
        }
        // A password is of no use, and the URL is printed. The user name stays: it says whose home and rights are meant.
        let _ = url.set_password(None);
        Ok(Remote {
            url,
            auth,
            tls: TlsOptions::default(),
            proxy: None,
            identity: None,
        })
    }

    /// The URL without credentials.
    pub fn url(&self) -> &Url {
        &self.url
    }
}

/// What `user@host:path` means, as git reads it: a colon before the first slash, and no scheme.
pub(crate) fn scp_like(text: &str) -> Option<String> {
    if text.contains("://") {
        return None;
    }
    let (host, path) = text.split_once(':')?;
    let is_host = |c: char| c.is_ascii_alphanumeric() || "@.-_".contains(c);
    // `ext::command` is a program to git, and no host.
    if !host.contains('@') || !host.chars().all(is_host) || path.is_empty() || path.starts_with(':') {
        return None;
    }
    Some(format!("ssh://{host}/{}", path.trim_start_matches('/')))
}

fn embedded(url: &Url) -> Option<BasicAuth> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decoded = |text: &str| {
        let escaped = format!("x={}", text.replace('+', "%2B"));
        url::form_urlencoded::parse(escaped.as_bytes())
            .next()
            .map_or_else(String::new, |(_, value)| value.into_owned())
    };
    Some(BasicAuth {
        username: decoded(url.username()),
        password: SecretText::new(decoded(url.password().unwrap_or_default())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(url: &str, auth: Auth) -> Result<Remote, RemoteError> {
        Remote::new(url, auth, TlsOptions::default(), None)
    }

    fn basic(username: &str, password: &str) -> Auth {
        Auth::Basic(BasicAuth {
            username: username.to_owned(),
            password: SecretText::new(password),
        })
    }

    #[test]
    fn credentials_in_the_url_are_taken_out_of_it() {
        let found = remote("https://me:p%40ss+w@host/a.git", Auth::None).unwrap();
        assert_eq!(
            (found.url().as_str(), &found.auth),
            ("https://host/a.git", &basic("me", "p@ss+w"))
        );
        let found = remote("https://me:pass@host/a.git", basic("other", "x")).unwrap();
        assert_eq!(found.auth, basic("other", "x"));
        let error = remote("https://me@host/a", Auth::Bearer(SecretText::new("t"))).unwrap_err();
        assert_eq!(error, RemoteError::TwoIdentities);
        let error = remote("https://host/a", Auth::Bearer(SecretText::new("two\nlines"))).unwrap_err();
        assert_eq!(error, RemoteError::Token);
    }

    #[test]
    fn other_schemes_and_nonsense_are_refused_without_showing_credentials() {
        let error = remote("ftp://git@host/a", Auth::None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "URL scheme \"ftp\" is not supported, expected http, https or ssh"
        );
        let error = remote("ssh://git@host/a", basic("me", "secret")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "ssh needs a key: \"identity\" and \"known_hosts\" of a secret"
        );
        let error = remote("git@example.com:team/app.git", Auth::None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"git@example.com:team/app.git\" is not a URL; write it as \"ssh://git@example.com/team/app.git\""
        );
        let error = remote("https://me:secret@host:port/a", Auth::None).unwrap_err();
        assert_eq!(error.to_string(), "URL \"https://***@host:port/a\" cannot be read");
    }
}
