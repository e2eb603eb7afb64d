//! The bytes of a chart: from the store of this process when it is there, over HTTP when it is not.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nave_artifact::Digest;
use nave_chart::{Chart, LoadError, LoadLimits, load_archive};
use nave_crds::meta::Artifact;
use nave_store::Store;

/// First pause between two tries; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// One download, from the first byte asked to the last one read.
const DOWNLOAD_DEADLINE: Duration = Duration::from_secs(60);
/// Flux's `--helm-chart-max-size` is 10 MiB; an artifact may carry more beside its chart.
const LARGEST: usize = 50 << 20;
/// Charts that are kept in memory: the releases of one chart are usually reconciled together.
const KEPT: usize = 8;

/// Why a chart cannot be read.
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
    #[error("artifact {url} is larger than {LARGEST} bytes")]
    TooLarge {
        /// Where it is.
        url: String,
    },
    /// It is no chart.
    #[error("loading the chart of artifact {url}")]
    Chart {
        /// Where it is.
        url: String,
        /// What is wrong.
        #[source]
        source: LoadError,
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

/// Reads charts.
pub struct ChartArtifacts {
    store: Option<Store>,
    client: reqwest::Client,
    retries: u32,
    kept: Mutex<VecDeque<(String, Arc<Chart>)>>,
}

impl ChartArtifacts {
    /// `retries` is Flux's `--http-retry`.
    pub fn new(store: Option<Store>, client: reqwest::Client, retries: u32) -> Self {
        ChartArtifacts {
            store,
            client,
            retries,
            kept: Mutex::default(),
        }
    }

    /// The chart of an artifact whose bytes have its digest.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn chart(&self, artifact: &Artifact) -> Result<Arc<Chart>, ReadError> {
        if let Some(chart) = self.recall(&artifact.digest) {
            return Ok(chart);
        }
        let digest: Digest = artifact.digest.parse().map_err(|source| ReadError::BadDigest {
            url: artifact.url.clone(),
            source,
        })?;
        let bytes = self.bytes(artifact, &digest).await?;
        let url = artifact.url.clone();
        let chart = tokio::task::spawn_blocking(move || load_archive(&bytes, &LoadLimits::default()))
            .await
            .expect("loading reports its errors and does not panic")
            .map_err(|source| ReadError::Chart { url, source })?;
        let chart = Arc::new(chart);
        self.keep(&artifact.digest, &chart);
        Ok(chart)
    }

    fn recall(&self, digest: &str) -> Option<Arc<Chart>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(known, _)| known == digest)?;
        let found = kept.remove(at)?;
        let chart = found.1.clone();
        kept.push_front(found);
        Some(chart)
    }

    fn keep(&self, digest: &str, chart: &Arc<Chart>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(known, _)| known != digest);
        kept.push_front((digest.to_owned(), chart.clone()));
        kept.truncate(KEPT);
    }

    async fn bytes(&self, artifact: &Artifact, digest: &Digest) -> Result<Vec<u8>, ReadError> {
        if let Some(store) = &self.store {
            match store.read(&artifact.path).await {
                Ok(bytes) => {
                    if let Ok(bytes) = checked(bytes, digest, &artifact.url) {
                        return Ok(bytes);
                    }
                }
                // Another process made it, or it was collected; its URL has the last word.
                Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "not in the store"),
            }
        }
        let mut pause = FIRST_PAUSE;
        let mut tries = 0;
        loop {
            match self.download(artifact, digest).await {
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

    async fn download(&self, artifact: &Artifact, digest: &Digest) -> Result<Vec<u8>, ReadError> {
        let url = || artifact.url.clone();
        let failed = |source: reqwest::Error| ReadError::Download {
            url: url(),
            source: source.without_url(),
        };
        let request = self.client.get(&artifact.url).timeout(DOWNLOAD_DEADLINE);
        let mut answer = request.send().await.map_err(failed)?;
        match answer.status().as_u16() {
            200 => {}
            404 => return Err(ReadError::NotFound { url: url() }),
            status => return Err(ReadError::Refused { url: url(), status }),
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > LARGEST {
                return Err(ReadError::TooLarge { url: url() });
            }
            bytes.extend_from_slice(&chunk);
        }
        checked(bytes, digest, &artifact.url)
    }
}

fn checked(bytes: Vec<u8>, expected: &Digest, url: &str) -> Result<Vec<u8>, ReadError> {
    let actual = expected.algorithm().digest(&bytes);
    if actual != *expected {
        return Err(ReadError::DigestMismatch {
            url: url.to_owned(),
            expected: expected.to_string(),
            actual: actual.to_string(),
        });
    }
    Ok(bytes)
}
