//! Rows as bytes. Fields may be added under new numbers; a file with another [`FORMAT`] is put aside.

use prost::Message;

/// The layout of the file: its tables and what their records mean.
pub const FORMAT: u64 = 1;

/// A row of the view.
#[derive(Clone, PartialEq, Message)]
pub struct RowRecord {
    /// Leaf digest of the status item, by which agent and hub compare: 32 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub digest: Vec<u8>,
    /// UID of the fleet object.
    #[prost(string, tag = "2")]
    pub owner_uid: String,
    /// UID of the Cluster: one of the same name that came later is another.
    #[prost(string, tag = "3")]
    pub cluster_uid: String,
    /// Digest of the item that the agent observed; empty for none.
    #[prost(bytes = "vec", tag = "4")]
    pub observed_payload: Vec<u8>,
    /// Digest of the manifest that it observed; empty for none.
    #[prost(bytes = "vec", tag = "5")]
    pub observed_manifest: Vec<u8>,
    /// The state, in the words of the link.
    #[prost(string, tag = "6")]
    pub state: String,
    /// What is applied.
    #[prost(string, tag = "7")]
    pub revision: String,
    /// The object of the spoke that it is about.
    #[prost(string, tag = "8")]
    pub object: String,
    /// Reason of its Ready condition.
    #[prost(string, tag = "9")]
    pub reason: String,
    /// Message of its Ready condition.
    #[prost(string, tag = "10")]
    pub message: String,
}
