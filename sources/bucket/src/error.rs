//! What can go wrong with a bucket.

use std::io;

/// A bucket that could not be listed or read. No text carries a credential.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// The spec says something that cannot be.
    #[error("{field}: {problem}")]
    Spec {
        /// Such as `spec.endpoint`.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Keys could not be had, or cannot be used.
    #[error("{0}")]
    Keys(String),
    /// There is no such bucket.
    #[error("bucket '{bucket}' not found")]
    NoBucket {
        /// Its name.
        bucket: String,
    },
    /// The server said no.
    #[error("{what}: {server} answers {status}{}{code}: {message}", if code.is_empty() { "" } else { " " })]
    Refused {
        /// What was being done.
        what: String,
        /// Host and port.
        server: String,
        /// HTTP status.
        status: u16,
        /// The server's word for it, such as `AccessDenied`; may be empty.
        code: String,
        /// What it says to that.
        message: String,
    },
    /// No answer came, or only a part of one.
    #[error("{what}: {problem}")]
    Request {
        /// What was being done.
        what: String,
        /// At what it failed.
        problem: String,
    },
    /// The answer makes no sense.
    #[error("{what}: {server} answers what cannot be read: {problem}")]
    Answer {
        /// What was being done.
        what: String,
        /// Host and port.
        server: String,
        /// What is wrong with it.
        problem: String,
    },
    /// It took too long.
    #[error("{what}: not done after {seconds} s (spec.timeout)")]
    Timeout {
        /// What was being done.
        what: String,
        /// The limit.
        seconds: u64,
    },
    /// A key that cannot be a path.
    #[error("object '{key}' cannot be a file of an artifact: {problem}; leave it out with spec.ignore or spec.prefix")]
    Path {
        /// The object's key.
        key: String,
        /// Why not.
        problem: String,
    },
    /// More than an artifact may hold.
    #[error("bucket '{bucket}' holds more than {limit}; choose less with spec.prefix or spec.ignore")]
    TooMuch {
        /// Its name.
        bucket: String,
        /// Such as `500000 objects`.
        limit: String,
    },
    /// An object could not be written down.
    #[error("writing object '{key}' to disk")]
    Disk {
        /// The object's key.
        key: String,
        /// The disk's error.
        #[source]
        source: io::Error,
    },
}

impl BucketError {
    /// Whether only another spec or Secret helps; trying again does not.
    pub fn is_terminal(&self) -> bool {
        matches!(self, BucketError::Spec { .. })
    }

    /// Whether it is about credentials before any bucket was asked.
    pub fn is_about_keys(&self) -> bool {
        matches!(self, BucketError::Keys(_))
    }

    /// Whether trying at once again may help.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            BucketError::Request { .. } => true,
            BucketError::Refused { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }
}
