//! The bytes of a chart: from the store of this process when it is there, over HTTP when it is not.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use nave_artifact::Digest;
use nave_chart::{Chart, LoadError, LoadLimits, load_archive};
use nave_crds::meta::Artifact;
use nave_store::{DownloadError, Downloads, Store};

/// Flux's `--helm-chart-max-size` is 10 MiB; an artifact may carry more beside its chart.
const LARGEST: u64 = 50 << 20;
/// Charts that are kept in memory: the releases of one chart are usually reconciled together.
const KEPT: usize = 8;

/// Why a chart cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There are no bytes that are what the source says.
    #[error(transparent)]
    Download(#[from] DownloadError),
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

/// Reads charts.
pub struct ChartArtifacts {
    store: Option<Store>,
    downloads: Downloads,
    kept: Mutex<VecDeque<(String, Arc<Chart>)>>,
    /// Releases of one chart often come at once: one of them loads it.
    loading: tokio::sync::Mutex<()>,
}

impl ChartArtifacts {
    /// `retries` is Flux's `--http-retry`.
    pub fn new(store: Option<Store>, client: reqwest::Client, retries: u32) -> Self {
        ChartArtifacts {
            store,
            downloads: Downloads::new(client, retries, LARGEST),
            kept: Mutex::default(),
            loading: tokio::sync::Mutex::default(),
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
        let digest = Downloads::digest(&artifact.url, &artifact.digest)?;
        // A download may take long, and others need not wait for it.
        let bytes = match self.stored(artifact, &digest).await {
            Some(bytes) => bytes,
            None => self.downloads.get(&artifact.url, &digest).await?,
        };
        let _turn = self.loading.lock().await;
        if let Some(chart) = self.recall(&artifact.digest) {
            return Ok(chart);
        }
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

    /// What another process made, or what was collected, is not there; its URL has the last word.
    async fn stored(&self, artifact: &Artifact, digest: &Digest) -> Option<Vec<u8>> {
        let store = self.store.as_ref()?;
        match store.read(&artifact.path).await {
            Ok(bytes) => (digest.algorithm().digest(&bytes) == *digest).then_some(bytes),
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "not in the store");
                None
            }
        }
    }
}
