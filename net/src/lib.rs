//! What every outward call needs: TLS with custom roots and client certificates, proxies, redaction of secrets, and
//! identities in clouds.
//!
//! ```text
//! Secret keys ─► BasicAuth, bearer_token, TlsOptions, ProxyOptions ─► rustls config, HTTP client
//!                                                  anything printed ─► redact
//! ```

mod auth;
mod client;
pub mod cloud;
mod explain;
mod local;
mod proxy;
mod redact;
mod secret;
mod tls;

pub use auth::{AuthError, BasicAuth, bearer_token};
pub use client::{ClientError, http_client, unverified_http_client};
pub use explain::{Explained, explain};
pub use local::is_local;
pub use proxy::{ProxyError, ProxyOptions};
pub use redact::{redact, redact_values};
pub use secret::{SecretData, SecretText};
pub use tls::{TlsError, TlsOptions, install_crypto_provider};
