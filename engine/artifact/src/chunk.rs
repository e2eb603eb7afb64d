//! Cutting files into chunks, and finding chunks again.
//!
//! Chunks are content-defined (FastCDC): a line added near the start of a large bundle of CRDs changes one or two
//! chunks, where cuts at fixed offsets would change every chunk after it. Files up to [`MIN_CHUNK`], which nearly all
//! manifests are, are one chunk each.

use std::{collections::HashMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{Digest, FileTree, Manifest};

/// No chunk is larger, in bytes.
pub const MAX_CHUNK: usize = 256 * 1024;
const AVERAGE_CHUNK: usize = 128 * 1024;
const MIN_CHUNK: usize = 64 * 1024;
/// How much of an older file around a chunk's place is taken as its dictionary: what was put in before it moved the rest.
const AROUND: usize = 64 * 1024;

/// A piece of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// SHA-256 of the piece.
    pub digest: Digest,
    /// Its size in bytes, 1 to [`MAX_CHUNK`].
    pub size: u32,
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

    /// What `older` holds about where a chunk is now: the same path, the same place and some around it. Both ends of a
    /// link find the same bytes, as long as they have the same manifest and the same older files. At most
    /// [`MAX_CHUNK`] and 128 KiB; none when the manifest does not name the chunk, or there is nothing.
    pub fn dictionary<'a>(&self, digest: &Digest, older: &'a FileTree) -> Option<&'a [u8]> {
        let place = self.places.get(digest)?;
        let data = &older.get(&place.path)?.data;
        let end = (place.offset + place.size + AROUND).min(data.len());
        let start = place.offset.saturating_sub(AROUND);
        data.get(start..end).filter(|bytes| !bytes.is_empty())
    }

    /// The bytes of a chunk; none when the manifest does not name it, or `tree` is not the manifest's.
    pub fn read<'a>(&self, tree: &'a FileTree, digest: &Digest) -> Option<&'a [u8]> {
        let place = self.places.get(digest)?;
        let data = &tree.get(&place.path)?.data;
        data.get(place.offset..place.offset + place.size)
    }
}

/// The chunks of a file whose digest is `whole`.
pub(crate) fn chunks(data: &[u8], whole: Digest) -> Vec<Chunk> {
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
