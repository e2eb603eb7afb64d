//! Messages of the control stream.

use std::fmt;

use prost::{Enumeration, Message};

/// A moment in the life of a hub's state: agents show the last they saw, and a hub that does not know it is *Behind*.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Checkpoint {
    /// Random number of the hub's state; a new one is drawn when an operator confirms a hub that was Behind.
    #[prost(uint64, tag = "1")]
    pub incarnation: u64,
    /// Rises by one with each change of desired state.
    #[prost(uint64, tag = "2")]
    pub seq: u64,
    /// 16 random bytes: two histories that share numbers do not share these.
    #[prost(bytes = "vec", tag = "3")]
    pub nonce: Vec<u8>,
}

/// The object on the hub that an item comes from.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct OwnerRef {
    /// Its kind.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// Its namespace.
    #[prost(string, tag = "2")]
    pub ns: String,
    /// Its name.
    #[prost(string, tag = "3")]
    pub name: String,
    /// Its UID: an object made again under the same name is another owner.
    #[prost(string, tag = "4")]
    pub uid: String,
}

/// Something that the agent says about its cluster. Never selectable.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Fact {
    /// Name of the fact.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Its value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// The agent's first message, unless it joins.
#[derive(Clone, PartialEq, Message)]
pub struct Hello {
    /// Major version of the protocol; 1.
    #[prost(uint32, tag = "1")]
    pub major: u32,
    /// Bits of what the agent can do beyond that.
    #[prost(uint64, tag = "2")]
    pub features: u64,
    /// Random id of this agent process.
    #[prost(string, tag = "3")]
    pub instance_id: String,
    /// Raised by compare-and-swap in the spoke when the process starts: the fencing token.
    #[prost(uint64, tag = "4")]
    pub boot_seq: u64,
    /// Counts the connections of this process.
    #[prost(uint64, tag = "5")]
    pub session_seq: u64,
    /// UID of the spoke's `kube-system` namespace.
    #[prost(string, tag = "6")]
    pub cluster_uid: String,
    /// UID of the hub that the agent joined, empty before the first `Welcome`.
    #[prost(string, tag = "7")]
    pub hub_uid: String,
    /// Last checkpoint seen.
    #[prost(message, optional, tag = "8")]
    pub last: Option<Checkpoint>,
    /// Version of the trusted root set.
    #[prost(uint64, tag = "9")]
    pub root_set_version: u64,
    /// Root of the desired items that the agent holds.
    #[prost(bytes = "vec", tag = "10")]
    pub desired_root: Vec<u8>,
    /// Root of the status items that the agent has.
    #[prost(bytes = "vec", tag = "11")]
    pub status_root: Vec<u8>,
    /// Version of the agent.
    #[prost(string, tag = "12")]
    pub agent_version: String,
    /// Version of the spoke's API server.
    #[prost(string, tag = "13")]
    pub k8s_version: String,
    /// The agent's clock, milliseconds since 1970.
    #[prost(int64, tag = "14")]
    pub clock_ms: i64,
    /// Digest of the spoke's policy file, empty without one.
    #[prost(bytes = "vec", tag = "15")]
    pub policy_digest: Vec<u8>,
    /// Largest payload that the agent takes.
    #[prost(uint32, tag = "16")]
    pub max_item_bytes: u32,
    /// What the agent says about its cluster.
    #[prost(message, repeated, tag = "17")]
    pub facts: Vec<Fact>,
    /// The version that the hub wanted and that does not run; empty when there is none. With `FEATURE_UPGRADE`.
    #[prost(string, tag = "18")]
    pub upgrade_version: String,
    /// Why it does not run, for people.
    #[prost(string, tag = "19")]
    pub upgrade_outcome: String,
}

/// What a session may do; fixed for its life. When it changes, the hub closes with `Reconnect`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Mode {
    /// Items flow both ways.
    Normal = 0,
    /// The hub does not trust its own memory: status flows up, nothing flows down.
    Behind = 1,
    /// Two agents claim to be this cluster: nothing flows.
    Quarantined = 2,
    /// A person has to approve first: nothing flows.
    Pending = 3,
    /// Only a new certificate may be asked for.
    RenewOnly = 4,
}

/// What the line can bear; fixed for the life of a session. When it changes, the hub closes with `Reconnect`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum LinkProfile {
    /// Traffic costs nothing.
    Standard = 0,
    /// Every byte counts: no events, and status is gathered for a while. Only for agents with
    /// [`crate::FEATURE_METERED`].
    Metered = 1,
}

/// The hub's answer to `Hello`; only now is the agent connected.
#[derive(Clone, PartialEq, Message)]
pub struct Welcome {
    /// Bits that both ends know.
    #[prost(uint64, tag = "1")]
    pub features: u64,
    /// UID of the hub.
    #[prost(string, tag = "2")]
    pub hub_uid: String,
    /// The hub's clock, milliseconds since 1970.
    #[prost(int64, tag = "3")]
    pub now_ms: i64,
    /// A [`Mode`].
    #[prost(enumeration = "Mode", tag = "4")]
    pub mode: i32,
    /// Root of the desired items that the hub has.
    #[prost(bytes = "vec", tag = "5")]
    pub desired_root: Vec<u8>,
    /// Root of the status items that the hub holds.
    #[prost(bytes = "vec", tag = "6")]
    pub status_root: Vec<u8>,
    /// When the connection is lost, come back at a random moment within this time.
    #[prost(uint32, tag = "7")]
    pub reconnect_window_ms: u32,
    /// Send a heartbeat this often.
    #[prost(uint32, tag = "8")]
    pub heartbeat_ms: u32,
    /// `Hello.clock_ms` again, so that the agent can tell clock difference from travel time.
    #[prost(int64, tag = "9")]
    pub clock_ms: i64,
    /// Largest payload that the hub takes.
    #[prost(uint32, tag = "10")]
    pub max_item_bytes: u32,
    /// The root sets after the agent's, in order.
    #[prost(bytes = "vec", repeated, tag = "11")]
    pub root_sets: Vec<Vec<u8>>,
    /// Why the mode is not normal, for people.
    #[prost(string, tag = "12")]
    pub reason: String,
    /// Namespace of the cluster object.
    #[prost(string, tag = "13")]
    pub cluster_ns: String,
    /// Name of the cluster object.
    #[prost(string, tag = "14")]
    pub cluster_name: String,
    /// A [`LinkProfile`].
    #[prost(enumeration = "LinkProfile", tag = "15")]
    pub profile: i32,
    /// The version that the agent should run; empty for none in particular. With `FEATURE_UPGRADE`.
    #[prost(string, tag = "16")]
    pub agent_version: String,
}

/// Sent by the agent at the agreed pace; by the hub now and then and when it sees a difference. Replaces the carrier's
/// own keep-alive, so that comparing costs no packet.
#[derive(Clone, PartialEq, Message)]
pub struct Heartbeat {
    /// First eight bytes of the desired root of the sender.
    #[prost(fixed64, tag = "1")]
    pub desired_root8: u64,
    /// First eight bytes of the status root of the sender.
    #[prost(fixed64, tag = "2")]
    pub status_root8: u64,
    /// Counts the sender's heartbeats.
    #[prost(uint64, tag = "3")]
    pub seq: u64,
    /// The sender's clock, milliseconds since 1970.
    #[prost(int64, tag = "4")]
    pub clock_ms: i64,
    /// From an agent: digest of the spoke's policy file, in the first heartbeat after it changed; empty when it did not.
    #[prost(bytes = "vec", tag = "5")]
    pub policy_digest: Vec<u8>,
}

/// The hub asks whether this process is still the spoke's agent, because another claims to be.
#[derive(Clone, PartialEq, Message)]
pub struct Fence {
    /// The other's instance.
    #[prost(string, tag = "1")]
    pub instance_id: String,
    /// The other's boot counter.
    #[prost(uint64, tag = "2")]
    pub boot_seq: u64,
}

/// The agent looked into the spoke.
#[derive(Clone, PartialEq, Message)]
pub struct FenceReply {
    /// The spoke's stored counter still names this process: then the other is a clone.
    #[prost(bool, tag = "1")]
    pub contested: bool,
    /// What is stored.
    #[prost(string, tag = "2")]
    pub stored_instance_id: String,
    /// What is stored.
    #[prost(uint64, tag = "3")]
    pub stored_boot_seq: u64,
}

/// The first message of an agent that joins.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub struct JoinRequest {
    /// Which token.
    #[prost(string, tag = "1")]
    pub token_id: String,
    /// Its secret.
    #[prost(bytes = "vec", tag = "2")]
    pub token_secret: Vec<u8>,
    /// DER certificate request for the connection's key.
    #[prost(bytes = "vec", tag = "3")]
    pub csr: Vec<u8>,
    /// The name that the agent would like; may be empty.
    #[prost(string, tag = "4")]
    pub name: String,
    /// UID of the spoke's `kube-system` namespace.
    #[prost(string, tag = "5")]
    pub cluster_uid: String,
    /// What the agent says about its cluster.
    #[prost(message, repeated, tag = "6")]
    pub facts: Vec<Fact>,
    /// Major version of the protocol; 1.
    #[prost(uint32, tag = "7")]
    pub major: u32,
}

/// How a join request was met. A refusal is a close with words, not a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum JoinState {
    /// Joined; the chain is in the reply.
    Admitted = 0,
    /// A person has to approve; connect again with the same key and wait.
    Pending = 1,
}

/// The hub's answer to an accepted join request.
#[derive(Clone, PartialEq, Message)]
pub struct JoinReply {
    /// A [`JoinState`].
    #[prost(enumeration = "JoinState", tag = "1")]
    pub state: i32,
    /// Namespace of the cluster object.
    #[prost(string, tag = "2")]
    pub cluster_ns: String,
    /// Name of the cluster object.
    #[prost(string, tag = "3")]
    pub cluster_name: String,
    /// DER client certificate chain, leaf first; empty while pending.
    #[prost(bytes = "vec", repeated, tag = "4")]
    pub cert_chain: Vec<Vec<u8>>,
    /// The signed root set to trust from now on.
    #[prost(bytes = "vec", tag = "5")]
    pub signed_root_set: Vec<u8>,
    /// The hub's clock, milliseconds since 1970.
    #[prost(int64, tag = "6")]
    pub now_ms: i64,
}

/// The agent asks for a new certificate, usually for a new key.
#[derive(Clone, PartialEq, Message)]
pub struct RenewRequest {
    /// DER certificate request, signed by the key that it is for.
    #[prost(bytes = "vec", tag = "1")]
    pub csr: Vec<u8>,
}

/// How a renewal was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum RenewCode {
    /// The chain is in the reply; use it from the next connection on.
    Renewed = 0,
    /// Too long ago: a person has to approve.
    Pending = 1,
    /// Not now: the hub is Behind, or too busy. Ask again.
    Later = 2,
    /// The request cannot be used.
    Refused = 3,
}

/// The hub's answer to `RenewRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct RenewReply {
    /// A [`RenewCode`].
    #[prost(enumeration = "RenewCode", tag = "1")]
    pub code: i32,
    /// DER client certificate chain, leaf first.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub cert_chain: Vec<Vec<u8>>,
    /// For people, when it was not renewed.
    #[prost(string, tag = "3")]
    pub reason: String,
    /// When to ask again.
    #[prost(uint64, tag = "4")]
    pub retry_after_ms: u64,
}

/// The hub pushes the root sets that follow the agent's, in order.
#[derive(Clone, PartialEq, Message)]
pub struct RootSets {
    /// Signed root sets.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub signed: Vec<Vec<u8>>,
}

/// What an agent would delete for one item, held until the hub permits it.
#[derive(Clone, PartialEq, Message)]
pub struct PrunePlan {
    /// The change that causes it: the hub sums the plans of one change over the fleet.
    #[prost(string, tag = "1")]
    pub change_id: String,
    /// The item.
    #[prost(string, tag = "2")]
    pub key: String,
    /// Digest (32 bytes) of the whole list of deletions.
    #[prost(bytes = "vec", tag = "3")]
    pub digest: Vec<u8>,
    /// How many objects.
    #[prost(uint64, tag = "4")]
    pub deletes: u64,
    /// Deletions that take others with them: namespaces, CRDs, Helm uninstalls, Flux objects; at most 100 are named.
    #[prost(string, repeated, tag = "5")]
    pub cascades: Vec<String>,
    /// Some of the others; at most 100.
    #[prost(string, repeated, tag = "6")]
    pub sample: Vec<String>,
}

/// The hub's word on a plan.
#[derive(Clone, PartialEq, Message)]
pub struct PrunePermit {
    /// The plan's change.
    #[prost(string, tag = "1")]
    pub change_id: String,
    /// The plan's digest.
    #[prost(bytes = "vec", tag = "2")]
    pub plan_digest: Vec<u8>,
    /// Delete, or go on holding.
    #[prost(bool, tag = "3")]
    pub granted: bool,
    /// For people, when it is held.
    #[prost(string, tag = "4")]
    pub reason: String,
}

impl fmt::Debug for JoinRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinRequest")
            .field("token_id", &self.token_id)
            .field("name", &self.name)
            .field("cluster_uid", &self.cluster_uid)
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}
