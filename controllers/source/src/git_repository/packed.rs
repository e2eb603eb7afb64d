//! From the files of a commit to its tarball: small trees by memory, large ones file by file, with what has not changed
//! copied from the tarball before.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::FileExt,
    sync::{Arc, Mutex, PoisonError},
};

use nave_artifact::{Content, FileTree, Layout, repack};
use nave_git::{Listing, ReadError, is_lfs_pointer};
use nave_store::{Draft, Owner, PutError, Store, StoredArtifact};

/// Trees of at most so many bytes are held in memory, where those who build from them find them: two of them fill the
/// store's cache.
const IN_MEMORY: u64 = 8 << 20;

/// The files of a revision on their way into the store.
pub(crate) enum Files {
    /// In memory.
    Tree(FileTree),
    /// Packed already.
    Packed(Box<Packed>),
}

/// A tarball without a name.
pub(crate) struct Packed {
    draft: Draft,
    layout: Layout,
}

/// How the last tarball of each object is laid out. Lost with the process: the next one is then packed whole.
#[derive(Default)]
pub(crate) struct PackedTrees {
    last: Mutex<HashMap<String, Arc<Last>>>,
}

struct Last {
    path: String,
    layout: Layout,
}

impl PackedTrees {
    /// What makes [`Files`] of a listing.
    pub async fn packer(
        &self,
        store: &Store,
        key: &str,
        owner: &Owner,
    ) -> impl FnMut(&Listing<'_>) -> Result<(Files, Vec<String>), ReadError> + Send + 'static {
        let last = self.lock().get(key).cloned();
        let file = match &last {
            None => None,
            Some(last) => store.open_file(&last.path).await.ok(),
        };
        let (store, owner) = (store.clone(), owner.clone());
        move |listing| {
            if listing.fits(IN_MEMORY)? {
                let (tree, pointers) = listing.tree()?;
                return Ok((Files::Tree(tree), pointers));
            }
            let draft = store.draft(&owner).map_err(std::io::Error::other)?;
            let before = last.as_ref().zip(file.as_ref());
            let (packed, pointers) = pack(listing, before.map(|(last, file)| (&last.layout, file)), draft)?;
            Ok((Files::Packed(Box::new(packed)), pointers))
        }
    }

    /// Puts the files into the store, and remembers how they lie there.
    pub async fn store(
        &self,
        store: &Store,
        key: &str,
        owner: &Owner,
        file_name: &str,
        files: Files,
    ) -> Result<StoredArtifact, PutError> {
        match files {
            Files::Tree(tree) => {
                self.forget(key);
                store.put_tree(owner, file_name, Arc::new(tree)).await
            }
            Files::Packed(packed) => {
                let stored = store.put_draft(owner, file_name, packed.draft).await?;
                let last = Last {
                    path: stored.path.clone(),
                    layout: packed.layout,
                };
                self.lock().insert(key.to_owned(), Arc::new(last));
                Ok(stored)
            }
        }
    }

    /// The object is gone.
    pub fn forget(&self, key: &str) {
        self.lock().remove(key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Last>>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pack(
    listing: &Listing<'_>,
    before: Option<(&Layout, &fs::File)>,
    draft: Draft,
) -> Result<(Packed, Vec<String>), ReadError> {
    let mut bytes = 0;
    let (draft, done) = repack(
        listing.files(),
        before.map(|(layout, _)| layout),
        |at, length| {
            let (_, file) = before.expect("only what is laid out is read");
            let length = usize::try_from(length).map_err(std::io::Error::other)?;
            let mut stretch = vec![0; length];
            file.read_exact_at(&mut stretch, at)?;
            Ok(stretch)
        },
        |file| {
            let data = listing.content(file)?;
            bytes += data.len() as u64;
            listing.check_bytes(bytes)?;
            let marked = is_lfs_pointer(&data);
            Ok::<_, ReadError>(Content { data, marked })
        },
        draft,
    )?;
    // Of what was copied, sizes are known only now, and with the archive's headers.
    listing.check_bytes(done.plain.saturating_sub(1024 * listing.files().len() as u64))?;
    tracing::debug!(
        files = listing.files().len(),
        copied = done.copied,
        "packed a tree that is too large for memory"
    );
    let pointers = done.marked.iter().map(|path| String::from(&**path)).collect();
    let packed = Packed {
        draft,
        layout: done.layout,
    };
    Ok((packed, pointers))
}
