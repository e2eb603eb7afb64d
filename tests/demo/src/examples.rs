//! `fleet-examples/` as files in memory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use nave_object::yaml::{self, Dialect};
use serde_json::Value;

/// The folder `fleet-examples` of this checkout.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("tests/demo lies two folders below the root")
        .join("fleet-examples")
}

/// All files below `folder`, with paths relative to it, sorted.
pub fn files(folder: &Path) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(&next).with_context(|| format!("reading {}", next.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let name = path
                    .strip_prefix(folder)
                    .expect("it was found below the folder")
                    .to_string_lossy()
                    .into_owned();
                found.push((name, fs::read_to_string(&path)?));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The objects of a YAML file.
pub fn objects(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    yaml::read_documents(&text, Dialect::K8s).with_context(|| format!("reading {}", path.display()))
}
