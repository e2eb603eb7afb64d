//! How a versioned map gets from one end to the other: one sender, one receiver per map and session.
//!
//! ```text
//! sender                                                   receiver
//!   roots equal? ─ yes ─► nothing to do
//!        └─ no ─► TreeRequest ──────────────────────────►  snapshot
//!                 compare  ◄────────────────── TreeReply   (all items when few, else sixteen digests)
//!   what differs, then what changes ── ItemPut/Delete ──►  hand to the owner, hold
//!   window, deletions forgotten  ◄─────────────── Ack
//! ```
//!
//! An item that the receiver holds and the sender does not know is reported and never deleted by itself.

mod receiver;
mod sender;

use std::collections::VecDeque;

pub use receiver::{IncomingDelete, IncomingPut, ItemFailure};
pub(crate) use receiver::{Receiver, Step};
pub(crate) use sender::{Sender, SenderEvent};

/// Takes the first of a queue. An empty one gives its memory back: a thousand sessions at rest have nothing queued.
pub(crate) fn pop<T>(queue: &mut VecDeque<T>) -> Option<T> {
    let first = queue.pop_front();
    if queue.is_empty() && queue.capacity() > 0 {
        *queue = VecDeque::new();
    }
    first
}

/// The peer broke the protocol, or this end's driver did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A frame that cannot be read.
    #[error(transparent)]
    Decode(#[from] crate::bounds::DecodeError),
    /// A message that must not come now, or not on this stream.
    #[error("{message} is not expected: {why}")]
    Unexpected {
        /// The message.
        message: &'static str,
        /// What is expected instead, or why not.
        why: &'static str,
    },
    /// A message whose content does not fit what was said before.
    #[error("{message}: {why}")]
    Inconsistent {
        /// The message.
        message: &'static str,
        /// What does not fit.
        why: &'static str,
    },
    /// The peer speaks another major version.
    #[error("protocol version {theirs} is not supported, this end speaks {ours}")]
    Version {
        /// The peer's.
        theirs: u32,
        /// Ours.
        ours: u32,
    },
}
