//! What goes wrong between here and a chart repository, said for people. No variant carries credentials.

use std::{io, time::Duration};

use nave_net::ClientError;

/// A chart repository that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ChartRepoError {
    /// Not an address that can be asked.
    #[error("'{url}' is no http or https address")]
    Url {
        /// As given, without credentials.
        url: String,
    },
    /// TLS or proxy settings that cannot be used.
    #[error("preparing to talk to {url}")]
    Client {
        /// The repository.
        url: String,
        /// What is wrong with them.
        #[source]
        source: Box<ClientError>,
    },
    /// HTTP 401 or 403.
    #[error("{url} refused access (HTTP {status}): {hint}")]
    Unauthorized {
        /// What was asked for.
        url: String,
        /// 401 or 403.
        status: u16,
        /// What to do.
        hint: &'static str,
    },
    /// Another HTTP status.
    #[error("{url} answered with HTTP {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// The status.
        status: u16,
    },
    /// The certificate of the server, or ours.
    #[error("TLS with {url} failed: {detail}")]
    Tls {
        /// What was asked for.
        url: String,
        /// What TLS says, and what to do.
        detail: String,
    },
    /// No connection, or it broke.
    #[error("cannot read {url}: {detail}")]
    Connect {
        /// What was asked for.
        url: String,
        /// Why.
        detail: String,
    },
    /// Not done in time.
    #[error("reading {url} took longer than the timeout of {timeout:?}")]
    Timeout {
        /// What was asked for.
        url: String,
        /// The timeout.
        timeout: Duration,
    },
    /// More than is read from anybody.
    #[error("{url} is larger than {limit} bytes")]
    TooLarge {
        /// What was asked for.
        url: String,
        /// The bound.
        limit: u64,
    },
    /// A package that is not the one of the index.
    #[error("chart {url} has SHA-256 {actual}, the index says {expected}")]
    Digest {
        /// The package.
        url: String,
        /// What the index says.
        expected: String,
        /// What came.
        actual: String,
    },
    /// An index entry without an address.
    #[error("chart '{name}' has no downloadable URLs")]
    NoUrl {
        /// The chart.
        name: String,
    },
    /// Where the content should have gone.
    #[error("writing what {url} sent")]
    Write {
        /// What was asked for.
        url: String,
        /// The disk's error.
        #[source]
        source: io::Error,
    },
}

impl ChartRepoError {
    /// Whether credentials or certificates are the matter.
    pub fn is_access(&self) -> bool {
        matches!(self, ChartRepoError::Unauthorized { .. } | ChartRepoError::Tls { .. })
    }
}
