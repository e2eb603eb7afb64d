//! A rendering as files, for `--output-dir`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Component, Path},
};

use anyhow::{Context, Result, ensure};
use nave_chart::{Printing, Rendered};

/// Writes each template's documents into a file of its path below `folder`, and says which files were written.
///
/// `release` names a folder in between for all but definitions in `crds/`.
///
/// # Errors
/// A file cannot be written, or its path leads out of the folder.
pub fn write(rendered: &Rendered, printing: &Printing, folder: &Path, release: Option<&str>) -> Result<String> {
    let below = match release {
        Some(name) => folder.join(name),
        None => folder.to_owned(),
    };
    let mut files = BTreeMap::<_, String>::new();
    let mut order = Vec::new();
    let mut add = |folder: &Path, path: &str, content: &str| {
        let leads_below = Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        ensure!(leads_below, "{path:?} leads out of the folder");
        let file = folder.join(path);
        if !files.contains_key(&file) {
            order.push(file.clone());
        }
        let text = files.entry(file).or_default();
        text.push_str(&format!("---\n# Source: {path}\n{content}\n"));
        Ok(())
    };
    for crd in rendered.crds.iter().filter(|_| printing.crds) {
        add(folder, &crd.path, &String::from_utf8_lossy(&crd.file.data))?;
    }
    for manifest in &rendered.manifests {
        add(&below, &manifest.source, &manifest.text)?;
    }
    let hooks = rendered.hooks.iter().filter(|_| printing.hooks);
    for hook in hooks.filter(|hook| printing.tests || !hook.is_test()) {
        add(&below, &hook.path, &hook.manifest)?;
    }
    let mut said = String::new();
    for file in order {
        let parent = file.parent().unwrap_or(folder);
        fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        fs::write(&file, &files[&file]).with_context(|| format!("writing {}", file.display()))?;
        said.push_str(&format!("wrote {}\n", file.display()));
    }
    Ok(said)
}
