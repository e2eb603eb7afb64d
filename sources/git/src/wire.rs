//! HTTP as gix's transport wants it, over the async client that the whole process shares.
//!
//! gix brings an HTTP backend of its own. It starts two threads and a connection pool for every listing of references,
//! refuses credentials over plain HTTP, and its errors have to be taken apart again; this one keeps connections alive
//! between polls, obeys one deadline, and remembers what went wrong as a [`Failure`].

use std::{
    io::{self, BufRead, Cursor, Read, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use gix::protocol::transport::client::blocking_io::http::{GetResponse, Http, PostBodyDataKind, PostResponse};
use reqwest::{
    Method, RequestBuilder, Response, StatusCode, Url,
    header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue},
};
use tokio::runtime::Handle;

use crate::ssh::SshOptions;

/// What went wrong on the wire, before gix wraps it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("not done in time")]
    Timeout,
    #[error("HTTP {0}")]
    Status(u16),
    #[error("TLS: {0}")]
    Tls(String),
    #[error("{0}")]
    Connect(String),
    #[error("redirected to {target}: {why}")]
    Redirect { target: String, why: &'static str },
    #[error("the server sends more than {0} bytes")]
    TooLarge(u64),
    #[error("{0}")]
    HostKey(String),
    #[error("{0}")]
    Denied(String),
    #[error("the server says: {0}")]
    Said(String),
}

/// The first failure of a session; later ones only follow from it.
#[derive(Debug, Clone, Default)]
pub(crate) struct FailureSlot(Arc<Mutex<Option<Failure>>>);

impl FailureSlot {
    pub fn take(&self) -> Option<Failure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub fn record(&self, failure: Failure) -> io::Error {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.get_or_insert_with(|| failure.clone());
        io::Error::other(failure)
    }
}

/// Everything that a request needs beside its URL.
#[derive(Clone)]
pub(crate) struct Wire {
    pub client: reqwest::Client,
    pub runtime: Handle,
    /// The value of the `Authorization` header, sent to `origin` only.
    pub authorization: Option<HeaderValue>,
    pub origin: Url,
    pub deadline: Instant,
    /// Upper bound of what one response may hold.
    pub max_bytes: u64,
    /// Upper bound of one object.
    pub max_object: usize,
    pub failures: FailureSlot,
    /// Set once the server has redirected the first request.
    pub redirected: Option<String>,
    /// Algorithms of SSH.
    pub ssh: Arc<SshOptions>,
}

/// Where a redirect of the client library may lead; it drops credentials by itself when the host changes.
pub(crate) fn redirect_policy(refuse_local: bool) -> reqwest::redirect::Policy {
    reqwest::redirect::Policy::custom(move |attempt| {
        let previous = attempt.previous().last();
        let downgrade = previous.is_some_and(|url| url.scheme() == "https") && attempt.url().scheme() != "https";
        if downgrade {
            attempt.error(RedirectRefused("it leaves https"))
        } else if refuse_local && nave_net::is_local(attempt.url()) {
            attempt.error(RedirectRefused(
                "the address is one of this machine, which is not allowed",
            ))
        } else if attempt.previous().len() > 5 {
            attempt.error(RedirectRefused("there are more than five"))
        } else {
            attempt.follow()
        }
    })
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct RedirectRefused(&'static str);

impl Wire {
    fn request(
        &self,
        method: Method,
        url: &str,
        lines: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> io::Result<RequestBuilder> {
        let url = Url::parse(url).map_err(|error| self.failures.record(Failure::Connect(error.to_string())))?;
        let mut headers = HeaderMap::new();
        for line in lines {
            let Some((name, value)) = line.as_ref().split_once(':') else {
                continue;
            };
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value.trim())) {
                headers.append(name, value);
            }
        }
        // After a redirect to somewhere else the credentials stay at home.
        let at_home = url.host_str() == self.origin.host_str()
            && (url.port_or_known_default() == self.origin.port_or_known_default()
                || (self.origin.scheme() == "http" && url.scheme() == "https"));
        if let Some(value) = &self.authorization
            && at_home
        {
            headers.insert(AUTHORIZATION, value.clone());
        }
        Ok(self.client.request(method, url).headers(headers))
    }

    fn send(&self, request: RequestBuilder) -> io::Result<Response> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(self.failures.record(Failure::Timeout));
        }
        let response = self
            .runtime
            .block_on(request.timeout(left).send())
            .map_err(|error| self.failures.record(classify(&error)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let failure = if status.is_redirection() {
            let target = response.headers().get("location").and_then(|value| value.to_str().ok());
            Failure::Redirect {
                target: nave_net::redact(target.unwrap_or("nowhere")),
                why: "only the first request of a session may be redirected",
            }
        } else {
            Failure::Status(status.as_u16())
        };
        let error = self.failures.record(failure);
        Err(if status == StatusCode::UNAUTHORIZED {
            io::Error::new(io::ErrorKind::PermissionDenied, error)
        } else {
            error
        })
    }
}

impl Http for Wire {
    type Headers = Headers;
    type ResponseBody = Body;
    type PostBody = PostBody;

    fn get(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::Result<GetResponse<Headers, Body>> {
        let response = self
            .request(Method::GET, url, headers)
            .and_then(|request| self.send(request))
            .map_err(gix::Error::from_error)?;
        if response.url().as_str() != url
            && let Some(tail) = url.strip_prefix(base_url)
        {
            let target = response.url().as_str();
            let Some(base) = target.strip_suffix(tail) else {
                let failure = Failure::Redirect {
                    target: nave_net::redact(target),
                    why: "it does not lead to a git repository",
                };
                return Err(gix::Error::from_error(self.failures.record(failure)));
            };
            self.redirected = Some(base.to_owned());
        }
        let exchange = Exchange::done(self.clone(), response);
        Ok(GetResponse {
            headers: Headers::new(&exchange),
            body: Body::new(exchange),
        })
    }

    fn post(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _body: PostBodyDataKind,
    ) -> gix::Result<PostResponse<Headers, Body, PostBody>> {
        let request = self
            .request(Method::POST, url, headers)
            .map_err(gix::Error::from_error)?;
        let exchange = Exchange::waiting(self.clone(), request);
        Ok(PostResponse {
            post_body: PostBody(exchange.clone()),
            headers: Headers::new(&exchange),
            body: Body::new(exchange),
        })
    }

    fn configure(&mut self, _config: &dyn std::any::Any) -> gix::Result {
        Ok(())
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.redirected.clone()
    }
}

/// One request and its response. A POST is sent when somebody first reads: what we post is a few hundred lines at
/// most, so it is collected and sent with its length.
struct Exchange {
    wire: Wire,
    waiting: Option<(RequestBuilder, Vec<u8>)>,
    response: Option<Response>,
    read: u64,
}

type Shared = Arc<Mutex<Exchange>>;

impl Exchange {
    fn waiting(wire: Wire, request: RequestBuilder) -> Shared {
        Arc::new(Mutex::new(Exchange {
            wire,
            waiting: Some((request, Vec::new())),
            response: None,
            read: 0,
        }))
    }

    fn done(wire: Wire, response: Response) -> Shared {
        Arc::new(Mutex::new(Exchange {
            wire,
            waiting: None,
            response: Some(response),
            read: 0,
        }))
    }

    fn response(&mut self) -> io::Result<&mut Response> {
        if let Some((request, body)) = self.waiting.take() {
            self.response = Some(self.wire.send(request.body(body))?);
        }
        self.response
            .as_mut()
            .ok_or_else(|| io::Error::other("the request has failed before"))
    }

    /// The next piece of the body; empty at its end.
    fn chunk(&mut self) -> io::Result<Bytes> {
        let runtime = self.wire.runtime.clone();
        let chunk = runtime.block_on(self.response()?.chunk());
        let chunk = chunk
            .map_err(|error| self.wire.failures.record(classify(&error)))?
            .unwrap_or_default();
        self.read += chunk.len() as u64;
        if self.read > self.wire.max_bytes {
            return Err(self.wire.failures.record(Failure::TooLarge(self.wire.max_bytes)));
        }
        Ok(chunk)
    }
}

fn lock(exchange: &Shared) -> std::sync::MutexGuard<'_, Exchange> {
    exchange.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Collects what is to be posted.
pub(crate) struct PostBody(Shared);

impl Write for PostBody {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match &mut lock(&self.0).waiting {
            Some((_, body)) => body.extend_from_slice(data),
            None => return Err(io::Error::other("the request was sent already")),
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The response's headers as `name: value` lines.
pub(crate) struct Headers {
    exchange: Shared,
    lines: Option<Cursor<Vec<u8>>>,
}

impl Headers {
    fn new(exchange: &Shared) -> Self {
        Headers {
            exchange: exchange.clone(),
            lines: None,
        }
    }

    fn lines(&mut self) -> io::Result<&mut Cursor<Vec<u8>>> {
        if self.lines.is_none() {
            let mut exchange = lock(&self.exchange);
            let mut lines = Vec::new();
            for (name, value) in exchange.response()?.headers() {
                lines.extend_from_slice(name.as_str().as_bytes());
                lines.extend_from_slice(b": ");
                lines.extend_from_slice(value.as_bytes());
                lines.push(b'\n');
            }
            drop(exchange);
            self.lines = Some(Cursor::new(lines));
        }
        Ok(self.lines.as_mut().expect("set above"))
    }
}

impl Read for Headers {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.lines()?.read(buffer)
    }
}

impl BufRead for Headers {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.lines()?.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if let Some(lines) = &mut self.lines {
            lines.consume(amount);
        }
    }
}

/// The response's body as it arrives.
pub(crate) struct Body {
    exchange: Shared,
    chunk: Bytes,
}

impl Body {
    fn new(exchange: Shared) -> Self {
        Body {
            exchange,
            chunk: Bytes::new(),
        }
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let read = available.len().min(buffer.len());
        buffer[..read].copy_from_slice(&available[..read]);
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Body {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.chunk.is_empty() {
            self.chunk = lock(&self.exchange).chunk()?;
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, amount: usize) {
        let _ = self.chunk.split_to(amount);
    }
}

fn classify(error: &reqwest::Error) -> Failure {
    if error.is_timeout() {
        return Failure::Timeout;
    }
    if error.is_redirect() {
        let mut source = std::error::Error::source(error);
        let why = loop {
            match source {
                Some(cause) => match cause.downcast_ref::<RedirectRefused>() {
                    Some(refused) => break refused.0,
                    None => source = cause.source(),
                },
                None => break "it cannot be followed",
            }
        };
        let target = error.url().map_or_else(String::new, ToString::to_string);
        return Failure::Redirect {
            target: nave_net::redact(&target),
            why,
        };
    }
    match nave_net::explain(error) {
        nave_net::Explained::Tls(text) => Failure::Tls(text),
        nave_net::Explained::Other(text) => Failure::Connect(text),
    }
}
