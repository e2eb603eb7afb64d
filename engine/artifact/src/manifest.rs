//! A tree as a list of files and chunks: what travels over the link, and the fleet's name for a revision.
//!
//! The digest of a manifest covers path, mode, size and content digest of every file and nothing else. How files are cut
//! into chunks is therefore free to change between versions without renaming a single revision; a chunk proves itself
//! by its own digest, and the files put together from chunks prove themselves by theirs.
//!
//! Chunks are content-defined (FastCDC): a line added near the start of a large bundle of CRDs changes one or two
//! chunks, where cuts at fixed offsets would change every chunk after it. Files up to [`MIN_CHUNK`], which nearly all
//! manifests are, are one chunk each.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    Digest, File, FileTree, Hasher, Include, Limits, PathError,
    digest::Algorithm,
    tarball::{MODE_EXECUTABLE, MODE_FILE},
    tree::check_plain,
};

/// No chunk is larger, in bytes.
pub const MAX_CHUNK: usize = 256 * 1024;
const AVERAGE_CHUNK: usize = 128 * 1024;
const MIN_CHUNK: usize = 64 * 1024;

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

/// A piece of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// SHA-256 of the piece.
    pub digest: Digest,
    /// Its size in bytes, 1 to [`MAX_CHUNK`].
    pub size: u32,
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

/// Finds the bytes of a manifest's chunks in the tree that it was made from.
#[derive(Debug, Clone, Default)]
pub struct ChunkIndex {
    places: HashMap<Digest, Place>,
}

#[derive(Debug, Clone)]
struct Place {
    path: Arc<str>,
    offset: usize,
    size: usize,
}

impl ChunkIndex {
    /// The index of one manifest.
    pub fn new(manifest: &Manifest) -> Self {
        let mut places = HashMap::new();
        for file in &manifest.files {
            let path: Arc<str> = file.path.as_str().into();
            let mut offset = 0;
            for chunk in &file.chunks {
                let size = chunk.size as usize;
                places.entry(chunk.digest).or_insert_with(|| Place {
                    path: path.clone(),
                    offset,
                    size,
                });
                offset += size;
            }
        }
        ChunkIndex { places }
    }

    /// Whether the manifest names this chunk.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.places.contains_key(digest)
    }

    /// The bytes of a chunk; none when the manifest does not name it, or `tree` is not the manifest's.
    pub fn read<'a>(&self, tree: &'a FileTree, digest: &Digest) -> Option<&'a [u8]> {
        let place = self.places.get(digest)?;
        let data = &tree.get(&place.path)?.data;
        data.get(place.offset..place.offset + place.size)
    }
}

fn chunks(data: &[u8], whole: Digest) -> Vec<Chunk> {
    if data.is_empty() {
        return Vec::new();
    }
    if data.len() <= MIN_CHUNK {
        return vec![Chunk {
            digest: whole,
            size: data.len() as u32,
        }];
    }
    fastcdc::v2020::FastCDC::new(data, MIN_CHUNK, AVERAGE_CHUNK, MAX_CHUNK)
        .map(|cut| Chunk {
            digest: Digest::sha256(&data[cut.offset..cut.offset + cut.length]),
            size: cut.length as u32,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes without repetition, the same in every run.
    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed;
        let mut data = Vec::with_capacity(length + 8);
        while data.len() < length {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            data.extend_from_slice(&(state ^ (state >> 29)).to_le_bytes());
        }
        data.truncate(length);
        data
    }

    fn sample() -> FileTree {
        let mut tree = FileTree::new();
        tree.insert("apps/a.yaml", File::plain(b"a: 1\n".as_slice())).unwrap();
        tree.insert("apps/empty", File::plain(b"".as_slice())).unwrap();
        tree.insert("infra/big", File::plain(noise(1, 1 << 20))).unwrap();
        let run = File {
            executable: true,
            data: b"#!/bin/sh\n".as_slice().into(),
        };
        tree.insert("run.sh", run).unwrap();
        tree
    }

    fn assemble(manifest: &Manifest, tree: &FileTree) -> Result<FileTree, AssembleError> {
        let index = ChunkIndex::new(manifest);
        manifest.assemble(&Limits::default(), |digest| index.read(tree, digest).map(Arc::from))
    }

    #[test]
    fn a_tree_comes_back_from_its_chunks() {
        let tree = sample();
        let manifest = Manifest::of(&tree, &Include::default());
        assert_eq!(assemble(&manifest, &tree).unwrap(), tree);
        assert!(manifest.chunks().iter().all(|chunk| chunk.size as usize <= MAX_CHUNK));
        assert!(manifest.files[2].chunks.len() >= 4);
        let json = serde_json::to_string(&manifest).unwrap();
        assert_eq!(serde_json::from_str::<Manifest>(&json).unwrap(), manifest);
    }

    /// A change of this value renames every revision of every fleet: it must not change.
    #[test]
    fn the_digest_of_a_known_tree_is_pinned() {
        let manifest = Manifest::of(&sample(), &Include::default());
        assert_eq!(
            manifest.digest().to_string(),
            "sha256:c5e88974ed0c780dcdf68415ab88dc770b6309991c4931994b5f9ea91f710024"
        );
    }

    #[test]
    fn the_digest_covers_paths_modes_and_content_but_not_the_cuts() {
        let manifest = Manifest::of(&sample(), &Include::default());
        let digest = manifest.digest();
        let mut recut = manifest.clone();
        recut.files[2].chunks.clear();
        assert_eq!(recut.digest(), digest);
        for change in 0..4 {
            let mut other = manifest.clone();
            match change {
                0 => other.files[0].path.push('x'),
                1 => other.files[0].mode = MODE_EXECUTABLE,
                2 => other.files[0].digest = Digest::sha256(b"other"),
                _ => drop(other.files.pop()),
            }
            assert_ne!(other.digest(), digest, "change {change}");
        }
    }

    #[test]
    fn include_cuts_the_manifest_down() {
        let include = Include::new(&["apps/**"]).unwrap();
        let manifest = Manifest::of(&sample(), &include);
        let paths: Vec<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["apps/a.yaml", "apps/empty"]);
    }

    #[test]
    fn a_line_inserted_early_changes_few_chunks() {
        let before = sample();
        let mut after = before.clone();
        let mut data = before.get("infra/big").unwrap().data.to_vec();
        data.splice(1000..1000, *b"one more line\n");
        after.insert("infra/big", File::plain(data)).unwrap();
        let known: HashSet<Digest> = Manifest::of(&before, &Include::default())
            .chunks()
            .iter()
            .map(|chunk| chunk.digest)
            .collect();
        let manifest = Manifest::of(&after, &Include::default());
        let fresh = manifest
            .chunks()
            .iter()
            .filter(|chunk| !known.contains(&chunk.digest))
            .count();
        assert!(
            (1..=2).contains(&fresh),
            "{fresh} of {} chunks are new",
            manifest.chunks().len()
        );
    }

    #[test]
    fn false_chunks_and_manifests_are_refused() {
        let tree = sample();
        let good = Manifest::of(&tree, &Include::default());
        let index = ChunkIndex::new(&good);
        let wrong = good.assemble(&Limits::default(), |digest| {
            let mut data = index.read(&tree, digest)?.to_vec();
            data[0] ^= 1;
            Some(data.into())
        });
        assert!(matches!(wrong, Err(AssembleError::Chunk { .. })));
        let missing = good.assemble(&Limits::default(), |_| None);
        assert!(matches!(missing, Err(AssembleError::Missing { .. })));
        let small = good.check(&Limits { bytes: 1000, files: 10 });
        assert_eq!(small.unwrap_err().to_string(), "manifest names more than 1000 bytes");

        let refused = |change: fn(&mut Manifest), part: &str| {
            let mut manifest = good.clone();
            change(&mut manifest);
            let error = assemble(&manifest, &tree).unwrap_err();
            let text = format!(
                "{error}: {:?}",
                std::error::Error::source(&error).map(ToString::to_string)
            );
            assert!(text.contains(part), "{text}");
        };
        refused(|m| m.files[0].path = "../a".into(), "manifest file 1");
        refused(|m| m.files.swap(0, 1), "is not in order");
        refused(|m| m.files[0].mode = 0o4755, "mode");
        refused(|m| m.files[0].size += 1, "add up");
        refused(|m| m.files[2].chunks[0].size = u32::MAX, "256 KiB");
        refused(|m| m.files[0].digest = Digest::sha256(b"x"), "expected");
        refused(|m| m.files[0].digest = Algorithm::Blake3.digest(b"x"), "not SHA-256");
    }
}
