//! A path between agent and hub that can be cut: datagrams are dropped, nobody is told.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::UdpSocket;
use tokio_util::task::AbortOnDropHandle;

pub struct Relay {
    pub address: String,
    cut: Arc<AtomicBool>,
    _task: AbortOnDropHandle<()>,
}

impl Relay {
    pub async fn to(hub: SocketAddr) -> Self {
        let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("a port is free"));
        let address = front.local_addr().expect("bound").to_string();
        let cut = Arc::new(AtomicBool::new(false));
        let _task = AbortOnDropHandle::new(tokio::spawn(forward(front, hub, cut.clone())));
        Self { address, cut, _task }
    }

    pub fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    pub fn mend(&self) {
        self.cut.store(false, Ordering::SeqCst);
    }
}

/// One socket towards the hub for each client, as an address translator has.
async fn forward(front: Arc<UdpSocket>, hub: SocketAddr, cut: Arc<AtomicBool>) {
    let mut clients: HashMap<SocketAddr, (Arc<UdpSocket>, AbortOnDropHandle<()>)> = HashMap::new();
    let mut buffer = vec![0; 65_536];
    while let Ok((length, client)) = front.recv_from(&mut buffer).await {
        if cut.load(Ordering::SeqCst) {
            continue;
        }
        let back = match clients.entry(client) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("a port is free"));
                back.connect(hub).await.expect("loopback");
                let task = tokio::spawn(return_path(back.clone(), front.clone(), client, cut.clone()));
                entry.insert((back, AbortOnDropHandle::new(task)))
            }
        };
        let _ = back.0.send(&buffer[..length]).await;
    }
}

async fn return_path(from: Arc<UdpSocket>, to: Arc<UdpSocket>, client: SocketAddr, cut: Arc<AtomicBool>) {
    let mut buffer = vec![0; 65_536];
    loop {
        // The hub's port may be closed for a while: not the end of the path.
        let Ok(length) = from.recv(&mut buffer).await else {
            continue;
        };
        if !cut.load(Ordering::SeqCst) {
            let _ = to.send_to(&buffer[..length], client).await;
        }
    }
}
