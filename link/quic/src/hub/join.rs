//! A connection of a key that nobody knows yet: one request, one answer.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use nave_identity::KeyFingerprint;
use nave_proto::hub::{Config, Entry, Event, Maps, Session};
use nave_proto::wire::{JoinReply, JoinRequest, SetKind};
use nave_proto::{Close, CloseCode, ItemMap, Replica, StreamKind};
use tokio_util::sync::CancellationToken;

use crate::clock::{now, wait_until};
use crate::connection::{Connection, LinkError, RecvStream, SendStream};
use crate::driver::{Endless, Stop};
use crate::hub::session::SessionEnd;

/// The control stream must be there within this time after the handshake.
pub(crate) const CONTROL_DEADLINE: Duration = Duration::from_secs(10);

/// Decides join requests.
pub trait JoinHandler: Send + Sync + 'static {
    /// Decide ([`nave_identity::decide_join`]), write the use of the token and the key by compare-and-swap, then sign.
    /// `key` is the key that the connection proved. A refusal reaches the agent with its words.
    fn join(&self, request: JoinRequest, key: KeyFingerprint) -> impl Future<Output = Result<JoinReply, Close>> + Send;
}

/// Serves a connection whose key is [`nave_identity::Standing::Joining`], to its end.
pub async fn serve_join(
    connection: Connection,
    handler: Arc<impl JoinHandler>,
    config: Arc<Config>,
    shutdown: CancellationToken,
) -> SessionEnd {
    let result = serve(&connection, handler, config, &shutdown).await;
    SessionEnd::finish(&connection, result, false)
}

async fn serve(
    connection: &Connection,
    handler: Arc<impl JoinHandler>,
    config: Arc<Config>,
    shutdown: &CancellationToken,
) -> Stop {
    let ends = || Stop::Close(Close::new(CloseCode::ShuttingDown, "the hub shuts down"));
    let accepted = tokio::select! {
        () = shutdown.cancelled() => Err(ends()),
        accepted = accept_control(connection) => accepted,
    };
    let mut control = match accepted {
        Ok(control) => control,
        Err(stop) => return stop,
    };
    let answered = tokio::select! {
        () = shutdown.cancelled() => Err(ends()),
        end = answer((connection, &mut control), handler, config) => end,
    };
    match answered {
        Ok(never) => match never {},
        Err(stop) => {
            // Before the streams are dropped: an agent that sees them end first does not hear why.
            stop.say(connection);
            stop
        }
    }
}

async fn answer(
    (connection, (send, recv)): (&Connection, &mut (SendStream, RecvStream)),
    handler: Arc<impl JoinHandler>,
    config: Arc<Config>,
) -> Endless {
    // A joining agent has no maps: before `Hello`, which is not accepted here, the session looks at none.
    let (mut desired, mut status) = (ItemMap::new(SetKind::Desired), Replica::new(SetKind::Status));
    let maps = &mut Maps {
        desired: &mut desired,
        status: &mut status,
    };
    let mut session = Session::new(now(), config, Entry::Joining);
    loop {
        tokio::select! {
            frame = recv.next() => {
                let frame = frame?.ok_or(LinkError::Cut { kind: StreamKind::Control })?;
                session.handle_control(now(), frame, maps)?;
            }
            () = wait_until(session.poll_timeout()) => {
                if let Some(close) = session.handle_timeout(now()) {
                    return Err(Stop::Close(close));
                }
            }
        }
        while let Some(event) = session.poll_event() {
            if let Event::Join(request) = event {
                let reply = handler
                    .join(*request, connection.peer_key())
                    .await
                    .map_err(Stop::Close)?;
                session.answer_join(now(), reply);
            }
        }
        while let Some(frame) = session.poll_control(now(), maps) {
            send.send(StreamKind::Control, frame).await?;
        }
    }
}

/// The agent opens the control stream first.
pub(crate) async fn accept_control(connection: &Connection) -> Result<(SendStream, RecvStream), Stop> {
    let first = tokio::time::timeout(CONTROL_DEADLINE, connection.accept()).await;
    match first {
        Ok(Ok((StreamKind::Control, send, recv))) => Ok((send, recv)),
        Ok(Ok((kind, ..))) => {
            let words = format!("the control stream comes first, not {kind:?}");
            Err(Stop::Close(Close::new(CloseCode::Protocol, words)))
        }
        Ok(Err(error)) => Err(error.into()),
        Err(_) => {
            let words = "no control stream was opened in time";
            Err(Stop::Close(Close::new(CloseCode::Idle, words)))
        }
    }
}
