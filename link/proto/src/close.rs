//! How a connection ends: a code for the program, words for the person.

use std::fmt;

use prost::Message;

use crate::bounds::{DecodeError, Shape};
use crate::text::clean;

/// Longest reason: code, reason and addresses must fit one packet.
const MAX_REASON: usize = 512;
const MAX_REDIRECTS: usize = 8;
const MAX_ADDRESS: usize = 259;

/// Why a connection was closed, told to the other end as the carrier's application close.
#[derive(Clone, PartialEq, Message)]
pub struct Close {
    /// A [`CloseCode`]; later versions may send numbers that this one does not know.
    #[prost(uint32, tag = "1")]
    pub code: u32,
    /// For people.
    #[prost(string, tag = "2")]
    pub reason: String,
    /// Do not come back earlier; 0 says nothing.
    #[prost(uint64, tag = "3")]
    pub retry_after_ms: u64,
    /// Come back at one of these `host:port` instead.
    #[prost(string, repeated, tag = "4")]
    pub redirect: Vec<String>,
}

/// The codes, which never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum CloseCode {
    /// The closer has what it wanted.
    Done = 0,
    /// The process ends; come back.
    ShuttingDown = 1,
    /// The peer broke the protocol.
    Protocol = 2,
    /// No version in common.
    Version = 3,
    /// The key belongs to no cluster.
    KeyUnknown = 4,
    /// The key was revoked.
    KeyRevoked = 5,
    /// The join request was refused.
    JoinRefused = 6,
    /// Nothing was said in time.
    Idle = 7,
    /// A newer connection of the same agent took over.
    Superseded = 8,
    /// An older connection of the same agent came late.
    Stale = 9,
    /// Another process of the same spoke has taken over.
    Fenced = 10,
    /// Connect again: something about this agent's standing changed.
    Reconnect = 11,
    /// Too many connections, or too much to do.
    Overloaded = 12,
    /// An error of the closer's own.
    Internal = 13,
    /// The cluster was removed from the hub.
    Forgotten = 14,
    /// A renewal was refused.
    RenewRefused = 15,
}

/// What an agent does after such a close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterClose {
    /// Connect again soon; nothing is wrong.
    Soon,
    /// Connect again with growing pauses.
    BackOff,
    /// Only a person can help: pauses of the longest kind, so that help is noticed without a restart.
    Rarely,
    /// This process is not the agent any more and must end.
    Stop,
}

impl CloseCode {
    const ALL: [Self; 16] = [
        Self::Done,
        Self::ShuttingDown,
        Self::Protocol,
        Self::Version,
        Self::KeyUnknown,
        Self::KeyRevoked,
        Self::JoinRefused,
        Self::Idle,
        Self::Superseded,
        Self::Stale,
        Self::Fenced,
        Self::Reconnect,
        Self::Overloaded,
        Self::Internal,
        Self::Forgotten,
        Self::RenewRefused,
    ];

    /// The code of a number, if this version knows it.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|code| *code as u32 == number)
    }

    /// What an agent that receives it does.
    pub fn after(self) -> AfterClose {
        match self {
            Self::Done | Self::ShuttingDown | Self::Reconnect | Self::Idle => AfterClose::Soon,
            Self::Protocol | Self::Stale | Self::Overloaded | Self::Internal | Self::RenewRefused => {
                AfterClose::BackOff
            }
            Self::Version | Self::KeyUnknown | Self::KeyRevoked | Self::JoinRefused | Self::Forgotten => {
                AfterClose::Rarely
            }
            // Superseded: this very process has a newer connection, or a clone has; the older one must not fight it.
            Self::Superseded => AfterClose::BackOff,
            Self::Fenced => AfterClose::Stop,
        }
    }
}

impl Close {
    /// A close with a reason.
    pub fn new(code: CloseCode, reason: impl Into<String>) -> Self {
        let mut close = Self {
            code: code as u32,
            reason: reason.into(),
            ..Self::default()
        };
        clean(&mut close.reason, MAX_REASON);
        close
    }

    /// The same, asking the peer to stay away for a while.
    pub fn retry_after(mut self, milliseconds: u64) -> Self {
        self.retry_after_ms = milliseconds;
        self
    }

    /// The code, if this version knows it.
    pub fn code(&self) -> Option<CloseCode> {
        CloseCode::from_number(self.code)
    }

    /// What an agent does now; an unknown code is met with growing pauses.
    pub fn after(&self) -> AfterClose {
        self.code().map_or(AfterClose::BackOff, CloseCode::after)
    }

    /// The bytes that go into the carrier's close.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// Reads a peer's close. A carrier's own close, or another protocol's, is no such message: its text is kept as it
    /// is, so that a person still sees what was said.
    pub fn from_bytes(code: u64, bytes: &[u8]) -> Self {
        const SHAPE: Shape = Shape::flat(16);
        let decoded = SHAPE
            .check("close", bytes)
            .and_then(|()| Self::decode(bytes).map_err(|_| DecodeError::Malformed { what: "close" }))
            .ok()
            .filter(|close| u64::from(close.code) == code);
        let mut close = decoded.unwrap_or_else(|| Self {
            code: u32::try_from(code).unwrap_or(u32::MAX),
            reason: String::from_utf8_lossy(bytes).into_owned(),
            ..Self::default()
        });
        clean(&mut close.reason, MAX_REASON);
        close.redirect.truncate(MAX_REDIRECTS);
        close
            .redirect
            .retain(|address| crate::text::is_clean(address, MAX_ADDRESS));
        close
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.reason.is_empty(), self.code()) {
            (false, _) => f.write_str(&self.reason),
            (true, Some(code)) => write!(f, "closed with code {code:?}"),
            (true, None) => write!(f, "closed with code {}", self.code),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_travels_and_a_foreign_one_keeps_its_words() {
        let close = Close::new(CloseCode::JoinRefused, "join token expired").retry_after(60_000);
        assert_eq!(Close::from_bytes(6, &close.to_bytes()), close);
        assert_eq!(close.to_string(), "join token expired");

        let foreign = Close::from_bytes(77, b"something else\n");
        assert_eq!(
            (foreign.code(), foreign.to_string()),
            (None, "something else".to_owned())
        );
        assert_eq!(foreign.after(), AfterClose::BackOff);
        assert_eq!(
            Close::from_bytes(u64::MAX, b"").to_string(),
            "closed with code 4294967295"
        );
    }

    #[test]
    fn codes_are_fixed() {
        let numbers: Vec<u32> = CloseCode::ALL.iter().map(|code| *code as u32).collect();
        assert_eq!(numbers, (0..16).collect::<Vec<_>>());
        assert_eq!(CloseCode::from_number(5), Some(CloseCode::KeyRevoked));
    }
}
