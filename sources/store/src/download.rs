//! Artifacts of other processes, over HTTP.

use std::time::Duration;

use nave_artifact::Digest;

/// First pause between two tries; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// One download, from the first byte asked to the last one read.
const DEADLINE: Duration = Duration::from_secs(60);

/// Why an artifact cannot be downloaded.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
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
    Broken {
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
}

impl DownloadError {
    fn may_pass(&self) -> bool {
        match self {
            DownloadError::Broken { .. } | DownloadError::DigestMismatch { .. } => true,
            DownloadError::Refused { status, .. } => *status >= 500 || *status == 429,
            _ => false,
        }
    }
}

/// Downloads artifacts.
#[derive(Debug, Clone)]
pub struct Downloads {
    client: reqwest::Client,
    retries: u32,
    limit: u64,
}

impl Downloads {
    /// `retries` is Flux's `--http-retry`; `limit` is the largest artifact in bytes.
    pub fn new(client: reqwest::Client, retries: u32, limit: u64) -> Self {
        Downloads { client, retries, limit }
    }

    /// The digest of an artifact's status.
    ///
    /// # Errors
    /// [`DownloadError::BadDigest`].
    pub fn digest(url: &str, text: &str) -> Result<Digest, DownloadError> {
        text.parse().map_err(|source| DownloadError::BadDigest {
            url: url.to_owned(),
            source,
        })
    }

    /// The bytes, which have this digest. What may pass is tried again.
    ///
    /// # Errors
    /// See [`DownloadError`].
    pub async fn get(&self, url: &str, digest: &Digest) -> Result<Vec<u8>, DownloadError> {
        let mut pause = FIRST_PAUSE;
        let mut tries = 0;
        loop {
            match self.once(url, digest).await {
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

    async fn once(&self, url: &str, digest: &Digest) -> Result<Vec<u8>, DownloadError> {
        let address = || url.to_owned();
        let failed = |source: reqwest::Error| DownloadError::Broken {
            url: address(),
            source: source.without_url(),
        };
        let request = self.client.get(url).timeout(DEADLINE);
        let mut answer = request.send().await.map_err(failed)?;
        match answer.status().as_u16() {
            200 => {}
            404 => return Err(DownloadError::NotFound { url: address() }),
            status => return Err(DownloadError::Refused { url: address(), status }),
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if (bytes.len() + chunk.len()) as u64 > self.limit {
                return Err(DownloadError::TooLarge {
                    url: address(),
                    limit: self.limit,
                });
            }
            bytes.extend_from_slice(&chunk);
        }
        let expected = *digest;
        let (bytes, actual) = tokio::task::spawn_blocking(move || {
            let actual = expected.algorithm().digest(&bytes);
            (bytes, actual)
        })
        .await
        .expect("digesting does not panic");
        if actual != expected {
            return Err(DownloadError::DigestMismatch {
                url: address(),
                expected: expected.to_string(),
                actual: actual.to_string(),
            });
        }
        Ok(bytes)
    }
}
