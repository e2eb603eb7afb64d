//! The files of an artifact: from the store of this process when it is there, over HTTP when it is not.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use nave_artifact::{Digest, FileTree, Limits, UnpackError, unpack};
use nave_crds::meta::Artifact;
use nave_store::Store;

/// First pause between two tries; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// One download, from the first byte asked to the last one read.
const DOWNLOAD_DEADLINE: Duration = Duration::from_secs(60);

/// Reads artifacts.
pub trait ArtifactReader: Send + Sync + 'static {
    /// The files of an artifact whose bytes have its digest.
    fn read<'a>(&'a self, artifact: &'a Artifact) -> BoxFuture<'a, Result<Arc<FileTree>, ReadError>>;
}

/// Why an artifact cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Its server does not have it, any more or yet: the source will say something newer.
    #[error("artifact {url} was not found")]
    NotFound {
        /// Where it should be.
        url: String,
    },
    /// Its digest is no digest.
    #[error("artifact {url} has a digest that cannot be read")]
    BadDigest {
        /// Where it is.
        url: String,
        /// What is wrong.
        #[source]
        source: nave_artifact::DigestError,
    },
    /// It is not what the source says.
    #[error("artifact {url} has digest {actual}, expected {expected}")]
    DigestMismatch {
        /// Where it is.
        url: String,
        /// Of the source's status.
        expected: String,
        /// Of the bytes.
        actual: String,
    },
    /// The server refused.
    #[error("downloading artifact {url}: the server answered {status}")]
    Refused {
        /// Where it is.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// No connection, or it broke.
    #[error("downloading artifact {url}")]
    Download {
        /// Where it is.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// It is larger than allowed.
    #[error("artifact {url} is larger than {limit} bytes")]
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

impl ReadError {
    fn may_pass(&self) -> bool {
        match self {
            ReadError::Download { .. } | ReadError::DigestMismatch { .. } => true,
            ReadError::Refused { status, .. } => *status >= 500 || *status == 429,
            _ => false,
        }
    }
}

/// Reads from a store of this process, and everything that the store does not have over HTTP.
pub struct StoreOrHttp {
    store: Option<Store>,
    client: reqwest::Client,
    retries: u32,
    limits: Limits,
}

impl StoreOrHttp {
    /// `retries` is Flux's `--http-retry`.
    pub fn new(store: Option<Store>, client: reqwest::Client, retries: u32) -> Self {
        StoreOrHttp {
            store,
            client,
            retries,
            limits: Limits::default(),
        }
    }

    async fn download(&self, artifact: &Artifact, digest: &Digest) -> Result<FileTree, ReadError> {
        let mut pause = FIRST_PAUSE;
        let mut tries = 0;
        loop {
            match self.download_once(artifact, digest).await {
                Err(error) if tries < self.retries && error.may_pass() => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "trying again");
                    tries += 1;
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                other => return other,
            }
        }
    }

    async fn download_once(&self, artifact: &Artifact, digest: &Digest) -> Result<FileTree, ReadError> {
        let url = || artifact.url.clone();
        let failed = |source: reqwest::Error| ReadError::Download {
            url: url(),
            source: source.without_url(),
        };
        let mut answer = self
            .client
            .get(&artifact.url)
            .timeout(DOWNLOAD_DEADLINE)
            .send()
            .await
            .map_err(failed)?;
        match answer.status().as_u16() {
            200 => {}
            404 => return Err(ReadError::NotFound { url: url() }),
            status => return Err(ReadError::Refused { url: url(), status }),
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if (bytes.len() + chunk.len()) as u64 > self.limits.bytes {
                return Err(ReadError::TooLarge {
                    url: url(),
                    limit: self.limits.bytes,
                });
            }
            bytes.extend_from_slice(&chunk);
        }
        let (limits, expected, url) = (self.limits, *digest, url());
        tokio::task::spawn_blocking(move || {
            let actual = expected.algorithm().digest(&bytes);
            if actual != expected {
                return Err(ReadError::DigestMismatch {
                    url,
                    expected: expected.to_string(),
                    actual: actual.to_string(),
                });
            }
            unpack(bytes.as_slice(), &limits).map_err(|source| ReadError::Unpack { url, source })
        })
        .await
        .expect("unpacking reports its errors and does not panic")
    }
}

impl ArtifactReader for StoreOrHttp {
    fn read<'a>(&'a self, artifact: &'a Artifact) -> BoxFuture<'a, Result<Arc<FileTree>, ReadError>> {
        Box::pin(async move {
            let digest: Digest = artifact.digest.parse().map_err(|source| ReadError::BadDigest {
                url: artifact.url.clone(),
                source,
            })?;
            if let Some(store) = &self.store {
                match store.tree(&artifact.path, &digest).await {
                    Ok(tree) => return Ok(tree),
                    // Another process made it, or it was collected; its URL has the last word.
                    Err(error) => {
                        tracing::debug!(error = &error as &dyn std::error::Error, "not in the store");
                    }
                }
            }
            self.download(artifact, &digest).await.map(Arc::new)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use nave_artifact::{File, pack};

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

    fn artifact(url: String, digest: String) -> Artifact {
        serde_json::from_value(
            serde_json::json!({"path": "gitrepository/n/x/a.tar.gz", "url": url, "revision": "main@sha1:1",
            "digest": digest, "lastUpdateTime": "2026-01-01T00:00:00Z"}),
        )
        .expect("the artifact is complete")
    }

    fn reader(retries: u32) -> StoreOrHttp {
        nave_net::install_crypto_provider();
        StoreOrHttp::new(None, reqwest::Client::new(), retries)
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
        assert!(matches!(error, ReadError::DigestMismatch { .. }), "{error}");
        let error = reader(5)
            .read(&artifact(url.replace("a.tar", "b.tar"), digest))
            .await
            .expect_err("it is not there");
        assert!(matches!(error, ReadError::NotFound { .. }), "{error}");
        let error = reader(0)
            .read(&artifact(url, "nonsense".into()))
            .await
            .expect_err("no digest");
        assert!(matches!(error, ReadError::BadDigest { .. }), "{error}");
    }
}
