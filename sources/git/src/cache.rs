//! The bare object store of one remote, on disk. It is a cache: whatever is wrong with it, it is made anew.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use gix::ObjectId;

use crate::GitError;

/// After so many fetches the store is started afresh: each left a pack, and nothing else ever removes old commits.
const MAX_FETCHES: usize = 64;

/// How many of the last commits are offered to the remote as known; one would do while branches do not jump.
const OFFERED: usize = 16;

/// The store of one remote. Whoever holds it holds the remote's lock.
pub(crate) struct ObjectStore {
    directory: PathBuf,
    repository: gix::Repository,
    /// Commits whose fetch was completed, oldest first.
    fetched: Vec<ObjectId>,
}

impl ObjectStore {
    /// Opens the store, making it when it is not there, damaged, or has grown old.
    pub fn open(directory: &Path) -> Result<Self, GitError> {
        if let Ok(store) = Self::open_existing(directory)
            && store.fetched.len() < MAX_FETCHES
        {
            return Ok(store);
        }
        Self::create(directory)
    }

    /// Throws away whatever is there and starts with nothing.
    pub fn create(directory: &Path) -> Result<Self, GitError> {
        let failed = |source| GitError::Cache {
            path: directory.display().to_string(),
            source,
        };
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        fs::create_dir_all(directory).map_err(failed)?;
        gix::init_bare(directory).map_err(|error| failed(io::Error::other(error)))?;
        Self::open_existing(directory).map_err(failed)
    }

    fn open_existing(directory: &Path) -> io::Result<Self> {
        // A killed fetch leaves its lock; nobody else holds it while the remote's lock is ours.
        match fs::remove_file(directory.join("shallow.lock")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let repository = gix::open_opts(directory, gix::open::Options::isolated()).map_err(io::Error::other)?;
        let fetched = match fs::read_to_string(directory.join(FETCHED)) {
            Ok(text) => text
                .lines()
                .map(|line| ObjectId::from_hex(line.as_bytes()).map_err(io::Error::other))
                .collect::<Result<_, _>>()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(ObjectStore {
            directory: directory.to_owned(),
            repository,
            fetched,
        })
    }

    /// Whether the commit was fetched whole.
    pub fn has(&self, commit: &ObjectId) -> bool {
        self.fetched.contains(commit)
    }

    /// Commits to offer to the remote, so that it sends only what differs.
    pub fn known(&self) -> impl Iterator<Item = &ObjectId> {
        self.fetched.iter().rev().take(OFFERED)
    }

    /// Notes that everything of a commit is there.
    pub fn complete(&mut self, commit: ObjectId) -> Result<(), GitError> {
        let append = || {
            let mut file = fs::File::options()
                .create(true)
                .append(true)
                .open(self.directory.join(FETCHED))?;
            writeln!(file, "{commit}")
        };
        append().map_err(|source| GitError::Cache {
            path: self.directory.display().to_string(),
            source,
        })?;
        self.fetched.push(commit);
        Ok(())
    }

    /// The repository.
    pub fn repository(&self) -> &gix::Repository {
        &self.repository
    }

    /// Opens the repository again, so that packs written since are seen.
    pub fn refresh(&mut self) -> Result<(), GitError> {
        let opened = Self::open_existing(&self.directory).map_err(|source| GitError::Cache {
            path: self.directory.display().to_string(),
            source,
        })?;
        *self = opened;
        Ok(())
    }
}

/// One commit per line; git itself does not look at it.
const FETCHED: &str = "nave-fetched";
