//! A directory of this machine as the tree that a build reads.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use nave_kustomize::Tree;

/// Reads files when they are asked for, so that building one directory of a large repository reads that one.
///
/// The root is the repository that the directory lies in, or the root of the file system, because a base may lie
/// beside or above what is built.
#[derive(Debug)]
pub struct DiskTree {
    root: PathBuf,
}

impl DiskTree {
    /// The tree around a directory, and the directory's place in it.
    ///
    /// # Errors
    /// A path that is no directory.
    pub fn around(directory: &Path) -> Result<(DiskTree, String)> {
        let what = || format!("opening {}", directory.display());
        let absolute = directory.canonicalize().with_context(what)?;
        anyhow::ensure!(absolute.is_dir(), "{} is no directory", directory.display());
        let repository = absolute.ancestors().find(|ancestor| ancestor.join(".git").exists());
        let root = repository
            .or(absolute.ancestors().last())
            .unwrap_or(&absolute)
            .to_owned();
        let below = absolute.strip_prefix(&root).expect("an ancestor is a prefix");
        let parts: Option<Vec<&str>> = below.components().map(|part| part.as_os_str().to_str()).collect();
        let below = parts
            .with_context(|| format!("{} is no text", below.display()))?
            .join("/");
        Ok((DiskTree { root }, below))
    }

    fn path(&self, path: &str) -> PathBuf {
        path.split('/')
            .filter(|part| !part.is_empty())
            .fold(self.root.clone(), |whole, part| whole.join(part))
    }
}

impl Tree for DiskTree {
    fn read(&self, path: &str) -> Option<Cow<'_, [u8]>> {
        let path = self.path(path);
        // A directory can be opened on some systems, and fails only when it is read.
        if !path.is_file() {
            None
        } else {
            std::fs::read(path).ok().map(Cow::Owned)
        }
    }

    fn is_dir(&self, path: &str) -> bool {
        self.path(path).is_dir()
    }

    fn list(&self, dir: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(dir)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    fn real_path(&self, path: &str) -> Option<String> {
        let Ok(real) = self.path(path).canonicalize() else {
            return Some(path.to_owned());
        };
        Some(real.strip_prefix(&self.root).ok()?.to_str()?.to_owned())
    }
}
