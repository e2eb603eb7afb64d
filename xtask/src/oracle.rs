//! `cargo xtask oracle kustomize DIR…`: builds each directory with the reference and with ours.
//!
//! Where Go is missing, the command fails: an oracle that silently says nothing proves nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nave_oracle::{Built, Kustomize, Verdict, build_here, compare};

/// Compares directories; `recursive` takes every directory below that has a kustomization file.
///
/// # Errors
/// The reference cannot be built or run, or a directory builds differently.
pub fn run(dirs: &[PathBuf], recursive: bool, restrict: bool) -> Result<()> {
    let mut found: Vec<PathBuf> = Vec::new();
    for dir in dirs {
        let dir = dir
            .canonicalize()
            .with_context(|| format!("finding {}", dir.display()))?;
        if recursive {
            collect(&dir, &mut found)?
        } else {
            found.push(dir)
        }
    }
    found.sort();
    let mut oracle = Kustomize::start()?;
    let mut totals: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut good = true;
    for dir in &found {
        let verdict = match build_here(dir, restrict) {
            // The oracle would try to fetch.
            Built::Remote => Verdict::Remote,
            ours => compare(&ours, &oracle.build(dir, restrict)?),
        };
        *totals.entry(verdict.name()).or_default() += 1;
        if !verdict.is_good() {
            good = false;
            println!("{}: {}\n{}", verdict.name(), dir.display(), verdict.detail());
        }
    }
    let summary: Vec<String> = totals
        .iter()
        .map(|(verdict, count)| format!("{count} {verdict}"))
        .collect();
    println!("{} directories: {}", found.len(), summary.join(", "));
    ensure!(good, "some directories build differently");
    Ok(())
}

/// Records what the reference makes of golden cases: `<case>/in` gives `<case>/want.yaml` or
/// `<case>/want-error`, and `<case>/want-warnings` where it warns.
///
/// A case whose name starts with `confined-` is built with the load restriction.
///
/// # Errors
/// The reference cannot be built or run.
pub fn record(cases: &[PathBuf]) -> Result<()> {
    let mut oracle = Kustomize::start()?;
    for case in cases {
        let case = case
            .canonicalize()
            .with_context(|| format!("finding {}", case.display()))?;
        let name = case.file_name().unwrap_or_default().to_string_lossy();
        let input = case.join("in");
        let answer = oracle.build(&input, name.starts_with("confined-"))?;
        let (file, other, text) = match answer.result {
            Ok(text) => ("want.yaml", "want-error", text),
            Err(error) => ("want-error", "want.yaml", format!("{error}\n")),
        };
        let text = text
            .replace(&*input.to_string_lossy(), "IN")
            .replace(&*case.to_string_lossy(), "CASE");
        // What ours says, where a person has written it down, is not the reference's to replace.
        let ours = fs::read_to_string(case.join(file)).unwrap_or_default();
        if !ours.starts_with("nave: ") {
            write(&case.join(file), Some(text))?;
        }
        write(&case.join(other), None)?;
        let warnings: String = answer.warnings.iter().map(|line| format!("{line}\n")).collect();
        write(
            &case.join("want-warnings"),
            Some(warnings).filter(|text| !text.is_empty()),
        )?;
        println!("{name} {file}");
    }
    Ok(())
}

fn write(path: &Path, text: Option<String>) -> Result<()> {
    match text {
        Some(text) => fs::write(path, text).with_context(|| format!("writing {}", path.display())),
        None if path.exists() => fs::remove_file(path).with_context(|| format!("removing {}", path.display())),
        None => Ok(()),
    }
}

fn collect(dir: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    let names = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
    if names.iter().any(|name| dir.join(name).is_file()) {
        into.push(dir.to_owned());
    }
    for entry in fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), into)?;
        }
    }
    Ok(())
}
