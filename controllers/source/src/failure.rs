//! What keeps a source from being ready: which condition says so, and what happens next.

use std::error::Error;

/// When a failed reconcile is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    /// With growing delays.
    Backoff,
    /// After the delay for dependencies: something else has to happen first.
    Waiting,
    /// Not before somebody changes the object.
    Stalled,
}

/// One failure, ready to be written into a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub retry: Retry,
    /// The condition that becomes true.
    pub condition: &'static str,
    pub reason: &'static str,
    pub message: String,
}

impl Failure {
    pub fn new(retry: Retry, condition: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Failure {
            retry,
            condition,
            reason,
            message: nave_net::redact(&message.into()),
        }
    }
}

/// An error with everything that caused it, in one line. What the store and git tell is free of credentials; redaction
/// is the second lock.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    nave_net::redact(&text)
}
