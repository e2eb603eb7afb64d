//! How the rest of the hub reaches a session, and reads from its spoke.

use std::sync::Arc;

use bytes::Bytes;
use nave_proto::wire::{self, Fence, LiveBody, LiveEnd, LiveRequest, Mode, PrunePermit};
use nave_proto::{Close, StreamKind};
use tokio::sync::{mpsc, watch};

use super::session::Core;
use crate::connection::{Connection, LinkError, RecvStream, SendStream};

/// Commands that wait for a session: permits mostly, one per fleet object and change. A session that does not take them
/// is not being read by its agent, and its plans come again with the next one.
pub(super) const COMMANDS: usize = 64;

/// Reaches a session from elsewhere in the hub. Cheap to clone. Drop it when the session has ended, it keeps the
/// session's memory.
#[derive(Debug, Clone)]
pub struct HubSessionHandle {
    pub(super) connection: Connection,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) close: Arc<watch::Sender<Option<Close>>>,
    pub(super) core: Arc<Core>,
}

/// The session has ended, or does not take commands any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the agent's session has ended or does not take commands")]
pub struct SessionGone;

/// The answer to a live read.
#[derive(Debug)]
pub struct LiveStream {
    recv: RecvStream,
    /// Kept, because ending it would tell the agent that nobody listens any more.
    _send: SendStream,
    end: Option<LiveEnd>,
}

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

    /// The connection, for its address and statistics.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Asks the agent for something on the spoke. Whether the caller may was decided before.
    pub async fn live(&self, request: LiveRequest) -> Result<LiveStream, LinkError> {
        let (mut send, recv) = self.connection.open(StreamKind::Live).await?;
        send.send(StreamKind::Live, wire::encode(LiveBody::Request(request)))
            .await?;
        Ok(LiveStream {
            recv,
            _send: send,
            end: None,
        })
    }

    fn send(&self, command: Command) -> Result<(), SessionGone> {
        self.commands.try_send(command).map_err(|_| SessionGone)
    }
}

impl LiveStream {
    /// The next piece, or `None` at the end; then [`LiveStream::end`] says how it ended.
    pub async fn next(&mut self) -> Result<Option<Bytes>, LinkError> {
        while self.end.is_none() {
            let Some(frame) = self.recv.next().await? else { break };
            match wire::decode::<LiveBody>(frame)? {
                Some(LiveBody::Data(data)) => return Ok(Some(data.data)),
                Some(LiveBody::End(end)) => self.end = Some(end),
                Some(LiveBody::Request(_)) | None => {}
            }
        }
        Ok(None)
    }

    /// How it ended, `None` while it has not, or when the agent said nothing.
    pub fn end(&self) -> Option<&LiveEnd> {
        self.end.as_ref()
    }
}
