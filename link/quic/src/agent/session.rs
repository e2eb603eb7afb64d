//! One session with the hub, driven over its connection.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt};
use nave_proto::agent::{Event, Opening, Session};
use nave_proto::wire::{self, LinkProfile, LiveBody, Mode, Welcome};
use nave_proto::{Close, CloseCode, FEATURE_DICTIONARIES, FEATURE_METERED, Now, StreamKind};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::handle::Live;
use super::handler::{AgentHandler, AgentNote};
use super::hearing::{Hearing, Quiet};
use super::identity::IdentityStore;
use super::keepalive::{KeepAlive, shown};
use super::live::{Credit, LiveSink};
use super::renew::{Renewal, Renewed, renew_after};
use super::runner::{AgentRunner, BREATH};
use crate::clock::wait_until;
use crate::connection::{Connection, LinkError, RecvStream, SendStream, Transport};
use crate::driver::{Endless, FINISH, Stop, finishing, next_frame};
use crate::hub::SessionEnd;

/// Items that are dealt with side by side: one with large files delays no other. Each may hold its files in memory.
const AT_ONCE: usize = 4;

/// Live reads that are served at once; as many as the connection lets the hub open.
const LIVE_READS: usize = 16;

/// The request must come within this time after the stream was opened.
const LIVE_REQUEST: Duration = Duration::from_secs(30);

/// The words of an agent that has found a better carrier.
const MOVING: &str = "UDP is let through again: moving to QUIC";

/// How it went.
pub(super) struct Done {
    pub end: SessionEnd,
    /// Set once `Welcome` came: the window in which to come back.
    pub window: Option<Duration>,
    /// This end closed it, to come back with a new certificate.
    pub renewed: bool,
}

/// What the loops of a session share.
struct Driver<'a, H, S> {
    runner: &'a AgentRunner<H, S>,
    connection: &'a Connection,
    session: Mutex<Session>,
    control: Notify,
    state: Notify,
    timer: Notify,
    renewal: Mutex<Option<Renewal>>,
    welcome: watch::Sender<Option<Welcomed>>,
    /// When to ask for a certificate again; one answer at a time.
    renew_again: mpsc::Sender<Duration>,
    renewed: AtomicBool,
}

#[derive(Debug, Clone, Copy)]
struct Welcomed {
    mode: Mode,
    hub_ms: i64,
    window: Duration,
}

pub(super) async fn run<H: AgentHandler, S: IdentityStore>(
    runner: &AgentRunner<H, S>,
    connection: Connection,
    session_seq: u64,
    leave: &CancellationToken,
    shutdown: &CancellationToken,
) -> Done {
    let mut hello = runner.handler.hello().await;
    hello.session_seq = session_seq;
    // What the link does by itself, whoever is behind it.
    hello.features |= FEATURE_METERED | FEATURE_DICTIONARIES;
    {
        let identity = runner.identity();
        hello.hub_uid.clone_from(&identity.hub_uid);
        hello.root_set_version = identity.roots().ok().flatten().map_or(0, |roots| roots.version());
    }
    let opening = Opening::Hello(Box::new(hello));
    let max_item = runner.options.max_item_bytes;
    let session = runner
        .handle
        .with(|maps| Session::new(runner.options.dial.clock.now(), opening, max_item, maps));
    let (renew_again, answers) = mpsc::channel(1);
    let driver = Driver {
        runner,
        connection: &connection,
        session: Mutex::new(session),
        control: Notify::new(),
        state: Notify::new(),
        timer: Notify::new(),
        renewal: Mutex::new(None),
        welcome: watch::Sender::new(None),
        renew_again,
        renewed: AtomicBool::new(false),
    };
    let stop = Box::pin(driver.drive(answers, leave, shutdown)).await;
    let welcomed = *driver.welcome.borrow();
    let end = SessionEnd::finish(&connection, stop, welcomed.is_some());
    Done {
        end,
        window: welcomed.map(|welcomed| welcomed.window),
        renewed: driver.renewed.load(Ordering::Relaxed),
    }
}

impl<H: AgentHandler, S: IdentityStore> Driver<'_, H, S> {
    async fn drive(
        &self,
        answers: mpsc::Receiver<Duration>,
        leave: &CancellationToken,
        shutdown: &CancellationToken,
    ) -> Stop {
        let (mut control_send, mut control_recv) = match self.connection.open(StreamKind::Control).await {
            Ok(streams) => streams,
            Err(error) => return error.into(),
        };
        let ending = CancellationToken::new();
        let (state_tx, state_rx) = oneshot::channel();
        let readers = async {
            let control = finishing(self.read_control(&mut control_recv, &ending), &ending);
            let state = finishing(self.read_state(state_rx, &ending), &ending);
            let (control, state) = tokio::join!(control, state);
            if matches!(control, Stop::Ending) {
                state
            } else {
                control
            }
        };
        let others = async {
            // Plans and events are added through the handle, so the control stream looks when the state stream does.
            let mut changed = self.runner.handle.watch();
            let write_control = self.write_control(&mut control_send, &mut changed);
            let mut changed_state = self.runner.handle.watch();
            let result: Endless = tokio::select! {
                end = write_control => end,
                end = self.write_state(state_tx, &mut changed_state) => end,
                end = self.serve_live() => end,
                end = self.keep_time() => end,
                end = self.keep_certificate(answers) => end,
                error = self.connection.closed() => Err(Stop::Lost(error)),
                () = leave.cancelled() => Err(Stop::Close(Close::new(CloseCode::Reconnect, MOVING))),
                () = shutdown.cancelled() => Err(Stop::Close(Close::new(CloseCode::ShuttingDown, "the agent shuts down"))),
            };
            match result {
                Ok(never) => match never {},
                Err(stop) => stop,
            }
        };
        let (mut readers, mut others) = (Box::pin(readers), Box::pin(others));
        let stop = tokio::select! {
            stop = &mut others => stop,
            stop = &mut readers => {
                stop.say(self.connection);
                return stop;
            }
        };
        ending.cancel();
        if tokio::time::timeout(FINISH, readers).await.is_err() {
            warn!("what the session had in hand when it ended did not finish");
        }
        stop.say(self.connection);
        stop
    }

    async fn read_control(&self, stream: &mut RecvStream, ending: &CancellationToken) -> Endless {
        loop {
            let frame = next_frame(stream, ending).await?;
            let events = self.runner.handle.with(|maps| {
                let mut session = self.session();
                session
                    .handle_control(self.now(), frame, maps)
                    .map(|()| drain(&mut session))
            })?;
            self.wake();
            for event in events {
                self.answer(event).await?;
            }
        }
    }

    async fn read_state(&self, stream: oneshot::Receiver<RecvStream>, ending: &CancellationToken) -> Endless {
        let mut stream = tokio::select! {
            () = ending.cancelled() => return Err(Stop::Ending),
            Ok(stream) = stream => stream,
        };
        let (turns, mut in_hand) = (Semaphore::new(AT_ONCE), FuturesUnordered::new());
        let stop = loop {
            let events = tokio::select! {
                Some(events) = in_hand.next() => Ok(events),
                frame = next_frame(&mut stream, ending) => frame.and_then(|frame| self.hear_state(frame)),
            };
            let (items, others): (Vec<Event>, Vec<Event>) = match events {
                Ok(events) => events.into_iter().partition(is_item),
                Err(stop) => break stop,
            };
            if let Err(stop) = self.answer_all(others).await {
                break stop;
            }
            in_hand.extend(items.into_iter().map(|item| self.carry_out(item, &turns)));
        };
        // What was begun is finished; what was not comes again in the next session.
        turns.close();
        while in_hand.next().await.is_some() {}
        Err(stop)
    }

    fn hear_state(&self, frame: Bytes) -> Result<Vec<Event>, Stop> {
        let events = self.runner.handle.with(|maps| {
            let mut session = self.session();
            session
                .handle_state(self.now(), frame, maps)
                .map(|()| drain(&mut session))
        })?;
        self.wake();
        Ok(events)
    }

    async fn answer_all(&self, events: Vec<Event>) -> Result<(), Stop> {
        for event in events {
            self.answer(event).await?;
        }
        Ok(())
    }

    /// Deals with an item when its turn comes, beside others: one that takes long delays none. Answers what came for the
    /// same item meanwhile.
    async fn carry_out(&self, item: Event, turns: &Semaphore) -> Vec<Event> {
        let Ok(_turn) = turns.acquire().await else {
            return Vec::new(); // the session is ending
        };
        let handler = &*self.runner.handler;
        let (version, result) = match item {
            Event::Put(item) => (item.version, handler.put(item).await),
            Event::Delete(item) => (item.version, handler.delete(item).await),
            _ => return Vec::new(),
        };
        let events = self.runner.handle.with(|maps| {
            let mut session = self.session();
            session.settle(version, result, maps);
            drain(&mut session)
        });
        self.wake();
        events
    }

    async fn write_control(&self, stream: &mut SendStream, changed: &mut watch::Receiver<()>) -> Endless {
        loop {
            let policy = self.runner.handle.policy();
            let frame = self.runner.handle.with(|maps| {
                let mut session = self.session();
                if let Some(digest) = &policy {
                    session.tell_policy(digest);
                }
                session.poll_control(self.now(), maps)
            });
            match frame {
                Some(frame) => stream.send(StreamKind::Control, frame).await?,
                None => tokio::select! {
                    () = self.control.notified() => {}
                    _ = changed.changed() => {}
                },
            }
        }
    }

    /// Opens the state stream when the mode allows items to flow, and writes what is due.
    async fn write_state(&self, reader: oneshot::Sender<RecvStream>, changed: &mut watch::Receiver<()>) -> Endless {
        let mut welcome = self.welcome.subscribe();
        // The sender is in this driver.
        let _ = welcome.wait_for(Option::is_some).await;
        if !self.session().wants_state_stream() {
            return std::future::pending().await;
        }
        let (mut stream, recv) = self.connection.open(StreamKind::State).await?;
        // It waits for it, unless the session is ending.
        let _ = reader.send(recv);
        // On a metered line: when status that is kept back is let go.
        let mut release: Option<tokio::time::Instant> = None;
        loop {
            let is_new = changed.has_changed().unwrap_or(false);
            changed.mark_unchanged();
            let (frame, events) = self.runner.handle.with(|maps| {
                let mut session = self.session();
                if is_new && session.holds_status() && release.is_none() {
                    release = Some(tokio::time::Instant::now() + self.runner.options.gather.0);
                }
                if release.is_some_and(|at| at <= tokio::time::Instant::now()) {
                    release = None;
                    session.hold_status(false);
                }
                let frame = session.poll_state(maps);
                let events = drain(&mut session);
                // The hub knows everything: what comes next is gathered.
                if session.profile() == LinkProfile::Metered && events.contains(&Event::InSync) {
                    session.hold_status(true);
                }
                (frame, events)
            });
            for event in events {
                self.tell(event);
            }
            match frame {
                Some(frame) => stream.send(StreamKind::State, frame).await?,
                None => tokio::select! {
                    () = self.state.notified() => {}
                    _ = changed.changed() => changed.mark_changed(),
                    () = until(release) => {}
                },
            }
        }
    }

    async fn serve_live(&self) -> Endless {
        let mut reads = FuturesUnordered::new();
        let mut next = Box::pin(self.connection.accept());
        loop {
            let (kind, send, recv) = tokio::select! {
                accepted = &mut next, if reads.len() < LIVE_READS => accepted?,
                Some(()) = reads.next() => continue,
            };
            next.set(self.connection.accept());
            if kind != StreamKind::Live {
                return Err(Stop::Close(Close::new(
                    CloseCode::Protocol,
                    "a hub opens live streams only",
                )));
            }
            reads.push(self.read_live(send, recv));
        }
    }

    async fn read_live(&self, send: SendStream, mut recv: RecvStream) {
        let Ok(Ok(Some(frame))) = tokio::time::timeout(LIVE_REQUEST, recv.next()).await else {
            return;
        };
        let Ok(Some(LiveBody::Request(request))) = wire::decode::<LiveBody>(frame) else {
            return;
        };
        send.yield_to_others();
        let (sender, receiver) = oneshot::channel();
        let credit = Arc::new(Credit::new(&request));
        let sink = LiveSink::new(send, sender, credit.clone());
        let gone = async {
            while let Ok(Some(frame)) = recv.next().await {
                if !credit.hear(frame) {
                    return;
                }
            }
        };
        let end = tokio::select! {
            end = self.runner.handler.live(request, sink) => end,
            // The caller does not listen any more.
            () = gone => return,
        };
        if let Ok(mut stream) = receiver.await {
            // It fails only when nobody listens.
            let _ = stream.send(StreamKind::Live, wire::encode(LiveBody::End(end))).await;
            stream.finish();
        }
    }

    async fn keep_time(&self) -> Endless {
        let (mut keep_alive, mut beats) = (None, 0);
        let mut hearing = Hearing::new(self.now().mono);
        loop {
            self.keep_path_open(&mut keep_alive, &mut beats);
            let (deadline, quiet) = {
                let session = self.session();
                let quiet = (session.mode().is_some() && self.connection.carried_by() == Transport::Quic).then(|| {
                    let received = self.connection.stats().received_datagrams;
                    hearing.look(self.now().mono, received, session.heartbeats(), session.heartbeat_ms())
                });
                (session.poll_timeout(), quiet)
            };
            let look = match quiet {
                Some(Quiet::Gone) => return Err(Stop::Lost(LinkError::TimedOut)),
                Some(Quiet::LookAgain(at)) => Some(at),
                None => None,
            };
            tokio::select! {
                () = wait_until(deadline) => {}
                () = wait_until(look) => continue,
                () = self.timer.notified() => continue,
            }
            if let Some(close) = self.session().handle_timeout(self.now()) {
                return Err(Stop::Close(close));
            }
            // A heartbeat may be due.
            self.control.notify_one();
        }
    }

    /// Looks after each heartbeat whether the path has forgotten us meanwhile. Only UDP is forgotten within a heartbeat.
    fn keep_path_open(&self, keep_alive: &mut Option<KeepAlive>, beats: &mut u64) {
        if self.connection.carried_by() != Transport::Quic {
            return;
        }
        let mut session = self.session();
        if session.mode().is_none() {
            return;
        }
        let (asked, sent, challenges) = (
            session.heartbeat_ms(),
            session.heartbeats(),
            self.connection.stats().path_challenges,
        );
        let pace = match keep_alive {
            None => {
                let remembered = self.runner.identity().path.keep_alive_ms;
                keep_alive.insert(KeepAlive::new(remembered, asked, challenges)).pace()
            }
            Some(keep_alive) if sent > *beats => {
                let before = keep_alive.pace();
                let pace = keep_alive.passed(challenges);
                if pace != before {
                    debug!(pause = ?shown(pace), "the path is kept open with another pause");
                    // Written when the identity is written for another reason; it is learnt again otherwise.
                    self.runner.identity().path.keep_alive_ms = keep_alive.memory();
                }
                pace
            }
            Some(_) => return,
        };
        *beats = sent;
        session.hasten(self.now(), pace);
    }

    async fn keep_certificate(&self, mut answers: mpsc::Receiver<Duration>) -> Endless {
        let mut welcome = self.welcome.subscribe();
        // The sender is in this driver.
        let _ = welcome.wait_for(Option::is_some).await;
        let Some(Welcomed { mode, hub_ms, .. }) = *self.welcome.borrow() else {
            return std::future::pending().await;
        };
        if matches!(mode, Mode::Pending | Mode::Quarantined) {
            return std::future::pending().await;
        }
        let facts = self.runner.identity().certificate();
        let mut wait = renew_after(facts.as_ref(), mode, hub_ms, rand::random());
        loop {
            tokio::time::sleep(wait).await;
            wait = match self.request_renewal() {
                // The answer says when, if it does not end the session; the sender is in this driver.
                Ok(true) => answers.recv().await.unwrap_or(BREATH),
                Ok(false) => BREATH,
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    warn!(error, "preparing the renewal of the agent's certificate failed");
                    Duration::from_secs(600)
                }
            };
        }
    }

    fn request_renewal(&self) -> Result<bool, super::identity::IdentityError> {
        let (renewal, csr) = Renewal::begin(&self.runner.identity())?;
        *self.renewal.lock().unwrap_or_else(PoisonError::into_inner) = Some(renewal);
        let asked = self.session().request_renewal(csr);
        self.control.notify_one();
        Ok(asked)
    }

    async fn answer(&self, event: Event) -> Result<(), Stop> {
        let handler = &*self.runner.handler;
        match event {
            Event::Checkpoint(checkpoint) => handler.checkpoint(checkpoint).await.map_err(|error| {
                let error: &dyn std::error::Error = &*error;
                warn!(error, "storing the hub's checkpoint failed");
                Stop::Close(Close::new(
                    CloseCode::Internal,
                    "the agent could not store the hub's checkpoint",
                ))
            })?,
            Event::Permit { permit, plan } => handler.permit(permit, plan).await,
            Event::Fence(fence) => {
                let reply = handler.fence(fence).await;
                self.session().answer_fence(reply);
            }
            Event::Welcome(welcome) => self.handle_welcome(*welcome).await,
            Event::RootSets(signed) => self.runner.follow_roots(signed).await,
            Event::RenewReply(reply) => {
                let renewal = self.renewal.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(renewal) = renewal {
                    self.finish_renewal(renewal, *reply).await?;
                }
            }
            other => self.tell(other),
        }
        self.wake();
        Ok(())
    }

    async fn handle_welcome(&self, welcome: Welcome) {
        let mode = Mode::try_from(welcome.mode).expect("checked by the session");
        self.runner.note_hub(&welcome.hub_uid, welcome.now_ms).await;
        self.runner.follow_roots(welcome.root_sets.clone()).await;
        self.runner.handle.set_live(Some(Live {
            connection: self.connection.clone(),
            mode,
            features: welcome.features,
        }));
        let window = Duration::from_millis(u64::from(welcome.reconnect_window_ms));
        let hub_ms = welcome.now_ms;
        self.runner.handler.note(AgentNote::Connected(Box::new(welcome)));
        self.welcome.send_replace(Some(Welcomed { mode, hub_ms, window }));
    }

    async fn finish_renewal(&self, renewal: Renewal, reply: wire::RenewReply) -> Result<(), Stop> {
        let renewed = renewal.finish(&self.runner.identity(), reply);
        let (reason, after) = match renewed {
            Renewed::Use(identity) => match self.runner.adopt(*identity).await {
                Ok(()) => {
                    self.runner.handler.note(AgentNote::Renewed);
                    self.renewed.store(true, Ordering::Relaxed);
                    // The hub drops the old key when it sees the new one.
                    let words = "certificate renewed; connecting again with it";
                    return Err(Stop::Close(Close::new(CloseCode::Reconnect, words)));
                }
                Err(error) => (format!("storing the new key failed: {error}"), BREATH),
            },
            Renewed::Later { reason, after } => (reason, after),
        };
        warn!(%reason, "the agent's certificate was not renewed");
        self.runner.handler.note(AgentNote::RenewalHeld { reason });
        // One answer for one request, so there is room; nobody waits when the session is ending.
        let _ = self.renew_again.try_send(after);
        Ok(())
    }

    /// What needs no answer.
    fn tell(&self, event: Event) {
        match event {
            Event::StatusFailed { key, code, message } => {
                self.runner.handler.note(AgentNote::StatusFailed { key, code, message });
            }
            Event::InSync => self.runner.handler.note(AgentNote::InSync),
            // Questions come out of `handle_*` only and are answered by whoever called it; a join reply answers a
            // request that this driver does not send.
            _ => {}
        }
    }

    fn now(&self) -> Now {
        self.runner.options.dial.clock.now()
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        // A panic in the session's task ends that task, and with it the session.
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        self.control.notify_one();
        self.state.notify_one();
        self.timer.notify_one();
    }
}

async fn until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Whether it is for the handler and takes as long as the cluster takes.
fn is_item(event: &Event) -> bool {
    matches!(event, Event::Put(_) | Event::Delete(_))
}

fn drain(session: &mut Session) -> Vec<Event> {
    std::iter::from_fn(|| session.poll_event()).collect()
}
