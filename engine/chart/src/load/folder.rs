//! Charts as folders, with `.helmignore`.

use std::collections::BTreeMap;

use super::archive::without_mark;
use super::files::load_chart;
use super::{Budget, IgnoreRules, LoadError, LoadLimits};
use crate::text::clean_path;
use crate::{Chart, File};

/// Loads a chart from the files of a folder (paths with `/`, relative to it), in any order.
///
/// Files that `.helmignore` names are left out, and so are files in `templates/` that start with a dot.
///
/// # Errors
/// There is more than `limits` allow, `.helmignore` is broken, or there is no valid chart.
pub fn load_folder<P, D>(files: impl IntoIterator<Item = (P, D)>, limits: &LoadLimits) -> Result<Chart, LoadError>
where
    P: AsRef<str>,
    D: AsRef<[u8]>,
{
    let mut budget = Budget::new(limits);
    let mut sorted = BTreeMap::new();
    for (path, data) in files {
        let path = clean_path(path.as_ref());
        if path.starts_with('/') {
            return Err(LoadError::AbsolutePath { path });
        }
        if path.starts_with("..") {
            return Err(LoadError::ParentDirectory { path });
        }
        // A walk through folders sorts the names in each, which is not the order of whole paths.
        sorted.insert(path.split('/').map(str::to_owned).collect::<Vec<_>>(), data);
    }
    let rules = sorted.get([".helmignore".to_owned()].as_slice());
    let rules = rules.map_or(Ok(IgnoreRules::default()), |text| {
        IgnoreRules::parse(&String::from_utf8_lossy(without_mark(text.as_ref())))
    });
    let rules = rules.map_err(LoadError::Ignore)?;
    let mut kept = Vec::new();
    for (parts, data) in &sorted {
        let path = parts.join("/");
        if rules.is_ignored(&path) {
            continue;
        }
        let data = without_mark(data.as_ref());
        budget.take(&path, data.len() as u64)?;
        kept.push(File::new(path, data));
    }
    load_chart(kept, &mut budget, true)
}
