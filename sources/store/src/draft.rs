//! An artifact that is being written, before it has a name.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use nave_artifact::{Digest, Hasher};
use tempfile::NamedTempFile;

use crate::{
    Owner, PutError, StoredArtifact,
    store::{Store, blocking},
    write::TEMPORARY,
};

/// Takes bytes, hashing and counting on the way to the disk, so that they need not be read again. Nobody sees them before
/// [`Store::put_draft`]; dropped, or left behind by a crash, they are removed.
#[derive(Debug)]
pub struct Draft {
    file: io::BufWriter<NamedTempFile>,
    hasher: Hasher,
    size: u64,
}

impl Store {
    /// An empty draft beside the owner's artifacts. Blocks, as writing to it does.
    ///
    /// # Errors
    /// The disk's.
    pub fn draft(&self, owner: &Owner) -> Result<Draft, PutError> {
        let directory = self.directory().join(owner.directory());
        fs::create_dir_all(&directory).map_err(|source| PutError::Directory {
            path: directory.display().to_string(),
            source,
        })?;
        let file = tempfile::Builder::new()
            .prefix(TEMPORARY)
            .permissions(fs::Permissions::from_mode(0o600))
            .tempfile_in(&directory)
            .map_err(|source| PutError::Write {
                path: directory.display().to_string(),
                source,
            })?;
        Ok(Draft {
            file: io::BufWriter::with_capacity(1 << 16, file),
            hasher: Hasher::new(self.inner.options.algorithm),
            size: 0,
        })
    }

    /// Gives a draft its name, replacing a file of that name. It appears whole or not at all, and survives a crash once
    /// this returns.
    ///
    /// # Errors
    /// A name that cannot be a path, the disk's, or those of the shared storage.
    pub async fn put_draft(&self, owner: &Owner, file_name: &str, draft: Draft) -> Result<StoredArtifact, PutError> {
        let path = owner.file(file_name)?;
        let target = self.directory().join(&path);
        let file = target.clone();
        let (digest, size) = blocking(move || {
            draft.keep(&file).map_err(|source| PutError::Write {
                path: file.display().to_string(),
                source,
            })
        })
        .await?;
        if let Some(shared) = self.shared() {
            shared.upload(&path, &target).await.map_err(|source| PutError::Share {
                path: path.clone(),
                source,
            })?;
        }
        Ok(StoredArtifact {
            url: self.url(&path),
            path,
            digest,
            size,
        })
    }
}

impl Draft {
    fn keep(self, target: &Path) -> io::Result<(Digest, u64)> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        // The content must be on the disk before its name is, and the name before anyone is told of it.
        file.as_file().sync_all()?;
        file.persist(target).map_err(|error| error.error)?;
        let directory = target.parent().expect("artifacts lie below the owner's directory");
        fs::File::open(directory)?.sync_all()?;
        Ok((self.hasher.finish(), self.size))
    }
}

impl Write for Draft {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.file.write(data)?;
        self.hasher.update(&data[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
