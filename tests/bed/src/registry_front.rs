//! A server in front of a registry that lies, stalls, asks for tokens, and remembers what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::{StreamExt as _, stream};
use tokio::net::TcpListener;

use crate::background::Background;

/// What goes wrong with the answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RegistryFault {
    /// Nothing.
    #[default]
    None,
    /// Every answer has this status.
    Status(u16),
    /// Blobs stop after their first half, and the connection stays open.
    StallBlobs,
    /// Blobs end after their first half.
    CutBlobs,
    /// A byte of every blob is another one.
    AlterBlobs,
    /// Blobs have a byte too many.
    LengthenBlobs,
    /// A byte of every manifest is another one, also when it is asked for by digest.
    AlterManifests,
    /// `HEAD` of manifests is not answered.
    NoHead,
}

/// One request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryRequest {
    /// `GET`, `HEAD` …
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Whether it carried credentials.
    pub authorized: bool,
    /// The status of the answer.
    pub status: u16,
}

/// The front; it lives in a thread of its own and ends when it is dropped.
#[derive(Debug)]
pub struct RegistryFront {
    address: SocketAddr,
    state: Arc<Front>,
    _background: Background,
}

#[derive(Debug)]
struct Front {
    backend: String,
    address: SocketAddr,
    http: reqwest::Client,
    changeable: Mutex<Changeable>,
}

#[derive(Debug, Default)]
struct Changeable {
    fault: RegistryFault,
    user: Option<(String, String)>,
    generation: u64,
    page: Option<usize>,
    seen: Vec<RegistryRequest>,
}

const MAX_BODY: usize = 64 << 20;

impl RegistryFront {
    /// Passes everything on to the registry at `backend` (host and port, plain HTTP).
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(backend: &str) -> Result<RegistryFront> {
        crate::tls::install_crypto_provider();
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("listening in front of a registry")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let state = Arc::new(Front {
            backend: backend.to_owned(),
            address,
            http: reqwest::Client::builder()
                .timeout(Duration::from_secs(60))
                .build()
                .context("building an HTTP client")?,
            changeable: Mutex::default(),
        });
        let background = Background::start("registry-front").context("starting the front of a registry")?;
        let router = Router::new().fallback(answer).with_state(state.clone());
        let _inside = background.handle().enter();
        let listener = TcpListener::from_std(listener)?;
        background.handle().spawn(axum::serve(listener, router).into_future());
        drop(_inside);
        Ok(RegistryFront {
            address,
            state,
            _background: background,
        })
    }

    /// The address of a repository behind it.
    pub fn oci_url(&self, name: &str) -> String {
        format!("oci://{}/{name}", self.address)
    }

    /// Host and port.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Changes what goes wrong from now on.
    pub fn fail(&self, fault: RegistryFault) {
        self.state.lock().fault = fault;
    }

    /// Asks for bearer tokens, which its own token service gives to this user.
    pub fn ask_for_tokens(&self, user: &str, password: &str) {
        self.state.lock().user = Some((user.to_owned(), password.to_owned()));
    }

    /// No token that was given so far is good any more.
    pub fn revoke_tokens(&self) {
        self.state.lock().generation += 1;
    }

    /// Answers lists of tags in pages of at most so many.
    pub fn page_tags(&self, size: usize) {
        self.state.lock().page = Some(size);
    }

    /// The requests seen so far.
    pub fn requests(&self) -> Vec<RegistryRequest> {
        self.state.lock().seen.clone()
    }

    /// Forgets the requests seen so far.
    pub fn clear_requests(&self) {
        self.state.lock().seen.clear();
    }
}

impl Front {
    fn lock(&self) -> std::sync::MutexGuard<'_, Changeable> {
        self.changeable
            .lock()
            .expect("nothing panics while it holds the lock of a front")
    }

    /// The answer of the token service, or a refusal, or nothing: the request may pass.
    fn guard(&self, path: &str, headers: &HeaderMap) -> Option<Response> {
        let (user, generation) = {
            let changeable = self.lock();
            (changeable.user.clone()?, changeable.generation)
        };
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let token = format!("token-{generation}");
        if path.starts_with("/token") {
            let wanted = format!("Basic {}", STANDARD.encode(format!("{}:{}", user.0, user.1)));
            return Some(if given == wanted {
                axum::Json(serde_json::json!({"token": token, "expires_in": 300})).into_response()
            } else {
                StatusCode::UNAUTHORIZED.into_response()
            });
        }
        if given == format!("Bearer {token}") {
            return None;
        }
        let challenge = format!("Bearer realm=\"http://{}/token\",service=\"front\"", self.address);
        Some((StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response())
    }

    async fn pass(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
        tokens: bool,
    ) -> Result<Response> {
        let mut request = self
            .http
            .request(method, format!("http://{}{path}", self.backend))
            .body(body);
        for (name, value) in &headers {
            let is_ours =
                *name == header::HOST || *name == header::CONTENT_LENGTH || (tokens && *name == header::AUTHORIZATION);
            if !is_ours {
                request = request.header(name, value);
            }
        }
        let answer = request.send().await?;
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            if *name == header::LOCATION {
                // The upload goes on through the front.
                let place = value.to_str().unwrap_or_default();
                let place = place.replace(&self.backend, &self.address.to_string());
                response = response.header(name, place);
            } else if *name != header::TRANSFER_ENCODING {
                response = response.header(name, value);
            }
        }
        let bytes = answer.bytes().await?;
        Ok(response.body(Body::from(bytes))?)
    }
}

async fn answer(State(front): State<Arc<Front>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts
        .uri
        .path_and_query()
        .map_or_else(|| "/".to_owned(), |path| path.as_str().to_owned());
    let body = to_bytes(body, MAX_BODY).await.unwrap_or_default();
    let (fault, tokens, page) = {
        let changeable = front.lock();
        (changeable.fault.clone(), changeable.user.is_some(), changeable.page)
    };
    let response = match (front.guard(&path, &parts.headers), &fault) {
        (Some(response), _) => response,
        (None, RegistryFault::Status(status)) => StatusCode::from_u16(*status)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            .into_response(),
        (None, RegistryFault::NoHead) if parts.method == Method::HEAD => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        (None, _) => {
            let path = match page {
                Some(size) if path.contains("/tags/list") => limited(&path, size),
                _ => path.clone(),
            };
            let passed = front
                .pass(parts.method.clone(), &path, parts.headers.clone(), body, tokens)
                .await;
            match passed {
                Ok(response) => spoil(response, &parts.method, &path, &fault).await,
                Err(error) => (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response(),
            }
        }
    };
    front.lock().seen.push(RegistryRequest {
        method: parts.method.to_string(),
        path,
        authorized: parts.headers.contains_key(header::AUTHORIZATION),
        status: response.status().as_u16(),
    });
    response
}

/// The same list with another `n`.
fn limited(path: &str, size: usize) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut parts: Vec<String> = query
        .split('&')
        .filter(|part| !part.is_empty() && !part.starts_with("n="))
        .map(str::to_owned)
        .collect();
    parts.push(format!("n={size}"));
    format!("{path}?{}", parts.join("&"))
}

async fn spoil(response: Response, method: &Method, path: &str, fault: &RegistryFault) -> Response {
    let is_blob = path.contains("/blobs/sha256:");
    let is_manifest = path.contains("/manifests/");
    let concerns = match fault {
        RegistryFault::StallBlobs
        | RegistryFault::CutBlobs
        | RegistryFault::AlterBlobs
        | RegistryFault::LengthenBlobs => is_blob,
        RegistryFault::AlterManifests => is_manifest,
        _ => false,
    };
    if !concerns || *method != Method::GET || !response.status().is_success() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let mut bytes = to_bytes(body, MAX_BODY).await.unwrap_or_default().to_vec();
    let half = bytes.len() / 2;
    let body = match fault {
        RegistryFault::StallBlobs => {
            let first = Bytes::copy_from_slice(&bytes[..half]);
            let first = stream::once(async move { Ok::<_, std::io::Error>(first) });
            Body::from_stream(first.chain(stream::pending()))
        }
        RegistryFault::CutBlobs => {
            parts.headers.remove(header::CONTENT_LENGTH);
            bytes.truncate(half);
            Body::from(bytes)
        }
        RegistryFault::LengthenBlobs => {
            parts.headers.remove(header::CONTENT_LENGTH);
            bytes.push(0);
            let whole = Bytes::from(bytes);
            // Without a length, so that only counting finds it.
            Body::from_stream(stream::once(async move { Ok::<_, std::io::Error>(whole) }))
        }
        _ => {
            // Not the braces of a manifest: what is altered is still JSON.
            match bytes.iter().rposition(|byte| byte.is_ascii_digit()) {
                Some(at) if is_manifest => bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' },
                _ => bytes[half] ^= 1,
            }
            Body::from(bytes)
        }
    };
    Response::from_parts(parts, body)
}
