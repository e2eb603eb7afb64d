//! What keeps a connection going: one task at each end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::stream::{FuturesUnordered, StreamExt};
use h2::client::SendRequest;
use h2::server::SendResponse;
use h2::{Ping, PingPong};
use http::{Method, Request, Response};
use nave_proto::{Close, CloseCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use super::socket::Traffic;
use super::stream::Source;
use super::{Halves, Inner, Opener, TcpLink};
use crate::connection::LinkError;
use crate::transport::{AGENT_STREAM_WINDOW, AGENT_STREAMS, AGENT_WINDOW, HUB_STREAM_WINDOW, HUB_STREAMS, HUB_WINDOW};

/// A stream that the agent opens.
pub(super) const OPEN: &str = "https://hub/";
/// An offer of a stream to the hub, which cannot open one itself.
const BACK: &str = "https://hub/back";
/// The stream on which either end says how the connection ends.
const WORDS: &str = "https://hub/words";

/// Offers that a hub keeps; agents make them one by one.
const OFFERS: usize = 4;
/// Everything that an agent may have open: its own streams, those that it offered and the hub took, the words.
const ALL_STREAMS: u32 = HUB_STREAMS + AGENT_STREAMS + OFFERS as u32 + 1;
/// Headers carry nothing but a path.
const HEADERS: u32 = 4 * 1024;
/// What a stream may hold back because the peer's window or the socket is full.
const SEND_BUFFER: usize = 64 * 1024;
/// A received frame costs more than its bytes, up to 256 each: what small frames may cost that wait to be read. Of the
/// smallest that mean anything a window full costs ten times its bytes.
const HUB_FRAMES: usize = 10 * HUB_WINDOW as usize;
const AGENT_FRAMES: usize = 10 * AGENT_WINDOW as usize;
/// The peer has so long to hear the last words and to go.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// Longer than any words are.
const MAX_WORDS: usize = 8 * 1024;

/// A stream that the agent has offered.
pub(super) struct Offer {
    respond: SendResponse<Bytes>,
    body: h2::RecvStream,
}

/// What a driver shares with the handles of its connection.
struct Driver {
    words: watch::Receiver<Option<Close>>,
    /// The words of a hub that shuts down.
    shut: Option<watch::Receiver<Option<Close>>>,
    end: watch::Sender<Option<LinkError>>,
    traffic: Arc<Traffic>,
    idle: Duration,
    incoming: mpsc::Sender<Halves>,
    leftovers: mpsc::Receiver<Source>,
}

/// The hub's end of HTTP/2.
struct HubSide<T> {
    carrier: h2::server::Connection<T, Bytes>,
    offers: mpsc::Sender<Offer>,
    incoming: mpsc::Sender<Halves>,
}

/// The agent's.
struct AgentSide<T: AsyncRead + AsyncWrite + Unpin> {
    carrier: h2::client::Connection<T, Bytes>,
    offers: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// One end of HTTP/2, which must be polled for anything to move.
trait Side: Send {
    /// Works until the connection ends, or until the stream for the words is there.
    fn work(&mut self) -> impl Future<Output = Worked> + Send;
}

enum Worked {
    Ended(LinkError),
    Words(Halves),
}

/// The stream for the words, and what was heard on it so far.
struct Farewell {
    halves: Halves,
    heard: BytesMut,
}

pub(super) fn request(uri: &'static str) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from_static(uri);
    request
}

/// The agent's end of a connection on which TLS is done.
pub(super) async fn start_agent<T>(
    io: T,
    (remote, traffic): (SocketAddr, Arc<Traffic>),
    idle: Duration,
    tasks: &TaskTracker,
) -> Result<TcpLink, LinkError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut requests, mut carrier) = h2::client::Builder::new()
        .enable_push(false)
        .initial_window_size(AGENT_STREAM_WINDOW)
        .initial_connection_window_size(AGENT_WINDOW)
        .initial_max_send_streams(ALL_STREAMS as usize)
        .max_header_list_size(HEADERS)
        .max_send_buffer_size(SEND_BUFFER)
        .data_frame_budget(AGENT_FRAMES)
        .handshake::<T, Bytes>(io)
        .await
        .map_err(|error| meaning(&error))?;
    let pings = carrier.ping_pong();
    let (answer, send) = requests
        .send_request(request(WORDS), false)
        .map_err(|error| meaning(&error))?;
    let farewell = Farewell::new((send, Source::Awaited(answer)));
    // One more than are being served is taken in advance.
    let (incoming, received) = mpsc::channel(1);
    let offers = Box::pin(offer(requests.clone(), incoming.clone()));
    let side = AgentSide { carrier, offers };
    let opener = Opener::Agent(requests);
    let (link, driver) = prepare(remote, traffic, idle, opener, (incoming, received), None);
    tasks.spawn(driver.run(side, Some(farewell), pings));
    Ok(link)
}

/// The hub's end of a connection on which TLS is done.
pub(super) async fn start_hub<T>(
    io: T,
    (remote, traffic): (SocketAddr, Arc<Traffic>),
    idle: Duration,
    shut: watch::Receiver<Option<Close>>,
    tasks: &TaskTracker,
) -> Result<TcpLink, LinkError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let carrier = h2::server::Builder::new()
        .initial_window_size(HUB_STREAM_WINDOW)
        .initial_connection_window_size(HUB_WINDOW)
        .max_concurrent_streams(ALL_STREAMS)
        .max_header_list_size(HEADERS)
        .max_send_buffer_size(SEND_BUFFER)
        .data_frame_budget(HUB_FRAMES)
        .handshake::<T, Bytes>(io)
        .await
        .map_err(|error| meaning(&error))?;
    let (offers, offered) = mpsc::channel(OFFERS);
    // As many as there can be.
    let (incoming, received) = mpsc::channel(ALL_STREAMS as usize);
    let side = HubSide {
        carrier,
        offers,
        incoming: incoming.clone(),
    };
    let opener = Opener::Hub(Mutex::new(offered));
    let (link, driver) = prepare(remote, traffic, idle, opener, (incoming, received), Some(shut));
    tasks.spawn(driver.run(side, None, None));
    Ok(link)
}

fn prepare(
    remote: SocketAddr,
    traffic: Arc<Traffic>,
    idle: Duration,
    opener: Opener,
    (incoming, received): (mpsc::Sender<Halves>, mpsc::Receiver<Halves>),
    shut: Option<watch::Receiver<Option<Close>>>,
) -> (TcpLink, Driver) {
    let (words, wanted) = watch::channel(None);
    let (end, ended) = watch::channel(None);
    // As many as there can be.
    let (leave, leftovers) = mpsc::channel(ALL_STREAMS as usize);
    let inner = Inner {
        remote,
        traffic: traffic.clone(),
        end: ended,
        words,
        opener,
        incoming: Mutex::new(received),
        leftovers: leave,
    };
    let driver = Driver {
        words: wanted,
        shut,
        end,
        traffic,
        idle,
        incoming,
        leftovers,
    };
    (TcpLink(Arc::new(inner)), driver)
}

impl Driver {
    async fn run(mut self, mut side: impl Side, mut farewell: Option<Farewell>, pings: Option<PingPong>) {
        let end = {
            let mut silence = std::pin::pin!(silent(self.traffic.clone(), self.idle, pings));
            let mut unread = FuturesUnordered::new();
            loop {
                tokio::select! {
                    worked = side.work() => match worked {
                        Worked::Ended(end) => break end,
                        Worked::Words(halves) => _ = farewell.get_or_insert_with(|| Farewell::new(halves)),
                    },
                    close = hear(&mut farewell) => break LinkError::Closed(close),
                    close = wanted(&mut self.words, &mut self.shut) => {
                        self.end.send_replace(Some(LinkError::ClosedHere));
                        // A peer that does not go is left.
                        let _ = timeout(LAST_WORDS, say(&mut side, farewell, &close)).await;
                        return;
                    }
                    Some(source) = self.leftovers.recv() => unread.push(read_out(source)),
                    Some(()) = unread.next() => {}
                    () = &mut silence => break LinkError::TimedOut,
                }
            }
        };
        // Before the carrier goes with this task: whoever works with a stream asks why it failed.
        self.end.send_replace(Some(end));
        drop(self.incoming);
    }
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Side for HubSide<T> {
    async fn work(&mut self) -> Worked {
        loop {
            let (request, mut respond) = match self.carrier.accept().await {
                Some(Ok(opened)) => opened,
                Some(Err(error)) => return Worked::Ended(meaning(&error)),
                None => return Worked::Ended(LinkError::Gone),
            };
            let path = request.uri().path().to_owned();
            let body = request.into_body();
            if path == "/back" {
                // One too many is refused by being dropped.
                let _ = self.offers.try_send(Offer { respond, body });
                continue;
            }
            // It fails only for a stream that the agent has taken back.
            let Ok(send) = respond.send_response(Response::new(()), false) else {
                continue;
            };
            let halves = (send, Source::Here(body));
            match path.as_str() {
                "/words" => return Worked::Words(halves),
                _ => _ = self.incoming.try_send(halves),
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Side for AgentSide<T> {
    async fn work(&mut self) -> Worked {
        tokio::select! {
            ended = &mut self.carrier => Worked::Ended(match ended {
                Ok(()) => LinkError::Gone,
                Err(error) => meaning(&error),
            }),
            // It ends when the connection does.
            () = &mut self.offers => std::future::pending().await,
        }
    }
}

impl Offer {
    /// Takes it up; `None` when the agent has gone.
    pub fn take(mut self) -> Option<Halves> {
        let send = self.respond.send_response(Response::new(()), false).ok()?;
        Some((send, Source::Here(self.body)))
    }
}

impl Farewell {
    fn new(halves: Halves) -> Self {
        Self {
            halves,
            heard: BytesMut::new(),
        }
    }
}

/// Offers the hub one stream after another, each when there is room for it.
async fn offer(requests: SendRequest<Bytes>, incoming: mpsc::Sender<Halves>) {
    loop {
        let Ok(room) = incoming.reserve().await else { break };
        let Ok(mut requests) = requests.clone().ready().await else {
            break;
        };
        let Ok((answer, send)) = requests.send_request(request(BACK), false) else {
            break;
        };
        let Ok(answer) = answer.await else { break };
        room.send((send, Source::Here(answer.into_body())));
    }
    std::future::pending().await
}

/// Reads what nobody wants until it ends.
async fn read_out(mut source: Source) {
    while let Ok(Some(_)) = source.next().await {}
}

/// The peer's last words; waits for ever when the stream has none.
async fn hear(farewell: &mut Option<Farewell>) -> Close {
    let Some(farewell) = farewell else {
        return std::future::pending().await;
    };
    while let Ok(piece) = farewell.halves.1.next().await {
        match piece {
            Some(piece) if farewell.heard.len() + piece.len() <= MAX_WORDS => farewell.heard.extend_from_slice(&piece),
            Some(_) => {
                return Close::new(
                    CloseCode::Protocol,
                    "the other end closed with more words than are allowed",
                );
            }
            None if farewell.heard.len() < 4 => break,
            None => {
                let code = farewell.heard.get_u32();
                return Close::from_bytes(u64::from(code), &farewell.heard);
            }
        }
    }
    std::future::pending().await
}

/// Says the last words and waits until the peer has gone.
async fn say(side: &mut impl Side, farewell: Option<Farewell>, close: &Close) {
    let mut words = BytesMut::new();
    words.put_u32(close.code);
    words.extend_from_slice(&close.to_bytes());
    let mut words = Some(words.freeze());
    let mut farewell = farewell;
    loop {
        if let Some(farewell) = &mut farewell
            && let Some(words) = words.take()
        {
            // It fails only when the connection has ended.
            let _ = farewell.halves.0.send_data(words, true);
        }
        tokio::select! {
            worked = side.work() => match worked {
                Worked::Ended(_) => return,
                Worked::Words(halves) => _ = farewell.get_or_insert_with(|| Farewell::new(halves)),
            },
            // Both had something to say.
            _ = hear(&mut farewell) => return,
        }
    }
}

/// What this end wants to say: by a handle, because no handle is left, or because the hub shuts down.
async fn wanted(
    words: &mut watch::Receiver<Option<Close>>,
    shut: &mut Option<watch::Receiver<Option<Close>>>,
) -> Close {
    let by_handle = async {
        match words.wait_for(Option::is_some).await {
            Ok(words) => words.clone(),
            Err(_) => None,
        }
    };
    let by_hub = async {
        if let Some(shut) = shut {
            let words = shut
                .wait_for(Option::is_some)
                .await
                .ok()
                .and_then(|words| words.clone());
            if words.is_some() {
                return words;
            }
        }
        // Without a listener its connections go on.
        std::future::pending().await
    };
    let close = tokio::select! {
        close = by_handle => close,
        close = by_hub => close,
    };
    close.unwrap_or_else(|| Close::new(CloseCode::Done, ""))
}

/// Ends when nothing was heard for so long. An end that can ping does so at half of the time.
async fn silent(traffic: Arc<Traffic>, idle: Duration, mut pings: Option<PingPong>) {
    loop {
        let heard = traffic.heard();
        let deadline = heard + idle;
        if let Some(pings) = &mut pings {
            sleep_until(heard + idle / 2).await;
            if traffic.heard() > heard {
                continue;
            }
            if let Ok(Err(_)) = timeout_at(deadline, pings.ping(Ping::opaque())).await {
                // The connection has ended, which others notice.
                return std::future::pending().await;
            }
        } else {
            sleep_until(deadline).await;
        }
        if Instant::now() >= traffic.heard() + idle {
            return;
        }
    }
}

/// What an error of the carrier means for the link.
pub(super) fn meaning(error: &h2::Error) -> LinkError {
    match error.get_io() {
        Some(error) => io_meaning(error),
        None => LinkError::Carrier(error.to_string()),
    }
}

pub(super) fn io_meaning(error: &io::Error) -> LinkError {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match (tls, error.kind()) {
        (Some(error), _) => LinkError::Tls(error.to_string()),
        (None, io::ErrorKind::TimedOut) => LinkError::TimedOut,
        (
            None,
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected,
        ) => LinkError::Gone,
        _ => LinkError::Carrier(error.to_string()),
    }
}
