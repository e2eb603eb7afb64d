//! A git server: smart HTTP in front of `git http-backend`, with credentials, TLS, hints and faults on demand.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::background::Background;
use crate::git_backend;
use crate::git_repo::{self, GitRepo};
use crate::keeper;
use crate::tls::{Authority, Issued};
use crate::tls_listener::TlsListener;

/// What a client must present.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Auth {
    /// Nothing.
    #[default]
    None,
    /// A user name and password (HTTP basic).
    Basic {
        /// The user name.
        user: String,
        /// The password.
        password: String,
    },
    /// A bearer token.
    Bearer(String),
}

/// What goes wrong with a request instead of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// This HTTP status, without a body.
    Status(u16),
    /// No answer at all; the connection stays open.
    Hang,
    /// The right answer, but the connection is cut after so many bytes of its body.
    Cut(usize),
}

/// How a server is started.
#[derive(Debug, Clone, Default)]
pub struct GitServerOptions {
    /// What clients must present; can be changed later.
    pub auth: Auth,
    /// Whether to speak TLS with a certificate for `127.0.0.1` and `localhost`, see [`GitServer::ca_pem`].
    pub tls: bool,
    /// Wants a client certificate of its own authority, see [`GitServer::client`]. Implies TLS.
    pub mutual_tls: bool,
    /// Presents a certificate that ran out yesterday. Implies TLS.
    pub expired: bool,
    /// Where each push is announced: a POST of `{"repository": …, "url": …, "updates": [{"ref", "before", "after"}]}`.
    pub hint_url: Option<String>,
}

/// A request that was seen, in the order of arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRequest {
    /// `GET` or `POST`.
    pub method: String,
    /// The path, `/<repository>.git/info/refs`.
    pub path: String,
    /// The query without its question mark.
    pub query: String,
    /// The value of `Git-Protocol`, such as `version=2`.
    pub protocol: String,
    /// The value of `User-Agent`.
    pub agent: String,
    /// The status of the answer; 0 when there was none.
    pub status: u16,
}

/// A git server on a free port of 127.0.0.1. It lives in threads of its own and ends when it is dropped.
#[derive(Debug)]
pub struct GitServer {
    url: String,
    address: SocketAddr,
    authority: Option<Authority>,
    state: Arc<State>,
    _background: Background,
    _dir: TempDir,
}

/// What requests share. Locks are held for a copy only.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) root: PathBuf,
    auth: Mutex<Auth>,
    hint_url: Mutex<Option<String>>,
    url: String,
    /// The faults of the next requests, and the one of all requests after them.
    faults: Mutex<(VecDeque<Fault>, Option<Fault>)>,
    seen: Mutex<Vec<SeenRequest>>,
    http: reqwest::Client,
}

impl GitServer {
    /// Starts a server without repositories.
    pub async fn start(options: GitServerOptions) -> Result<GitServer> {
        git_repo::check_git().await?;
        crate::tls::install_crypto_provider();
        let dir = keeper::scratch_dir("git")?;
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(10))
            .build()
            .context("building an HTTP client")?;
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("listening for git clients")?;
        let address = listener.local_addr().context("reading the address of the git server")?;
        let tls = options.tls || options.mutual_tls || options.expired;
        let url = format!("{}://{address}", if tls { "https" } else { "http" });
        let state = Arc::new(State {
            root: dir.path().to_owned(),
            auth: Mutex::new(options.auth),
            hint_url: Mutex::new(options.hint_url),
            url: url.clone(),
            faults: Mutex::default(),
            seen: Mutex::default(),
            http,
        });
        let authority = tls.then(|| Authority::new("git-server")).transpose()?;
        let tls = authority
            .as_ref()
            .map(|authority| {
                let names = ["127.0.0.1", "localhost"];
                let certificate = match options.expired {
                    true => authority.expired_server(&names)?,
                    false => authority.server(&names)?,
                };
                certificate.server_config_for(options.mutual_tls.then_some(authority))
            })
            .transpose()?;

        let background = Background::start("git-server").context("starting the threads of a git server")?;
        let router = Router::new().fallback(git_backend::answer).with_state(state.clone());
        serve(&background, listener, address, tls, router)?;
        Ok(GitServer {
            url,
            address,
            authority,
            state,
            _background: background,
            _dir: dir,
        })
    }

    /// Makes an empty repository whose first branch is `main`, with a work tree to commit from.
    pub async fn create_repo(&self, name: &str) -> Result<GitRepo> {
        GitRepo::create(name, self.repo_url(name), self.state.clone()).await
    }

    /// The address without a path.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Host and port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of a repository: `http://127.0.0.1:<port>/<name>.git`.
    pub fn repo_url(&self, name: &str) -> String {
        format!("{}/{name}.git", self.url)
    }

    /// The authority that signed its certificate, PEM; nothing without TLS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.authority.as_ref().map(Authority::pem)
    }

    /// A client certificate that it takes.
    ///
    /// # Errors
    /// The server does not speak TLS.
    pub fn client(&self) -> Result<Issued> {
        let authority = self
            .authority
            .as_ref()
            .context("a git server without TLS has no authority")?;
        authority.client("reader", None)
    }

    /// Changes what clients must present.
    pub fn set_auth(&self, auth: Auth) {
        *lock(&self.state.auth) = auth;
    }

    /// Changes where pushes are announced.
    pub fn set_hint_url(&self, url: Option<String>) {
        *lock(&self.state.hint_url) = url;
    }

    /// Lets the next `count` requests fail; may be called several times to line faults up.
    pub fn fail_next(&self, fault: Fault, count: usize) {
        lock(&self.state.faults).0.extend(std::iter::repeat_n(fault, count));
    }

    /// Lets all requests fail from now on, or none any more (which also drops what [`GitServer::fail_next`] lined up).
    pub fn fail_all(&self, fault: Option<Fault>) {
        *lock(&self.state.faults) = (VecDeque::new(), fault);
    }

    /// All requests seen so far.
    pub fn requests(&self) -> Vec<SeenRequest> {
        lock(&self.state.seen).clone()
    }

    /// How many requests were seen for a repository: each look for news is one, each fetch at least two more.
    pub fn request_count(&self, repository: &str) -> usize {
        let prefix = format!("/{repository}.git/");
        lock(&self.state.seen)
            .iter()
            .filter(|seen| seen.path.starts_with(&prefix))
            .count()
    }

    /// Forgets the requests seen so far.
    pub fn clear_requests(&self) {
        lock(&self.state.seen).clear();
    }
}

impl State {
    pub(crate) fn auth(&self) -> Auth {
        lock(&self.auth).clone()
    }

    pub(crate) fn next_fault(&self) -> Option<Fault> {
        let mut faults = lock(&self.faults);
        faults.0.pop_front().or(faults.1)
    }

    pub(crate) fn record(&self, request: SeenRequest) -> usize {
        let mut seen = lock(&self.seen);
        seen.push(request);
        seen.len() - 1
    }

    /// Adds the answer to a recorded request, unless it was forgotten meanwhile.
    pub(crate) fn record_status(&self, number: usize, status: u16) {
        if let Some(seen) = lock(&self.seen).get_mut(number) {
            seen.status = status;
        }
    }

    pub(crate) fn bare(&self, repository: &str) -> PathBuf {
        self.root.join(format!("{repository}.git"))
    }

    /// Tells whoever wants to know that the references of a repository changed. A hint that nobody takes is not an
    /// error, as it is none for a real server.
    pub(crate) async fn announce(&self, repository: &str, updates: serde_json::Value) {
        let url = lock(&self.hint_url).clone();
        let Some(url) = url.filter(|_| updates.as_array().is_some_and(|updates| !updates.is_empty())) else {
            return;
        };
        let own_url = format!("{}/{repository}.git", self.url);
        let body = serde_json::json!({"repository": repository, "url": own_url, "updates": updates});
        let sent = self
            .http
            .post(&url)
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await;
        if let Err(error) = sent {
            tracing::debug!(%url, error = &error as &dyn std::error::Error, "nobody took the hint");
        }
    }
}

fn serve(
    background: &Background,
    listener: std::net::TcpListener,
    address: SocketAddr,
    tls: Option<Arc<rustls::ServerConfig>>,
    router: Router,
) -> Result<()> {
    listener
        .set_nonblocking(true)
        .context("preparing the listener of the git server")?;
    let _inside = background.handle().enter();
    let listener = TcpListener::from_std(listener).context("preparing the listener of the git server")?;
    match tls {
        None => {
            background.handle().spawn(axum::serve(listener, router).into_future());
        }
        Some(tls) => {
            let acceptor = TlsAcceptor::from(tls);
            let listener = TlsListener::start(listener, acceptor, address);
            background.handle().spawn(axum::serve(listener, router).into_future());
        }
    }
    Ok(())
}

/// The environment every git runs in: nothing of the user's configuration, one author, one moment.
pub(crate) fn git_environment(root: &Path) -> [(&'static str, String); 12] {
    let fixed = |value: &str| value.to_owned();
    [
        ("GIT_CONFIG_GLOBAL", fixed("/dev/null")),
        ("GIT_CONFIG_SYSTEM", fixed("/dev/null")),
        ("GIT_CONFIG_NOSYSTEM", fixed("1")),
        ("GIT_TERMINAL_PROMPT", fixed("0")),
        ("GIT_AUTHOR_NAME", fixed("Bed")),
        ("GIT_AUTHOR_EMAIL", fixed("bed@nave.dev")),
        ("GIT_COMMITTER_NAME", fixed("Bed")),
        ("GIT_COMMITTER_EMAIL", fixed("bed@nave.dev")),
        ("HOME", root.display().to_string()),
        ("LC_ALL", fixed("C")),
        ("TZ", fixed("UTC")),
        ("GIT_OPTIONAL_LOCKS", fixed("0")),
    ]
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("nothing panics while it holds a lock of the git server")
}
