//! The documents that schemas of values refer to by their addresses, fetched as Helm fetches them.

use std::{thread, time::Duration};

use nave_chart::{LookupError, SchemaDocuments};
use nave_net::{Explained, TlsOptions, explain, http_client};

/// The definitions of all kinds of Kubernetes, which schemas refer to most, take one or two MiB.
const MAX_DOCUMENT: usize = 16 << 20;

/// Helm's time for one document.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The web: whoever asks waits, outside of any runtime, and may be a task of one.
#[derive(Debug, Clone, Copy, Default)]
pub struct WebDocuments;

impl SchemaDocuments for WebDocuments {
    fn document(&self, url: &str) -> Result<Vec<u8>, LookupError> {
        let fetched = thread::scope(|scope| {
            let fetching = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.map_err(LookupError::new)?.block_on(fetch(url))
            });
            fetching.join()
        });
        fetched.unwrap_or_else(|_| Err(LookupError::new("fetching panicked; please report this")))
    }
}

async fn fetch(url: &str) -> Result<Vec<u8>, LookupError> {
    let client = http_client(&TlsOptions::default(), None).map_err(LookupError::new)?;
    let client = client.timeout(TIMEOUT).build().map_err(LookupError::new)?;
    let failed = |error: reqwest::Error| match explain(&error) {
        Explained::Tls(text) | Explained::Other(text) => LookupError::new(text),
    };
    let mut response = client.get(url).send().await.map_err(failed)?;
    let status = response.status();
    if status != reqwest::StatusCode::OK {
        return Err(LookupError::new(format!("the server answered {status}")));
    }
    let mut document = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if document.len() + chunk.len() > MAX_DOCUMENT {
            return Err(LookupError::new(format!("it has more than {} MiB", MAX_DOCUMENT >> 20)));
        }
        document.extend_from_slice(&chunk);
    }
    Ok(document)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Write},
        net::TcpListener,
    };

    use super::*;

    /// A server that gives one answer to as many requests as are made.
    fn serve(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/definitions.json", listener.local_addr().expect("it listens"));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let mut lines = BufReader::new(&stream).lines();
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                stream.write_all(answer).expect("it reads");
            }
        });
        url
    }

    #[test]
    fn documents_are_fetched_with_and_without_a_runtime() {
        let url = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\ntrue");
        assert_eq!(WebDocuments.document(&url).expect("it is there"), b"true");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let within = runtime.block_on(async { WebDocuments.document(&url) });
        assert_eq!(within.expect("it is there"), b"true");
    }

    #[test]
    fn an_answer_other_than_ok_is_an_error() {
        let url = serve(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        let error = WebDocuments.document(&url).expect_err("it is not there");
        assert_eq!(error.to_string(), "the server answered 404 Not Found");
        let error = WebDocuments
            .document("http://127.0.0.1:1/")
            .expect_err("nobody listens");
        assert!(error.to_string().contains("refused"), "{error}");
    }
}
