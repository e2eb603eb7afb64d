//! How the rest of the hub reaches a session.

use std::sync::Arc;

use nave_proto::Close;
use nave_proto::wire::{Fence, LinkProfile, Mode, PrunePermit};
use tokio::sync::{mpsc, watch};

use super::session::Core;
use crate::connection::Connection;

/// Commands that wait for a session: permits mostly, one per fleet object and change. A session that does not take them
/// is not being read by its agent, and its plans come again with the next one.
pub(super) const COMMANDS: usize = 64;

/// Reaches a session from elsewhere in the hub. Cheap to clone. Drop it when the session has ended, it keeps the
/// session's memory.
#[derive(Debug, Clone)]
pub struct HubSessionHandle {
    pub(super) connection: Connection,
    pub(super) commands: mpsc::Sender<Box<Command>>,
    pub(super) close: Arc<watch::Sender<Option<Close>>>,
    pub(super) core: Arc<Core>,
}

/// The session has ended, or does not take commands any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the agent's session has ended or does not take commands")]
pub struct SessionGone;

#[derive(Debug)]
pub(super) enum Command {
    Permit(PrunePermit),
    RootSets(Vec<Vec<u8>>),
    Fence(Fence),
}

impl HubSessionHandle {
    /// Answers a plan.
    pub fn permit(&self, permit: PrunePermit) -> Result<(), SessionGone> {
        self.send(Command::Permit(permit))
    }

    /// Pushes the root sets that follow the agent's.
    pub fn push_root_sets(&self, signed: Vec<Vec<u8>>) -> Result<(), SessionGone> {
        self.send(Command::RootSets(signed))
    }

    /// Asks whether this process still is its spoke's agent; the handler hears the answer.
    pub fn fence(&self, fence: Fence) -> Result<(), SessionGone> {
        self.send(Command::Fence(fence))
    }

    /// Ends the session with these words, whatever it is doing. The first words count.
    pub fn close(&self, close: Close) {
        self.close.send_if_modified(|words| match words {
            Some(_) => false,
            None => {
                *words = Some(close);
                true
            }
        });
    }

    /// What the session may do, once `Welcome` was sent.
    pub fn mode(&self) -> Option<Mode> {
        self.core.lock().mode()
    }

    /// What both ends can do beyond the protocol's first version; nothing before `Welcome` was sent.
    pub fn features(&self) -> u64 {
        self.core.lock().features()
    }

    /// What the agent was told that its line can bear; `Standard` before `Welcome` was sent.
    pub fn profile(&self) -> LinkProfile {
        self.core.lock().profile()
    }

    /// The connection, for its address and statistics.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    fn send(&self, command: Command) -> Result<(), SessionGone> {
        self.commands.try_send(Box::new(command)).map_err(|_| SessionGone)
    }
}
