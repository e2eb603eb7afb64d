//! A repository somewhere else, and how to get in.

use nave_net::{BasicAuth, ProxyOptions, SecretText, TlsOptions};
use url::Url;

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
}

/// A repository behind HTTP or HTTPS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    pub(crate) url: Url,
    pub(crate) auth: Auth,
    pub(crate) tls: TlsOptions,
    pub(crate) proxy: Option<ProxyOptions>,
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
    #[error("URL scheme {scheme:?} is not supported, expected http or https")]
    Scheme {
        /// The scheme.
        scheme: String,
    },
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
        let mut parsed = Url::parse(url).map_err(|source| RemoteError::Url {
            url: nave_net::redact(url).chars().take(512).collect(),
            source,
        })?;
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
        })
    }

    /// The URL without credentials.
    pub fn url(&self) -> &Url {
        &self.url
    }
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
        let error = remote("ssh://git@host/a", Auth::None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "URL scheme \"ssh\" is not supported, expected http or https"
        );
        let error = remote("https://me:secret@host:port/a", Auth::None).unwrap_err();
        assert_eq!(error.to_string(), "URL \"https://***@host:port/a\" cannot be read");
    }
}
