//! A directory of this machine as the tree that a build reads.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use nave_kustomize::Tree;

/// Reads files when they are asked for, so that building one directory of a large repository reads that one.
#[derive(Debug)]
pub struct DiskTree {
    root: PathBuf,
}

impl DiskTree {
    /// Everything below a directory.
    ///
    /// # Errors
    /// A path that is no directory.
    pub fn below(directory: &Path) -> Result<DiskTree> {
        let root = resolved(directory)?;
        Ok(DiskTree { root })
    }

    /// The whole file system, where a base may lie anywhere, and the directory's place in it.
    ///
    /// # Errors
    /// A path that is no directory, or no text.
    pub fn everything(directory: &Path) -> Result<(DiskTree, String)> {
        let absolute = resolved(directory)?;
        let root = absolute.ancestors().last().unwrap_or(&absolute).to_owned();
        DiskTree::rooted(root, &absolute)
    }

    /// The repository around a directory, or the whole file system where there is none, and the directory's place in it.
    ///
    /// # Errors
    /// A path that is no directory, or no text.
    pub fn repository(directory: &Path) -> Result<(DiskTree, String)> {
        let absolute = resolved(directory)?;
        let repository = absolute.ancestors().find(|ancestor| ancestor.join(".git").exists());
        let root = repository
            .or(absolute.ancestors().last())
            .unwrap_or(&absolute)
            .to_owned();
        DiskTree::rooted(root, &absolute)
    }

    /// Where the tree begins.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn rooted(root: PathBuf, directory: &Path) -> Result<(DiskTree, String)> {
        let below = text_below(&root, directory).with_context(|| format!("{} is no text", directory.display()))?;
        Ok((DiskTree { root }, below))
    }

    fn path(&self, path: &str) -> PathBuf {
        if path.is_empty() {
            self.root.clone()
        } else {
            self.root.join(path)
        }
    }
}

impl Tree for DiskTree {
    fn read(&self, path: &str) -> Option<Cow<'_, [u8]>> {
        let path = self.path(path);
        // A directory can be opened on some systems, and fails only when it is read; a pipe would never end.
        if !path.is_file() {
            return None;
        }
        std::fs::read(path).ok().map(Cow::Owned)
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
        match self.path(path).canonicalize() {
            Ok(real) => text_below(&self.root, &real),
            // What does not exist leads nowhere else; whoever reads it says that it is missing.
            Err(_) => Some(path.to_owned()),
        }
    }
}

fn resolved(directory: &Path) -> Result<PathBuf> {
    let absolute = directory
        .canonicalize()
        .with_context(|| format!("opening {}", directory.display()))?;
    ensure!(absolute.is_dir(), "{} is no directory", directory.display());
    Ok(absolute)
}

/// The path as the engine names it; None outside of the root, or for a name that is no text.
fn text_below(root: &Path, path: &Path) -> Option<String> {
    let below = path.strip_prefix(root).ok()?;
    let parts: Option<Vec<&str>> = below.components().map(|part| part.as_os_str().to_str()).collect();
    parts.map(|parts| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_and_confined() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("a/b")).expect("a folder");
        std::fs::write(folder.path().join("outside"), "x").expect("a file");
        std::fs::write(root.join("a/file"), "x").expect("a file");
        let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, root.join(at)).expect("a link");
        link("a/b", "deep");
        link("../outside", "away");
        let tree = DiskTree::below(&root).expect("a directory");
        for (path, wanted) in [
            ("a/file", Some("a/file")),
            ("deep", Some("a/b")),
            ("deep/../x", Some("deep/../x")),
            ("away", None),
            ("missing", Some("missing")),
        ] {
            assert_eq!(tree.real_path(path).as_deref(), wanted, "{path}");
        }
        assert!(tree.read("a").is_none() && tree.is_dir("deep"));
    }
}
