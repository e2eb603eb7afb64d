//! One request to the git server: credentials, faults, and `git http-backend` as a CGI program.

use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use axum::body::{Body, Bytes};
use axum::extract::State as Extract;
use axum::http::{HeaderMap, Request, Response, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use crate::git::{Auth, Fault, SeenRequest, State, git_environment};
use crate::git_repo::{changes, references};

/// How much of the answer is read at once.
const CHUNK: usize = 64 * 1024;

pub(crate) async fn answer(Extract(state): Extract<Arc<State>>, request: Request<Body>) -> Response<Body> {
    let number = state.record(SeenRequest {
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        protocol: text(request.headers(), "git-protocol"),
        agent: text(request.headers(), "user-agent"),
        status: 0,
    });
    let fault = state.next_fault();
    let response = match fault {
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Status(code)) => plain(
            StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            "",
        ),
        Some(Fault::Cut(_)) | None => match respond(&state, request).await {
            Ok(response) => response,
            Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error:#}\n")),
        },
    };
    state.record_status(number, response.status().as_u16());
    match fault {
        Some(Fault::Cut(after)) => cut(response, after),
        _ => response,
    }
}

async fn respond(state: &Arc<State>, request: Request<Body>) -> Result<Response<Body>> {
    let auth = state.auth();
    let Some(user) = authenticate(&auth, request.headers()) else {
        let mut response = plain(StatusCode::UNAUTHORIZED, "credentials are needed\n");
        let challenge = if matches!(auth, Auth::Bearer(_)) {
            "Bearer"
        } else {
            "Basic realm=\"git\""
        };
        response.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            challenge.parse().context("writing the challenge")?,
        );
        return Ok(response);
    };
    let path = request.uri().path().to_owned();
    let pushes = request.method() == "POST" && path.ends_with("/git-receive-pack");
    if !pushes {
        let (child, output) = start(state, request, &user).await?;
        let (response, output) = read_head(output).await?;
        return response.body(stream_body(child, output)).context("building the answer");
    }
    // The announcement follows the push, so this answer is collected before it is sent.
    let repository = path
        .trim_start_matches('/')
        .trim_end_matches("/git-receive-pack")
        .trim_end_matches(".git")
        .to_owned();
    let bare = state.bare(&repository);
    let before = references(&bare).await?;
    let (mut child, output) = start(state, request, &user).await?;
    let (response, mut output) = read_head(output).await?;
    let mut body = Vec::new();
    output
        .read_to_end(&mut body)
        .await
        .context("reading the answer of git http-backend")?;
    child.wait().await.context("waiting for git http-backend")?;
    let updates = changes(&before, &references(&bare).await?);
    state.announce(&repository, updates).await;
    response.body(Body::from(body)).context("building the answer")
}

/// The user when the request may pass.
fn authenticate(auth: &Auth, headers: &HeaderMap) -> Option<String> {
    let given = text(headers, "authorization");
    match auth {
        Auth::None => Some(String::new()),
        Auth::Basic { user, password } => {
            let wanted = STANDARD.encode(format!("{user}:{password}"));
            (given.strip_prefix("Basic ") == Some(wanted.as_str())).then(|| user.clone())
        }
        Auth::Bearer(token) => (given.strip_prefix("Bearer ") == Some(token.as_str())).then(|| "token".to_owned()),
    }
}

async fn start(state: &State, request: Request<Body>, user: &str) -> Result<(Child, BufReader<ChildStdout>)> {
    let (head, body) = request.into_parts();
    let mut command = Command::new("git");
    command
        .arg("http-backend")
        .envs(git_environment(&state.root))
        .env("GIT_PROJECT_ROOT", &state.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", head.method.as_str())
        .env("PATH_INFO", head.uri.path())
        .env("QUERY_STRING", head.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", text(&head.headers, "content-type"))
        .env("HTTP_CONTENT_ENCODING", text(&head.headers, "content-encoding"))
        .env("GIT_PROTOCOL", text(&head.headers, "git-protocol"))
        .env("REMOTE_ADDR", "127.0.0.1")
        .env("REMOTE_USER", user);
    let length = text(&head.headers, "content-length");
    if !length.is_empty() {
        command.env("CONTENT_LENGTH", length);
    }
    // These children live for one request on pipes to us and end with them, so the keeper is not needed.
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("starting git http-backend")?;
    let mut input = child.stdin.take().context("taking the input of git http-backend")?;
    let output = child.stdout.take().context("taking the output of git http-backend")?;
    // It may answer before it has read everything, so both directions run at the same time; the task ends with the
    // client's body or with the child, whichever is first.
    tokio::spawn(async move {
        let mut chunks = body.into_data_stream();
        while let Some(Ok(chunk)) = chunks.next().await {
            if input.write_all(&chunk).await.is_err() {
                return;
            }
        }
    });
    Ok((child, BufReader::with_capacity(CHUNK, output)))
}

async fn read_head(
    mut output: BufReader<ChildStdout>,
) -> Result<(axum::http::response::Builder, BufReader<ChildStdout>)> {
    let mut response = Response::builder();
    let mut line = String::new();
    loop {
        line.clear();
        if output
            .read_line(&mut line)
            .await
            .context("reading the head of git http-backend")?
            == 0
        {
            bail!("git http-backend ended before its answer began");
        }
        let header = line.trim_end();
        if header.is_empty() {
            return Ok((response, output));
        }
        let (name, value) = header
            .split_once(':')
            .with_context(|| format!("reading the CGI header {header:?}"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().unwrap_or_default();
            response = response.status(
                code.parse::<u16>()
                    .with_context(|| format!("reading the CGI status {value:?}"))?,
            );
        } else {
            response = response.header(name, value);
        }
    }
}

/// Streams the rest of the output; the child is kept until it has ended or the client is gone.
fn stream_body(child: Child, output: BufReader<ChildStdout>) -> Body {
    Body::from_stream(stream::try_unfold(
        (child, output),
        |(mut child, mut output)| async move {
            let mut chunk = vec![0; CHUNK];
            let length = output.read(&mut chunk).await?;
            if length == 0 {
                child.wait().await?;
                return Ok::<_, std::io::Error>(None);
            }
            chunk.truncate(length);
            Ok(Some((Bytes::from(chunk), (child, output))))
        },
    ))
}

/// The same answer, ended by an error after so many bytes; hyper then closes the connection in the middle.
fn cut(response: Response<Body>, after: usize) -> Response<Body> {
    let (head, body) = response.into_parts();
    let chunks = body.into_data_stream().map_err(std::io::Error::other);
    let mut left = after;
    let chunks = chunks.map(move |chunk| {
        let chunk = chunk?;
        if left == 0 {
            return Err(std::io::Error::other("cut on purpose"));
        }
        let part = chunk.slice(..chunk.len().min(left));
        left -= part.len();
        Ok(part)
    });
    let end = stream::once(async { Err(std::io::Error::other("cut on purpose")) });
    Response::from_parts(head, Body::from_stream(chunks.chain(end)))
}

/// A header as text, or nothing.
fn text(headers: &HeaderMap, name: &str) -> String {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(text.to_owned()));
    *response.status_mut() = status;
    response
}
