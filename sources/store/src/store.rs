//! The store itself: its directory, and opening it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use nave_artifact::{Algorithm, Limits};

use crate::{cache::Trees, place::Owner, retention::Retention, shared::Shared, verify::Verified, write::TEMPORARY};

/// How a store is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory (`--storage-path`); made when it is not there.
    pub directory: PathBuf,
    /// Host and port in artifact URLs (`--storage-adv-addr`), with or without `http://`; see
    /// [`crate::advertised_address`].
    pub address: String,
    /// What is kept of earlier artifacts.
    pub retention: Retention,
    /// What artifact digests are made with (`--artifact-digest-algo`).
    pub algorithm: Algorithm,
    /// How many bytes of files are kept in memory for readers in this process.
    pub cache_bytes: u64,
    /// How much a tree read from an archive may hold.
    pub limits: Limits,
    /// Storage that replicas share; none keeps everything on the disk alone.
    pub shared: Option<Shared>,
}

impl Options {
    /// Flux's defaults, and 16 MiB of trees in memory: a monorepo of some thousand manifests, which every
    /// Kustomization over it then reads without a disk.
    pub fn new(directory: impl Into<PathBuf>, address: impl Into<String>) -> Self {
        Options {
            directory: directory.into(),
            address: address.into(),
            retention: Retention::default(),
            algorithm: Algorithm::default(),
            cache_bytes: 16 << 20,
            limits: Limits::default(),
            shared: None,
        }
    }
}

/// Artifacts on disk, with the trees of recent ones in memory. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub options: Options,
    pub trees: Trees,
    pub verified: Verified,
    /// One archive is unpacked at a time: a hundred readers of one revision wait for the first instead of each
    /// unpacking its own copy.
    pub unpacking: tokio::sync::Mutex<()>,
}

/// A store that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("opening the artifact store: {what} {path}")]
pub struct OpenError {
    what: &'static str,
    path: String,
    #[source]
    source: io::Error,
}

impl Store {
    /// Opens the store, making its directory and removing what a killed process left half-written. Blocks briefly.
    ///
    /// # Errors
    /// The directory cannot be made, read or written.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let directory = &options.directory;
        let failed = |what, path: &Path| {
            let path = path.display().to_string();
            move |source| OpenError { what, path, source }
        };
        fs::create_dir_all(directory).map_err(failed("making", directory))?;
        // Found here rather than in the condition of every source.
        let probe = directory.join(format!("{TEMPORARY}probe"));
        fs::write(&probe, b"").map_err(failed("writing to", directory))?;
        let removed = remove_temporary(directory, 0).map_err(failed("reading", directory))?;
        if removed > 1 {
            tracing::info!(count = removed - 1, "removed half-written artifacts of an earlier run");
        }
        let trees = Trees::new(options.cache_bytes);
        Ok(Store {
            inner: Arc::new(Inner {
                options,
                trees,
                verified: Verified::default(),
                unpacking: tokio::sync::Mutex::default(),
            }),
        })
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.inner.options.directory
    }

    pub(crate) fn shared(&self) -> Option<&Shared> {
        self.inner.options.shared.as_ref()
    }

    /// The URL under which the file of that relative path is served.
    pub fn url(&self, path: &str) -> String {
        let address = self.inner.options.address.trim_end_matches('/');
        if address.starts_with("http://") || address.starts_with("https://") {
            format!("{address}/{path}")
        } else {
            format!("http://{address}/{path}")
        }
    }

    /// Removes everything of one object. Nothing there is fine.
    ///
    /// # Errors
    /// The disk's.
    pub async fn remove_all(&self, owner: &Owner) -> io::Result<()> {
        let directory = self.directory().join(owner.directory());
        self.inner.verified.forget_below(&directory);
        if let Some(shared) = self.shared() {
            shared.remove_all(owner).await?;
        }
        blocking(move || match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
        .await
    }
}

/// Runs disk work where it may block.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => unreachable!("blocking tasks are only cancelled before they start, when the runtime is gone"),
    }
}

/// Artifacts lie four levels deep; nothing below that is ours.
const DEPTH: usize = 4;

fn remove_temporary(directory: &Path, depth: usize) -> io::Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let is_temporary = entry.file_name().to_string_lossy().starts_with(TEMPORARY);
        if kind.is_dir() && is_temporary && depth == 0 {
            fs::remove_dir_all(entry.path())?;
            removed += 1;
        } else if kind.is_dir() && depth < DEPTH {
            removed += remove_temporary(&entry.path(), depth + 1)?;
        } else if kind.is_file() && is_temporary {
            fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}
