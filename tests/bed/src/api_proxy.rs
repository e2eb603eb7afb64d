//! An API server with faults: a proxy of our own in front of the real one.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use axum::{
    Router,
    body::Body as Answer,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use kube::{Client, Config, client::Body};
use tokio::sync::watch;

/// What is wrong with requests of this method whose path contains the text.
#[derive(Clone)]
pub struct ApiFault {
    /// In capitals.
    pub method: &'static str,
    /// A part of the path; the query is none of it.
    pub part: &'static str,
    /// What is answered.
    pub status: u16,
}

/// Forwards everything that no fault meets.
pub struct ApiProxy {
    address: String,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

struct Shared {
    client: Client,
    faults: Mutex<Vec<ApiFault>>,
    /// Counts how often all streams were closed.
    closings: watch::Sender<u64>,
    met: std::sync::atomic::AtomicUsize,
    delay: Mutex<Duration>,
    away: std::sync::atomic::AtomicBool,
}

impl ApiProxy {
    /// A proxy in front of what `client` talks to.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start(client: Client) -> Result<ApiProxy> {
        let shared = Arc::new(Shared {
            client,
            faults: Mutex::default(),
            closings: watch::Sender::new(0),
            met: Default::default(),
            delay: Mutex::default(),
            away: Default::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let router = Router::new().fallback(forward).with_state(shared.clone());
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                eprintln!("the proxy ended: {error}");
            }
        });
        Ok(ApiProxy {
            address,
            shared,
            server,
        })
    }

    /// A client that goes through it.
    ///
    /// # Errors
    /// It cannot be built.
    pub fn client(&self) -> Result<Client> {
        let config = Config::new(self.address.parse().context("our own address")?);
        Ok(Client::try_from(config)?)
    }

    /// What is wrong from now on.
    pub fn set(&self, faults: Vec<ApiFault>) {
        *self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    /// Every answer begins this much later.
    pub fn slow_down(&self, delay: Duration) {
        *self.shared.delay.lock().unwrap_or_else(PoisonError::into_inner) = delay;
    }

    /// As if nobody were there: streams end, and every connection breaks before an answer.
    pub fn leave(&self) {
        self.shared.away.store(true, std::sync::atomic::Ordering::SeqCst);
        self.close_streams();
    }

    /// Everybody is there again.
    pub fn come_back(&self) {
        self.shared.away.store(false, std::sync::atomic::Ordering::SeqCst);
    }

    /// How many requests met a fault.
    pub fn met(&self) -> usize {
        self.shared.met.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Ends every answer that is being read, watches above all.
    pub fn close_streams(&self) {
        self.shared.closings.send_modify(|count| *count += 1);
    }
}

impl Drop for ApiProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn forward(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let fault = {
        let faults = shared.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let path = request.uri().path();
        faults
            .iter()
            .find(|fault| request.method() == fault.method && path.contains(fault.part))
            .cloned()
    };
    if let Some(fault) = fault {
        shared.met.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        return (status, [("retry-after", "1")], "a fault of the test").into_response();
    }
    if shared.away.load(std::sync::atomic::Ordering::SeqCst) {
        shared.met.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        return Response::new(Answer::from_stream(futures::stream::iter([Err::<Vec<u8>, _>(broken)])));
    }
    let delay = *shared.delay.lock().unwrap_or_else(PoisonError::into_inner);
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let (mut parts, body) = request.into_parts();
    parts.headers.remove("host");
    let Ok(body) = axum::body::to_bytes(body, 16 << 20).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    parts.uri = match path.parse() {
        Ok(uri) => uri,
        Err(_) => return StatusCode::BAD_REQUEST.into_response(),
    };
    let answer = shared
        .client
        .send(axum::http::Request::from_parts(parts, Body::from(body.to_vec())))
        .await;
    match answer {
        Ok(answer) => {
            let (mut parts, body) = answer.into_parts();
            parts.headers.remove("transfer-encoding");
            parts.headers.remove("content-length");
            let mut closed = shared.closings.subscribe();
            closed.mark_unchanged();
            let end = async move {
                let _ = closed.changed().await; // the proxy is gone: as good as closed
            };
            let stream = axum::body::Body::new(body).into_data_stream().take_until(Box::pin(end));
            Response::from_parts(parts, Answer::from_stream(stream))
        }
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}
