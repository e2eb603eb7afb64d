//! A TCP socket that counts what it carries and notes when it last heard something.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tracing::debug;

/// What was sent and is not acknowledged for so long is not going to be: the path is gone. A link that sends its
/// heartbeat notices by this that its hub's machine has vanished.
const UNACKNOWLEDGED: Duration = Duration::from_secs(45);

/// Below the five minutes after which address translators and load balancers forget connections.
const PROBE_AFTER: Duration = Duration::from_secs(240);

/// What a socket has carried.
#[derive(Debug)]
pub(crate) struct Traffic {
    began: Instant,
    sent: AtomicU64,
    writes: AtomicU64,
    received: AtomicU64,
    reads: AtomicU64,
    /// Milliseconds after `began`.
    heard: AtomicU64,
}

/// The socket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    traffic: Arc<Traffic>,
}

/// Numbers of a [`Traffic`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Carried {
    pub sent: u64,
    pub writes: u64,
    pub received: u64,
    pub reads: u64,
}

impl Traffic {
    pub fn carried(&self) -> Carried {
        Carried {
            sent: self.sent.load(Ordering::Relaxed),
            writes: self.writes.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            reads: self.reads.load(Ordering::Relaxed),
        }
    }

    /// When something was heard last.
    pub fn heard(&self) -> Instant {
        self.began + Duration::from_millis(self.heard.load(Ordering::Relaxed))
    }
}

impl Socket {
    /// Takes over a connected socket.
    pub fn new(stream: TcpStream) -> Self {
        if let Err(error) = prepare(&stream) {
            // It works without, only worse.
            debug!(%error, "setting options of a TCP socket");
        }
        let traffic = Arc::new(Traffic {
            began: Instant::now(),
            sent: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            received: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            heard: AtomicU64::new(0),
        });
        Self { stream, traffic }
    }

    pub fn traffic(&self) -> Arc<Traffic> {
        self.traffic.clone()
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(PROBE_AFTER))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    Ok(())
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let read = (buffer.filled().len() - before) as u64;
        if read > 0 {
            let traffic = &self.traffic;
            traffic.received.fetch_add(read, Ordering::Relaxed);
            traffic.reads.fetch_add(1, Ordering::Relaxed);
            let heard = traffic.began.elapsed().as_millis() as u64;
            traffic.heard.store(heard, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, data))?;
        self.traffic.count_write(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, data))?;
        self.traffic.count_write(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Traffic {
    fn count_write(&self, written: usize) {
        self.sent.fetch_add(written as u64, Ordering::Relaxed);
        self.writes.fetch_add(1, Ordering::Relaxed);
    }
}
