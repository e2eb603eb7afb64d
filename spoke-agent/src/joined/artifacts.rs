//! The files of an item: fetched as chunks, put together, and exposed as a Flux ExternalArtifact.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use nave_artifact::{Chunk, ChunkIndex, Digest, FileTree, Limits, Manifest, ManifestFile};
use nave_proto::wire;

use super::report::Refusal;

/// Chunks asked for at once: 16 of at most 256 KiB are 4 MiB in memory.
const CHUNKS_AT_ONCE: usize = 16;
/// Trees remembered to take unchanged chunks from: the current one of each item of a busy cluster.
const REMEMBERED: usize = 64;

/// The hub's side of the chunk stream.
pub trait Fetch: Send + Sync {
    /// The manifest with that digest.
    fn manifest<'a>(&'a self, digest: &'a [u8]) -> BoxFuture<'a, Result<wire::Manifest, String>>;
    /// Chunks of that manifest, in the order asked for. What the item had before may serve as a dictionary.
    fn chunks<'a>(
        &'a self,
        manifest: &'a [u8],
        digests: &'a [Vec<u8>],
        before: Option<Before<'a>>,
    ) -> BoxFuture<'a, Result<Vec<Vec<u8>>, String>>;
}

/// What an item had before.
#[derive(Clone, Copy)]
pub struct Before<'a> {
    /// Digest of its manifest.
    pub manifest: &'a [u8],
    /// What it holds in the place of a chunk, by the chunk's digest.
    pub dictionary: &'a (dyn Fn(&[u8]) -> Option<Bytes> + Sync),
}

/// A manifest and the files that it makes.
struct Whole {
    digest: Vec<u8>,
    manifest: Manifest,
    tree: Arc<FileTree>,
}

/// Held by whoever fetches a manifest.
type Turn = tokio::sync::Mutex<()>;

/// What was put together lately, so that the next revision costs only what changed, and items of one source share its
/// files.
#[derive(Clone, Default)]
pub struct Assembled {
    /// By item key.
    recent: Arc<Mutex<HashMap<String, Arc<Whole>>>>,
    /// Who is at a manifest, by its digest.
    turns: Arc<Mutex<HashMap<Vec<u8>, Weak<Turn>>>>,
}

impl Assembled {
    /// The files of manifest `digest`, for item `key`.
    pub async fn tree(&self, key: &str, digest: &[u8], fetch: &dyn Fetch) -> Result<Arc<FileTree>, Refusal> {
        // Items of one source come together: the first fetches, the others wait for it.
        let turn = self.turn_at(digest);
        let _turn = turn.lock().await;
        if let Some(tree) = self.known(key, digest) {
            return Ok(tree);
        }
        let before = self.recent().get(key).cloned();
        let whole = Arc::new(assemble(digest, before.as_deref(), fetch).await?);
        self.remember(key, &whole);
        Ok(whole.tree.clone())
    }

    /// The files of a manifest that this item or another one has.
    fn known(&self, key: &str, digest: &[u8]) -> Option<Arc<FileTree>> {
        let recent = self.recent();
        let own = recent.get(key).filter(|whole| whole.digest == digest);
        let whole = own
            .or_else(|| recent.values().find(|whole| whole.digest == digest))?
            .clone();
        drop(recent);
        self.remember(key, &whole);
        Some(whole.tree.clone())
    }

    fn remember(&self, key: &str, whole: &Arc<Whole>) {
        let mut recent = self.recent();
        if recent.len() >= REMEMBERED && !recent.contains_key(key) {
            recent.clear();
        }
        recent.insert(key.to_owned(), whole.clone());
    }

    fn turn_at(&self, digest: &[u8]) -> Arc<Turn> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = turns.get(digest).and_then(Weak::upgrade).unwrap_or_default();
        turns.insert(digest.to_vec(), Arc::downgrade(&turn));
        turn
    }

    fn recent(&self) -> MutexGuard<'_, HashMap<String, Arc<Whole>>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets an item that is gone.
    pub fn forget(&self, key: &str) {
        self.recent().remove(key);
    }
}

/// Fetches what is not in the files of `before`, and puts the files of a manifest together.
async fn assemble(digest: &[u8], before: Option<&Whole>, fetch: &dyn Fetch) -> Result<Whole, Refusal> {
    let failed = |message: String| Refusal {
        reason: "ArtifactFailed",
        message,
    };
    let manifest = read(fetch.manifest(digest).await.map_err(failed)?).map_err(failed)?;
    if manifest.digest().bytes() != digest {
        return Err(failed("the manifest is not the one that the item names".to_owned()));
    }
    let limits = Limits::default();
    manifest
        .check(&limits)
        .map_err(|error| failed(format!("the manifest is not sound: {error}")))?;
    let mut chunks: HashMap<Digest, Arc<[u8]>> = HashMap::new();
    let mut missing = Vec::new();
    let known = before.map(|before| (ChunkIndex::new(&before.manifest), &before.tree));
    for chunk in manifest.chunks() {
        match known.as_ref().and_then(|(index, tree)| index.read(tree, &chunk.digest)) {
            Some(bytes) => {
                chunks.insert(chunk.digest, bytes.into());
            }
            None => missing.push(chunk.digest),
        }
    }
    // A chunk that changed is mostly like what is held in its place.
    let places = ChunkIndex::new(&manifest);
    let dictionary = |chunk: &[u8]| {
        let chunk = Digest::Sha256(chunk.try_into().ok()?);
        places.dictionary(&chunk, &before?.tree).map(Bytes::copy_from_slice)
    };
    let held = before.map(|before| Before {
        manifest: &before.digest,
        dictionary: &dictionary,
    });
    for group in missing.chunks(CHUNKS_AT_ONCE) {
        let asked: Vec<Vec<u8>> = group.iter().map(|digest| digest.bytes().to_vec()).collect();
        let answers = fetch.chunks(digest, &asked, held).await.map_err(failed)?;
        for (digest, bytes) in group.iter().zip(answers) {
            chunks.insert(*digest, bytes.into());
        }
    }
    let tree = manifest
        .assemble(&limits, |digest| chunks.get(digest).cloned())
        .map_err(|error| failed(format!("putting the artifact together: {error}")))?;
    Ok(Whole {
        digest: digest.to_vec(),
        tree: Arc::new(tree),
        manifest,
    })
}

/// A manifest of the wire as one of ours; its digest is checked by the caller.
pub fn read(manifest: wire::Manifest) -> Result<Manifest, String> {
    let sha256 = |bytes: &[u8]| -> Result<Digest, String> {
        let hex: String = super::items::hex(bytes);
        format!("sha256:{hex}")
            .parse()
            .map_err(|error| format!("the manifest holds no digest: {error}"))
    };
    let mut files = Vec::with_capacity(manifest.files.len());
    for file in manifest.files {
        let mut chunks = Vec::with_capacity(file.chunks.len());
        for chunk in &file.chunks {
            chunks.push(Chunk {
                digest: sha256(&chunk.digest)?,
                size: chunk.size,
            });
        }
        files.push(ManifestFile {
            path: file.path,
            mode: file.mode,
            size: file.size,
            digest: sha256(&file.digest)?,
            chunks,
        });
    }
    Ok(Manifest { files })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nave_artifact::{File, Include};
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Hub {
        tree: FileTree,
        manifest: Manifest,
        asked: AtomicUsize,
        offered: Mutex<Vec<Offer>>,
    }

    /// A manifest that was offered with a fetch, and its dictionaries.
    type Offer = (Vec<u8>, Vec<Option<Bytes>>);

    impl Hub {
        fn new(files: &[(&str, &str)]) -> Self {
            let mut tree = FileTree::new();
            for (path, text) in files {
                tree.insert(*path, File::plain(text.as_bytes().to_vec())).unwrap();
            }
            let all: [&str; 0] = [];
            let manifest = Manifest::of(&tree, &Include::new(&all).unwrap());
            Hub {
                tree,
                manifest,
                asked: AtomicUsize::new(0),
                offered: Mutex::default(),
            }
        }
    }

    impl Fetch for Hub {
        fn manifest<'a>(&'a self, _digest: &'a [u8]) -> BoxFuture<'a, Result<wire::Manifest, String>> {
            let chunk = |chunk: &Chunk| wire::ManifestChunk {
                digest: chunk.digest.bytes().to_vec(),
                size: chunk.size,
            };
            let file = |file: &ManifestFile| wire::ManifestFile {
                path: file.path.clone(),
                mode: file.mode,
                size: file.size,
                digest: file.digest.bytes().to_vec(),
                chunks: file.chunks.iter().map(chunk).collect(),
            };
            let manifest = wire::Manifest {
                files: self.manifest.files.iter().map(file).collect(),
                evidence: vec![],
            };
            Box::pin(async move { Ok(manifest) })
        }

        fn chunks<'a>(
            &'a self,
            _manifest: &'a [u8],
            digests: &'a [Vec<u8>],
            before: Option<Before<'a>>,
        ) -> BoxFuture<'a, Result<Vec<Vec<u8>>, String>> {
            self.asked.fetch_add(digests.len(), Ordering::Relaxed);
            if let Some(before) = before {
                let dictionaries = digests.iter().map(|digest| (before.dictionary)(digest));
                let offered = (before.manifest.to_vec(), dictionaries.collect());
                self.offered.lock().unwrap().push(offered);
            }
            let index = ChunkIndex::new(&self.manifest);
            let find = |bytes: &Vec<u8>| {
                let digest = format!("sha256:{}", super::super::items::hex(bytes)).parse().unwrap();
                index.read(&self.tree, &digest).unwrap().to_vec()
            };
            let answers = digests.iter().map(find).collect();
            Box::pin(async move { Ok(answers) })
        }
    }

    #[tokio::test]
    async fn only_what_changed_is_asked_for() {
        let assembled = Assembled::default();
        let first = Hub::new(&[("a.yaml", "one"), ("b.yaml", "two"), ("c/d.yaml", "three")]);
        let tree = assembled
            .tree("k", first.manifest.digest().bytes(), &first)
            .await
            .unwrap();
        assert_eq!((tree.len(), first.asked.load(Ordering::Relaxed)), (3, 3));
        let second = Hub::new(&[("a.yaml", "one"), ("b.yaml", "2"), ("c/d.yaml", "three")]);
        let tree = assembled
            .tree("k", second.manifest.digest().bytes(), &second)
            .await
            .unwrap();
        assert_eq!(&*tree.get("b.yaml").unwrap().data, b"2");
        assert_eq!(second.asked.load(Ordering::Relaxed), 1);
        // What was there before is offered as a dictionary for it.
        assert!(first.offered.lock().unwrap().is_empty());
        let offered = second.offered.lock().unwrap().clone();
        let before = first.manifest.digest().bytes().to_vec();
        assert_eq!(offered, [(before, vec![Some(Bytes::from_static(b"two"))])]);
        assembled
            .tree("k", second.manifest.digest().bytes(), &second)
            .await
            .unwrap();
        assert_eq!(second.asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn items_of_one_source_fetch_it_once() {
        let assembled = Assembled::default();
        let hub = Hub::new(&[("a.yaml", "one"), ("b.yaml", "two")]);
        let digest = hub.manifest.digest();
        let trees = ["x", "y", "z"].map(|key| assembled.tree(key, digest.bytes(), &hub));
        let trees = futures::future::try_join_all(trees).await.unwrap();
        assert_eq!(hub.asked.load(Ordering::Relaxed), 2);
        assert!(trees.iter().all(|tree| Arc::ptr_eq(tree, &trees[0])));
        assembled.forget("x");
        assert!(assembled.known("y", digest.bytes()).is_some());
        for key in ["y", "z"] {
            assembled.forget(key);
        }
        assert!(assembled.known("y", digest.bytes()).is_none());
        assert!(assembled.turn_at(b"other").try_lock().is_ok());
        assert_eq!(assembled.turns.lock().unwrap().len(), 1, "who is done holds no turn");
    }

    #[tokio::test]
    async fn a_manifest_under_a_false_name_is_refused() {
        let hub = Hub::new(&[("a.yaml", "one")]);
        let error = Assembled::default().tree("k", &[1; 32], &hub).await.unwrap_err();
        assert_eq!(error.reason, "ArtifactFailed");
    }
}
