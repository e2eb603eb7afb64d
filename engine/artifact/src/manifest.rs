//! A tree as a list of files and chunks: what travels over the link, and the fleet's name for a revision.
//!
//! The digest of a manifest covers path, mode, size and content digest of every file and nothing else. How files are cut
//! into chunks is therefore free to change between versions without renaming a single revision; a chunk proves itself
//! by its own digest, and the files put together from chunks prove themselves by theirs.

use std::{collections::HashSet, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    Digest, File, FileTree, Hasher, Include, Limits, PathError,
    chunk::{Chunk, MAX_CHUNK, chunks},
    digest::Algorithm,
    tarball::{MODE_EXECUTABLE, MODE_FILE},
    tree::check_plain,
};

/// The files of one revision, sorted by path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The files, sorted by path, each path once.
    pub files: Vec<ManifestFile>,
}

/// One file of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Relative path.
    pub path: String,
    /// [`MODE_FILE`] or [`MODE_EXECUTABLE`].
    pub mode: u32,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the content.
    pub digest: Digest,
    /// The content in order; none for an empty file.
    pub chunks: Vec<Chunk>,
}

/// A manifest from elsewhere that cannot be right.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A path that leads out of the tree.
    #[error("manifest file {number}")]
    Path {
        /// Which file, from 1.
        number: usize,
        /// What is wrong with it.
        #[source]
        source: PathError,
    },
    /// Out of order, or twice.
    #[error("manifest path {path:?} is not in order")]
    Order {
        /// The path.
        path: String,
    },
    /// Sizes, modes or digests that do not fit together.
    #[error("manifest file {path:?}: {what}")]
    File {
        /// The path.
        path: String,
        /// What is wrong.
        what: &'static str,
    },
    /// More than the limits allow.
    #[error("manifest names more than {limit} {what}")]
    TooLarge {
        /// The limit that was passed.
        limit: u64,
        /// Of what: `bytes` or `files`.
        what: &'static str,
    },
}

/// Chunks that do not make up the files that a manifest promises.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// The manifest itself is not sound.
    #[error("checking the manifest")]
    Manifest(#[from] ManifestError),
    /// A chunk is not there.
    #[error("chunk {digest} of {path:?} is missing")]
    Missing {
        /// The file.
        path: String,
        /// The chunk.
        digest: Digest,
    },
    /// A chunk is not what it is named.
    #[error("chunk {digest} of {path:?} has other content")]
    Chunk {
        /// The file.
        path: String,
        /// The chunk.
        digest: Digest,
    },
    /// All chunks are right, but the file is not.
    #[error("file {path:?} put together from its chunks has digest {actual}, expected {expected}")]
    File {
        /// The file.
        path: String,
        /// What the manifest says.
        expected: Box<Digest>,
        /// What came out.
        actual: Box<Digest>,
    },
}

impl Manifest {
    /// The manifest of the files of `tree` that `include` asks for.
    pub fn of(tree: &FileTree, include: &Include) -> Self {
        let files = tree
            .iter()
            .filter(|(path, _)| include.matches(path))
            .map(|(path, file)| {
                let digest = Digest::sha256(&file.data);
                ManifestFile {
                    path: path.to_owned(),
                    mode: if file.executable { MODE_EXECUTABLE } else { MODE_FILE },
                    size: file.data.len() as u64,
                    digest,
                    chunks: chunks(&file.data, digest),
                }
            })
            .collect();
        Manifest { files }
    }

    /// The fleet's name of this content: the same on every machine and in every version.
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(b"nave manifest 1\n");
        for file in &self.files {
            // Lengths come first, so that no path can pretend to be the next field.
            hasher.update(&(file.path.len() as u64).to_be_bytes());
            hasher.update(file.path.as_bytes());
            hasher.update(&file.mode.to_be_bytes());
            hasher.update(&file.size.to_be_bytes());
            hasher.update(file.digest.bytes());
        }
        hasher.finish()
    }

    /// Every chunk that is named, each once, in the order of the files.
    pub fn chunks(&self) -> Vec<Chunk> {
        let mut seen = HashSet::new();
        self.files
            .iter()
            .flat_map(|file| &file.chunks)
            .filter(|chunk| seen.insert(chunk.digest))
            .copied()
            .collect()
    }

    /// Sum of the file sizes.
    pub fn bytes(&self) -> u64 {
        self.files
            .iter()
            .fold(0, |sum: u64, file| sum.saturating_add(file.size))
    }

    /// Checks a manifest that came from elsewhere: paths, order, modes, sizes, limits.
    ///
    /// # Errors
    /// What is wrong first.
    pub fn check(&self, limits: &Limits) -> Result<(), ManifestError> {
        if self.files.len() > limits.files {
            return Err(ManifestError::TooLarge {
                limit: limits.files as u64,
                what: "files",
            });
        }
        let mut before: Option<&str> = None;
        let mut bytes: u64 = 0;
        for (index, file) in self.files.iter().enumerate() {
            check_plain(&file.path).map_err(|source| ManifestError::Path {
                number: index + 1,
                source,
            })?;
            if before.is_some_and(|before| before >= file.path.as_str()) {
                return Err(ManifestError::Order {
                    path: file.path.clone(),
                });
            }
            before = Some(&file.path);
            let wrong = |what| ManifestError::File {
                path: file.path.clone(),
                what,
            };
            if file.mode != MODE_FILE && file.mode != MODE_EXECUTABLE {
                return Err(wrong("the mode is neither 0600 nor 0700"));
            }
            if file.digest.algorithm() != Algorithm::Sha256 {
                return Err(wrong("the digest is not SHA-256"));
            }
            let mut size: u64 = 0;
            for chunk in &file.chunks {
                if chunk.size == 0 || chunk.size as usize > MAX_CHUNK {
                    return Err(wrong("a chunk is empty or larger than 256 KiB"));
                }
                if chunk.digest.algorithm() != Algorithm::Sha256 {
                    return Err(wrong("a chunk's digest is not SHA-256"));
                }
                size += u64::from(chunk.size);
            }
            if size != file.size {
                return Err(wrong("the chunks do not add up to the size"));
            }
            bytes = bytes.saturating_add(size);
            if bytes > limits.bytes {
                return Err(ManifestError::TooLarge {
                    limit: limits.bytes,
                    what: "bytes",
                });
            }
        }
        Ok(())
    }

    /// Puts the files together from chunks, checking every digest.
    ///
    /// # Errors
    /// The manifest is not sound, a chunk is missing or false, or a file is not what its digest says.
    pub fn assemble(
        &self,
        limits: &Limits,
        chunk: impl Fn(&Digest) -> Option<Arc<[u8]>>,
    ) -> Result<FileTree, AssembleError> {
        self.check(limits)?;
        let mut tree = FileTree::new();
        for (index, file) in self.files.iter().enumerate() {
            let mut pieces = Vec::with_capacity(file.chunks.len());
            for named in &file.chunks {
                let Some(data) = chunk(&named.digest) else {
                    return Err(AssembleError::Missing {
                        path: file.path.clone(),
                        digest: named.digest,
                    });
                };
                if data.len() != named.size as usize || Digest::sha256(&data) != named.digest {
                    return Err(AssembleError::Chunk {
                        path: file.path.clone(),
                        digest: named.digest,
                    });
                }
                pieces.push(data);
            }
            let data: Arc<[u8]> = match pieces.as_slice() {
                [one] => one.clone(),
                several => several.concat().into(),
            };
            let actual = Digest::sha256(&data);
            if actual != file.digest {
                return Err(AssembleError::File {
                    path: file.path.clone(),
                    expected: Box::new(file.digest),
                    actual: Box::new(actual),
                });
            }
            let content = File {
                executable: file.mode == MODE_EXECUTABLE,
                data,
            };
            tree.insert(file.path.clone(), content)
                .map_err(|source| ManifestError::Path {
                    number: index + 1,
                    source,
                })?;
        }
        Ok(tree)
    }
}

#[cfg(test)]
mod tests;
