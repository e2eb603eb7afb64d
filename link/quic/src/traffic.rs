//! What a connection carries, by what it is for.
//!
//! Streams count what is written to them and read from them. The rest of what the carrier counts is its own: handshakes,
//! acknowledgements, encryption, repetitions, and the heads of IP and UDP or TCP.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use nave_proto::StreamKind;

/// Kinds of streams.
const KINDS: usize = 4;

/// Bytes by stream kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KindBytes([u64; KINDS]);

/// Bytes of one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Carried {
    /// On streams, heads of frames included.
    pub streams: KindBytes,
    /// In all, with the heads of IP and UDP or TCP. Over TCP a write to the socket counts as one segment, and what the
    /// kernel sends by itself (acknowledgements, repetitions) is not known.
    pub total: u64,
}

/// What a connection has carried so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From this end.
    pub sent: Carried,
    /// To this end.
    pub received: Carried,
}

/// Counts one connection's streams.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    sent: [AtomicU64; KINDS],
    received: [AtomicU64; KINDS],
}

impl KindBytes {
    /// Bytes of one kind.
    pub fn of(&self, kind: StreamKind) -> u64 {
        self.0[place(kind)]
    }

    /// Bytes of all kinds.
    pub fn sum(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl Carried {
    /// What is not on streams: the carrier's own.
    pub fn overhead(&self) -> u64 {
        self.total.saturating_sub(self.streams.sum())
    }

    /// What was added since an earlier reading of the same connection.
    pub fn since(&self, before: &Self) -> Self {
        let mut streams = self.streams;
        for (now, before) in streams.0.iter_mut().zip(before.streams.0) {
            *now = now.saturating_sub(before);
        }
        Self {
            streams,
            total: self.total.saturating_sub(before.total),
        }
    }
}

impl Traffic {
    /// What was added since an earlier reading of the same connection.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            sent: self.sent.since(&before.sent),
            received: self.received.since(&before.received),
        }
    }
}

impl Meter {
    pub(crate) fn sent(&self, kind: StreamKind, bytes: usize) {
        self.sent[place(kind)].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, kind: StreamKind, bytes: usize) {
        self.received[place(kind)].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The streams of both directions, sent first.
    pub(crate) fn read(&self) -> (KindBytes, KindBytes) {
        let read =
            |counts: &[AtomicU64; KINDS]| KindBytes(counts.each_ref().map(|count| count.load(Ordering::Relaxed)));
        (read(&self.sent), read(&self.received))
    }
}

/// Bytes of the heads of IP and of what is in it.
pub(crate) fn heads(remote: SocketAddr, own: u64) -> u64 {
    // An address of the one family may be written as one of the other.
    let ip = if remote.ip().to_canonical().is_ipv4() { 20 } else { 40 };
    ip + own
}

fn place(kind: StreamKind) -> usize {
    match kind {
        StreamKind::Control => 0,
        StreamKind::State => 1,
        StreamKind::Chunk => 2,
        StreamKind::Live => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_are_subtracted_and_the_rest_is_the_carriers() {
        let meter = Meter::default();
        meter.sent(StreamKind::Control, 10);
        meter.sent(StreamKind::Chunk, 100);
        meter.received(StreamKind::State, 7);
        let reading = |total| {
            let (sent, received) = meter.read();
            Traffic {
                sent: Carried { streams: sent, total },
                received: Carried {
                    streams: received,
                    total,
                },
            }
        };
        let before = reading(200);
        assert_eq!((before.sent.overhead(), before.received.overhead()), (90, 193));
        meter.sent(StreamKind::Chunk, 5);
        let since = reading(230).since(&before);
        assert_eq!(since.sent.streams.of(StreamKind::Chunk), 5);
        assert_eq!(since.sent.streams.of(StreamKind::Control), 0);
        assert_eq!((since.sent.total, since.received.streams.sum()), (30, 0));
    }

    #[test]
    fn heads_are_those_of_the_address_family() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        assert_eq!(heads(address("10.0.0.1:9443"), 8), 28);
        assert_eq!(heads(address("[::ffff:10.0.0.1]:9443"), 8), 28);
        assert_eq!(heads(address("[2001:db8::1]:9443"), 20), 60);
    }
}
