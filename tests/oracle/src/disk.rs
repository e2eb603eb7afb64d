//! Our own build of a directory on the disk.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use nave_kustomize::{Answers, LoadRestriction, Options, Reorder, Step, Tree, build};
use nave_object::yaml::write_documents;

/// The whole disk as a tree.
#[derive(Debug, Clone, Copy)]
pub struct Disk;

impl Tree for Disk {
    fn read(&self, path: &str) -> Option<Cow<'_, [u8]>> {
        let path = Path::new("/").join(path);
        if path.is_dir() {
            None
        } else {
            fs::read(path).ok().map(Cow::Owned)
        }
    }

    fn is_dir(&self, path: &str) -> bool {
        Path::new("/").join(path).is_dir()
    }

    fn list(&self, dir: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(Path::new("/").join(dir)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn real_path(&self, path: &str) -> Option<String> {
        let Ok(real) = Path::new("/").join(path).canonicalize() else {
            return Some(path.to_owned());
        };
        Some(real.to_str()?.trim_start_matches('/').to_owned())
    }
}

/// What came of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Built {
    /// The text.
    Text(String),
    /// The error.
    Failed(String),
    /// Needs something from the network, which a comparison has not.
    Remote,
}

/// Builds a directory as the command line tools do.
pub fn build_here(dir: &Path, restrict: bool) -> Built {
    let options = Options {
        load: if restrict {
            LoadRestriction::RootOnly
        } else {
            LoadRestriction::None
        },
        reorder: Reorder::Legacy,
        allow_remote: true,
        ..Options::default()
    };
    let path = dir.to_string_lossy();
    match build(&Disk, path.trim_start_matches('/'), &options, &Answers::new()) {
        Ok(Step::Done(objects)) => Built::Text(write_documents(objects.iter().map(|object| object.as_value()))),
        Ok(Step::Needs(_)) => Built::Remote,
        Err(error) => Built::Failed(error.to_string()),
    }
}
