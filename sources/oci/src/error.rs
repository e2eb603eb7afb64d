//! What goes wrong between here and a registry, said for people. No variant carries credentials.

use std::time::Duration;

use nave_artifact::Digest;
use nave_net::ClientError;

/// A registry that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// TLS or proxy settings that cannot be used.
    #[error("preparing to talk to {registry}")]
    Client {
        /// Host and port.
        registry: String,
        /// What is wrong with them.
        #[source]
        source: Box<ClientError>,
    },
    /// HTTP 401 or 403, from the registry or from its token service.
    #[error("{repository} refused access (HTTP {status}): {hint}{detail}")]
    Unauthorized {
        /// What was asked for.
        repository: String,
        /// 401 or 403.
        status: u16,
        /// What to do.
        hint: &'static str,
        /// What the registry says, with a separator before it, or nothing.
        detail: String,
    },
    /// HTTP 404.
    #[error("{what} not found in {repository}{detail}")]
    NotFound {
        /// `tag 'x'`, `manifest sha256:…`, `blob sha256:…` or `the repository`.
        what: String,
        /// Where it was looked for.
        repository: String,
        /// What the registry says, with a separator before it, or nothing.
        detail: String,
    },
    /// Another HTTP status.
    #[error("{what} {repository}: the registry answered with HTTP {status}{detail}")]
    Status {
        /// What was being done: `listing tags of`, `pulling from` …
        what: &'static str,
        /// With which repository.
        repository: String,
        /// The status.
        status: u16,
        /// What the registry says, with a separator before it, or nothing.
        detail: String,
    },
    /// The certificate of the registry, or ours.
    #[error("TLS with {registry} failed: {detail}")]
    Tls {
        /// Host and port.
        registry: String,
        /// What TLS says, and what to do.
        detail: String,
    },
    /// No connection, or it broke.
    #[error("cannot reach {registry}: {detail}")]
    Connect {
        /// Host and port.
        registry: String,
        /// Why.
        detail: String,
    },
    /// Not done in time.
    #[error("{what} {repository} took longer than the timeout of {timeout:?}")]
    Timeout {
        /// What was being done.
        what: &'static str,
        /// With which repository.
        repository: String,
        /// The timeout.
        timeout: Duration,
    },
    /// Nothing came for too long.
    #[error("{what} {repository}: nothing came for {stall:?} after {received} of {size} bytes")]
    Stalled {
        /// What was being done.
        what: &'static str,
        /// With which repository.
        repository: String,
        /// How long nothing came.
        stall: Duration,
        /// What had come.
        received: u64,
        /// What should have come.
        size: u64,
    },
    /// Content that is not what it was called.
    #[error("{what} of {repository} has digest {actual}, expected {expected}")]
    Digest {
        /// `manifest` or `blob`.
        what: &'static str,
        /// Where it came from.
        repository: String,
        /// What was asked for.
        expected: Box<Digest>,
        /// What came.
        actual: Box<Digest>,
    },
    /// Content that is longer or shorter than it was said to be.
    #[error("blob {digest} of {repository} has {actual} bytes, its manifest says {expected}")]
    Size {
        /// The blob.
        digest: String,
        /// Where it came from.
        repository: String,
        /// What the manifest says.
        expected: u64,
        /// What came, `more` where reading on was pointless.
        actual: String,
    },
    /// More than is read from anybody.
    #[error("{what} {repository}: the answer is larger than {limit} bytes")]
    TooLarge {
        /// What was being done.
        what: &'static str,
        /// With which repository.
        repository: String,
        /// The bound.
        limit: u64,
    },
    /// An answer that is not of the protocol.
    #[error("{what} {repository}: {detail}")]
    Protocol {
        /// What was being done.
        what: &'static str,
        /// With which repository.
        repository: String,
        /// What was not understood.
        detail: String,
    },
    /// A tag or digest that cannot exist.
    #[error("'{reference}' is neither a tag nor a digest")]
    Reference {
        /// As given.
        reference: String,
    },
    /// Where the content should have gone.
    #[error("writing what {repository} sent")]
    Write {
        /// Where it came from.
        repository: String,
        /// The disk's error.
        #[source]
        source: std::io::Error,
    },
}

impl OciError {
    /// Whether credentials or certificates are the matter: Flux's reason `AuthenticationFailed` for charts.
    pub fn is_access(&self) -> bool {
        matches!(self, OciError::Unauthorized { .. } | OciError::Tls { .. })
    }
}
