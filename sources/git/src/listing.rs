//! The files of a commit by name, read one by one.

use gix::ObjectId;
use nave_artifact::{File, FileTree, Ignore, Limits, Listed};

use crate::{
    Checkout, Commit, GitError,
    cache::ObjectStore,
    session::Interrupt,
    tree::{ReadError, check_interrupt, lfs_pointers},
};

/// The selected files of a commit, whose contents are still in the store. Whoever holds it holds the remote's lock.
pub struct Listing<'a> {
    pub(crate) commit: Commit,
    pub(crate) commit_object: Vec<u8>,
    pub(crate) tag_object: Option<Vec<u8>>,
    pub(crate) gitmodules: Option<Vec<u8>>,
    pub(crate) links: Vec<(String, ObjectId)>,
    pub(crate) ignore: Ignore,
    pub(crate) files: Vec<Listed>,
    pub(crate) store: &'a ObjectStore,
    pub(crate) url: &'a str,
    pub(crate) limits: &'a Limits,
    pub(crate) interrupt: &'a Interrupt,
}

impl Listing<'_> {
    /// The files, sorted by path. Symbolic links and submodules are left out, as artifacts leave them out.
    pub fn files(&self) -> &[Listed] {
        &self.files
    }

    /// Whether all files together have at most `bytes` bytes; stops at the first one too many.
    ///
    /// # Errors
    /// The store is damaged, or the call was interrupted.
    pub fn fits(&self, bytes: u64) -> Result<bool, ReadError> {
        let mut left = bytes;
        for file in &self.files {
            check_interrupt(self.interrupt)?;
            match left.checked_sub(self.store.repository().find_header(id(file))?.size()) {
                Some(rest) => left = rest,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The content of one of the files.
    ///
    /// # Errors
    /// The store is damaged, the call was interrupted, or the file alone is larger than a tree may be.
    pub fn content(&self, file: &Listed) -> Result<Vec<u8>, ReadError> {
        check_interrupt(self.interrupt)?;
        self.check_bytes(self.store.repository().find_header(id(file))?.size())?;
        Ok(self.store.repository().find_object(id(file))?.detach().data)
    }

    /// Refuses more bytes than a tree may have.
    ///
    /// # Errors
    /// Just that.
    pub fn check_bytes(&self, bytes: u64) -> Result<(), ReadError> {
        if bytes <= self.limits.bytes {
            return Ok(());
        }
        Err(ReadError::Git(GitError::TooLarge {
            url: self.url.to_owned(),
            limit: self.limits.bytes,
            what: "bytes",
        }))
    }

    /// All files in memory, and which of them stand for content in Git LFS.
    ///
    /// # Errors
    /// As [`Listing::content`], and files that together are larger than a tree may be.
    pub fn tree(&self) -> Result<(FileTree, Vec<String>), ReadError> {
        let mut tree = FileTree::new();
        for file in &self.files {
            check_interrupt(self.interrupt)?;
            let size = self.store.repository().find_header(id(file))?.size();
            self.check_bytes(tree.bytes().saturating_add(size))?;
            let data = self.store.repository().find_object(id(file))?.detach().data;
            let read = File {
                executable: file.executable,
                data: data.into(),
            };
            tree.insert(&*file.path, read).map_err(|source| {
                ReadError::Git(GitError::Path {
                    commit: self.commit.id.clone(),
                    source,
                })
            })?;
        }
        let pointers = lfs_pointers(&tree);
        Ok((tree, pointers))
    }

    /// The commit with what was made of its files.
    pub(crate) fn into_checkout<F>(self, tree: F, lfs_pointers: Vec<String>) -> Checkout<F> {
        Checkout {
            commit: self.commit,
            commit_object: self.commit_object,
            tag_object: self.tag_object,
            tree,
            lfs_pointers,
            gitmodules: self.gitmodules,
            links: self.links,
            ignore: self.ignore,
        }
    }
}

fn id(file: &Listed) -> ObjectId {
    ObjectId::from_bytes_or_panic(&file.id[..20])
}
