//! The files of a commit, straight from its tree objects.

use std::sync::atomic::Ordering;

use gix::{
    ObjectId,
    bstr::ByteSlice,
    objs::{Kind, tree::EntryKind},
};
use nave_artifact::{File, FileTree, IGNORE_FILE, Ignore, Limits};

use crate::{GitError, Resolved, Selection, cache::ObjectStore, session::Interrupt};

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

/// A commit with its selected files.
#[derive(Debug, Clone)]
pub struct Checkout {
    /// The commit.
    pub commit: Commit,
    /// Its files. Symbolic links and submodules are left out, as artifacts leave them out.
    pub tree: FileTree,
    /// The rules that left files out; whatever is added to the tree should be asked of them too.
    pub ignore: Ignore,
}

/// Reading a commit either fails for good, or because the store is damaged.
pub(crate) enum ReadError {
    Git(GitError),
    Damaged(String),
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

pub(crate) fn read(
    store: &ObjectStore,
    url: &str,
    resolved: &Resolved,
    commit: &ObjectId,
    selection: &Selection,
    limits: &Limits,
    interrupt: &Interrupt,
) -> Result<Checkout, ReadError> {
    let repository = store.repository();
    let object = repository.find_object(*commit)?;
    if object.kind != Kind::Commit {
        return Err(ReadError::Git(GitError::NotACommit {
            reference: resolved.reference.clone().unwrap_or_else(|| resolved.commit.clone()),
            url: url.to_owned(),
            kind: object.kind.to_string(),
        }));
    }
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
    };
    walk.tree(found.tree_id()?.detach(), "", 0)?;
    let entries = walk.entries;

    for directory in selection.sparse() {
        let inside = |entry: &Entry| {
            entry
                .path
                .strip_prefix(directory.as_bytes())
                .is_some_and(|rest| rest.starts_with(b"/"))
        };
        if !entries.iter().any(inside) {
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
    let mut tree = FileTree::new();
    for entry in &entries {
        if ignore.excludes(&entry.path.to_str_lossy()) {
            continue;
        }
        check_interrupt(interrupt)?;
        let Ok(path) = entry.path.to_str() else {
            return Err(ReadError::Git(GitError::NotText {
                commit: resolved.commit.clone(),
                path: entry.path.to_str_lossy().chars().take(512).collect(),
            }));
        };
        let too_large = |limit, what| {
            Err(ReadError::Git(GitError::TooLarge {
                url: url.to_owned(),
                limit,
                what,
            }))
        };
        if tree.len() >= limits.files {
            return too_large(limits.files as u64, "files");
        }
        let size = repository.find_header(entry.id)?.size();
        if tree.bytes().saturating_add(size) > limits.bytes {
            return too_large(limits.bytes, "bytes");
        }
        let file = File {
            executable: entry.executable,
            data: repository.find_object(entry.id)?.detach().data.into(),
        };
        tree.insert(path, file).map_err(|source| {
            ReadError::Git(GitError::Path {
                commit: resolved.commit.clone(),
                source,
            })
        })?;
    }
    Ok(Checkout {
        commit: Commit {
            id: resolved.commit.clone(),
            subject,
            seconds,
        },
        tree,
        ignore,
    })
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

fn check_interrupt(interrupt: &Interrupt) -> Result<(), ReadError> {
    if interrupt.load(Ordering::Relaxed) {
        return Err(ReadError::Git(GitError::Interrupted));
    }
    Ok(())
}
