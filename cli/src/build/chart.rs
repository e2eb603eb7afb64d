//! A chart from this machine: a folder or an archive.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use nave_chart::{Chart, IgnoreRules, LoadLimits, load_archive, load_folder};

/// Reads a chart; links in a folder are followed.
///
/// # Errors
/// The files cannot be read, are too large, or are no chart.
pub fn read_chart(path: &Path) -> Result<Chart> {
    let limits = LoadLimits::default();
    let place = || path.display().to_string();
    if path.is_dir() {
        return load_folder(read_folder(path, &limits)?, &limits).with_context(place);
    }
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    load_archive(&bytes, &limits).with_context(place)
}

fn read_folder(top: &Path, limits: &LoadLimits) -> Result<Vec<(String, Vec<u8>)>> {
    let rules = top.join(".helmignore");
    let rules = match rules.is_file() {
        true => {
            let text = fs::read(&rules).with_context(|| format!("reading {}", rules.display()))?;
            IgnoreRules::parse(&String::from_utf8_lossy(&text)).with_context(|| rules.display().to_string())?
        }
        false => IgnoreRules::default(),
    };
    let mut files = Vec::new();
    let mut bytes = 0u64;
    // Folders above the one being read, so that a link to one of them is no endless walk.
    let mut folders: Vec<(PathBuf, String, HashSet<PathBuf>)> = vec![(top.to_owned(), String::new(), HashSet::new())];
    while let Some((folder, prefix, mut above)) = folders.pop() {
        let real = folder.canonicalize().with_context(|| format!("reading {}", folder.display()))?;
        ensure!(above.insert(real), "{} is a link to a folder that it is in", folder.display());
        for entry in fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))? {
            let path = entry.with_context(|| format!("listing {}", folder.display()))?.path();
            let name = path.file_name().unwrap_or_default();
            let name = format!("{prefix}{}", name.to_str().with_context(|| format!("{} is no text", path.display()))?);
            let metadata = fs::metadata(&path).with_context(|| format!("reading {}", path.display()))?;
            if metadata.is_dir() {
                if !rules.is_folder_ignored(&name) {
                    folders.push((path, format!("{name}/"), above.clone()));
                }
                continue;
            }
            if rules.is_ignored(&name) {
                continue;
            }
            ensure!(metadata.is_file(), "cannot load irregular file {}", path.display());
            bytes += metadata.len();
            ensure!(
                bytes <= limits.total_bytes && files.len() < limits.files,
                "chart {} exceeds {} bytes or {} files",
                top.display(),
                limits.total_bytes,
                limits.files
            );
            files.push((name, fs::read(&path).with_context(|| format!("reading {}", path.display()))?));
        }
    }
    Ok(files)
}
