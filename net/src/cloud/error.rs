//! What goes wrong between here and a cloud, said for people. No variant carries credentials.

/// Credentials that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// The environment says nothing of credentials.
    #[error("no credentials of {provider} were found: {tried}")]
    Nowhere {
        /// `AWS` …
        provider: &'static str,
        /// Where they were looked for, and what was missing.
        tried: String,
    },
    /// A setting that is missing or makes no sense.
    #[error("{0}")]
    Setting(String),
    /// A file of the environment that cannot be read.
    #[error("reading {path}, which {variable} names: {detail}")]
    File {
        /// The environment's variable.
        variable: &'static str,
        /// The file.
        path: String,
        /// Why.
        detail: String,
    },
    /// A service that cannot be reached.
    #[error("cannot reach {service}: {detail}")]
    Connect {
        /// Which.
        service: &'static str,
        /// Why.
        detail: String,
    },
    /// A service that says no.
    #[error("{service} answered with HTTP {status}: {detail}")]
    Refused {
        /// Which.
        service: &'static str,
        /// The status.
        status: u16,
        /// What it says.
        detail: String,
    },
    /// An answer that is not what it should be.
    #[error("the answer of {service} cannot be used: {detail}")]
    Answer {
        /// Which.
        service: &'static str,
        /// What is missing or wrong.
        detail: String,
    },
    /// A service account that cannot be used.
    #[error("service account '{namespace}/{name}': {detail}")]
    Account {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Why.
        detail: String,
    },
    /// The process has an identity and does not lend it.
    #[error("the identity of this process is not lent here: a service account has to be named")]
    OwnIdentity,
    /// Accounts cannot be asked here.
    #[error("service accounts cannot be used here")]
    NoAccounts,
    /// An account is named, and the gate is closed.
    #[error(
        "to use service account '{account}' for authentication, the feature gate ObjectLevelWorkloadIdentity is needed"
    )]
    Gate {
        /// The account.
        account: String,
    },
    /// Another registry, cluster or key than the provider has.
    #[error("{0}")]
    NotOurs(String),
    /// A key that cannot be used.
    #[error("{what}: {detail}")]
    Key {
        /// `client certificate` …
        what: &'static str,
        /// What is wrong; shows nothing of it.
        detail: String,
    },
}

impl CloudError {
    /// Whether only a change of the object or of the process's flags helps.
    pub fn is_gate(&self) -> bool {
        matches!(self, CloudError::Gate { .. })
    }
}
