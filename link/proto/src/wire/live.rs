//! Messages of a live stream: one request of the hub, data, one end.

use std::fmt;

use bytes::Bytes;
use prost::{Enumeration, Message};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum LiveVerb {
    /// Never sent.
    Unspecified = 0,
    /// One object.
    Get = 1,
    /// Objects of a kind, one document to a line.
    List = 2,
    /// Events of a namespace, or about an object, as `List`.
    Events = 3,
    /// Log of a pod.
    Logs = 4,
}

/// The hub asks for something on the spoke, for a user whose rights were checked on the hub.
#[derive(Clone, PartialEq, Message)]
pub struct LiveRequest {
    /// A [`LiveVerb`].
    #[prost(enumeration = "LiveVerb", tag = "1")]
    pub verb: i32,
    /// API group.
    #[prost(string, tag = "2")]
    pub group: String,
    /// Version.
    #[prost(string, tag = "3")]
    pub version: String,
    /// Resource as it was typed: plural, singular, short name or kind. For events: the kind of what they are about.
    #[prost(string, tag = "4")]
    pub resource: String,
    /// Namespace; empty for all, where that has a meaning.
    #[prost(string, tag = "5")]
    pub ns: String,
    /// Name.
    #[prost(string, tag = "6")]
    pub name: String,
    /// The caller, impersonated on the spoke under a fixed prefix.
    #[prost(string, tag = "7")]
    pub user: String,
    /// Container, for logs.
    #[prost(string, tag = "8")]
    pub container: String,
    /// Go on with what comes.
    #[prost(bool, tag = "9")]
    pub follow: bool,
    /// Last lines of a log; 0 for all.
    #[prost(uint32, tag = "10")]
    pub tail_lines: u32,
    /// The caller's groups.
    #[prost(string, repeated, tag = "11")]
    pub groups: Vec<String>,
    /// Only objects with these labels.
    #[prost(string, tag = "12")]
    pub label_selector: String,
    /// Only what was logged in the last so many seconds; 0 for all.
    #[prost(uint32, tag = "13")]
    pub since_seconds: u32,
    /// The log of the container before its last restart.
    #[prost(bool, tag = "14")]
    pub previous: bool,
    /// A time before each line of a log.
    #[prost(bool, tag = "15")]
    pub timestamps: bool,
    /// Rows for people in place of objects.
    #[prost(bool, tag = "16")]
    pub table: bool,
    /// So many bytes may be sent before the first [`LiveCredit`].
    #[prost(uint32, tag = "17")]
    pub window: u32,
    /// Names the read in what both ends write down.
    #[prost(string, tag = "18")]
    pub id: String,
}

/// The reader has taken so many bytes: so many more may be sent.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct LiveCredit {
    /// How many.
    #[prost(uint32, tag = "1")]
    pub bytes: u32,
}

/// A piece of the answer.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub struct LiveData {
    /// The bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum LiveEndCode {
    /// Complete.
    Done = 0,
    /// The spoke's RBAC or the agent's policy says no.
    Forbidden = 1,
    /// No such object.
    NotFound = 2,
    /// This agent does not serve such requests.
    Unsupported = 3,
    /// An error on the spoke.
    Failed = 4,
    /// As many are served as may be; ask again.
    Busy = 5,
    /// What came before is true, and there is more: a limit of size or time was reached.
    Truncated = 6,
    /// What was asked for cannot be understood.
    Invalid = 7,
}

/// The end of the answer.
#[derive(Clone, PartialEq, Message)]
pub struct LiveEnd {
    /// A [`LiveEndCode`].
    #[prost(enumeration = "LiveEndCode", tag = "1")]
    pub code: i32,
    /// For people.
    #[prost(string, tag = "2")]
    pub message: String,
}

impl fmt::Debug for LiveData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LiveData({} bytes)", self.data.len())
    }
}
