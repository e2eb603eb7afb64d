//! Artifacts of the hub's sources as manifests and chunks, each made once for all agents.
//!
//! ```text
//! (artifact digest, include) ─► manifest digest ─► { manifest, files, where each chunk is }
//! ```
//!
//! The files stay in memory while a desired item names their manifest, so that an agent which lost its disk is served
//! even when the source has moved on. What nobody names goes after a while.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use nave_artifact::{ChunkIndex, Digest, FileTree, Include, IncludeError, Manifest};
use nave_proto::wire;
use prost::Message;

use crate::locked;

/// A manifest that was just made is named by no item yet; the plan that asked for it comes within this time.
const KEPT_UNNAMED: Duration = Duration::from_secs(120);
/// Files of all manifests together. A fleet of manifests takes a few MiB; what needs more than this needs `include`.
const MAX_BYTES: u64 = 512 << 20;

/// What was named until lately is a good dictionary for what came after it; agents that are away longer fetch whole
/// chunks. Both bounds together.
const RETIRED_FOR: Duration = Duration::from_secs(3600);
const MAX_RETIRED: u64 = 32 << 20;

/// What agents may be sent of one artifact.
#[derive(Debug)]
pub struct Served {
    /// Its digest: the fleet's name of this content.
    pub digest: Digest,
    /// Sum of the file sizes.
    pub bytes: u64,
    /// The manifest as it is sent.
    pub manifest: Arc<wire::Manifest>,
    index: ChunkIndex,
    tree: FileTree,
}

/// An artifact that cannot be cut down to a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// A glob is malformed.
    #[error("reading spec.source.include")]
    Include(#[from] IncludeError),
    /// Nothing is left.
    #[error("none of the {files} files of {revision} is matched by spec.source.include")]
    Nothing {
        /// How many files the artifact has.
        files: usize,
        /// Its revision.
        revision: String,
    },
    /// The manifest does not fit a message.
    #[error(
        "the manifest of {revision} takes {bytes} bytes, at most {} can be sent; narrow it with spec.source.include",
        nave_proto::MAX_MANIFEST
    )]
    ManifestTooLarge {
        /// The revision.
        revision: String,
        /// Its encoded size.
        bytes: usize,
    },
    /// Too much in memory.
    #[error(
        "the files of {revision} take {bytes} bytes; with those of other fleet objects this is more than {MAX_BYTES}; narrow it with spec.source.include"
    )]
    TooLarge {
        /// The revision.
        revision: String,
        /// The size of the files that are asked for.
        bytes: u64,
    },
}

/// Manifests in use, by their digest.
#[derive(Debug, Default)]
pub struct ManifestCache {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    by_request: HashMap<(Digest, Vec<String>), Digest>,
    served: HashMap<Digest, (Arc<Served>, Instant)>,
    /// Among them those that are kept as dictionaries only.
    retired: HashSet<Digest>,
    bytes: u64,
}

impl ManifestCache {
    /// The manifest of an artifact that was cut down before.
    pub fn known(&self, artifact: Digest, include: &[String]) -> Option<Arc<Served>> {
        let mut state = locked::mutex(&self.state);
        let digest = *state.by_request.get(&(artifact, include.to_vec()))?;
        let (served, asked) = state.served.get_mut(&digest)?;
        *asked = Instant::now();
        Some(served.clone())
    }

    /// Cuts an artifact down to the files asked for. Costs a digest of every byte: run it where it may block.
    pub fn make(
        &self,
        artifact: Digest,
        revision: &str,
        tree: &FileTree,
        include: &[String],
    ) -> Result<Arc<Served>, ArtifactError> {
        let served = Arc::new(Served::new(revision, tree, include)?);
        let mut state = locked::mutex(&self.state);
        state.retired.remove(&served.digest);
        if !state.served.contains_key(&served.digest) && state.bytes + served.bytes > MAX_BYTES {
            state.drop_retired();
        }
        if !state.served.contains_key(&served.digest) && state.bytes + served.bytes > MAX_BYTES {
            return Err(ArtifactError::TooLarge {
                revision: revision.to_owned(),
                bytes: served.bytes,
            });
        }
        state.by_request.insert((artifact, include.to_vec()), served.digest);
        let (digest, bytes) = (served.digest, served.bytes);
        match state.served.get_mut(&digest) {
            // Another commit with the same content: one copy is enough.
            Some((known, asked)) => {
                *asked = Instant::now();
                return Ok(known.clone());
            }
            None => state.served.insert(digest, (served.clone(), Instant::now())),
        };
        state.bytes += bytes;
        Ok(served)
    }

    /// What is served under a manifest's digest.
    pub fn get(&self, manifest: &Digest) -> Option<Arc<Served>> {
        locked::mutex(&self.state)
            .served
            .get(manifest)
            .map(|(served, _)| served.clone())
    }

    /// Drops what no desired item names and nobody asked for lately, but for the latest, which are dictionaries.
    pub fn collect(&self, named: &HashSet<Digest>, now: Instant) {
        self.collect_within(named, now, MAX_RETIRED);
    }

    fn collect_within(&self, named: &HashSet<Digest>, now: Instant, mut room: u64) {
        let mut state = locked::mutex(&self.state);
        let mut unnamed = Vec::new();
        for (digest, (served, asked)) in &mut state.served {
            if named.contains(digest) {
                *asked = now;
            } else if now.duration_since(*asked) >= KEPT_UNNAMED {
                unnamed.push((*asked, *digest, served.bytes));
            }
        }
        unnamed.sort_by_key(|(asked, ..)| std::cmp::Reverse(*asked));
        let (mut keep, mut drop) = (HashSet::new(), Vec::new());
        for (asked, digest, bytes) in unnamed {
            match room.checked_sub(bytes) {
                Some(rest) if now.duration_since(asked) < RETIRED_FOR => {
                    room = rest;
                    keep.insert(digest);
                }
                _ => drop.push(digest),
            }
        }
        state.retired = keep;
        drop.iter().for_each(|digest| state.remove(digest));
        state.forget_requests();
    }
}

impl State {
    fn drop_retired(&mut self) {
        for digest in std::mem::take(&mut self.retired) {
            self.remove(&digest);
        }
        self.forget_requests();
    }

    fn remove(&mut self, digest: &Digest) {
        if let Some((served, _)) = self.served.remove(digest) {
            self.bytes -= served.bytes;
        }
    }

    fn forget_requests(&mut self) {
        let State { by_request, served, .. } = self;
        by_request.retain(|_, digest| served.contains_key(digest));
    }
}

impl Served {
    fn new(revision: &str, tree: &FileTree, include: &[String]) -> Result<Self, ArtifactError> {
        let manifest = Manifest::of(tree, &Include::new(include)?);
        if manifest.files.is_empty() {
            return Err(ArtifactError::Nothing {
                files: tree.len(),
                revision: revision.to_owned(),
            });
        }
        let sent = wire_manifest(&manifest);
        let bytes = sent.encoded_len();
        if bytes > nave_proto::MAX_MANIFEST {
            return Err(ArtifactError::ManifestTooLarge {
                revision: revision.to_owned(),
                bytes,
            });
        }
        // File contents are shared with the tree that they come from, so this costs no copy.
        let mut kept = FileTree::new();
        for file in &manifest.files {
            if let Some(content) = tree.get(&file.path) {
                kept.insert(file.path.clone(), content.clone())
                    .expect("a subset of a sound tree is sound");
            }
        }
        Ok(Served {
            digest: manifest.digest(),
            bytes: manifest.bytes(),
            manifest: Arc::new(sent),
            index: ChunkIndex::new(&manifest),
            tree: kept,
        })
    }

    /// What an older artifact holds in the place of a chunk.
    pub fn dictionary<'a>(&self, chunk: &Digest, older: &'a Served) -> Option<&'a [u8]> {
        self.index.dictionary(chunk, &older.tree)
    }

    /// The bytes of a chunk, when the manifest names it.
    pub fn chunk(&self, digest: &Digest) -> Option<&[u8]> {
        self.index.read(&self.tree, digest)
    }
}

fn wire_manifest(manifest: &Manifest) -> wire::Manifest {
    let files = manifest.files.iter().map(|file| wire::ManifestFile {
        path: file.path.clone(),
        mode: file.mode,
        size: file.size,
        digest: file.digest.bytes().to_vec(),
        chunks: file
            .chunks
            .iter()
            .map(|chunk| wire::ManifestChunk {
                digest: chunk.digest.bytes().to_vec(),
                size: chunk.size,
            })
            .collect(),
    });
    wire::Manifest {
        files: files.collect(),
        evidence: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nave_artifact::File;

    fn tree(files: &[(&str, &str)]) -> FileTree {
        let mut tree = FileTree::new();
        for (path, content) in files {
            tree.insert(*path, File::plain(content.as_bytes().to_vec())).unwrap();
        }
        tree
    }

    fn artifact(number: u8) -> Digest {
        Digest::Sha256([number; 32])
    }

    #[test]
    fn equal_content_of_two_commits_is_one_manifest() {
        let cache = ManifestCache::default();
        let include = vec!["apps/**".to_owned()];
        let first = tree(&[("apps/a.yaml", "a"), ("README.md", "one")]);
        let second = tree(&[("apps/a.yaml", "a"), ("README.md", "two")]);
        let one = cache.make(artifact(1), "main@sha1:1", &first, &include).unwrap();
        let two = cache.make(artifact(2), "main@sha1:2", &second, &include).unwrap();
        assert!(Arc::ptr_eq(&one, &two));
        assert_eq!(locked::mutex(&cache.state).bytes, 1);
        assert!(cache.known(artifact(2), &include).is_some());
        assert!(cache.known(artifact(2), &[]).is_none());

        let chunk = Digest::sha256(b"a");
        assert_eq!(one.chunk(&chunk), Some(&b"a"[..]));
        assert_eq!(one.chunk(&Digest::sha256(b"one")), None, "left out by include");
        let read = wire::Manifest::read(&one.manifest.encode_to_vec()).unwrap();
        assert_eq!(read.files[0].path, "apps/a.yaml");
    }

    #[test]
    fn what_is_named_stays_and_the_rest_goes_after_a_while() {
        let cache = ManifestCache::default();
        let made = cache.make(artifact(1), "r", &tree(&[("a", "a")]), &[]).unwrap();
        let named = HashSet::from([made.digest]);
        let later = Instant::now() + KEPT_UNNAMED;
        cache.collect(&HashSet::new(), Instant::now());
        cache.collect(&named, later);
        assert!(cache.get(&made.digest).is_some());
        // It is a dictionary for a while, and makes room for what is needed.
        cache.collect(&HashSet::new(), later + KEPT_UNNAMED);
        assert!(cache.get(&made.digest).is_some());
        assert!(locked::mutex(&cache.state).retired.contains(&made.digest));
        cache.collect(&HashSet::new(), later + RETIRED_FOR);
        assert!(cache.get(&made.digest).is_none());
        assert!(cache.known(artifact(1), &[]).is_none());
        assert_eq!(locked::mutex(&cache.state).bytes, 0);
    }

    #[test]
    fn dictionaries_are_the_latest_and_few() {
        let cache = ManifestCache::default();
        let begun = Instant::now();
        let content = |number: u8| String::from(char::from(b'a' + number)).repeat(12);
        let mut made = Vec::new();
        for number in 0..4 {
            let one = cache.make(artifact(number), "r", &tree(&[("a", &content(number))]), &[]);
            made.push(one.unwrap().digest);
            // Named until the next one comes.
            let at = begun + Duration::from_secs(u64::from(number) + 1);
            cache.collect(&HashSet::from([made[usize::from(number)]]), at);
        }
        cache.collect_within(&HashSet::from([made[3]]), begun + KEPT_UNNAMED * 2, 30);
        let held: Vec<bool> = made.iter().map(|digest| cache.get(digest).is_some()).collect();
        assert_eq!(held, [false, true, true, true], "24 of 30 bytes");
        locked::mutex(&cache.state).drop_retired();
        let state = locked::mutex(&cache.state);
        assert_eq!((state.served.len(), state.by_request.len(), state.bytes), (1, 1, 12));
    }

    #[test]
    fn an_include_that_matches_nothing_is_an_error() {
        let cache = ManifestCache::default();
        let error = cache.make(artifact(1), "main@sha1:1", &tree(&[("a", "a")]), &["b/**".to_owned()]);
        assert_eq!(
            error.unwrap_err().to_string(),
            "none of the 1 files of main@sha1:1 is matched by spec.source.include"
        );
        let error = cache
            .make(artifact(1), "r", &tree(&[("a", "a")]), &["[".to_owned()])
            .unwrap_err();
        assert!(matches!(error, ArtifactError::Include(_)));
    }
}
