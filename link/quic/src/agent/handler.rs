//! What the agent's own code answers and hears.

use std::future::Future;

use nave_proto::wire::{
    Checkpoint, FailCode, Fence, FenceReply, Hello, LiveEnd, LiveEndCode, LiveRequest, PrunePermit, PrunePlan, Welcome,
};
use nave_proto::{Close, IncomingDelete, IncomingPut, ItemFailure, Key};

use super::identity::StoreError;
use super::live::LiveSink;

/// Stores and carries out what the hub says.
///
/// Everything is called from the session's task. Items and checkpoints come one at a time, in order; messages of the
/// control stream one at a time; the two kinds may overlap. When a session ends, what is in hand is finished first (for
/// up to a minute), so an item is never half taken.
pub trait AgentHandler: Send + Sync + 'static {
    /// Who this agent is: instance, boot counter, cluster UID, versions, facts, last checkpoint, feature bits. Asked for
    /// each connection. Roots, clock, session counter, hub and root set version are filled in by the link.
    fn hello(&self) -> impl Future<Output = Hello> + Send;

    /// Stores a desired item durably and has it reconciled; do not wait for that. The same item may come again after a
    /// crash. An error fails this item alone and reaches the fleet object.
    fn put(&self, item: IncomingPut) -> impl Future<Output = Result<(), ItemFailure>> + Send;

    /// Notes durably that an item goes. What it made is deleted later, when a plan for it is permitted.
    fn delete(&self, item: IncomingDelete) -> impl Future<Output = Result<(), ItemFailure>> + Send;

    /// Stores the hub's checkpoint durably, before the items after it come. An error ends the session.
    fn checkpoint(&self, checkpoint: Checkpoint) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The hub's word on a plan. Granted comes once: the plan is not held any more.
    fn permit(&self, permit: PrunePermit, plan: PrunePlan) -> impl Future<Output = ()> + Send;

    /// Another process claims to be this agent: look into the spoke who is stored as such.
    fn fence(&self, fence: Fence) -> impl Future<Output = FenceReply> + Send;

    /// The hub asks for something on the spoke. Check the policy, impersonate the user, send what is found. An agent that
    /// does so says [`nave_proto::FEATURE_LIVE`] in its `Hello`. Dropped when the caller has gone.
    fn live(&self, request: LiveRequest, sink: LiveSink) -> impl Future<Output = LiveEnd> + Send {
        let _ = (request, sink);
        let message = "this agent does not serve live reads".to_owned();
        std::future::ready(LiveEnd {
            code: LiveEndCode::Unsupported as i32,
            message,
        })
    }

    /// Something that needs no answer. Must not block.
    fn note(&self, note: AgentNote);
}

/// What the link tells its agent.
#[derive(Debug, Clone, PartialEq)]
pub enum AgentNote {
    /// Connected, in the mode that `Welcome` names.
    Connected(Box<Welcome>),
    /// Not connected any more, or no attempt succeeded.
    Disconnected {
        /// Why, for people.
        reason: String,
        /// What the hub said, if it said anything.
        close: Option<Close>,
        /// When the next attempt is made.
        retry_in: std::time::Duration,
    },
    /// The certificate was renewed.
    Renewed,
    /// The hub did not renew; it is asked again.
    RenewalHeld {
        /// Why, for people.
        reason: String,
    },
    /// Root sets were taken up to this version.
    RootsAdvanced {
        /// The version.
        version: u64,
    },
    /// The hub did not take a status row.
    StatusFailed {
        /// The row.
        key: Key,
        /// Why.
        code: FailCode,
        /// For people.
        message: String,
    },
    /// The hub knows everything that this agent has to tell.
    InSync,
}
