//! One agent's session, driven over its connection.
//!
//! ```text
//!  control ◄─► read, ask the handler            ┐
//!  state   ◄─► read, store, settle              ├─ finished in order when the session ends
//!              write both, when something is due ┐
//!  chunk   ◄─  serve each request                ├─ dropped when the session ends
//!              deadlines, the handle's commands  ┘
//! ```
//! All of it is one task: a waiting session costs its state and nothing else.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::stream::{FuturesUnordered, StreamExt};
use nave_identity::Standing;
use nave_proto::hub::{Config, Entry, Event, Session};
use nave_proto::wire::Mode;
use nave_proto::{Close, CloseCode, ItemFailure, StreamKind};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::fetch::{self, Terms};
use super::handle::{COMMANDS, Command, HubSessionHandle};
use super::handler::{HubHandler, Note, Verdict};
use super::join::accept_control;
use super::link::ClusterLink;
use crate::clock::{now, wait_until};
use crate::connection::{Connection, RecvStream, SendStream};
use crate::driver::{Endless, FINISH, Stop, finishing, next_frame};
use crate::egress::{EgressBudget, Lane};

/// Fetches of one agent that are served at once.
const FETCHES: usize = 8;

/// A session, to be run. Dropping it closes the connection.
pub struct HubSession<H> {
    connection: Connection,
    link: Arc<ClusterLink>,
    handler: Arc<H>,
    core: Arc<Core>,
    commands: mpsc::Receiver<Box<Command>>,
    close: watch::Receiver<Option<Close>>,
    budget: Option<Arc<EgressBudget>>,
}

/// How a session ended.
#[derive(Debug, Clone)]
pub struct SessionEnd {
    /// The words, whoever spoke them.
    pub reason: String,
    /// What this end said.
    pub ours: Option<Close>,
    /// What the other end said.
    pub theirs: Option<Close>,
    /// Whether `Welcome` was sent: only then was the agent connected.
    pub welcomed: bool,
}

#[derive(Debug)]
pub(super) struct Core {
    session: Mutex<Session>,
    control: Notify,
    state: Notify,
    timer: Notify,
}

/// The session's entry for a standing that lets the peer in as a cluster.
pub fn entry(standing: &Standing) -> Option<Entry> {
    match standing {
        Standing::Known { approved: true, .. } => Some(Entry::Member),
        Standing::Known { approved: false, .. } => Some(Entry::Pending),
        Standing::RenewOnly { .. } => Some(Entry::RenewOnly),
        Standing::Joining => Some(Entry::Joining),
        Standing::Unknown { .. } | Standing::Revoked { .. } => None,
    }
}

/// Prepares a session; [`HubSession::run`] drives it.
pub fn hub_session<H: HubHandler>(
    connection: Connection,
    entry: Entry,
    link: Arc<ClusterLink>,
    handler: Arc<H>,
    config: Arc<Config>,
) -> (HubSessionHandle, HubSession<H>) {
    let (sender, commands) = mpsc::channel(COMMANDS);
    let (closer, close) = watch::channel(None);
    let core = Arc::new(Core {
        session: Mutex::new(Session::new(now(), config, entry)),
        control: Notify::new(),
        state: Notify::new(),
        timer: Notify::new(),
    });
    let handle = HubSessionHandle {
        connection: connection.clone(),
        commands: sender,
        close: Arc::new(closer),
        core: core.clone(),
    };
    (
        handle,
        HubSession {
            connection,
            link,
            handler,
            core,
            commands,
            close,
            budget: None,
        },
    )
}

impl<H: HubHandler> HubSession<H> {
    /// Shares a budget with other sessions: items and fetches wait for it, each in a lane of their own; control messages
    /// do not.
    pub fn within(mut self, budget: Option<Arc<EgressBudget>>) -> Self {
        self.budget = budget;
        self
    }

    /// Drives the session until either end closes, the connection is lost or `shutdown` is asked for.
    pub async fn run(self, shutdown: CancellationToken) -> SessionEnd {
        let connection = self.connection.clone();
        let core = self.core.clone();
        let stop = Box::pin(self.drive(shutdown)).await;
        let welcomed = core.lock().mode().is_some();
        SessionEnd::finish(&connection, stop, welcomed)
    }

    async fn drive(mut self, shutdown: CancellationToken) -> Stop {
        // Boxed, as are the readers: what a session waits with is what an agent at rest costs.
        let control = Box::pin(async {
            tokio::select! {
                control = accept_control(&self.connection) => control,
                close = wanted_close(&mut self.close) => Err(Stop::Close(close)),
                () = shutdown.cancelled() => Err(Stop::Close(shutting_down())),
            }
        });
        let control = control.await;
        let (mut control_send, mut control_recv) = match control {
            Ok(streams) => streams,
            Err(stop) => return stop,
        };
        let Self {
            connection,
            link,
            handler,
            core,
            mut commands,
            mut close,
            budget,
        } = self;
        let (items, bulk) = (Lane::new(budget.clone()), Lane::new(budget));
        let ending = CancellationToken::new();
        let (state_tx, state_rx) = oneshot::channel();
        let (state_send_tx, state_send_rx) = oneshot::channel();
        let hub = Hub {
            link: &link,
            handler: &*handler,
            core: &core,
        };

        let mut readers = Box::pin(async {
            let control = Box::pin(hub.read_control(&mut control_recv, &ending));
            let state = Box::pin(hub.read_state(state_rx, &ending));
            // Either may end the session; the other is then told and finishes what it has in hand.
            let (control, state) = tokio::join!(finishing(control, &ending), finishing(state, &ending));
            if matches!(control, Stop::Ending) {
                state
            } else {
                control
            }
        });
        let mut others = Box::pin(async {
            let mut changed = link.watch();
            let write_control = hub.write_control(&mut control_send);
            let write_state = hub.write_state(state_send_rx, &mut changed, &items);
            let streams = accept_streams(&connection, &core, (&*handler, &bulk), state_tx, state_send_tx);
            let result: Endless = tokio::select! {
                end = write_control => end,
                end = write_state => end,
                end = streams => end,
                end = hub.keep_time() => end,
                end = hub.obey(&mut commands) => end,
                error = connection.closed() => Err(Stop::Lost(error)),
                close = wanted_close(&mut close) => Err(Stop::Close(close)),
                () = shutdown.cancelled() => Err(Stop::Close(shutting_down())),
            };
            match result {
                Ok(never) => match never {},
                Err(stop) => stop,
            }
        });
        let stop = tokio::select! {
            stop = &mut others => stop,
            stop = &mut readers => {
                stop.say(&connection);
                return stop;
            }
        };
        // A revoked agent must be gone now, not when its last question is answered.
        stop.say(&connection);
        ending.cancel();
        if tokio::time::timeout(FINISH, readers).await.is_err() {
            warn!("what the session had in hand when it ended did not finish");
        }
        stop
    }
}

/// What the loops of a session share.
struct Hub<'a, H> {
    link: &'a ClusterLink,
    handler: &'a H,
    core: &'a Core,
}

impl<H: HubHandler> Hub<'_, H> {
    async fn read_control(&self, stream: &mut RecvStream, ending: &CancellationToken) -> Endless {
        loop {
            let frame = next_frame(stream, ending).await?;
            let events = self.link.with(|maps| {
                let mut session = self.core.lock();
                session.handle_control(now(), frame, maps).map(|()| drain(&mut session))
            })?;
            self.core.wake();
            for event in events {
                // Boxed, so that a session at rest does not carry the room for the longest answer.
                Box::pin(self.answer(event)).await?;
            }
        }
    }

    async fn read_state(&self, stream: oneshot::Receiver<RecvStream>, ending: &CancellationToken) -> Endless {
        let mut stream = tokio::select! {
            () = ending.cancelled() => return Err(Stop::Ending),
            Ok(stream) = stream => stream,
        };
        loop {
            let frame = next_frame(&mut stream, ending).await?;
            let events = self.link.with(|maps| {
                let mut session = self.core.lock();
                session.handle_state(now(), frame, maps).map(|()| drain(&mut session))
            })?;
            self.core.wake();
            for event in events {
                Box::pin(self.answer(event)).await?;
            }
        }
    }

    async fn write_control(&self, stream: &mut SendStream) -> Endless {
        loop {
            let frame = self.link.with(|maps| self.core.lock().poll_control(now(), maps));
            match frame {
                Some(frame) => stream.send(StreamKind::Control, frame).await?,
                None => self.core.control.notified().await,
            }
        }
    }

    async fn write_state(
        &self,
        stream: oneshot::Receiver<SendStream>,
        changed: &mut watch::Receiver<()>,
        lane: &Lane,
    ) -> Endless {
        let Ok(mut stream) = stream.await else {
            return std::future::pending().await;
        };
        loop {
            changed.mark_unchanged();
            let (frame, events) = self.link.with(|maps| {
                let mut session = self.core.lock();
                (session.poll_state(maps), drain(&mut session))
            });
            for event in events {
                self.tell(event);
            }
            match frame {
                Some(frame) => {
                    lane.take(frame.len()).await;
                    stream.send(StreamKind::State, frame).await?;
                }
                None => tokio::select! {
                    () = self.core.state.notified() => {}
                    // The link outlives its sessions, so its sender is there.
                    _ = changed.changed() => {}
                },
            }
        }
    }

    async fn keep_time(&self) -> Endless {
        loop {
            let deadline = self.core.lock().poll_timeout();
            tokio::select! {
                () = wait_until(deadline) => {}
                () = self.core.timer.notified() => continue,
            }
            let (close, events) = {
                let mut session = self.core.lock();
                (session.handle_timeout(now()), drain(&mut session))
            };
            for event in events {
                Box::pin(self.answer(event)).await?;
            }
            if let Some(close) = close {
                return Err(Stop::Close(close));
            }
        }
    }

    async fn obey(&self, commands: &mut mpsc::Receiver<Box<Command>>) -> Endless {
        while let Some(command) = commands.recv().await {
            let mut session = self.core.lock();
            let taken = match *command {
                Command::Permit(permit) => session.permit(permit),
                Command::RootSets(signed) => session.push_root_sets(signed),
                Command::Fence(fence) => {
                    session.fence(now(), fence);
                    true
                }
            };
            drop(session);
            if !taken {
                warn!("a command to the agent was dropped: its session does not take it in this mode or does not read");
            }
            self.core.wake();
        }
        // No handle is left; the session goes on without.
        std::future::pending().await
    }

    async fn answer(&self, event: Event) -> Result<(), Stop> {
        match event {
            Event::Hello(hello) => {
                let verdict = self.handler.hello(*hello).await;
                self.follow(verdict)?;
            }
            Event::FenceReply(reply) => {
                let verdict = self.handler.fence_answer(Some(reply)).await;
                self.follow(verdict)?;
            }
            Event::FenceUnanswered => {
                let verdict = self.handler.fence_answer(None).await;
                self.follow(verdict)?;
            }
            Event::Join(request) => {
                let reply = self.handler.join(*request).await.map_err(Stop::Close)?;
                self.core.lock().answer_join(now(), reply);
            }
            Event::Renew { csr } => {
                let reply = self.handler.renew(csr).await;
                self.core.lock().answer_renew(reply);
            }
            Event::Plan(plan) => {
                if let Some(permit) = self.handler.plan(plan).await
                    && !self.core.lock().permit(permit)
                {
                    warn!("a permit was not sent: the session's mode does not allow it");
                }
            }
            Event::Status(row) => {
                let version = row.version;
                let result = self.handler.status(row).await;
                self.settle(version, result);
            }
            Event::StatusGone(row) => {
                let version = row.version;
                let result = self.handler.status_gone(row).await;
                self.settle(version, result);
            }
            other => self.tell(other),
        }
        self.core.wake();
        Ok(())
    }

    /// What needs no answer.
    fn tell(&self, event: Event) {
        match event {
            Event::Taken { key, version } => self.handler.note(Note::Taken { key, version }),
            Event::Failed {
                key,
                version,
                code,
                message,
            } => {
                self.handler.note(Note::Failed {
                    key,
                    version,
                    code,
                    message,
                });
            }
            Event::InSync => self.handler.note(Note::InSync),
            Event::Spoke(event) => self.handler.note(Note::Event(event)),
            Event::Heartbeat { clock_ms } => self.handler.note(Note::Heartbeat { clock_ms }),
            Event::Policy(digest) => self.handler.note(Note::Policy(digest)),
            Event::Orphan { key, owner_uid } => {
                if let Some(deletion) = self.handler.orphan(&key, &owner_uid) {
                    self.link.update(|desired| desired.delete(&key, deletion));
                }
            }
            // Questions come out of `handle_*` only and are answered by whoever called it.
            Event::Hello(_)
            | Event::Join(_)
            | Event::Renew { .. }
            | Event::Status(_)
            | Event::StatusGone(_)
            | Event::Plan(_)
            | Event::FenceReply(_)
            | Event::FenceUnanswered => debug!("a question without an answer"),
        }
    }

    fn follow(&self, verdict: Verdict) -> Result<(), Stop> {
        match verdict {
            Verdict::Refuse(close) => return Err(Stop::Close(close)),
            Verdict::Fence(fence) => self.core.lock().fence(now(), fence),
            Verdict::Admit(admission) => self.link.with(|maps| self.core.lock().admit(now(), admission, maps)),
        }
        Ok(())
    }

    fn settle(&self, version: u64, result: Result<(), ItemFailure>) {
        self.link.with(|maps| self.core.lock().settle(version, result, maps));
    }
}

impl Core {
    pub(super) fn lock(&self) -> MutexGuard<'_, Session> {
        // A panic in a session's task ends that task; nobody else uses its state for more than its mode.
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        self.control.notify_one();
        self.state.notify_one();
        self.timer.notify_one();
    }
}

impl SessionEnd {
    /// Says the last words, if they are this end's, and notes how it ended.
    pub(crate) fn finish(connection: &Connection, stop: Stop, welcomed: bool) -> Self {
        match stop {
            Stop::Close(close) => {
                connection.close(&close);
                Self {
                    reason: close.to_string(),
                    ours: Some(close),
                    theirs: None,
                    welcomed,
                }
            }
            Stop::Lost(error) => Self {
                reason: error.to_string(),
                theirs: error.peer_close().cloned(),
                ours: None,
                welcomed,
            },
            Stop::Ending => {
                let close = Close::new(CloseCode::Internal, "the session ended without a reason");
                connection.close(&close);
                Self {
                    reason: close.to_string(),
                    ours: Some(close),
                    theirs: None,
                    welcomed,
                }
            }
        }
    }
}

impl<H> std::fmt::Debug for HubSession<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HubSession({:?})", self.connection)
    }
}

/// Streams after the control stream: the state stream once, fetches as many as allowed.
async fn accept_streams<H: HubHandler>(
    connection: &Connection,
    core: &Core,
    (handler, lane): (&H, &Lane),
    state: oneshot::Sender<RecvStream>,
    state_send: oneshot::Sender<SendStream>,
) -> Endless {
    let mut state = Some((state, state_send));
    let mut fetches = FuturesUnordered::new();
    let mut next = Box::pin(connection.accept());
    loop {
        let (kind, send, recv) = tokio::select! {
            accepted = &mut next, if fetches.len() < FETCHES => accepted?,
            Some(()) = fetches.next() => continue,
        };
        next.set(connection.accept());
        let mode = core.lock().mode();
        match kind {
            StreamKind::State if mode.is_some() => match state.take() {
                Some((to_reader, to_writer)) => {
                    // Both wait for it, unless the session is ending.
                    let _ = to_reader.send(recv);
                    let _ = to_writer.send(send);
                }
                None => return Err(protocol("the state stream was opened twice")),
            },
            StreamKind::Chunk if mode == Some(Mode::Normal) || mode == Some(Mode::Behind) => {
                let terms = Terms::of(&core.lock());
                fetches.push(Box::pin(fetch::serve((handler, lane), terms, send, recv)));
            }
            StreamKind::State | StreamKind::Chunk => {
                return Err(protocol("this session's mode does not allow such a stream"));
            }
            StreamKind::Control => return Err(protocol("the control stream was opened twice")),
            StreamKind::Live => return Err(protocol("live streams are opened by the hub")),
        }
    }
}

async fn wanted_close(close: &mut watch::Receiver<Option<Close>>) -> Close {
    loop {
        if let Some(words) = close.borrow_and_update().clone() {
            return words;
        }
        if close.changed().await.is_err() {
            // No handle is left to close it.
            std::future::pending::<()>().await;
        }
    }
}

fn drain(session: &mut Session) -> Vec<Event> {
    std::iter::from_fn(|| session.poll_event()).collect()
}

fn protocol(words: &str) -> Stop {
    Stop::Close(Close::new(CloseCode::Protocol, words))
}

fn shutting_down() -> Close {
    // No time is given: agents spread themselves over the reconnect window that `Welcome` told them.
    Close::new(CloseCode::ShuttingDown, "the hub shuts down").retry_after(0)
}
