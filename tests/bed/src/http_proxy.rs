//! An HTTP proxy with a user, that counts what it carries.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::background::Background;

/// The longest head of a request that it reads.
const MAX_HEAD: usize = 64 * 1024;

/// A proxy on a free port of 127.0.0.1: `CONNECT`, and requests with a whole address. It ends when it is dropped.
#[derive(Debug)]
pub struct HttpProxy {
    url: String,
    carried: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    _background: Background,
}

struct Rules {
    /// The header's value that it wants.
    authorization: String,
    carried: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
}

impl HttpProxy {
    /// Starts a proxy for that user.
    pub async fn start(user: &str, password: &str) -> Result<HttpProxy> {
        let background = Background::start("http-proxy").context("starting the thread of a proxy")?;
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("listening for clients of a proxy")?;
        let address = listener.local_addr().context("reading the address of a proxy")?;
        let listener = listener.into_std().context("handing over the listener of a proxy")?;
        let rules = Arc::new(Rules {
            authorization: format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))),
            carried: Arc::default(),
            refused: Arc::default(),
        });
        let (carried, refused) = (rules.carried.clone(), rules.refused.clone());
        background.handle().spawn(async move {
            let Ok(listener) = TcpListener::from_std(listener) else {
                return;
            };
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, rules.clone()));
            }
        });
        Ok(HttpProxy {
            url: format!("http://{address}"),
            carried,
            refused,
            _background: background,
        })
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Connections that it opened for clients.
    pub fn carried(&self) -> usize {
        self.carried.load(Ordering::SeqCst)
    }

    /// Requests without the right user and password.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }
}

async fn serve(mut client: TcpStream, rules: Arc<Rules>) {
    let Some(head) = read_head(&mut client).await else {
        return;
    };
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let authorized = lines.clone().any(|line| {
        line.split_once(':').is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("proxy-authorization") && value.trim() == rules.authorization
        })
    });
    if !authorized {
        rules.refused.fetch_add(1, Ordering::SeqCst);
        let answer = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"bed\"\r\n\
                      Content-Length: 0\r\nConnection: close\r\n\r\n";
        let _ = client.write_all(answer.as_bytes()).await;
        return;
    }
    let Some((address, begin)) = target(first, lines) else {
        let _ = client
            .write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            .await;
        return;
    };
    let Ok(mut server) = TcpStream::connect(address).await else {
        let _ = client
            .write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            .await;
        return;
    };
    rules.carried.fetch_add(1, Ordering::SeqCst);
    let begun = match &begin {
        None => client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await,
        Some(request) => server.write_all(request.as_bytes()).await,
    };
    if begun.is_ok() {
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}

async fn read_head(client: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.ok()?);
        if head.len() > MAX_HEAD {
            return None;
        }
    }
    String::from_utf8(head).ok()
}

/// Where to connect to, and with which request to begin; none for a tunnel. Every request has a connection of its own,
/// so that none comes by unseen.
fn target<'a>(first: &str, lines: impl Iterator<Item = &'a str>) -> Option<(SocketAddr, Option<String>)> {
    let mut words = first.split(' ');
    let (method, address) = (words.next()?, words.next()?);
    if method == "CONNECT" {
        return Some((address.parse().ok()?, None));
    }
    let rest = address.strip_prefix("http://")?;
    let (host, path) = rest.split_once('/')?;
    let mut request = format!("{method} /{path} HTTP/1.1\r\nConnection: close\r\n");
    for line in lines.take_while(|line| !line.is_empty()) {
        let name = line.split(':').next().unwrap_or_default();
        if !name.eq_ignore_ascii_case("connection") && !name.to_ascii_lowercase().starts_with("proxy-") {
            request.push_str(line);
            request.push_str("\r\n");
        }
    }
    request.push_str("\r\n");
    Some((host.parse().ok()?, Some(request)))
}
