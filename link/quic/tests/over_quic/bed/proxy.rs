//! An HTTP proxy that knows one name, one user and `CONNECT`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// `Basic` of `agent:let me in`.
const AUTHORIZATION: &str = "Proxy-Authorization: Basic YWdlbnQ6bGV0IG1lIGlu";

pub struct HttpProxy {
    pub address: SocketAddr,
    opened: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

impl HttpProxy {
    /// Connects those who ask for `name` to the hub.
    pub async fn start(name: &'static str, hub: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("bound");
        let opened = Arc::new(AtomicUsize::new(0));
        let count = opened.clone();
        let task = async move {
            let mut clients = Vec::new();
            while let Ok((client, _)) = listener.accept().await {
                let task = tokio::spawn(serve(client, name, hub, count.clone()));
                clients.push(AbortOnDropHandle::new(task));
            }
        };
        let _task = AbortOnDropHandle::new(tokio::spawn(task));
        Self { address, opened, _task }
    }

    pub fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }
}

async fn serve(mut client: TcpStream, name: &str, hub: SocketAddr, opened: Arc<AtomicUsize>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = client.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8_lossy(&head);
    let refusal = if !head.contains(AUTHORIZATION) {
        "407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"corp\""
    } else if !head.starts_with(&format!("CONNECT {name} HTTP/1.1\r\n")) {
        "403 Forbidden"
    } else {
        ""
    };
    if !refusal.is_empty() {
        let answer = format!("HTTP/1.1 {refusal}\r\nContent-Length: 0\r\n\r\n");
        let _ = client.write_all(answer.as_bytes()).await;
        return;
    }
    let Ok(mut hub) = TcpStream::connect(hub).await else {
        return;
    };
    opened.fetch_add(1, Ordering::SeqCst);
    // In one segment with what the hub says, as a proxy may.
    let _ = client
        .write_all(b"HTTP/1.1 200 Connection established\r\nVia: corp\r\n\r\n")
        .await;
    let _ = copy_bidirectional(&mut client, &mut hub).await;
}
