//! Payloads of items. The link carries them as opaque bytes; hub and agent read and write them with these types.

use std::fmt;

use bytes::Bytes;
use prost::Message;

/// What a workspace may do on the cluster.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Grant {
    /// Everything.
    #[prost(bool, tag = "1")]
    pub admin: bool,
    /// Otherwise: act as this service account.
    #[prost(string, tag = "2")]
    pub service_account: String,
    /// And in these namespaces only.
    #[prost(string, repeated, tag = "3")]
    pub namespaces: Vec<String>,
    /// Whether the whole spoke is locked down because some workspace is not admin.
    #[prost(bool, tag = "4")]
    pub lockdown: bool,
    /// The workspace (a namespace of the hub).
    #[prost(string, tag = "5")]
    pub workspace: String,
}

/// The artifact that an item's source serves on the spoke.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ArtifactRef {
    /// Digest (32 bytes) of the manifest: the fleet's name of the revision.
    #[prost(bytes = "vec", tag = "1")]
    pub manifest_digest: Vec<u8>,
    /// The revision as Flux writes it.
    #[prost(string, tag = "2")]
    pub revision: String,
    /// Where the hub fetched it.
    #[prost(string, tag = "3")]
    pub origin: String,
    /// Total size of the files.
    #[prost(uint64, tag = "4")]
    pub size: u64,
}

/// Payload of a desired item: everything that one fleet object means for one cluster, so that source and Kustomization
/// change together.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub struct Bundle {
    /// Objects for the spoke, each one JSON document.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub objects: Vec<Bytes>,
    /// The artifact that they refer to.
    #[prost(message, optional, tag = "2")]
    pub artifact: Option<ArtifactRef>,
    /// Secret objects that the fleet object lists, each one JSON document. With any, the item is sensitive.
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub secrets: Vec<Bytes>,
    /// What the workspace may do; checked by the agent again.
    #[prost(message, optional, tag = "4")]
    pub grant: Option<Grant>,
    /// The change that made this state.
    #[prost(string, tag = "5")]
    pub change_id: String,
    /// Flux's `reconcile.fluxcd.io/requestedAt`: a command is state with a stamp.
    #[prost(string, tag = "6")]
    pub requested_at: String,
    /// Reconcile nothing of it for now.
    #[prost(bool, tag = "7")]
    pub suspend: bool,
}

/// A Kubernetes condition.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Condition {
    /// Its type.
    #[prost(string, tag = "1")]
    pub r#type: String,
    /// `True`, `False` or `Unknown`.
    #[prost(string, tag = "2")]
    pub status: String,
    /// One word.
    #[prost(string, tag = "3")]
    pub reason: String,
    /// A sentence.
    #[prost(string, tag = "4")]
    pub message: String,
    /// Generation that it speaks of.
    #[prost(int64, tag = "5")]
    pub observed_generation: i64,
    /// Milliseconds since 1970.
    #[prost(int64, tag = "6")]
    pub last_transition_ms: i64,
}

/// Payload of a status item: how one desired item fares on the spoke.
#[derive(Clone, PartialEq, Message)]
pub struct StatusPayload {
    /// Leaf digest (32 bytes) of the desired item that this speaks of: a gate counts nothing else.
    #[prost(bytes = "vec", tag = "1")]
    pub observed_payload: Vec<u8>,
    /// Manifest digest (32 bytes) that was applied.
    #[prost(bytes = "vec", tag = "2")]
    pub observed_manifest: Vec<u8>,
    /// Revision that was applied.
    #[prost(string, tag = "3")]
    pub revision: String,
    /// One word: `ready`, `progressing`, `failed`, `suspended`, `held`, `orphaned`.
    #[prost(string, tag = "4")]
    pub state: String,
    /// Conditions, at most 16.
    #[prost(message, repeated, tag = "5")]
    pub conditions: Vec<Condition>,
    /// How many objects the inventory has.
    #[prost(uint64, tag = "6")]
    pub inventory_count: u64,
    /// Digest of the inventory.
    #[prost(bytes = "vec", tag = "7")]
    pub inventory_digest: Vec<u8>,
    /// Digest of the prune plan that is held, empty without one.
    #[prost(bytes = "vec", tag = "8")]
    pub prune_digest: Vec<u8>,
    /// The object that is in the way (`Kind/namespace/name`), empty without one.
    #[prost(string, tag = "9")]
    pub object: String,
}

impl fmt::Debug for Bundle {
    /// Never shows objects or secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle")
            .field("objects", &self.objects.len())
            .field("artifact", &self.artifact)
            .field("secrets", &self.secrets.len())
            .field("grant", &self.grant)
            .field("change_id", &self.change_id)
            .field("requested_at", &self.requested_at)
            .field("suspend", &self.suspend)
            .finish()
    }
}
