//! Keys that a cloud gives to whoever runs in it: a port, filled by the process.

use futures::future::BoxFuture;
use nave_net::{ProxyOptions, SecretText};

/// Which identity of which cloud is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudAsk {
    /// `aws`, `gcp` or `azure`.
    pub provider: &'static str,
    /// Namespace of the object that asks.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// ServiceAccount in it; when empty, the identity of the process.
    pub service_account: String,
    /// Region, if known.
    pub region: String,
    /// Address of the token service, where it is not the cloud's usual one (`spec.sts.endpoint`).
    pub sts_endpoint: Option<String>,
    /// Proxy to reach it with.
    pub proxy: Option<ProxyOptions>,
}

/// What a cloud gave.
#[derive(Debug, Clone)]
pub enum CloudKey {
    /// Short-lived AWS keys.
    Aws {
        /// Identifier of the access key.
        access: String,
        /// Access key.
        secret: SecretText,
        /// Session token.
        token: SecretText,
    },
    /// A token for `Authorization: Bearer`.
    Bearer(SecretText),
}

/// Who gives keys of a cloud. Asked for every exchange: caching is up to whoever answers.
pub trait CloudCredentials: std::fmt::Debug + Send + Sync {
    /// Keys that are valid for some minutes at least; the error says what to do.
    fn key<'a>(&'a self, ask: &'a CloudAsk) -> BoxFuture<'a, Result<CloudKey, String>>;
}
