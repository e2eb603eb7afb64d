//! The fields of a Kustomization that change the build itself, as the engine wants them.

use std::borrow::Cow;

use anyhow::Result;
use nave_artifact::Ignore;
use nave_crds::kustomize::KustomizationSpec;
use nave_kustomize::{
    Tree,
    flux::{Overlay, OverlayImage, Patch, Selector},
};

/// The overlay of a spec.
///
/// # Errors
/// None that is known: the words of the API are those of the engine.
pub fn overlay(spec: &KustomizationSpec) -> Result<Overlay> {
    let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let selector = |selector: &nave_crds::kustomize::Selector| Selector {
        group: selector.group.clone(),
        version: selector.version.clone(),
        kind: selector.kind.clone(),
        name: selector.name.clone(),
        namespace: selector.namespace.clone(),
        label_selector: selector.label_selector.clone(),
        annotation_selector: selector.annotation_selector.clone(),
    };
    let image = |image: &nave_crds::kustomize::Image| OverlayImage {
        name: image.name.clone(),
        new_name: image.new_name.clone(),
        new_tag: image.new_tag.clone(),
        digest: image.digest.clone(),
    };
    // By way of JSON, so that the words are those of the API.
    let build_metadata = serde_json::from_value(serde_json::to_value(&spec.build_metadata)?)?;
    Ok(Overlay {
        target_namespace: text(&spec.target_namespace),
        name_prefix: text(&spec.name_prefix),
        name_suffix: text(&spec.name_suffix),
        patches: spec
            .patches
            .iter()
            .map(|patch| Patch {
                patch: patch.patch.clone(),
                target: patch.target.as_ref().map(selector),
            })
            .collect(),
        components: spec.components.clone(),
        ignore_missing_components: spec.ignore_missing_components,
        images: spec.images.iter().map(image).collect(),
        build_metadata,
    })
}

/// A tree of which some files are not listed, so that a generated kustomization file leaves them out. A file that
/// somebody names is read all the same, as with flux.
pub struct WithoutIgnored<'a> {
    tree: &'a dyn Tree,
    directory: &'a str,
    rules: Option<Ignore>,
}

impl<'a> WithoutIgnored<'a> {
    /// Patterns are those of a `.gitignore` file in the directory that is built.
    pub fn new(tree: &'a dyn Tree, directory: &'a str, patterns: &[String]) -> Self {
        let rules = (!patterns.is_empty()).then(|| Ignore::new([], Some(&patterns.join("\n"))));
        WithoutIgnored { tree, directory, rules }
    }
}

impl Tree for WithoutIgnored<'_> {
    fn read(&self, path: &str) -> Option<Cow<'_, [u8]>> {
        self.tree.read(path)
    }

    fn is_dir(&self, path: &str) -> bool {
        self.tree.is_dir(path)
    }

    fn list(&self, dir: &str) -> Vec<String> {
        let mut names = self.tree.list(dir);
        let Some(rules) = &self.rules else { return names };
        let below = match dir.strip_prefix(self.directory) {
            Some(rest) => rest.trim_start_matches('/'),
            None => return names,
        };
        names.retain(|name| {
            let path = if below.is_empty() {
                name.clone()
            } else {
                format!("{below}/{name}")
            };
            !rules.excludes(&path)
        });
        names
    }

    fn real_path(&self, path: &str) -> Option<String> {
        self.tree.real_path(path)
    }
}

#[cfg(test)]
mod tests {
    use nave_kustomize::MemoryTree;

    use super::*;

    #[test]
    fn ignored_files_are_not_listed_but_can_be_read() {
        let tree: MemoryTree = ["repo/app/a.yaml", "repo/app/test/b.yaml", "repo/app/c.tmp.yaml"]
            .into_iter()
            .map(|path| (path, &b"x"[..]))
            .collect();
        let patterns = ["test/".to_owned(), "*.tmp.yaml".to_owned()];
        let tree = WithoutIgnored::new(&tree, "repo/app", &patterns);
        assert_eq!(tree.list("repo/app"), ["a.yaml", "test"]);
        assert_eq!(tree.list("repo/app/test"), Vec::<String>::new());
        assert_eq!(tree.list("repo"), ["app"]);
        assert!(tree.read("repo/app/c.tmp.yaml").is_some());
    }
}
