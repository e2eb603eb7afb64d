//! Writing artifacts so that nobody ever sees half of one.

use std::{fs, io, io::Write, sync::Arc};

use nave_artifact::{Digest, FileTree, write_tarball};

use crate::{
    Draft, Owner, PlaceError,
    store::{Store, blocking},
};

/// Files that begin so are half-written; opening the store removes them and the server does not show them.
pub(crate) const TEMPORARY: &str = ".tmp-";

/// What `status.artifact` says of a file in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredArtifact {
    /// Relative path, `<kind>/<namespace>/<name>/<file>`.
    pub path: String,
    /// Where it is served.
    pub url: String,
    /// Digest of the file.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// An artifact that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// Its name cannot be a path.
    #[error("naming the artifact")]
    Place(#[from] PlaceError),
    /// The directory could not be made.
    #[error("making directory {path}")]
    Directory {
        /// The directory.
        path: String,
        /// The disk's error.
        #[source]
        source: io::Error,
    },
    /// It could not be sent to the shared storage.
    #[error("writing artifact {path} to the shared storage")]
    Share {
        /// Its relative path.
        path: String,
        /// The storage's error.
        #[source]
        source: io::Error,
    },
    /// The file could not be written; an earlier one of that name is untouched.
    #[error("writing artifact {path}")]
    Write {
        /// The file.
        path: String,
        /// The disk's error.
        #[source]
        source: io::Error,
    },
}

impl Store {
    /// Stores bytes under the owner's directory, replacing a file of that name.
    ///
    /// The file appears whole or not at all, and survives a crash once this returns.
    ///
    /// # Errors
    /// A name that cannot be a path, or the disk's.
    pub async fn put(&self, owner: &Owner, file_name: &str, data: Vec<u8>) -> Result<StoredArtifact, PutError> {
        self.write(owner, file_name, move |file| file.write_all(&data)).await
    }

    /// Packs a tree and stores the tarball; the tree stays in memory for readers in this process.
    ///
    /// # Errors
    /// As [`Store::put`].
    pub async fn put_tree(
        &self,
        owner: &Owner,
        file_name: &str,
        tree: Arc<FileTree>,
    ) -> Result<StoredArtifact, PutError> {
        let packed = tree.clone();
        let stored = self
            .write(owner, file_name, move |file| write_tarball(&packed, file).map(|_| ()))
            .await?;
        self.inner.trees.insert(stored.digest, tree);
        Ok(stored)
    }

    /// Stores what a reader gives, byte for byte.
    ///
    /// # Errors
    /// As [`Store::put`]; the reader's errors are told as those of the disk.
    pub async fn put_reader(
        &self,
        owner: &Owner,
        file_name: &str,
        mut reader: impl io::Read + Send + 'static,
    ) -> Result<StoredArtifact, PutError> {
        self.write(owner, file_name, move |file| io::copy(&mut reader, file).map(|_| ()))
            .await
    }

    /// Stores what `content` writes.
    ///
    /// # Errors
    /// As [`Store::put`]; what `content` returns is told as an error of the disk.
    pub async fn put_with(
        &self,
        owner: &Owner,
        file_name: &str,
        content: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
    ) -> Result<StoredArtifact, PutError> {
        self.write(owner, file_name, move |file| content(file)).await
    }

    /// Points a symbolic link in the owner's directory at one of its files, and says under which URL it is served.
    ///
    /// The link is replaced at once: readers follow the old one or the new one.
    ///
    /// # Errors
    /// A name that cannot be a path, or the disk's.
    pub async fn link(&self, owner: &Owner, name: &str, file_name: &str) -> Result<String, PutError> {
        let path = owner.file(name)?;
        owner.file(file_name)?;
        let link = self.directory().join(&path);
        let target = file_name.to_owned();
        let url = self.url(&path);
        if let Some(shared) = self.shared() {
            shared.link(&path, file_name).await.map_err(|source| PutError::Share {
                path: path.clone(),
                source,
            })?;
        }
        blocking(move || {
            if fs::read_link(&link).is_ok_and(|present| present.as_os_str() == target.as_str()) {
                return Ok(());
            }
            let directory = link.parent().expect("links lie in the owner's directory");
            let replace = || -> io::Result<()> {
                let temporary = tempfile::Builder::new()
                    .prefix(TEMPORARY)
                    .make_in(directory, |path| std::os::unix::fs::symlink(&target, path))?;
                let temporary = temporary.into_temp_path().keep().map_err(|error| error.error)?;
                fs::rename(&temporary, &link)
            };
            replace().map_err(|source| PutError::Write {
                path: link.display().to_string(),
                source,
            })
        })
        .await?;
        Ok(url)
    }

    /// A file without a name, on the store's disk, for what has to be looked at before it is stored. It is gone when it
    /// is closed.
    ///
    /// # Errors
    /// The disk's.
    pub async fn scratch(&self) -> io::Result<fs::File> {
        let directory = self.directory().to_owned();
        blocking(move || tempfile::tempfile_in(directory)).await
    }

    /// A directory on the store's disk for what has to be looked at before it is stored, not served. It is removed when it
    /// is dropped, or when the store is next opened.
    ///
    /// # Errors
    /// The disk's.
    pub async fn scratch_directory(&self) -> io::Result<tempfile::TempDir> {
        let directory = self.directory().to_owned();
        blocking(move || tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(directory)).await
    }

    async fn write(
        &self,
        owner: &Owner,
        file_name: &str,
        content: impl FnOnce(&mut Draft) -> io::Result<()> + Send + 'static,
    ) -> Result<StoredArtifact, PutError> {
        let target = self.directory().join(owner.file(file_name)?);
        let store = self.clone();
        let place = owner.clone();
        let draft = blocking(move || {
            let mut draft = store.draft(&place)?;
            content(&mut draft).map_err(|source| PutError::Write {
                path: target.display().to_string(),
                source,
            })?;
            Ok::<_, PutError>(draft)
        })
        .await?;
        self.put_draft(owner, file_name, draft).await
    }
}
