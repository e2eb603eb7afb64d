//! A path between agent and hub, UDP and TCP at one port: it can be cut for both, when everything stops and nobody is
//! told, or for UDP alone, as many networks are.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

pub struct Relay {
    pub address: String,
    path: Arc<Path>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

struct Path {
    hub: SocketAddr,
    cut: watch::Sender<bool>,
    swallows_udp: AtomicBool,
    datagrams: AtomicUsize,
    connections: AtomicUsize,
    /// Raised when the translator forgets its mappings.
    generation: AtomicUsize,
}

impl Relay {
    pub async fn to(hub: SocketAddr) -> Self {
        let (front, listener) = both().await;
        let address = listener.local_addr().expect("bound").to_string();
        let path = Arc::new(Path {
            hub,
            cut: watch::Sender::new(false),
            swallows_udp: AtomicBool::new(false),
            datagrams: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            generation: AtomicUsize::new(0),
        });
        let _tasks = vec![
            AbortOnDropHandle::new(tokio::spawn(forward(Arc::new(front), path.clone()))),
            AbortOnDropHandle::new(tokio::spawn(accept(listener, path.clone()))),
        ];
        Self { address, path, _tasks }
    }

    pub fn cut(&self) {
        self.path.cut.send_replace(true);
    }

    pub fn mend(&self) {
        self.path.cut.send_replace(false);
    }

    /// From now on datagrams are swallowed, or not.
    pub fn swallow_udp(&self, swallow: bool) {
        self.path.swallows_udp.store(swallow, Ordering::SeqCst);
    }

    /// Forgets who was translated to what, as an address translator does after a while: the hub sees another address.
    pub fn forget(&self) {
        self.path.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// Datagrams of clients that arrived here, swallowed ones included.
    pub fn datagrams(&self) -> usize {
        self.path.datagrams.load(Ordering::SeqCst)
    }

    /// TCP connections that were made.
    pub fn connections(&self) -> usize {
        self.path.connections.load(Ordering::SeqCst)
    }
}

/// A port that is free for both.
async fn both() -> (UdpSocket, TcpListener) {
    for _ in 0..64 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("bound");
        if let Ok(socket) = UdpSocket::bind(address).await {
            return (socket, listener);
        }
    }
    panic!("no port is free for UDP and TCP");
}

/// One socket towards the hub for each client, as an address translator has.
async fn forward(front: Arc<UdpSocket>, path: Arc<Path>) {
    let mut clients: HashMap<SocketAddr, (Arc<UdpSocket>, AbortOnDropHandle<()>)> = HashMap::new();
    let (mut buffer, mut generation) = (vec![0; 65_536], 0);
    while let Ok((length, client)) = front.recv_from(&mut buffer).await {
        path.datagrams.fetch_add(1, Ordering::SeqCst);
        if path.drops_udp() {
            continue;
        }
        let now = path.generation.load(Ordering::SeqCst);
        if now != generation {
            generation = now;
            clients.clear();
        }
        let back = match clients.entry(client) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("a port is free"));
                back.connect(path.hub).await.expect("loopback");
                let task = tokio::spawn(return_path(back.clone(), front.clone(), client, path.clone()));
                entry.insert((back, AbortOnDropHandle::new(task)))
            }
        };
        let _ = back.0.send(&buffer[..length]).await;
    }
}

async fn return_path(from: Arc<UdpSocket>, to: Arc<UdpSocket>, client: SocketAddr, path: Arc<Path>) {
    let mut buffer = vec![0; 65_536];
    loop {
        // The hub's port may be closed for a while: not the end of the path.
        let Ok(length) = from.recv(&mut buffer).await else {
            continue;
        };
        if !path.drops_udp() {
            let _ = to.send_to(&buffer[..length], client).await;
        }
    }
}

async fn accept(listener: TcpListener, path: Arc<Path>) {
    let mut connections = Vec::new();
    while let Ok((client, _)) = listener.accept().await {
        path.connections.fetch_add(1, Ordering::SeqCst);
        connections.push(AbortOnDropHandle::new(tokio::spawn(carry(client, path.clone()))));
    }
}

async fn carry(client: TcpStream, path: Arc<Path>) {
    path.open().await;
    // Nobody there: the client's connection ends.
    let Ok(hub) = TcpStream::connect(path.hub).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_hub, to_hub) = hub.into_split();
    tokio::select! {
        () = pump(from_client, to_hub, &path) => {}
        () = pump(from_hub, to_client, &path) => {}
    }
}

/// What comes while the path is cut waits, as what TCP sends again does.
async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, path: &Path) {
    let mut buffer = vec![0; 65_536];
    loop {
        let read = from.read(&mut buffer).await;
        path.open().await;
        match read {
            Ok(length) if length > 0 => {
                if to.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
            }
            _ => return,
        }
    }
}

impl Path {
    fn drops_udp(&self) -> bool {
        *self.cut.borrow() || self.swallows_udp.load(Ordering::SeqCst)
    }

    async fn open(&self) {
        // The sender is in this path.
        let _ = self.cut.subscribe().wait_for(|cut| !cut).await;
    }
}
