//! The files that a build reads: an in-memory tree, addressed by relative paths.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// An in-memory tree of files. Paths are relative, `/`-separated and normalised: no `.` or `..`,
/// no leading or trailing `/`; the empty path is the root.
///
/// The tree is the whole world: nothing above its root can be named.
pub trait Tree: Send + Sync {
    /// The bytes of a file; `None` when there is no file of that name.
    fn read(&self, path: &str) -> Option<Cow<'_, [u8]>>;
    /// Whether the path is a directory.
    fn is_dir(&self, path: &str) -> bool;
    /// The names in a directory, sorted; empty when it is none.
    fn list(&self, dir: &str) -> Vec<String>;
    /// Where a path leads once links are followed, which decides what may be read; `None` when that is
    /// outside of the tree. A path to nothing leads to itself.
    fn real_path(&self, path: &str) -> Option<String> {
        Some(path.to_owned())
    }
}

/// Files kept in memory. Cloning shares their bytes.
#[derive(Debug, Clone, Default)]
pub struct MemoryTree(BTreeMap<String, Arc<[u8]>>);

impl MemoryTree {
    /// A tree without files.
    pub fn new() -> MemoryTree {
        MemoryTree::default()
    }

    /// Adds or replaces a file; the path is normalised first.
    ///
    /// A path that leaves the root is kept out, and `false` is returned.
    pub fn insert(&mut self, path: &str, bytes: impl Into<Arc<[u8]>>) -> bool {
        match normalize("", path) {
            Some(path) if !path.is_empty() => {
                self.0.insert(path, bytes.into());
                true
            }
            _ => false,
        }
    }

    /// Removes a file.
    pub fn remove(&mut self, path: &str) -> Option<Arc<[u8]>> {
        self.0.remove(path)
    }

    /// Paths and bytes of all files, sorted by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Arc<[u8]>)> {
        self.0.iter().map(|(path, bytes)| (path.as_str(), bytes))
    }

    fn below<'a>(&'a self, dir: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let prefix = if dir.is_empty() {
            String::new()
        } else {
            format!("{dir}/")
        };
        let length = prefix.len();
        self.0
            .range(prefix.clone()..)
            .take_while(move |(path, _)| path.starts_with(&prefix))
            .map(move |(path, _)| &path[length..])
    }
}

impl<P: AsRef<str>, B: Into<Arc<[u8]>>> FromIterator<(P, B)> for MemoryTree {
    fn from_iter<T: IntoIterator<Item = (P, B)>>(files: T) -> MemoryTree {
        let mut tree = MemoryTree::new();
        for (path, bytes) in files {
            tree.insert(path.as_ref(), bytes);
        }
        tree
    }
}

impl Tree for MemoryTree {
    fn read(&self, path: &str) -> Option<Cow<'_, [u8]>> {
        self.0.get(path).map(|bytes| Cow::Borrowed(&bytes[..]))
    }

    fn is_dir(&self, path: &str) -> bool {
        path.is_empty() || self.below(path).next().is_some()
    }

    fn list(&self, dir: &str) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for rest in self.below(dir) {
            let name = rest.split('/').next().unwrap_or(rest);
            if names.last().is_none_or(|last| last != name) {
                names.push(name.to_owned());
            }
        }
        names.sort();
        names.dedup();
        names
    }
}

/// `path` seen from directory `base`, normalised; `None` when it leaves the root.
pub(crate) fn normalize(base: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = base.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// Whether `path` is `dir` or below it.
pub(crate) fn is_within(path: &str, dir: &str) -> bool {
    dir.is_empty()
        || path
            .strip_prefix(dir)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised_and_confined() {
        for (base, path, wanted) in [
            ("", "a/b", Some("a/b")),
            ("a/b", "../c/./d", Some("a/c/d")),
            ("a", "..", Some("")),
            ("a", "../..", None),
            ("", "a//b/", Some("a/b")),
        ] {
            assert_eq!(normalize(base, path).as_deref(), wanted, "{base} + {path}");
        }
        assert!(is_within("a/b", "a") && is_within("a", "a") && !is_within("ab", "a"));
    }

    #[test]
    fn directories_follow_from_files() {
        let tree: MemoryTree = [("a/x", "1"), ("a/b/y", "2"), ("a-z", "3")]
            .into_iter()
            .map(|(path, text)| (path, text.as_bytes()))
            .collect();
        assert_eq!(tree.list(""), ["a", "a-z"]);
        assert_eq!(tree.list("a"), ["b", "x"]);
        assert!(tree.is_dir("a/b") && !tree.is_dir("a/x") && !tree.is_dir("c"));
        assert_eq!(tree.read("a/x").as_deref(), Some(&b"1"[..]));
        assert!(!MemoryTree::new().insert("../x", &b""[..]));
    }
}
