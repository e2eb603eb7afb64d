//! The files of an artifact: from the store of this process when it is there, over HTTP when it is not.

use std::sync::Arc;

use futures::future::BoxFuture;
use nave_artifact::{FileTree, Limits, UnpackError, unpack};
use nave_crds::meta::Artifact;
use nave_store::{DownloadError, Downloads, Store};

/// Reads artifacts.
pub trait ArtifactReader: Send + Sync + 'static {
    /// The files of an artifact whose bytes have its digest.
    fn read<'a>(&'a self, artifact: &'a Artifact) -> BoxFuture<'a, Result<Arc<FileTree>, ReadError>>;
}

/// Why an artifact cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There are no bytes that are what the source says.
    #[error(transparent)]
    Download(DownloadError),
    /// It holds more than is allowed.
    #[error(
        "artifact {url} has more than {limit} bytes, packed or unpacked; --artifact-max-size sets how many it may have"
    )]
    TooLarge {
        /// Where it is.
        url: String,
        /// The limit.
        limit: u64,
    },
    /// It is no tarball.
    #[error("unpacking artifact {url}")]
    Unpack {
        /// Where it is.
        url: String,
        /// What is wrong.
        #[source]
        source: UnpackError,
    },
}

impl From<DownloadError> for ReadError {
    fn from(error: DownloadError) -> Self {
        match error {
            DownloadError::TooLarge { url, limit } => ReadError::TooLarge { url, limit },
            other => ReadError::Download(other),
        }
    }
}

impl ReadError {
    fn unpacking(url: String, error: UnpackError) -> Self {
        match error {
            UnpackError::TooLarge { limit, what: "bytes" } => ReadError::TooLarge { url, limit },
            source => ReadError::Unpack { url, source },
        }
    }

    /// Whether the same artifact may be had another time.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            ReadError::Download(DownloadError::BadDigest { .. }) => false,
            ReadError::Download(_) => true,
            ReadError::TooLarge { .. } | ReadError::Unpack { .. } => false,
        }
    }
}

/// Reads from a store of this process, and everything that the store does not have over HTTP.
pub struct StoreOrHttp {
    store: Option<Store>,
    downloads: Downloads,
    limits: Limits,
    hosts: Hosts,
}

/// Where artifacts are downloaded from instead of the host in their URL, as `host` or `host:port`; for processes that run
/// outside of the cluster, with a port forwarded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    /// Flux's `SOURCE_CONTROLLER_LOCALHOST`.
    pub source_controller: Option<String>,
    /// Flux's `SOURCE_WATCHER_LOCALHOST`: for URLs of the source-watcher.
    pub source_watcher: Option<String>,
}

impl Hosts {
    /// The URL with the host that it is to be asked at.
    fn apply(&self, artifact: &Artifact) -> String {
        // As Flux tells them apart.
        let host = if artifact.url.contains("//source-watcher") {
            &self.source_watcher
        } else {
            &self.source_controller
        };
        match (host, artifact.url.split_once("://")) {
            (Some(host), Some((scheme, rest))) => {
                let path = rest.find('/').map_or("", |start| &rest[start..]);
                format!("{scheme}://{host}{path}")
            }
            _ => artifact.url.clone(),
        }
    }
}

impl StoreOrHttp {
    /// `retries` is Flux's `--http-retry`, `limits` is for the packed and the unpacked artifact.
    pub fn new(store: Option<Store>, client: reqwest::Client, retries: u32, limits: Limits) -> Self {
        StoreOrHttp {
            store,
            downloads: Downloads::new(client, retries, limits.bytes),
            limits,
            hosts: Hosts::default(),
        }
    }

    /// Downloads from other hosts than the URLs say.
    pub fn with_hosts(self, hosts: Hosts) -> Self {
        StoreOrHttp { hosts, ..self }
    }
}

impl ArtifactReader for StoreOrHttp {
    fn read<'a>(&'a self, artifact: &'a Artifact) -> BoxFuture<'a, Result<Arc<FileTree>, ReadError>> {
        Box::pin(async move {
            let digest = Downloads::digest(&artifact.url, &artifact.digest)?;
            if let Some(store) = &self.store {
                match store.tree(&artifact.path, &digest).await {
                    Ok(tree) => return Ok(tree),
                    // Another process made it, or it was collected; its URL has the last word.
                    Err(error) => {
                        tracing::debug!(error = &error as &dyn std::error::Error, "not in the store");
                    }
                }
            }
            let url = self.hosts.apply(artifact);
            let bytes = self.downloads.get(&url, &digest).await?;
            let limits = self.limits;
            tokio::task::spawn_blocking(move || {
                unpack(bytes.as_slice(), &limits).map_err(|error| ReadError::unpacking(url, error))
            })
            .await
            .expect("unpacking reports its errors and does not panic")
            .map(Arc::new)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use nave_artifact::{Digest, File, pack};

    use super::*;

    /// Serves `body` after `failures` answers of 500; counts what was asked.
    async fn server(body: Vec<u8>, failures: usize) -> (String, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let router = axum::Router::new().route(
            "/a.tar.gz",
            axum::routing::get(move || {
                let ok = count.fetch_add(1, Ordering::SeqCst) >= failures;
                let body = body.clone();
                async move {
                    if ok {
                        (axum::http::StatusCode::OK, body)
                    } else {
                        (axum::http::StatusCode::INTERNAL_SERVER_ERROR, Vec::new())
                    }
                }
            }),
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port has an address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        (format!("http://{address}"), asked)
    }

    #[test]
    fn hosts_of_urls_are_replaced_by_kind() {
        let hosts = Hosts {
            source_controller: Some("localhost:9090".to_owned()),
            source_watcher: None,
        };
        let url = "http://source-controller.flux-system.svc.cluster.local./gitrepository/n/x/a.tar.gz";
        let mut artifact = artifact(url.to_owned(), String::new());
        let replaced = "http://localhost:9090/gitrepository/n/x/a.tar.gz";
        assert_eq!(hosts.apply(&artifact), replaced);
        assert_eq!(Hosts::default().apply(&artifact), url);
        artifact.url = url.replace("source-controller", "source-watcher");
        assert_eq!(hosts.apply(&artifact), artifact.url, "it is another server's");
    }

    fn artifact(url: String, digest: String) -> Artifact {
        serde_json::from_value(
            serde_json::json!({"path": "gitrepository/n/x/a.tar.gz", "url": url, "revision": "main@sha1:1",
            "digest": digest, "lastUpdateTime": "2026-01-01T00:00:00Z"}),
        )
        .expect("the artifact is complete")
    }

    fn reader(retries: u32) -> StoreOrHttp {
        reader_within(Limits::default(), retries)
    }

    fn reader_within(limits: Limits, retries: u32) -> StoreOrHttp {
        nave_net::install_crypto_provider();
        StoreOrHttp::new(None, reqwest::Client::new(), retries, limits)
    }

    #[tokio::test]
    async fn what_is_too_large_names_the_flag_that_allows_it() {
        let mut tree = FileTree::new();
        tree.insert("apps/a.yaml", File::plain(vec![b'a'; 100_000]))
            .expect("a plain path");
        let body = pack(&tree);
        let (packed, digest) = (body.len() as u64, Digest::sha256(&body).to_string());
        let (url, _) = server(body, 0).await;
        let artifact = artifact(format!("{url}/a.tar.gz"), digest);
        for (bytes, fits) in [(packed - 1, false), (99_999, false), (100_000, true)] {
            let limits = Limits {
                bytes,
                ..Limits::default()
            };
            let read = reader_within(limits, 0).read(&artifact).await;
            match read {
                Ok(_) => assert!(fits, "{bytes}"),
                Err(error) => {
                    let text = error.to_string();
                    assert!(!fits && text.contains("--artifact-max-size"), "{bytes}: {text}");
                    assert!(text.contains(&format!("more than {bytes} bytes")), "{text}");
                }
            }
        }
    }

    #[tokio::test]
    async fn downloads_are_retried_checked_and_unpacked() {
        let mut tree = FileTree::new();
        tree.insert("apps/a.yaml", File::plain(&b"a: 1"[..]))
            .expect("a plain path");
        let body = pack(&tree);
        let digest = Digest::sha256(&body).to_string();
        let (url, asked) = server(body.clone(), 2).await;
        let url = format!("{url}/a.tar.gz");
        let read = reader(3)
            .read(&artifact(url.clone(), digest.clone()))
            .await
            .expect("the third try works");
        assert_eq!(read.get("apps/a.yaml").map(|file| &file.data[..]), Some(&b"a: 1"[..]));
        assert_eq!(asked.load(Ordering::SeqCst), 3);

        let wrong = Digest::sha256(b"other").to_string();
        let error = reader(0)
            .read(&artifact(url.clone(), wrong))
            .await
            .expect_err("the digest differs");
        assert!(
            matches!(error, ReadError::Download(DownloadError::DigestMismatch { .. })),
            "{error}"
        );
        let error = reader(5)
            .read(&artifact(url.replace("a.tar", "b.tar"), digest))
            .await
            .expect_err("it is not there");
        assert!(
            matches!(error, ReadError::Download(DownloadError::NotFound { .. })),
            "{error}"
        );
        let error = reader(0)
            .read(&artifact(url, "nonsense".into()))
            .await
            .expect_err("no digest");
        assert!(
            matches!(error, ReadError::Download(DownloadError::BadDigest { .. })),
            "{error}"
        );
    }
}
