//! A git server over HTTP: axum in front, `git http-backend` behind, and switches for everything that goes wrong.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use nave_git::{Auth, Git, Options, Remote, RemoteHandle};
use nave_net::TlsOptions;
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, net::TcpListener};

pub const TIMEOUT: Duration = Duration::from_secs(20);

/// What the server does beside serving.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    /// The `Authorization` header that is asked for.
    pub authorization: Option<String>,
    /// The `Proxy-Authorization` header that is asked for.
    pub proxy_authorization: Option<String>,
    /// Speak only the first protocol version.
    pub old_protocol: bool,
    /// Answer with this status.
    pub status: Option<u16>,
    /// Never answer.
    pub hang: bool,
    /// Answer this prefix of the path with a redirect to another base.
    pub redirect: Option<(String, String)>,
}

/// One request as the server saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub line: String,
    pub authorization: Option<String>,
    pub answered: usize,
}

pub struct Server {
    pub address: String,
    pub root: Arc<TempDir>,
    pub behaviour: Arc<Mutex<Behaviour>>,
    pub seen: Arc<Mutex<Vec<Seen>>>,
}

#[derive(Clone)]
struct Shared {
    root: Arc<TempDir>,
    behaviour: Arc<Mutex<Behaviour>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    pub async fn start() -> Server {
        let root = Arc::new(tempfile::tempdir().unwrap());
        let shared = Shared {
            root: root.clone(),
            behaviour: Arc::default(),
            seen: Arc::default(),
        };
        let (behaviour, seen) = (shared.behaviour.clone(), shared.seen.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().fallback(answer).with_state(shared);
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Server {
            address,
            root,
            behaviour,
            seen,
        }
    }

    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.behaviour.lock().unwrap());
    }

    /// Requests since the last call, as `GET /x` or `POST /x`.
    pub fn requests(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    /// A new bare repository with a work tree beside it.
    pub fn repository(&self, name: &str) -> Repository {
        let bare = self.root.path().join(format!("{name}.git"));
        let work = self.root.path().join(format!("{name}.work"));
        std::fs::create_dir_all(&work).unwrap();
        git(
            self.root.path(),
            &[
                "init",
                "--quiet",
                "--bare",
                "--initial-branch=main",
                bare.to_str().unwrap(),
            ],
        );
        git(&work, &["init", "--quiet", "--initial-branch=main"]);
        git(&work, &["remote", "add", "origin", bare.to_str().unwrap()]);
        Repository {
            url: format!("{}/{name}.git", self.address),
            work,
        }
    }
}

pub struct Repository {
    pub url: String,
    pub work: PathBuf,
}

impl Repository {
    pub fn git(&self, arguments: &[&str]) -> String {
        git(&self.work, arguments)
    }

    pub fn write(&self, path: &str, content: &str) {
        let file = self.work.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
    }

    /// Commits everything in the work tree, pushes the current branch, and gives the hash.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
        self.git(&["push", "--quiet", "--force", "origin", "HEAD"]);
        self.head()
    }

    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }
}

pub fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(directory)
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .env("GIT_AUTHOR_NAME", "Test")
        .env("GIT_AUTHOR_EMAIL", "test@example.com")
        .env("GIT_COMMITTER_NAME", "Test")
        .env("GIT_COMMITTER_EMAIL", "test@example.com")
        .env("GIT_COMMITTER_DATE", "2026-11-21T12:00:00Z")
        .output()
        .expect("these tests need the git program");
    assert!(
        output.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A reader with a cache of its own.
pub fn reader() -> (Git, TempDir) {
    let cache = tempfile::tempdir().unwrap();
    (Git::open(Options::new(cache.path())).unwrap(), cache)
}

pub fn handle(git: &Git, url: &str, auth: Auth) -> RemoteHandle {
    let remote = Remote::new(url, auth, TlsOptions::default(), None).unwrap();
    git.remote("test", remote).unwrap()
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    let behaviour = shared.behaviour.lock().unwrap().clone();
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let header = |name: header::HeaderName| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let authorization = header(header::AUTHORIZATION);
    let seen = Seen {
        line: format!("{} {path}", parts.method),
        authorization: authorization.clone(),
        answered: 0,
    };
    let position = {
        let mut all = shared.seen.lock().unwrap();
        all.push(seen);
        all.len() - 1
    };
    if behaviour.hang {
        std::future::pending::<()>().await;
    }
    if let Some(status) = behaviour.status {
        return StatusCode::from_u16(status).unwrap().into_response();
    }
    if behaviour.authorization.is_some() && behaviour.authorization != authorization {
        return (
            StatusCode::UNAUTHORIZED,
            [(header::WWW_AUTHENTICATE, "Basic realm=\"git\"")],
        )
            .into_response();
    }
    if behaviour.proxy_authorization.is_some() && behaviour.proxy_authorization != header(header::PROXY_AUTHORIZATION) {
        return StatusCode::PROXY_AUTHENTICATION_REQUIRED.into_response();
    }
    if let Some((from, to)) = &behaviour.redirect
        && let Some(rest) = path.strip_prefix(from)
    {
        let query = parts.uri.query().map_or_else(String::new, |query| format!("?{query}"));
        return (
            StatusCode::MOVED_PERMANENTLY,
            [(header::LOCATION, format!("{to}{rest}{query}"))],
        )
            .into_response();
    }
    let body = axum::body::to_bytes(body, 64 << 20).await.unwrap();
    let root = shared.root.path().to_owned();
    let response = backend(&root, &path, parts.uri.query(), &parts, body, behaviour.old_protocol).await;
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 1 << 30).await.unwrap();
    if let Some(seen) = shared.seen.lock().unwrap().get_mut(position) {
        seen.answered = body.len();
    }
    Response::from_parts(parts, Body::from(body))
}

async fn backend(
    root: &Path,
    path: &str,
    query: Option<&str>,
    parts: &axum::http::request::Parts,
    body: Bytes,
    old_protocol: bool,
) -> Response {
    let header = |name: &str| {
        parts
            .headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
            .to_owned()
    };
    let mut command = tokio::process::Command::new("git");
    command
        .arg("http-backend")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query.unwrap_or_default())
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    if !old_protocol {
        command.env("GIT_PROTOCOL", header("git-protocol"));
    }
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feed = tokio::spawn(async move {
        let _ = stdin.write_all(&body).await; // it may have refused what we want and gone
    });
    let output = child.wait_with_output().await.unwrap().stdout;
    feed.await.unwrap();
    let end = output
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or(output.len());
    let mut headers = HeaderMap::new();
    let mut status = StatusCode::OK;
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let Some((name, value)) = line.split_once(": ") else {
            continue;
        };
        if name == "Status" {
            status = value[..3].parse().unwrap();
        } else {
            let name: header::HeaderName = name.parse().unwrap();
            headers.insert(name, value.parse().unwrap());
        }
    }
    let body = output.get(end + 4..).unwrap_or_default().to_vec();
    (status, headers, body).into_response()
}
