//! The TCP relay.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::{Fate, Weather};
use crate::background::Background;

/// What the loss of a segment costs: Linux waits at least 200 ms before it sends one again.
const RETRANSMISSION: Duration = Duration::from_millis(200);

/// Forwards connections to an address; lives in a thread of its own and ends when it is dropped.
#[derive(Debug)]
pub struct TcpRelay {
    address: SocketAddr,
    weather: Arc<Weather>,
    /// Counts the cuts; connections that were open at an earlier count are closed.
    cuts: watch::Sender<u64>,
    _background: Background,
}

impl TcpRelay {
    /// Listens on a free port of 127.0.0.1.
    pub fn start(target: SocketAddr) -> Result<TcpRelay> {
        let background = Background::start("tcp-relay").context("starting the thread of a TCP relay")?;
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("listening for a TCP relay")?;
        let address = listener.local_addr().context("reading the address of a TCP relay")?;
        listener.set_nonblocking(true).context("preparing a TCP relay")?;
        let inside = background.handle().enter();
        let listener = TcpListener::from_std(listener).context("preparing a TCP relay")?;
        drop(inside);
        let weather = Arc::new(Weather::fair());
        let cuts = watch::Sender::new(0);
        background
            .handle()
            .spawn(accept(listener, target, weather.clone(), cuts.subscribe()));
        Ok(TcpRelay {
            address,
            weather,
            cuts,
            _background: background,
        })
    }

    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes all connections, and every new one at once.
    pub fn cut(&self) {
        self.weather.set(|now| now.cut = true);
        self.cuts.send_modify(|count| *count += 1);
    }

    /// Closes all connections, but lets new ones in.
    pub fn reset_connections(&self) {
        self.cuts.send_modify(|count| *count += 1);
    }

    /// Adds a delay in each direction. The throughput stays what it was.
    pub fn delay(&self, delay: Duration) {
        self.weather.set(|now| now.delay = delay);
    }

    /// Lets this share (0 to 1) of what is sent need a retransmission, which TCP shows as 200 ms more.
    pub fn lose(&self, share: f64) {
        self.weather.set(|now| now.loss = share);
    }

    /// Ends all that is wrong. Connections that were cut stay closed.
    pub fn heal(&self) {
        self.weather
            .set(|now| (now.cut, now.delay, now.loss) = (false, Duration::ZERO, 0.0));
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, weather: Arc<Weather>, cuts: watch::Receiver<u64>) {
    while let Ok((client, _)) = listener.accept().await {
        if weather.is_cut() {
            continue;
        }
        let (weather, mut cuts) = (weather.clone(), cuts.clone());
        cuts.mark_unchanged();
        tokio::spawn(async move {
            tokio::select! {
                _ = cuts.changed() => {}
                _ = relay(client, target, &weather) => {}
            }
        });
    }
}

async fn relay(client: TcpStream, target: SocketAddr, weather: &Weather) -> io::Result<()> {
    let server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::try_join!(
        carry(from_client, to_server, weather),
        carry(from_server, to_client, weather)
    )?;
    Ok(())
}

/// Carries one direction until its end, which is passed on.
async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, weather: &Weather) -> io::Result<()> {
    // 64 chunks of 16 KiB are on their way at most: 1 MiB, about what a socket's buffers hold.
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(64);
    let read = async move {
        let mut last = Instant::now();
        loop {
            let mut chunk = vec![0; 16 * 1024];
            let length = from.read(&mut chunk).await?;
            chunk.truncate(length);
            let wait = match weather.fate() {
                Fate::Lost => RETRANSMISSION,
                Fate::After(delay) => delay,
            };
            // What was sent later never arrives earlier.
            last = last.max(Instant::now() + wait);
            if sender.send((last, chunk)).await.is_err() || length == 0 {
                return Ok::<_, io::Error>(());
            }
        }
    };
    let write = async {
        while let Some((at, chunk)) = receiver.recv().await {
            tokio::time::sleep_until(at).await;
            if chunk.is_empty() {
                return to.shutdown().await;
            }
            to.write_all(&chunk).await?;
        }
        Ok(())
    };
    tokio::try_join!(read, write)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo_server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        address
    }

    async fn ask(stream: &mut TcpStream) -> io::Result<Duration> {
        let started = Instant::now();
        stream.write_all(b"ping").await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        assert_eq!(&answer, b"ping");
        Ok(started.elapsed())
    }

    #[tokio::test]
    async fn connections_are_carried_delayed_cut_and_healed() {
        let relay = TcpRelay::start(echo_server().await).unwrap();
        let mut stream = TcpStream::connect(relay.address()).await.unwrap();
        assert!(ask(&mut stream).await.unwrap() < Duration::from_secs(5));

        relay.delay(Duration::from_millis(50));
        assert!(ask(&mut stream).await.unwrap() >= Duration::from_millis(100));
        relay.lose(1.0);
        assert!(ask(&mut stream).await.unwrap() >= Duration::from_millis(400));

        relay.cut();
        assert!(ask(&mut stream).await.is_err());
        let mut refused = TcpStream::connect(relay.address()).await.unwrap();
        assert!(ask(&mut refused).await.is_err());

        relay.heal();
        let mut stream = TcpStream::connect(relay.address()).await.unwrap();
        ask(&mut stream).await.unwrap();
        relay.reset_connections();
        assert!(ask(&mut stream).await.is_err());
        let mut stream = TcpStream::connect(relay.address()).await.unwrap();
        ask(&mut stream).await.unwrap();
    }
}
