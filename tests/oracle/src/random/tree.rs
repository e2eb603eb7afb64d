//! Directories: bases, components, overlays.

use std::collections::BTreeMap;

use super::Choices;
use super::fields;
use super::objects::{self, Made};

/// Files by path; the directory to build is `top`.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What a directory offers to those above it.
#[derive(Debug, Clone, Default)]
pub(super) struct Dir {
    pub path: &'static str,
    pub component: bool,
    /// Objects that come out of it, as they were read.
    pub objects: Vec<Made>,
    /// Names of generated ConfigMaps and Secrets.
    pub generated: Vec<(&'static str, &'static str)>,
}

/// A tree whose directory `top` is to be built.
pub fn tree(c: &mut Choices<'_>) -> Files {
    let mut files = Files::new();
    let mut dirs: Vec<Dir> = Vec::new();
    let mut names = vec!["base", "comp", "other", "deep/er", "mid"];
    let count = c.below(4);
    for place in 0..count {
        let path = names.remove(0);
        let component = path == "comp";
        let dir = directory(c, path, component, place, &dirs, &mut files);
        dirs.push(dir);
    }
    directory(c, "top", false, count, &dirs, &mut files);
    files
}

fn directory(
    c: &mut Choices<'_>,
    path: &'static str,
    component: bool,
    place: usize,
    below: &[Dir],
    files: &mut Files,
) -> Dir {
    let mut dir = Dir {
        path,
        component,
        ..Dir::default()
    };
    let mut resources: Vec<String> = Vec::new();
    // The last one built uses most of the others.
    for other in below.iter().filter(|other| !other.component && !component) {
        if path == "top" && !c.chance(15) || c.chance(30) {
            resources.push(relative(path, other.path));
            dir.objects.extend(other.objects.iter().cloned());
            dir.generated.extend(other.generated.iter().copied());
        }
    }
    let own = if resources.is_empty() {
        1 + c.below(4)
    } else {
        c.below(3)
    };
    let mut open: Option<(String, String)> = None;
    for index in 0..own {
        let suffix = if place == 0 { "" } else { path };
        let (made, text) = objects::object(c, suffix, index);
        // Several documents in one file, or a file each.
        match &mut open {
            Some((_, content)) if c.chance(40) => {
                content.push_str(c.pick(&["---\n", "--- # next\n", "---\n---\n", "---\n# nothing\n---\n"]));
                content.push_str(&text);
            }
            _ => {
                if let Some((name, content)) = open.take() {
                    files.insert(format!("{path}/{name}"), content.into_bytes());
                }
                let name = format!("{}{index}.yaml", c.pick(&["r", "res-", "a b "]));
                resources.push(name.clone());
                open = Some((name, text));
            }
        }
        dir.objects.push(made);
    }
    if let Some((name, mut content)) = open {
        if c.chance(5) {
            content.truncate(content.trim_end().len());
        }
        if c.chance(5) {
            content = content.replace('\n', "\r\n");
        }
        files.insert(format!("{path}/{name}"), content.into_bytes());
    }
    let components: Vec<String> = below
        .iter()
        .filter(|other| other.component)
        .filter(|_| path == "top" || c.chance(30))
        .map(|other| relative(path, other.path))
        .collect();
    if !components.is_empty() {
        for other in below.iter().filter(|other| other.component) {
            dir.objects.extend(other.objects.iter().cloned());
        }
    }
    let text = fields::kustomization(c, &mut dir, resources, components, files);
    let name = c.pick(&["kustomization.yaml", "kustomization.yml", "Kustomization"]);
    files.insert(format!("{path}/{name}"), text.into_bytes());
    dir
}

fn relative(from: &str, to: &str) -> String {
    let up = "../".repeat(from.split('/').count());
    format!("{up}{to}")
}
