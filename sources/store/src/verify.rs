//! Whether an artifact on disk is still what its status says.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use nave_artifact::{Algorithm, Digest, Hasher};

use crate::{
    PlaceError, place,
    store::{Store, blocking},
};

/// What was found where an artifact should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The file has this digest.
    Intact,
    /// There is no regular file.
    Missing,
    /// There is a file with other content.
    Mismatch {
        /// What it has.
        actual: Digest,
    },
}

/// An artifact that could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Its path leads elsewhere.
    #[error("locating the artifact")]
    Place(#[from] PlaceError),
    /// The disk's.
    #[error("reading artifact {path}")]
    Read {
        /// The file.
        path: String,
        /// The disk's error.
        #[source]
        source: io::Error,
    },
}

/// Digests of files that were hashed before and have not been touched since.
///
/// A file counts as untouched while inode, size and change time are the same: no user can set the last one back. A
/// sector that rots unnoticed by the disk is found when the artifact is next read.
#[derive(Debug, Default)]
pub(crate) struct Verified(Mutex<HashMap<PathBuf, (Stamp, Digest)>>);

type Stamp = (u64, u64, i64, i64);

impl Store {
    /// Compares the file of an artifact with its digest.
    ///
    /// # Errors
    /// The path is none of this store's, or the disk fails; a missing file is no error.
    pub async fn verify(&self, path: &str, digest: &Digest) -> Result<Verdict, VerifyError> {
        let file = self.directory().join(place::relative(path)?);
        let verdict = self.verify_on_disk(&file, digest).await?;
        let Some(shared) = self.shared() else {
            return Ok(verdict);
        };
        let failed = |source| VerifyError::Read {
            path: path.to_owned(),
            source,
        };
        if verdict == Verdict::Intact {
            // The storage may have been emptied: what is here goes there again.
            if !shared.has(path).await.map_err(failed)? {
                shared.upload(path, &file).await.map_err(failed)?;
            }
            return Ok(verdict);
        }
        // Another replica may have made it, or made it anew.
        if verdict != Verdict::Missing {
            self.remove_on_disk(&file).await?;
        }
        self.bring(path, &file).await.map_err(failed)?;
        self.verify_on_disk(&file, digest).await
    }

    async fn verify_on_disk(&self, file: &Path, digest: &Digest) -> Result<Verdict, VerifyError> {
        let (file, digest, store) = (file.to_owned(), *digest, self.clone());
        blocking(move || {
            store
                .inner
                .verified
                .check(&file, &digest)
                .map_err(|source| VerifyError::Read {
                    path: file.display().to_string(),
                    source,
                })
        })
        .await
    }

    /// Removes one file. Not there is fine.
    ///
    /// # Errors
    /// The path is none of this store's, or the disk fails.
    pub async fn remove(&self, path: &str) -> Result<(), VerifyError> {
        let file = self.directory().join(place::relative(path)?);
        if let Some(shared) = self.shared() {
            shared.remove(path).await.map_err(|source| VerifyError::Read {
                path: path.to_owned(),
                source,
            })?;
        }
        self.remove_on_disk(&file).await
    }

    async fn remove_on_disk(&self, file: &Path) -> Result<(), VerifyError> {
        let file = file.to_owned();
        blocking(move || match fs::remove_file(&file) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(VerifyError::Read {
                path: file.display().to_string(),
                source,
            }),
            _ => Ok(()),
        })
        .await
    }
}

impl Verified {
    fn check(&self, file: &Path, expected: &Digest) -> io::Result<Verdict> {
        let mut opened = match fs::symlink_metadata(file) {
            Ok(metadata) if metadata.is_file() => fs::File::open(file)?,
            Ok(_) => return Ok(Verdict::Missing),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                self.lock().remove(file);
                return Ok(Verdict::Missing);
            }
            Err(error) => return Err(error),
        };
        let metadata = opened.metadata()?;
        let stamp = (metadata.ino(), metadata.size(), metadata.ctime(), metadata.ctime_nsec());
        let known = self
            .lock()
            .get(file)
            .filter(|(seen, digest)| *seen == stamp && digest.algorithm() == expected.algorithm())
            .map(|(_, digest)| *digest);
        let actual = match known {
            Some(digest) => digest,
            None => {
                let digest = hash(&mut opened, expected.algorithm())?;
                self.lock().insert(file.to_owned(), (stamp, digest));
                digest
            }
        };
        Ok(if actual == *expected {
            Verdict::Intact
        } else {
            Verdict::Mismatch { actual }
        })
    }

    /// Forgets a file that was removed.
    pub fn forget(&self, file: &Path) {
        self.lock().remove(file);
    }

    /// Forgets every file below a directory that was removed.
    pub fn forget_below(&self, directory: &Path) {
        self.lock().retain(|file, _| !file.starts_with(directory));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, (Stamp, Digest)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(file: &mut fs::File, algorithm: Algorithm) -> io::Result<Digest> {
    let mut hasher = Hasher::new(algorithm);
    io::copy(file, &mut hasher)?;
    Ok(hasher.finish())
}
