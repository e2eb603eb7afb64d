//! The HTTP server that publishes artifacts: files, ranges, and directory listings, no authentication.

use std::{fs, path::Path};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Method, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::any,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tower::ServiceExt;
use tower_http::services::ServeDir;

use crate::{
    serve_shared::serve_shared,
    store::{Store, blocking},
};

/// What a path segment may show as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/');

impl Store {
    /// Serves `GET` and `HEAD` of every artifact at its path, with ranges, and a listing of every directory.
    pub fn routes(&self) -> Router {
        Router::new().fallback(any(serve)).with_state(self.clone())
    }
}

async fn serve(State(store): State<Store>, request: Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response();
    }
    let Ok(path) = percent_decode_str(request.uri().path()).decode_utf8() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let path = path.into_owned();
    let relative = path.trim_start_matches('/');
    // Temporary files begin with a dot, and so does every way out of the directory.
    let hidden = relative
        .split('/')
        .any(|segment| segment.starts_with('.') || segment.contains('\\'));
    if hidden || relative.contains('\0') {
        return StatusCode::NOT_FOUND.into_response();
    }
    if let Some(shared) = store.shared() {
        // Of the request only this: a reference to its body must not be held while the storage is asked.
        let asked = request
            .headers()
            .get(header::RANGE)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        return serve_shared(shared, relative, &request.method().clone(), asked.as_deref()).await;
    }
    if relative.is_empty() || relative.ends_with('/') {
        return list(&store, relative).await;
    }
    let files = ServeDir::new(store.directory()).append_index_html_on_directories(false);
    match files.oneshot(request).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    }
}

async fn list(store: &Store, relative: &str) -> Response {
    let directory = store.directory().join(relative.trim_end_matches('/'));
    match blocking(move || names(&directory)).await {
        Ok(names) => listing(&names),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A page with the names of a directory.
pub(crate) fn listing(names: &[String]) -> Response {
    let lines: String = names
        .iter()
        .map(|name| {
            let shown = name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            // "./" keeps a colon in a file name from being read as a scheme.
            format!("<a href=\"./{}\">{shown}</a>\n", utf8_percent_encode(name, SEGMENT))
        })
        .collect();
    Html(format!("<pre>\n{lines}</pre>\n")).into_response()
}

fn names(directory: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let slash = if entry.file_type()?.is_dir() { "/" } else { "" };
        names.push(name + slash);
    }
    names.sort();
    Ok(names)
}

/// The host and port that artifact URLs carry: what was given, else what can be said of the listening address.
///
/// As in Flux, an address without host becomes `localhost`, and `0.0.0.0` or `[::]` the name of this machine, which in a cluster
/// is the pod's.
pub fn advertised_address(given: Option<&str>, listening: &str, hostname: Option<&str>) -> String {
    if let Some(given) = given.filter(|given| !given.is_empty()) {
        return given.to_owned();
    }
    let (host, port) = listening.rsplit_once(':').unwrap_or((listening, ""));
    let host = match host {
        "" => "localhost",
        "0.0.0.0" | "[::]" => hostname.filter(|name| !name.is_empty()).unwrap_or("localhost"),
        host => host,
    };
    if port.is_empty() || port == "80" {
        host.to_owned()
    } else {
        format!("{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_flux() {
        for (given, listening, hostname, expected) in [
            (
                Some("source.flux-system.svc."),
                ":9090",
                Some("pod"),
                "source.flux-system.svc.",
            ),
            (None, ":9090", Some("pod"), "localhost:9090"),
            (Some(""), "0.0.0.0:9090", Some("pod"), "pod:9090"),
            (None, "0.0.0.0:9090", None, "localhost:9090"),
            (None, "127.0.0.1:80", None, "127.0.0.1"),
            (None, "127.0.0.1:45678", None, "127.0.0.1:45678"),
        ] {
            assert_eq!(advertised_address(given, listening, hostname), expected);
        }
    }
}
