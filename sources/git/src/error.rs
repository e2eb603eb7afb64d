//! What goes wrong between here and a repository, said for people. No variant carries credentials.

use std::time::Duration;

use nave_artifact::PathError;
use nave_net::ClientError;

/// A remote that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// TLS or proxy settings that cannot be used.
    #[error("preparing to talk to {url}")]
    Client {
        /// The remote.
        url: String,
        /// What is wrong with them.
        #[source]
        source: ClientError,
    },
    /// An address of this machine, where such are not asked.
    #[error("{url} is an address of this machine, which is not allowed")]
    Local {
        /// The remote.
        url: String,
    },
    /// The reference cannot exist.
    #[error("invalid reference '{reference}': {what}")]
    InvalidReference {
        /// As given.
        reference: String,
        /// Why.
        what: &'static str,
    },
    /// HTTP 401 or 403.
    #[error("{url} refused access (HTTP {status}): {hint}")]
    Unauthorized {
        /// The remote.
        url: String,
        /// 401 or 403.
        status: u16,
        /// What to do.
        hint: &'static str,
    },
    /// HTTP 404.
    #[error("repository {url} not found")]
    NotFound {
        /// The remote.
        url: String,
    },
    /// Another HTTP status.
    #[error("{url} answered with HTTP {status}")]
    Status {
        /// The remote.
        url: String,
        /// The status.
        status: u16,
    },
    /// The certificate of the server, or ours.
    #[error("TLS with {url} failed: {detail}")]
    Tls {
        /// The remote.
        url: String,
        /// What TLS says, and what to do.
        detail: String,
    },
    /// No connection, or it broke.
    #[error("cannot reach {url}: {detail}")]
    Connect {
        /// The remote.
        url: String,
        /// Why.
        detail: String,
    },
    /// The SSH server's key is not the one that is known, or not known at all.
    #[error("host key of {url} is not accepted: {detail}")]
    HostKey {
        /// The remote.
        url: String,
        /// Which host and key, and what to do.
        detail: String,
    },
    /// The SSH server does not let us in.
    #[error("{url} refused access: {detail}")]
    Denied {
        /// The remote.
        url: String,
        /// Which key and user, and what to do.
        detail: String,
    },
    /// What the program at the other end says before it ends.
    #[error("{what} {url}: the server says: {detail}")]
    Said {
        /// `listing references of`, `fetching from` or `pushing to`.
        what: &'static str,
        /// The remote.
        url: String,
        /// Its words.
        detail: String,
    },
    /// Not done in time.
    #[error("{what} {url} took longer than the timeout of {timeout:?}")]
    Timeout {
        /// `listing references of` or `fetching from`.
        what: &'static str,
        /// The remote.
        url: String,
        /// `spec.timeout`.
        timeout: Duration,
    },
    /// A redirect that is not followed.
    #[error("{url} redirects to {target}, which is not followed: {why}")]
    Redirect {
        /// The remote.
        url: String,
        /// Where it leads.
        target: String,
        /// Why not.
        why: &'static str,
    },
    /// The server does not speak Git's protocol as needed.
    #[error("{what} {url}: {detail}")]
    Protocol {
        /// `listing references of` or `fetching from`.
        what: &'static str,
        /// The remote.
        url: String,
        /// What was not understood.
        detail: String,
    },
    /// No commit yet.
    #[error("repository {url} is empty")]
    Empty {
        /// The remote.
        url: String,
    },
    /// The reference is not there.
    #[error("{reference} not found in {url}{hint}")]
    ReferenceNotFound {
        /// What was looked for.
        reference: String,
        /// The remote.
        url: String,
        /// What is there instead.
        hint: String,
    },
    /// No tag within a range of versions.
    #[error("no tag of {url} is a version that matches '{range}'{hint}")]
    NoVersion {
        /// The range.
        range: String,
        /// The remote.
        url: String,
        /// Versions that are there instead.
        hint: String,
    },
    /// A range of versions that cannot be read.
    #[error("semver '{range}' is not a range of versions")]
    Range {
        /// As given.
        range: String,
        /// What is wrong.
        #[source]
        source: nave_version::RangeError,
    },
    /// The commit is not there.
    #[error("commit {commit} not found in {url}")]
    CommitNotFound {
        /// The commit.
        commit: String,
        /// The remote.
        url: String,
    },
    /// A repository that is part of this one cannot be read.
    #[error("submodule '{path}' of {url}: {detail}")]
    Submodule {
        /// Where it belongs.
        path: String,
        /// The repository that it is part of.
        url: String,
        /// What is wrong.
        detail: String,
    },
    /// A commit that cannot be made.
    #[error("making a commit: {what}")]
    InvalidCommit {
        /// What is wrong.
        what: String,
    },
    /// Somebody else wrote to the reference.
    #[error("{reference} of {url} is {actual}, expected it {expected}")]
    Moved {
        /// The reference.
        reference: String,
        /// The remote.
        url: String,
        /// `absent` or `at` a commit.
        expected: String,
        /// Likewise.
        actual: String,
    },
    /// The remote does not take what is pushed.
    #[error("{url} does not take {reference}: {detail}")]
    Rejected {
        /// The reference.
        reference: String,
        /// The remote.
        url: String,
        /// What it says.
        detail: String,
    },
    /// The reference leads to something else.
    #[error("{reference} of {url} is a {kind}, expected a commit")]
    NotACommit {
        /// The reference or hash.
        reference: String,
        /// The remote.
        url: String,
        /// What it is.
        kind: String,
    },
    /// More than the limits allow.
    #[error("{url} holds more than {limit} {what}")]
    TooLarge {
        /// The remote.
        url: String,
        /// The limit that was passed.
        limit: u64,
        /// Of what, and what to do.
        what: &'static str,
    },
    /// A directory of a sparse checkout is not there.
    #[error("sparse checkout directory '{path}' does not exist in {revision}")]
    SparsePath {
        /// The directory.
        path: String,
        /// The revision.
        revision: String,
    },
    /// A file name that artifacts cannot hold.
    #[error("commit {commit} holds a file that no artifact can hold")]
    Path {
        /// The commit.
        commit: String,
        /// Which, and why.
        #[source]
        source: PathError,
    },
    /// The same, where the name is no text.
    #[error("commit {commit} holds file {path:?}, whose name is not valid UTF-8; exclude it with spec.ignore")]
    NotText {
        /// The commit.
        commit: String,
        /// The path as far as it can be shown.
        path: String,
    },
    /// The cache on disk is damaged, also after it was made anew.
    #[error("reading commit {commit} of {url} from the cache: {detail}")]
    Corrupt {
        /// The commit.
        commit: String,
        /// The remote.
        url: String,
        /// What is wrong.
        detail: String,
    },
    /// Nobody waits for the result any more; whoever did was told of the timeout.
    #[error("reading was interrupted")]
    Interrupted,
    /// What is made of the files could not be written.
    #[error("writing the artifact")]
    Writing {
        /// The disk's error.
        #[source]
        source: std::io::Error,
    },
    /// The disk's.
    #[error("using the git cache {path}")]
    Cache {
        /// The directory.
        path: String,
        /// The disk's error.
        #[source]
        source: std::io::Error,
    },
}

impl GitError {
    /// The remote holds no commit at all; Flux has a reason of its own for that.
    pub fn is_empty_repository(&self) -> bool {
        matches!(self, GitError::Empty { .. })
    }

    /// Trying again cannot help before somebody changes the object.
    pub fn is_terminal(&self) -> bool {
        matches!(self, GitError::InvalidReference { .. } | GitError::Range { .. })
    }
}

/// An error with what caused it, in one line.
pub(crate) fn told(error: &GitError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
