//! The directory that is built, and how errors name what lies in it.

use std::path::{Path, PathBuf};

use anyhow::Result;
use nave_kustomize::{BuildError, Tree};

use super::disk_tree::DiskTree;

/// A directory in a tree.
pub struct Place {
    pub tree: Box<dyn Tree>,
    /// Relative to the tree's root.
    pub directory: String,
    /// As the reader typed it.
    pub name: String,
    /// Where the tree begins on this machine; none for a tree that came from elsewhere.
    root: Option<PathBuf>,
}

impl Place {
    /// A directory of which bases may lie anywhere on this machine.
    ///
    /// # Errors
    /// A path that is no directory.
    pub fn anywhere(path: &Path) -> Result<Place> {
        Ok(Place::on_disk(path, DiskTree::everything(path)?))
    }

    /// A directory of which bases lie in the same repository.
    ///
    /// # Errors
    /// A path that is no directory.
    pub fn in_repository(path: &Path) -> Result<Place> {
        Ok(Place::on_disk(path, DiskTree::repository(path)?))
    }

    /// A directory of a tree that came from elsewhere.
    pub fn remote(tree: Box<dyn Tree>, directory: String, url: &str) -> Place {
        Place {
            tree,
            directory,
            name: url.to_owned(),
            root: None,
        }
    }

    fn on_disk(path: &Path, (tree, directory): (DiskTree, String)) -> Place {
        Place {
            root: Some(tree.root().to_owned()),
            tree: Box::new(tree),
            directory,
            name: path.display().to_string(),
        }
    }

    /// An error of the engine with files named as the reader would name them: from where the command runs, or in full.
    pub fn localize(&self, mut error: BuildError) -> BuildError {
        let Some(root) = &self.root else { return error };
        let here = std::env::current_dir().and_then(|path| path.canonicalize()).ok();
        let local = |path: &mut String| {
            if !path.is_empty() && !path.contains("://") {
                let whole = root.join(&*path);
                let short = here.as_ref().and_then(|here| whole.strip_prefix(here).ok());
                *path = short.unwrap_or(&whole).display().to_string();
            }
        };
        local(&mut error.file);
        error.from.iter_mut().for_each(local);
        error
    }
}
