//! A chart repository: a web server with files that tests change, and perhaps a user.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use anyhow::Result;
use axum::{
    Router,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use nave_artifact::{Digest, File, FileTree, pack};
use nave_bed::{Authority, Issued, TlsListener};

#[derive(Clone, Default)]
pub struct ChartServer {
    pub url: String,
    state: Arc<Mutex<Files>>,
}

#[derive(Default)]
struct Files {
    files: BTreeMap<String, Vec<u8>>,
    authorization: Option<String>,
    seen: Vec<(String, bool)>,
}

impl ChartServer {
    pub async fn start() -> Result<ChartServer> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let mut server = ChartServer {
            url: format!("http://{}", listener.local_addr()?),
            ..ChartServer::default()
        };
        let router = Router::new().fallback(answer).with_state(server.state.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        server.url.push_str("/charts");
        Ok(server)
    }

    /// The same over TLS with that certificate, for clients with one of that authority.
    pub async fn start_mutual(certificate: &Issued, clients: &Authority) -> Result<ChartServer> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = ChartServer {
            url: format!("https://{address}/charts"),
            ..ChartServer::default()
        };
        let router = Router::new().fallback(answer).with_state(server.state.clone());
        let tls = certificate.server_config_for(Some(clients))?;
        let listener = TlsListener::start(listener, tls.into(), address);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(server)
    }

    /// Serves a file below `/charts/`.
    pub fn put(&self, name: &str, data: impl Into<Vec<u8>>) {
        self.lock().files.insert(format!("/charts/{name}"), data.into());
    }

    /// Wants this header from now on.
    pub fn authorize(&self, value: &str) {
        self.lock().authorization = Some(value.to_owned());
    }

    /// Paths that were asked for, and whether credentials came along.
    pub fn seen(&self) -> Vec<(String, bool)> {
        std::mem::take(&mut self.lock().seen)
    }

    /// Serves a package and an index with it and what `more` says of further versions.
    pub fn publish(&self, name: &str, version: &str, package: Vec<u8>, more: &str) {
        let digest = Digest::sha256(&package).hex();
        self.put(&format!("{name}-{version}.tgz"), package);
        self.put(
            "index.yaml",
            format!(
                "apiVersion: v1\nentries:\n  {name}:\n  - name: {name}\n    version: {version}\n    digest: {digest}\n    \
                 urls:\n    - {name}-{version}.tgz\n{more}generated: \"2026-01-01T00:00:00Z\"\n"
            ),
        );
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }
}

async fn answer(State(state): State<Arc<Mutex<Files>>>, request: Request) -> Response {
    let mut state = state.lock().expect("nothing panics while it holds the lock");
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let path = request.uri().path().to_owned();
    state.seen.push((path.clone(), given.is_some()));
    if state.authorization.is_some() && state.authorization != given {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    match state.files.get(&path) {
        Some(data) => data.clone().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A package as `helm package` makes it.
pub fn package(name: &str, version: &str, files: &[(&str, &str)]) -> Vec<u8> {
    let mut tree = FileTree::new();
    let chart = format!("apiVersion: v2\nname: {name}\nversion: {version}\n");
    for (path, text) in [("Chart.yaml", chart.as_str())].iter().chain(files) {
        tree.insert(format!("{name}/{path}"), File::plain(text.as_bytes()))
            .expect("the paths are plain");
    }
    pack(&tree)
}
