//! Reading artifacts in the process that stores them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use nave_artifact::{Digest, FileTree, UnpackError, unpack};

use crate::{
    PlaceError, place,
    store::{Store, blocking},
    write::TEMPORARY,
};

/// An artifact that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Its path leads elsewhere.
    #[error("locating the artifact")]
    Place(#[from] PlaceError),
    /// There is no such file; its source has been collected, deleted, or not yet rebuilt.
    #[error("artifact {path} is not in the store")]
    Missing {
        /// The relative path.
        path: String,
    },
    /// The disk's.
    #[error("reading artifact {path}")]
    Read {
        /// The relative path.
        path: String,
        /// The disk's error.
        #[source]
        source: io::Error,
    },
    /// The file is not what was asked for.
    #[error("artifact {path} has digest {actual}, expected {expected}")]
    Digest {
        /// The relative path.
        path: String,
        /// What was asked for.
        expected: Box<Digest>,
        /// What is there.
        actual: Box<Digest>,
    },
    /// The file is no tarball.
    #[error("unpacking artifact {path}")]
    Unpack {
        /// The relative path.
        path: String,
        /// What is wrong with it.
        #[source]
        source: UnpackError,
    },
}

impl Store {
    /// The bytes of an artifact, as they are on disk.
    ///
    /// # Errors
    /// The path is none of this store's, the file is missing, or the disk fails.
    pub async fn read(&self, path: &str) -> Result<Vec<u8>, ReadError> {
        let file = self.on_disk(path).await?;
        let path = path.to_owned();
        blocking(move || {
            fs::read(&file).map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => ReadError::Missing { path },
                _ => ReadError::Read { path, source },
            })
        })
        .await
    }

    /// An artifact as a file, for what is too large to be read as a whole.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub async fn open_file(&self, path: &str) -> Result<fs::File, ReadError> {
        let file = self.on_disk(path).await?;
        let path = path.to_owned();
        blocking(move || {
            fs::File::open(&file).map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => ReadError::Missing { path },
                _ => ReadError::Read { path, source },
            })
        })
        .await
    }

    /// The files of a tarball artifact, from memory or from disk with its digest checked.
    ///
    /// # Errors
    /// As [`Store::read`], and when the file is not what `digest` says or cannot be unpacked.
    pub async fn tree(&self, path: &str, digest: &Digest) -> Result<Arc<FileTree>, ReadError> {
        if let Some(tree) = self.inner.trees.get(digest) {
            return Ok(tree);
        }
        let _turn = self.inner.unpacking.lock().await;
        if let Some(tree) = self.inner.trees.get(digest) {
            return Ok(tree);
        }
        let data = self.read(path).await?;
        let expected = *digest;
        let limits = self.inner.options.limits;
        let path = path.to_owned();
        let tree = blocking(move || {
            let actual = expected.algorithm().digest(&data);
            if actual != expected {
                return Err(ReadError::Digest {
                    path,
                    expected: Box::new(expected),
                    actual: Box::new(actual),
                });
            }
            unpack(data.as_slice(), &limits).map_err(|source| ReadError::Unpack { path, source })
        })
        .await?;
        let tree = Arc::new(tree);
        self.inner.trees.insert(expected, tree.clone());
        Ok(tree)
    }

    /// Where the file of an artifact is, brought here from the shared storage if there is one and the disk has none.
    async fn on_disk(&self, path: &str) -> Result<PathBuf, ReadError> {
        let file = self.directory().join(place::relative(path)?);
        self.bring(path, &file).await.map_err(|source| ReadError::Read {
            path: path.to_owned(),
            source,
        })?;
        Ok(file)
    }

    /// Downloads what is missing on the disk, if the shared storage has it.
    pub(crate) async fn bring(&self, path: &str, file: &Path) -> io::Result<()> {
        let Some(shared) = self.shared() else { return Ok(()) };
        let target = file.to_owned();
        let temporary = blocking(move || {
            if target.symlink_metadata().is_ok() {
                return Ok(None);
            }
            let directory = target.parent().expect("artifacts lie below the owner's directory");
            fs::create_dir_all(directory)?;
            tempfile::Builder::new()
                .prefix(TEMPORARY)
                .tempfile_in(directory)
                .map(Some)
        });
        let Some(temporary) = temporary.await? else {
            return Ok(());
        };
        if shared.download(path, temporary.as_file().try_clone()?).await? {
            let target = file.to_owned();
            blocking(move || temporary.persist(target).map(|_| ()).map_err(|error| error.error)).await?;
        }
        Ok(())
    }

    /// The tree of an artifact if it is in memory; never touches the disk.
    pub fn tree_in_memory(&self, digest: &Digest) -> Option<Arc<FileTree>> {
        self.inner.trees.get(digest)
    }
}
