//! `crds/yaml/` from the Rust types.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};

/// Writes one file per CRD; with `check`, fails instead when one is missing, stale or left over.
pub fn run(check: bool) -> Result<()> {
    let folder = Path::new("crds/yaml");
    let mut stale = Vec::new();
    let mut expected = Vec::new();
    fs::create_dir_all(folder)?;
    for crd in nave_crds::all() {
        let name = nave_crds::file_name(&crd);
        let path = folder.join(&name);
        let text = nave_crds::render(&crd);
        if fs::read_to_string(&path).ok().as_deref() != Some(&text) {
            stale.push(name.clone());
            if !check {
                fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
            }
        }
        expected.push(name);
    }
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".yaml") && !expected.contains(&name) {
            stale.push(name.clone());
            if !check {
                fs::remove_file(folder.join(&name))?;
            }
        }
    }
    ensure!(
        !check || stale.is_empty(),
        "stale: {}; run `cargo xtask crds` and commit the result",
        stale.join(", ")
    );
    println!(
        "{} custom resource definitions, {} changed",
        expected.len(),
        stale.len()
    );
    Ok(())
}
