//! The files of one revision, in memory.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

/// One regular file. Only the executable bit of its mode is kept, as artifacts keep no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Whether any executable bit is set.
    pub executable: bool,
    /// The content.
    pub data: Arc<[u8]>,
}

impl File {
    /// A file that is not executable.
    pub fn plain(data: impl Into<Arc<[u8]>>) -> Self {
        File {
            executable: false,
            data: data.into(),
        }
    }
}

/// Regular files by relative path (`/`-separated, no `.`, `..` or empty segment).
///
/// Directories exist by having files in them. A path is never both a file and a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileTree {
    files: BTreeMap<String, File>,
    bytes: u64,
}

/// How much a tree that comes from outside may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sum of all file sizes in bytes.
    pub bytes: u64,
    /// Number of files.
    pub files: usize,
}

impl Default for Limits {
    /// 1 GiB and 500,000 files: above any monorepo of manifests, far below what takes a machine down.
    fn default() -> Self {
        Limits {
            bytes: 1 << 30,
            files: 500_000,
        }
    }
}

/// A path that no tree may hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Empty, absolute, with `.`, `..`, an empty segment, or a NUL byte.
    #[error("path {path:?} is not a plain relative path")]
    NotPlain {
        /// The path.
        path: String,
    },
    /// `a` and `a/b` cannot both be files.
    #[error("path {path:?} is both a file and a directory")]
    FileAndDirectory {
        /// The path of the file.
        path: String,
    },
}

impl FileTree {
    /// No files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file, replacing one of the same path.
    ///
    /// # Errors
    /// The path is not plain, or would be a file and a directory at once.
    pub fn insert(&mut self, path: impl Into<String>, file: File) -> Result<(), PathError> {
        let path = path.into();
        check_plain(&path)?;
        if self.is_dir(&path) {
            return Err(PathError::FileAndDirectory { path });
        }
        for (at, _) in path.match_indices('/') {
            if self.files.contains_key(&path[..at]) {
                return Err(PathError::FileAndDirectory {
                    path: path[..at].to_owned(),
                });
            }
        }
        self.bytes += file.data.len() as u64;
        if let Some(before) = self.files.insert(path, file) {
            self.bytes -= before.data.len() as u64;
        }
        Ok(())
    }

    /// Removes a file.
    pub fn remove(&mut self, path: &str) -> Option<File> {
        let file = self.files.remove(path)?;
        self.bytes -= file.data.len() as u64;
        Some(file)
    }

    /// The file of that path.
    pub fn get(&self, path: &str) -> Option<&File> {
        self.files.get(path)
    }

    /// Whether any file is below `path`. The empty path is the root, which always is one.
    pub fn is_dir(&self, path: &str) -> bool {
        path.is_empty() || self.below(path).next().is_some()
    }

    /// The names directly in `directory`, sorted, each once.
    pub fn list(&self, directory: &str) -> Vec<String> {
        let prefix = if directory.is_empty() { 0 } else { directory.len() + 1 };
        let mut names: Vec<String> = Vec::new();
        for (path, _) in self.below(directory) {
            let name = path[prefix..].split('/').next().unwrap_or_default();
            if names.last().is_none_or(|last| last != name) {
                names.push(name.to_owned());
            }
        }
        // "a.yaml" sorts between "a" and "a/b" by path, so one directory may come up twice.
        names.sort();
        names.dedup();
        names
    }

    /// Every file below `directory`, sorted by path.
    pub fn below(&self, directory: &str) -> impl Iterator<Item = (&str, &File)> {
        let prefix = if directory.is_empty() {
            String::new()
        } else {
            format!("{directory}/")
        };
        self.files
            .range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded))
            .map(|(path, file)| (path.as_str(), file))
            .take_while(move |(path, _)| path.starts_with(&prefix))
    }

    /// Every file, sorted by path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &File)> {
        self.files.iter().map(|(path, file)| (path.as_str(), file))
    }

    /// How many files.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// No file at all.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The sum of all file sizes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Whether `path` is relative and normal.
pub(crate) fn check_plain(path: &str) -> Result<(), PathError> {
    let plain = !path.contains('\0') && path.split('/').all(|segment| !matches!(segment, "" | "." | ".."));
    if plain {
        Ok(())
    } else {
        Err(PathError::NotPlain {
            path: path.chars().take(4096).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(paths: &[&str]) -> FileTree {
        let mut tree = FileTree::new();
        for path in paths {
            tree.insert(*path, File::plain(path.as_bytes())).unwrap();
        }
        tree
    }

    #[test]
    fn directories_exist_by_their_files() {
        let tree = tree(&["a.yaml", "a/b.yaml", "a/c/d.yaml", "a-b/e.yaml"]);
        assert!(tree.is_dir("") && tree.is_dir("a") && tree.is_dir("a/c"));
        assert!(!tree.is_dir("a.yaml") && !tree.is_dir("b") && !tree.is_dir("a/"));
        assert_eq!(tree.list(""), ["a", "a-b", "a.yaml"]);
        assert_eq!(tree.list("a"), ["b.yaml", "c"]);
        assert_eq!(tree.list("missing"), Vec::<String>::new());
    }

    #[test]
    fn bytes_are_counted_through_replacement_and_removal() {
        let mut tree = tree(&["abc"]);
        tree.insert("abc", File::plain(b"12345".as_slice())).unwrap();
        assert_eq!(tree.bytes(), 5);
        tree.remove("abc");
        assert_eq!((tree.bytes(), tree.len()), (0, 0));
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        let mut tree = tree(&["a/b"]);
        for path in ["", "/a", "a//b", "a/", "./a", "a/../b", "..", "a\0b"] {
            let result = tree.insert(path, File::plain(b"".as_slice()));
            assert!(matches!(result, Err(PathError::NotPlain { .. })), "{path:?}");
        }
        for path in ["a", "a/b/c"] {
            let result = tree.insert(path, File::plain(b"".as_slice()));
            assert!(matches!(result, Err(PathError::FileAndDirectory { .. })), "{path:?}");
        }
        assert_eq!(tree.len(), 1);
    }
}
