//! Folders are layers: a crate names only what stands to its left.

use std::{collections::BTreeMap, path::Path, process::Command};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// From left to right. Rooms of one row never name each other, but crates of one room may where the row says so.
const ROWS: &[(&[&str], SameRoom)] = &[
    (&["engine", "crds"], SameRoom::Allowed),
    (&["net"], SameRoom::Allowed),
    (&["sources", "cluster", "link"], SameRoom::Allowed),
    (&["controllers"], SameRoom::Forbidden),
    (&["hub", "spoke-agent", "cli"], SameRoom::Allowed),
    (&["tests"], SameRoom::Allowed),
    (&["bench", "xtask"], SameRoom::Allowed),
];

#[derive(Clone, Copy, PartialEq)]
enum SameRoom {
    Allowed,
    /// Controllers never name each other.
    Forbidden,
}

/// Prints the map and fails on the first arrow that points the wrong way.
pub fn run() -> Result<()> {
    let crates = workspace_crates()?;
    for (name, used) in &crates {
        println!("{:28} {:22} -> {}", name, used.room, used.names.join(" "));
    }
    let wrong = wrong_arrows(&crates)?;
    ensure!(wrong.is_empty(), "arrows against the layers:\n  {}", wrong.join("\n  "));
    println!("{} crates, every arrow points left", crates.len());
    Ok(())
}

/// The check alone, for CI.
pub fn check() -> Result<()> {
    let wrong = wrong_arrows(&workspace_crates()?)?;
    ensure!(wrong.is_empty(), "arrows against the layers:\n  {}", wrong.join("\n  "));
    Ok(())
}

struct Crate {
    room: String,
    names: Vec<String>,
}

fn workspace_crates() -> Result<BTreeMap<String, Crate>> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .output()
        .context("running cargo metadata")?;
    ensure!(
        output.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let root = metadata["workspace_root"].as_str().unwrap_or_default().to_owned();
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    let ours: Vec<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    packages
        .iter()
        .map(|package| {
            let name = package["name"].as_str().unwrap_or_default();
            let manifest = Path::new(package["manifest_path"].as_str().unwrap_or_default());
            let room = manifest
                .parent()
                .and_then(|folder| folder.strip_prefix(&root).ok())
                .with_context(|| format!("{name} lies outside the workspace"))?;
            let mut names: Vec<String> = package["dependencies"]
                .as_array()
                .into_iter()
                .flatten()
                // Tests may reach for the bed; the layers are about what ships.
                .filter(|dependency| dependency["kind"].is_null())
                .filter_map(|dependency| dependency["name"].as_str())
                .filter(|dependency| ours.contains(dependency))
                .map(str::to_owned)
                .collect();
            names.sort();
            names.dedup();
            Ok((
                name.to_owned(),
                Crate {
                    room: room.to_string_lossy().into_owned(),
                    names,
                },
            ))
        })
        .collect()
}

fn wrong_arrows(crates: &BTreeMap<String, Crate>) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (name, from) in crates {
        for used in &from.names {
            let to = &crates[used];
            let (from_row, from_room, same) = place(&from.room)?;
            let (to_row, to_room, _) = place(&to.room)?;
            let allowed =
                to_row < from_row || (to_row == from_row && to_room == from_room && same == SameRoom::Allowed);
            if !allowed {
                wrong.push(format!("{name} ({}) names {used} ({})", from.room, to.room));
            }
        }
    }
    Ok(wrong)
}

fn place(folder: &str) -> Result<(usize, &str, SameRoom)> {
    let room = folder.split('/').next().unwrap_or_default();
    for (index, (rooms, same)) in ROWS.iter().enumerate() {
        if rooms.contains(&room) {
            return Ok((index, room, *same));
        }
    }
    bail!("the folder {folder} belongs to no layer; add it to xtask/src/layers.rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arrows: &[(&str, &str)]) -> Vec<String> {
        let mut crates: BTreeMap<String, Crate> = BTreeMap::new();
        for (from, to) in arrows {
            for folder in [from, to] {
                crates.entry((*folder).to_owned()).or_insert_with(|| Crate {
                    room: (*folder).to_owned(),
                    names: Vec::new(),
                });
            }
            crates.get_mut(*from).unwrap().names.push((*to).to_owned());
        }
        wrong_arrows(&crates).unwrap()
    }

    #[test]
    fn arrows_point_left() {
        assert!(check(&[("controllers/source", "sources/git"), ("hub", "controllers/source")]).is_empty());
        assert!(
            check(&[
                ("cluster/apply", "cluster/targets"),
                ("engine/kustomize", "engine/object")
            ])
            .is_empty()
        );
        for wrong in [
            ("sources/git", "cluster/runtime"),
            ("crds", "engine/object"),
            ("engine/object", "crds"),
            ("controllers/source", "controllers/kustomize"),
            ("cli", "hub"),
            ("net", "link/proto"),
        ] {
            assert_eq!(check(&[wrong]).len(), 1, "{wrong:?}");
        }
    }
}
