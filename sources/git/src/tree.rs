//! The files of a commit, straight from its tree objects.

use std::sync::atomic::Ordering;

use gix::{
    ObjectId,
    bstr::ByteSlice,
    objs::{Kind, tree::EntryKind},
};
use nave_artifact::{FileTree, IGNORE_FILE, Ignore, Limits, Listed, sort_listed};

use crate::{GitError, Listing, Resolved, Selection, cache::ObjectStore, session::Interrupt};

/// What is told of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its hash, forty hexadecimal digits.
    pub id: String,
    /// The first line of its message.
    pub subject: String,
    /// When it was committed, in seconds since 1970.
    pub seconds: i64,
}

/// A commit with its selected files, or with what was made of them.
#[derive(Debug, Clone)]
pub struct Checkout<F = FileTree> {
    /// The commit.
    pub commit: Commit,
    /// The commit as git stores it, with its signature.
    pub commit_object: Vec<u8>,
    /// The annotated tag that led to it, likewise.
    pub tag_object: Option<Vec<u8>>,
    /// Its files. Symbolic links and submodules are left out, as artifacts leave them out.
    pub tree: F,
    /// Files that stand for content in Git LFS, which is not fetched.
    pub lfs_pointers: Vec<String>,
    pub(crate) gitmodules: Option<Vec<u8>>,
    /// Where commits of other repositories belong.
    pub(crate) links: Vec<(String, ObjectId)>,
    /// The rules that left files out; whatever is added to the tree should be asked of them too.
    pub ignore: Ignore,
}

impl<F> Checkout<F> {
    /// The same commit with something else in the place of its files.
    pub fn map<G>(self, change: impl FnOnce(F) -> G) -> Checkout<G> {
        Checkout {
            commit: self.commit,
            commit_object: self.commit_object,
            tag_object: self.tag_object,
            tree: change(self.tree),
            lfs_pointers: self.lfs_pointers,
            gitmodules: self.gitmodules,
            links: self.links,
            ignore: self.ignore,
        }
    }
}

/// Reading a commit either fails for good, or because the cache is damaged.
#[derive(Debug)]
pub enum ReadError {
    /// For good.
    Git(GitError),
    /// The cache is damaged, in words for a log. It is made anew once, and the commit read again.
    Damaged(String),
}

impl From<std::io::Error> for ReadError {
    fn from(error: std::io::Error) -> Self {
        ReadError::Git(GitError::Writing { source: error })
    }
}

impl From<GitError> for ReadError {
    fn from(error: GitError) -> Self {
        ReadError::Git(error)
    }
}

impl From<gix::Error> for ReadError {
    fn from(error: gix::Error) -> Self {
        ReadError::Damaged(crate::session::chain(&error))
    }
}

/// Deeper trees than this are an attack: git itself stops at path lengths that allow far fewer.
const MAX_DEPTH: usize = 256;

/// The selected files of a commit, none of them read but ignore files.
pub(crate) fn list<'a>(
    store: &'a ObjectStore,
    url: &'a str,
    resolved: &Resolved,
    commit: &ObjectId,
    selection: &Selection,
    limits: &'a Limits,
    interrupt: &'a Interrupt,
) -> Result<Listing<'a>, ReadError> {
    let repository = store.repository();
    let object = repository.find_object(*commit)?;
    if object.kind != Kind::Commit {
        return Err(ReadError::Git(GitError::NotACommit {
            reference: resolved.reference.clone().unwrap_or_else(|| resolved.commit.clone()),
            url: url.to_owned(),
            kind: object.kind.to_string(),
        }));
    }
    let commit_object = object.data.clone();
    let tag_object = match &resolved.tag {
        None => None,
        Some(tag) => Some(tag_object(repository, url, resolved, commit, tag)?),
    };
    let found = object.try_into_commit()?;
    let subject = found
        .message_raw_sloppy()
        .to_str_lossy()
        .trim_start()
        .lines()
        .next()
        .unwrap_or_default()
        .trim_end()
        .to_owned();
    let seconds = found.time()?.seconds;
    let mut walk = Walk {
        repository,
        url,
        commit: &resolved.commit,
        selection,
        limits,
        interrupt,
        visited: 0,
        entries: Vec::new(),
        links: Vec::new(),
    };
    let root = found.tree_id()?.detach();
    walk.tree(root, "", 0)?;
    let (entries, links) = (walk.entries, walk.links);
    let gitmodules = if links.is_empty() {
        None
    } else {
        gitmodules(repository, root)?
    };

    for directory in selection.sparse() {
        let inside = |entry: &Entry| {
            entry
                .path
                .strip_prefix(directory.as_bytes())
                .is_some_and(|rest| rest.starts_with(b"/"))
        };
        // Whether it is within a submodule, or a submodule is within it.
        let below = |path: &str, place: &str| {
            path.strip_prefix(place)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let in_submodule = |(path, _): &(String, ObjectId)| {
            selection.is_everything() && (below(directory, path) || below(path, directory))
        };
        if !entries.iter().any(inside) && !links.iter().any(in_submodule) {
            return Err(ReadError::Git(GitError::SparsePath {
                path: directory.clone(),
                revision: resolved.revision.clone(),
            }));
        }
    }

    let mut rules = Vec::new();
    for entry in &entries {
        let path = entry.path.to_str_lossy();
        if path.rsplit('/').next() == Some(IGNORE_FILE) {
            rules.push((path.into_owned(), repository.find_object(entry.id)?.detach().data));
        }
    }
    let ignore = Ignore::new(
        rules.iter().map(|(path, data)| (path.as_str(), data.as_slice())),
        selection.ignore(),
    );
    let mut files = Vec::with_capacity(entries.len());
    for entry in entries {
        if !selection.is_everything() && ignore.excludes(&entry.path.to_str_lossy()) {
            continue;
        }
        check_interrupt(interrupt)?;
        let Ok(path) = entry.path.to_str() else {
            return Err(ReadError::Git(GitError::NotText {
                commit: resolved.commit.clone(),
                path: entry.path.to_str_lossy().chars().take(512).collect(),
            }));
        };
        if files.len() >= limits.files {
            return Err(ReadError::Git(GitError::TooLarge {
                url: url.to_owned(),
                limit: limits.files as u64,
                what: "files",
            }));
        }
        let mut id = [0; 32];
        id[..entry.id.as_slice().len()].copy_from_slice(entry.id.as_slice());
        files.push(Listed {
            path: path.into(),
            executable: entry.executable,
            id,
        });
    }
    sort_listed(&mut files).map_err(|source| {
        ReadError::Git(GitError::Path {
            commit: resolved.commit.clone(),
            source,
        })
    })?;
    Ok(Listing {
        commit: Commit {
            id: resolved.commit.clone(),
            subject,
            seconds,
        },
        commit_object,
        tag_object,
        gitmodules,
        links,
        ignore,
        files,
        store,
        url,
        limits,
        interrupt,
    })
}

/// Whether a file stands for content in Git LFS.
pub fn is_lfs_pointer(data: &[u8]) -> bool {
    data.len() < MAX_LFS_POINTER && data.starts_with(LFS_POINTER)
}

/// How a pointer file begins, and how large one is at most (git-lfs, docs/spec.md).
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";
const MAX_LFS_POINTER: usize = 1024;

pub(crate) fn lfs_pointers(tree: &FileTree) -> Vec<String> {
    tree.iter()
        .filter(|(_, file)| is_lfs_pointer(&file.data))
        .map(|(path, _)| path.to_owned())
        .collect()
}

fn gitmodules(repository: &gix::Repository, root: ObjectId) -> Result<Option<Vec<u8>>, ReadError> {
    for entry in repository.find_tree(root)?.iter() {
        let entry = entry?;
        if entry.filename() == ".gitmodules" && entry.mode().is_blob() {
            let size = repository.find_header(entry.object_id())?.size();
            return Ok(if size <= crate::submodule::MAX_GITMODULES {
                Some(repository.find_object(entry.object_id())?.detach().data)
            } else {
                None
            });
        }
    }
    Ok(None)
}

fn tag_object(
    repository: &gix::Repository,
    url: &str,
    resolved: &Resolved,
    commit: &ObjectId,
    tag: &str,
) -> Result<Vec<u8>, ReadError> {
    let id = ObjectId::from_hex(tag.as_bytes()).map_err(|error| ReadError::Damaged(error.to_string()))?;
    let object = repository.find_object(id)?;
    // The remote says which tag leads to which commit; whoever signed the tag signed what stands in it.
    let leads = object.kind == Kind::Tag
        && gix::objs::TagRef::from_bytes(&object.data, gix::hash::Kind::Sha1)
            .is_ok_and(|tag| tag.target_kind == Kind::Tag || tag.target() == *commit);
    if !leads {
        return Err(ReadError::Git(GitError::NotACommit {
            reference: resolved.reference.clone().unwrap_or_else(|| tag.to_owned()),
            url: url.to_owned(),
            kind: format!("tag {tag} of something else than commit {}", resolved.commit),
        }));
    }
    Ok(object.detach().data)
}

struct Entry {
    path: Vec<u8>,
    id: ObjectId,
    executable: bool,
}

struct Walk<'a> {
    repository: &'a gix::Repository,
    url: &'a str,
    commit: &'a str,
    selection: &'a Selection,
    limits: &'a Limits,
    interrupt: &'a Interrupt,
    visited: usize,
    entries: Vec<Entry>,
    links: Vec<(String, ObjectId)>,
}

impl Walk<'_> {
    fn tree(&mut self, id: ObjectId, directory: &str, depth: usize) -> Result<(), ReadError> {
        check_interrupt(self.interrupt)?;
        if depth > MAX_DEPTH {
            return Err(self.too_large(MAX_DEPTH as u64, "levels of directories"));
        }
        let tree = self.repository.find_tree(id)?;
        for entry in tree.iter() {
            let entry = entry?;
            self.visited += 1;
            // A tree may name the same subtree many times over, level after level, and so unfold without end.
            if self.visited / 8 > self.limits.files {
                return Err(self.too_large(8 * self.limits.files as u64, "entries"));
            }
            let name = entry.filename();
            let mut path = directory.as_bytes().to_vec();
            if !directory.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            let shown = path.to_str_lossy();
            match entry.mode().kind() {
                EntryKind::Tree if self.selection.enters(&shown) => {
                    let Ok(text) = path.to_str() else {
                        return Err(ReadError::Git(GitError::NotText {
                            commit: self.commit.to_owned(),
                            path: shown.chars().take(512).collect(),
                        }));
                    };
                    self.tree(entry.object_id(), text, depth + 1)?;
                }
                kind @ (EntryKind::Blob | EntryKind::BlobExecutable) if self.selection.holds(&shown) => {
                    self.entries.push(Entry {
                        id: entry.object_id(),
                        executable: kind == EntryKind::BlobExecutable,
                        path,
                    });
                }
                EntryKind::Commit if self.selection.enters(&shown) => {
                    self.links.push((shown.into_owned(), entry.object_id()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn too_large(&self, limit: u64, what: &'static str) -> ReadError {
        ReadError::Git(GitError::TooLarge {
            url: self.url.to_owned(),
            limit,
            what,
        })
    }
}

pub(crate) fn check_interrupt(interrupt: &Interrupt) -> Result<(), ReadError> {
    if interrupt.load(Ordering::Relaxed) {
        return Err(ReadError::Git(GitError::Interrupted));
    }
    Ok(())
}
