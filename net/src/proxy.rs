//! Proxies named by an object (`proxySecretRef`).

use url::Url;

use crate::secret::{NotText, SecretData, SecretText, text};

/// A proxy for all requests of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyOptions {
    /// Scheme `http`, `https` or `socks5`; without credentials.
    pub address: Url,
    /// User name and password, when the proxy asks.
    pub credentials: Option<(String, SecretText)>,
}

/// A proxy Secret that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// No `address`.
    #[error("key \"address\" is missing")]
    Missing,
    /// Longer than Flux allows.
    #[error("key \"address\" is longer than {MAX_ADDRESS} characters")]
    TooLong,
    /// Not a URL.
    #[error("key \"address\" is not a URL")]
    NotUrl(#[source] url::ParseError),
    /// Another scheme.
    #[error("key \"address\" has scheme {scheme:?}, expected http, https or socks5")]
    Scheme {
        /// What it has.
        scheme: String,
    },
    /// Not UTF-8.
    #[error("key {key:?} is not valid UTF-8")]
    NotText {
        /// The key.
        key: &'static str,
    },
}

impl From<NotText> for ProxyError {
    fn from(NotText(key): NotText) -> Self {
        ProxyError::NotText { key }
    }
}

const MAX_ADDRESS: usize = 2048;

impl ProxyOptions {
    /// Reads `address`, and `username` and `password` where they are set. Credentials inside the address count too.
    ///
    /// # Errors
    /// The address is missing, too long, not a URL, or of another scheme.
    pub fn from_secret(data: &SecretData) -> Result<Self, ProxyError> {
        let address = text(data, "address")?.ok_or(ProxyError::Missing)?;
        if address.len() > MAX_ADDRESS {
            return Err(ProxyError::TooLong);
        }
        let mut address = Url::parse(address).map_err(ProxyError::NotUrl)?;
        if !matches!(address.scheme(), "http" | "https" | "socks5") {
            return Err(ProxyError::Scheme {
                scheme: address.scheme().to_owned(),
            });
        }
        let decoded = |text: &str| {
            url::form_urlencoded::parse(format!("x={}", text.replace('+', "%2B")).as_bytes())
                .next()
                .map_or_else(String::new, |(_, value)| value.into_owned())
        };
        let embedded = (!address.username().is_empty()).then(|| {
            let password = decoded(address.password().unwrap_or_default());
            (decoded(address.username()), SecretText::new(password))
        });
        // Neither fails for the schemes allowed above.
        let _ = address.set_username("");
        let _ = address.set_password(None);
        let given = text(data, "username")?.map(str::to_owned);
        let password = text(data, "password")?.unwrap_or_default();
        let credentials = given.map(|username| (username, SecretText::new(password))).or(embedded);
        Ok(ProxyOptions { address, credentials })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(keys: &[(&str, &str)]) -> Result<ProxyOptions, ProxyError> {
        let data = keys
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
            .collect();
        ProxyOptions::from_secret(&data)
    }

    #[test]
    fn address_and_credentials() {
        let proxy = read(&[("address", "http://proxy:3128"), ("username", "u"), ("password", "p")]).unwrap();
        assert_eq!(proxy.address.as_str(), "http://proxy:3128/");
        let (user, password) = proxy.credentials.unwrap();
        assert_eq!((user.as_str(), password.expose()), ("u", "p"));
        let proxy = read(&[("address", "socks5://a%40b:p%2Bq+r@proxy")]).unwrap();
        let (user, password) = proxy.credentials.unwrap();
        assert_eq!(
            (user.as_str(), password.expose(), proxy.address.as_str()),
            ("a@b", "p+q+r", "socks5://proxy")
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(read(&[]), Err(ProxyError::Missing));
        assert!(matches!(read(&[("address", "proxy")]), Err(ProxyError::NotUrl(_))));
        assert!(matches!(
            read(&[("address", "ftp://proxy")]),
            Err(ProxyError::Scheme { .. })
        ));
        let long = format!("http://{}", "a".repeat(3000));
        assert_eq!(read(&[("address", &long)]), Err(ProxyError::TooLong));
    }
}
