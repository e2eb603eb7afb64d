//! The small HTTP servers of a process: metrics, and liveness with readiness.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router,
    http::{StatusCode, header},
    routing::get,
};
use tokio::net::TcpListener;

use crate::{Metrics, Tasks};

/// Set once the process does its work (leadership won, first lists complete); `/readyz` says so.
#[derive(Debug, Clone, Default)]
pub struct Ready(Arc<AtomicBool>);

impl Ready {
    /// From now on `/readyz` answers 200, or 503 again.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    /// What `/readyz` answers.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// An address that could not be served.
#[derive(Debug, thiserror::Error)]
#[error("listening on {addr} for {what}")]
pub struct ServeError {
    addr: String,
    what: &'static str,
    #[source]
    source: std::io::Error,
}

/// Serves `/metrics` on `addr` (`:8080`, `host:port`). Returns the address in use.
pub async fn metrics(addr: &str, metrics: Metrics, tasks: &Tasks) -> Result<SocketAddr, ServeError> {
    let routes = Router::new().route(
        "/metrics",
        get(move || async move { ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render()) }),
    );
    serve(addr, "metrics", routes, tasks).await
}

/// Serves `/healthz` and `/readyz` on `addr`. Returns the address in use.
pub async fn health(addr: &str, ready: Ready, tasks: &Tasks) -> Result<SocketAddr, ServeError> {
    let routes = Router::new().route("/healthz", get(|| async { "ok" })).route(
        "/readyz",
        get(move || async move {
            if ready.get() {
                (StatusCode::OK, "ok")
            } else {
                (StatusCode::SERVICE_UNAVAILABLE, "not ready")
            }
        }),
    );
    serve(addr, "health", routes, tasks).await
}

/// Serves `routes` until shutdown; shared with the other servers of a process.
pub async fn serve(addr: &str, what: &'static str, routes: Router, tasks: &Tasks) -> Result<SocketAddr, ServeError> {
    let failed = |source| ServeError {
        addr: addr.to_owned(),
        what,
        source,
    };
    let listener = TcpListener::bind(bindable(addr)).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    let shutdown = tasks.shutdown_token().clone();
    tasks.spawn(what, async move {
        let server = axum::serve(listener, routes).with_graceful_shutdown(async move { shutdown.cancelled().await });
        if let Err(error) = server.await {
            tracing::error!(%error, what, "server ended");
        }
    });
    Ok(local)
}

/// Go programs write `:8080` for every address; Rust wants the host spelled out.
pub fn bindable(addr: &str) -> String {
    if addr.starts_with(':') {
        format!("0.0.0.0{addr}")
    } else {
        addr.to_owned()
    }
}
