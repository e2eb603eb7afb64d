//! Who we are in a cloud: credentials of the process or of a service account, and what they are exchanged for.
//!
//! ```text
//! environment, metadata servers ─┐
//! token of a service account ────┴► Cloud ─► AWS credentials, GCP and Azure access tokens ─► logins of registries,
//!                                     │                                                     tokens of clusters
//!                                     └ kept until most of their time is over
//! ```

mod accounts;
mod aws;
mod azure;
mod cache;
mod clusters;
mod error;
mod gcp;
mod git;
mod google_key;
mod http;
mod registries;
mod settings;
mod sigv4;
#[cfg(test)]
mod tests;
mod usage;

use std::{fmt, sync::Arc, time::Duration};

pub use accounts::{AccountAnswer, AccountToken, Accounts, Identity};
pub use aws::{AwsCredentials, partition_suffix};
pub use azure::AzureKey;
pub use clusters::{ClusterPlace, ClusterRequest};
pub use error::CloudError;
pub use git::GitLogin;
pub use google_key::GoogleKey;
pub use registries::is_registry_of;
pub use settings::{Service, Settings};
pub use sigv4::{Signed, presign, sign};
pub use usage::{CacheObserver, Usage};

use cache::Cache;
use usage::Observed;

use crate::{BasicAuth, ClientError, ProxyOptions, SecretText, TlsOptions, http_client};

/// A cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provider {
    /// Amazon Web Services.
    Aws,
    /// Microsoft Azure.
    Azure,
    /// Google Cloud.
    Gcp,
}

/// A token with its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudToken {
    /// The token.
    pub value: SecretText,
    /// When it is no longer taken.
    pub expires: jiff::Timestamp,
}

/// How many credentials are kept, and how long at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    /// Zero keeps nothing (`--token-cache-max-size`).
    pub entries: usize,
    /// Whatever the credentials say (`--token-cache-max-duration`).
    pub duration: Duration,
}

impl Default for CacheLimits {
    fn default() -> Self {
        CacheLimits {
            entries: 100,
            duration: Duration::from_secs(3600),
        }
    }
}

/// The clouds as one process sees them. Cheap to clone; clones share what is kept.
#[derive(Clone)]
pub struct Cloud {
    inner: Arc<Inner>,
    usage: Option<Arc<Usage>>,
    keeps_to_itself: bool,
}

struct Inner {
    client: reqwest::Client,
    settings: Settings,
    accounts: Option<Arc<dyn Accounts>>,
    observed: Observed,
    aws: Arc<Cache<AwsCredentials>>,
    tokens: Arc<Cache<CloudToken>>,
    logins: Arc<Cache<(BasicAuth, jiff::Timestamp)>>,
    places: Arc<Cache<ClusterPlace>>,
}

impl fmt::Debug for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cloud").finish_non_exhaustive()
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Provider {
    /// As it is written in a spec.
    pub fn as_str(self) -> &'static str {
        match self {
            Provider::Aws => "aws",
            Provider::Azure => "azure",
            Provider::Gcp => "gcp",
        }
    }
}

/// One request to a service of a cloud.
const DEADLINE: Duration = Duration::from_secs(30);

fn client(proxy: Option<&ProxyOptions>) -> Result<reqwest::Client, ClientError> {
    http_client(&TlsOptions::default(), proxy)?
        .timeout(DEADLINE)
        // Credentials go to who was named and to nobody else.
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(ClientError::Build)
}

impl Cloud {
    /// With the settings of the environment. Without `accounts` only the process itself has an identity.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn new(
        settings: Settings,
        accounts: Option<Arc<dyn Accounts>>,
        limits: CacheLimits,
    ) -> Result<Cloud, ClientError> {
        Ok(Cloud::with_client(client(None)?, settings, accounts, limits))
    }

    /// With a client of the caller's; it should follow no redirects.
    pub fn with_client(
        client: reqwest::Client,
        settings: Settings,
        accounts: Option<Arc<dyn Accounts>>,
        limits: CacheLimits,
    ) -> Cloud {
        let observed = Observed::default();
        Cloud {
            inner: Arc::new(Inner {
                client,
                settings,
                accounts,
                aws: Arc::new(Cache::new(limits, observed.clone())),
                tokens: Arc::new(Cache::new(limits, observed.clone())),
                logins: Arc::new(Cache::new(limits, observed.clone())),
                places: Arc::new(Cache::new(limits, observed.clone())),
                observed,
            }),
            usage: None,
            keeps_to_itself: false,
        }
    }

    /// Tells `observer` what becomes of the credentials that are kept, whichever clone asks. The first observer stays.
    pub fn observe(&self, observer: Arc<dyn CacheObserver>) {
        self.inner.observed.set(observer);
    }

    /// The same clouds, asked on behalf of an object: that is what lookups are counted for.
    pub fn of_object(&self, kind: &'static str, namespace: &str, name: &str) -> Cloud {
        let usage = Usage {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            operation: "reconcile",
        };
        Cloud {
            usage: Some(Arc::new(usage)),
            ..self.clone()
        }
    }

    /// The same clouds, asked for this operation of the object.
    pub fn during(&self, operation: &'static str) -> Cloud {
        let usage = self.usage.as_deref().map(|usage| {
            Arc::new(Usage {
                operation,
                ..usage.clone()
            })
        });
        Cloud { usage, ..self.clone() }
    }

    /// The same clouds for objects of people whom the identity of this process is not lent to: they have to name an
    /// account of theirs.
    pub fn without_process_identity(self) -> Cloud {
        Cloud {
            keeps_to_itself: true,
            ..self
        }
    }

    /// Whether requests may be made as this process.
    pub fn lends_process_identity(&self) -> bool {
        !self.keeps_to_itself
    }

    /// The same clouds, asked through a proxy of the object's (`spec.proxySecretRef`). What is kept is shared.
    ///
    /// # Errors
    /// The address of the proxy cannot be used.
    pub fn through(&self, proxy: &ProxyOptions) -> Result<Cloud, ClientError> {
        let client = client(Some(proxy))?;
        let inner = &*self.inner;
        Ok(Cloud {
            inner: Arc::new(Inner {
                client,
                observed: inner.observed.clone(),
                settings: inner.settings.clone(),
                accounts: inner.accounts.clone(),
                aws: inner.aws.clone(),
                tokens: inner.tokens.clone(),
                logins: inner.logins.clone(),
                places: inner.places.clone(),
            }),
            ..self.clone()
        })
    }

    /// The account of an object: the one that its spec names, else the default one, else the process itself.
    ///
    /// # Errors
    /// An account is named and the feature gate for it is closed.
    pub fn identity_of(
        namespace: &str,
        named: &str,
        default: &str,
        is_gate_open: bool,
    ) -> Result<Identity, CloudError> {
        let name = match (named, default) {
            ("", "") => return Ok(Identity::Process),
            ("", default) => default,
            (named, _) if !is_gate_open => {
                return Err(CloudError::Gate {
                    account: named.to_owned(),
                });
            }
            (named, _) => named,
        };
        Ok(Identity::Account {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }
}
