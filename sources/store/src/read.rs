//! Reading artifacts in the process that stores them.

use std::{fs, io, sync::Arc};

use nave_artifact::{Digest, FileTree, UnpackError, unpack};

use crate::{
    PlaceError, place,
    store::{Store, blocking},
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
        let file = self.directory().join(place::relative(path)?);
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
        let file = self.directory().join(place::relative(path)?);
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

    /// The tree of an artifact if it is in memory; never touches the disk.
    pub fn tree_in_memory(&self, digest: &Digest) -> Option<Arc<FileTree>> {
        self.inner.trees.get(digest)
    }
}
