//! HTTP clients with an object's TLS and proxy settings.

use std::time::Duration;

use crate::{ProxyOptions, TlsError, TlsOptions};

/// An HTTP client that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The TLS settings are not usable.
    #[error("preparing TLS")]
    Tls(#[from] TlsError),
    /// The proxy address is not usable.
    #[error("using proxy {address}")]
    Proxy {
        /// The address, without credentials.
        address: String,
        /// What is wrong with it.
        #[source]
        source: reqwest::Error,
    },
    /// Anything else.
    #[error("preparing the HTTP client")]
    Build(#[source] reqwest::Error),
}

/// An HTTP client builder with TLS, proxy and user agent set, and a bound on connecting.
///
/// Without a proxy of its own the environment's (`HTTPS_PROXY`, `NO_PROXY` …) is used, as in Flux.
///
/// # Errors
/// The TLS settings or the proxy address are not usable.
pub fn http_client(tls: &TlsOptions, proxy: Option<&ProxyOptions>) -> Result<reqwest::ClientBuilder, ClientError> {
    let config = tls.client_config()?;
    with_proxy(builder().tls_backend_preconfigured((*config).clone()), proxy)
}

/// [`http_client`] for an object that says `insecure`: any certificate of the other side is taken.
///
/// # Errors
/// The proxy address is not usable.
pub fn unverified_http_client(proxy: Option<&ProxyOptions>) -> Result<reqwest::ClientBuilder, ClientError> {
    crate::install_crypto_provider();
    with_proxy(builder().tls_danger_accept_invalid_certs(true), proxy)
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("nave/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(20))
}

fn with_proxy(
    builder: reqwest::ClientBuilder,
    proxy: Option<&ProxyOptions>,
) -> Result<reqwest::ClientBuilder, ClientError> {
    let Some(proxy) = proxy else { return Ok(builder) };
    let mut made = reqwest::Proxy::all(proxy.address.as_str()).map_err(|source| ClientError::Proxy {
        address: proxy.address.to_string(),
        source,
    })?;
    if let Some((username, password)) = &proxy.credentials {
        made = made.basic_auth(username, password.expose());
    }
    Ok(builder.proxy(made))
}
