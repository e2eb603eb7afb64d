//! The UDP relay.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Fate, Weather};
use crate::background::Background;

/// Packets on their way at the same time; what comes on top is lost, as in a full queue. 4096 packets of 1,500 bytes
/// are 6 MB: enough for 100 ms at 60 MB/s.
const ON_THEIR_WAY: usize = 4096;

/// Forwards packets to an address and the answers back; lives in a thread of its own and ends when it is dropped.
#[derive(Debug)]
pub struct UdpRelay {
    address: SocketAddr,
    weather: Arc<Weather>,
    clients: Arc<Clients>,
    _background: Background,
}

#[derive(Debug)]
struct Clients {
    listener: UdpSocket,
    target: SocketAddr,
    weather: Arc<Weather>,
    room: Arc<Semaphore>,
    /// The socket that speaks to the target for each client.
    upstream: Mutex<HashMap<SocketAddr, Arc<UdpSocket>>>,
    carried: AtomicU64,
    lost: AtomicU64,
}

impl UdpRelay {
    /// Listens on a free port of 127.0.0.1.
    pub fn start(target: SocketAddr) -> Result<UdpRelay> {
        let background = Background::start("udp-relay").context("starting the thread of a UDP relay")?;
        let listener = bind(&background).context("listening for a UDP relay")?;
        let address = listener.local_addr().context("reading the address of a UDP relay")?;
        let weather = Arc::new(Weather::fair());
        let clients = Arc::new(Clients {
            listener,
            target,
            weather: weather.clone(),
            room: Arc::new(Semaphore::new(ON_THEIR_WAY)),
            upstream: Mutex::default(),
            carried: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        background.handle().spawn(receive(clients.clone()));
        Ok(UdpRelay {
            address,
            weather,
            clients,
            _background: background,
        })
    }

    /// Where to send to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Loses everything.
    pub fn cut(&self) {
        self.weather.set(|now| now.cut = true);
    }

    /// Adds a delay in each direction.
    pub fn delay(&self, delay: Duration) {
        self.weather.set(|now| now.delay = delay);
    }

    /// Loses this share (0 to 1) of the packets, in each direction.
    pub fn lose(&self, share: f64) {
        self.weather.set(|now| now.loss = share);
    }

    /// Ends all that is wrong.
    pub fn heal(&self) {
        self.weather
            .set(|now| (now.cut, now.delay, now.loss) = (false, Duration::ZERO, 0.0));
    }

    /// Speaks to the target from new ports from now on, as a router does that forgot its table. Answers to the old
    /// ports are lost.
    pub fn rebind(&self) {
        self.clients
            .upstream
            .lock()
            .expect("nothing panics while it holds the table")
            .clear();
    }

    /// Packets carried and packets lost, both directions.
    pub fn packets(&self) -> (u64, u64) {
        (
            self.clients.carried.load(Ordering::Relaxed),
            self.clients.lost.load(Ordering::Relaxed),
        )
    }
}

fn bind(background: &Background) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(("127.0.0.1", 0))?;
    socket.set_nonblocking(true)?;
    let _inside = background.handle().enter();
    UdpSocket::from_std(socket)
}

async fn receive(clients: Arc<Clients>) {
    // One task per client, and one per packet that is delayed; all end with the relay.
    let mut tasks = JoinSet::new();
    let mut packet = vec![0; 65_536];
    loop {
        // An error here is the ICMP answer to an earlier packet; the socket goes on.
        let Ok((length, client)) = clients.listener.recv_from(&mut packet).await else {
            continue;
        };
        while tasks.try_join_next().is_some() {}
        let Ok(socket) = upstream(&clients, client, &mut tasks).await else {
            continue;
        };
        clients.carry(
            &packet[..length],
            move |packet| async move { socket.send(&packet).await },
        );
    }
}

async fn upstream(clients: &Arc<Clients>, client: SocketAddr, tasks: &mut JoinSet<()>) -> io::Result<Arc<UdpSocket>> {
    let known = clients
        .upstream
        .lock()
        .expect("nothing panics while it holds the table")
        .get(&client)
        .cloned();
    if let Some(socket) = known {
        return Ok(socket);
    }
    let socket = Arc::new(UdpSocket::bind(("127.0.0.1", 0)).await?);
    socket.connect(clients.target).await?;
    clients
        .upstream
        .lock()
        .expect("nothing panics while it holds the table")
        .insert(client, socket.clone());
    tasks.spawn(answer(clients.clone(), client, socket.clone()));
    Ok(socket)
}

/// Carries answers back until the client has another socket.
async fn answer(clients: Arc<Clients>, client: SocketAddr, socket: Arc<UdpSocket>) {
    let mut packet = vec![0; 65_536];
    loop {
        let Ok(length) = socket.recv(&mut packet).await else {
            // Nobody listens at the target at the moment.
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        };
        let current = clients
            .upstream
            .lock()
            .expect("nothing panics while it holds the table")
            .get(&client)
            .cloned();
        if !current.is_some_and(|current| Arc::ptr_eq(&current, &socket)) {
            return;
        }
        let sender = clients.clone();
        clients.carry(&packet[..length], move |packet| async move {
            sender.listener.send_to(&packet, client).await
        });
    }
}

impl Clients {
    /// Sends a packet when its time has come, or loses it.
    fn carry<F>(&self, packet: &[u8], send: impl FnOnce(Vec<u8>) -> F + Send + 'static)
    where
        F: Future<Output = io::Result<usize>> + Send,
    {
        let (Fate::After(delay), Ok(room)) = (self.weather.fate(), self.room.clone().try_acquire_owned()) else {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        };
        self.carried.fetch_add(1, Ordering::Relaxed);
        let packet = packet.to_vec();
        // The runtime of the relay owns this task and ends it; there are as many as there is room for.
        tokio::spawn(async move {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            let _ = send(packet).await;
            drop(room);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    async fn echo_server() -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut packet = [0; 64];
            while let Ok((length, client)) = socket.recv_from(&mut packet).await {
                // The port we are seen from is the answer.
                let _ = length;
                let _ = socket.send_to(client.port().to_string().as_bytes(), client).await;
            }
        });
        address
    }

    async fn ask(socket: &UdpSocket) -> Option<String> {
        socket.send(b"ping").await.unwrap();
        let mut answer = [0; 64];
        let received = tokio::time::timeout(Duration::from_millis(500), socket.recv(&mut answer)).await;
        received
            .ok()
            .map(|length| String::from_utf8_lossy(&answer[..length.unwrap()]).into_owned())
    }

    #[tokio::test]
    async fn packets_are_carried_delayed_lost_and_healed() {
        let relay = UdpRelay::start(echo_server().await).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(relay.address()).await.unwrap();
        let first_port = ask(&socket).await.unwrap();

        let started = Instant::now();
        relay.delay(Duration::from_millis(50));
        assert_eq!(ask(&socket).await.as_ref(), Some(&first_port));
        assert!(started.elapsed() >= Duration::from_millis(100));

        relay.cut();
        assert_eq!(ask(&socket).await, None);
        relay.heal();
        assert_eq!(ask(&socket).await.as_ref(), Some(&first_port));

        relay.rebind();
        assert_ne!(ask(&socket).await.unwrap(), first_port);
        assert_eq!(relay.packets(), (8, 1));

        relay.lose(0.5);
        for _ in 0..200 {
            socket.send(b"ping").await.unwrap();
        }
        crate::wait::eventually(Duration::from_secs(5), "all packets to be carried or lost", || async {
            let (_, lost) = relay.packets();
            // 200 there and about 100 back, half of each lost: 150, give or take six standard deviations.
            if (100..200).contains(&lost) {
                Ok(())
            } else {
                anyhow::bail!("{lost} were lost")
            }
        })
        .await
        .unwrap();
    }
}
