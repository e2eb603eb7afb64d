//! From what a chart renders to what is applied: patches and images, common metadata, and whose it is.

use std::collections::BTreeMap;

use nave_chart::{Hook, KindOrder, Manifest, Sorted, sort_manifests, split_manifests};
use nave_crds::{
    helm::{HelmReleaseSpec, KustomizeRenderer, PostRenderStrategy},
    labels,
};
use nave_kustomize::{
    Answers, MemoryTree, Options, Step,
    flux::{Overlay, OverlayImage, Patch, Selector, build},
};
use nave_object::{
    Object,
    yaml::{read_objects, write_documents},
};

use crate::act::Failed;

/// Says which template an object came from, while kustomize has it.
const FILE: &str = "postrenderer.helm.sh/postrender-filename";
const INPUT: &str = "helm-output.yaml";

/// Rendered files, by path.
type Files = BTreeMap<String, String>;

/// Who owns the objects, and how they are changed.
pub(crate) struct PostRenderer<'a> {
    pub spec: &'a HelmReleaseSpec,
    pub strategy: PostRenderStrategy,
    pub name: &'a str,
    pub namespace: &'a str,
}

impl PostRenderer<'_> {
    /// Changes rendered files, and sorts them into hooks and the rest.
    pub fn run(&self, files: &Files) -> Result<Sorted, Failed> {
        let changed = match self.strategy {
            PostRenderStrategy::Combined => self.change(files, "")?,
            PostRenderStrategy::Separate => {
                let (hooks, rest) = apart(files)?;
                let mut changed = self.change(&hooks, "hooks-")?;
                add(&mut changed, self.change(&rest, "manifests-")?);
                changed
            }
            PostRenderStrategy::NoHooks => {
                let (mut hooks, rest) = apart(files)?;
                add(&mut hooks, self.change(&rest, "manifests-")?);
                hooks
            }
        };
        sorted(&changed)
    }

    fn change(&self, files: &Files, prefix: &str) -> Result<Files, Failed> {
        let mut objects = Vec::new();
        for (path, text) in files {
            if path.rsplit('/').next().is_some_and(|name| name.starts_with('_')) {
                continue;
            }
            for document in split_manifests(text) {
                let found = read_objects(document, path).map_err(|error| Failed::of(&error))?;
                objects.extend(found.into_iter().map(|mut object| {
                    object.set_annotation(FILE, path.as_str());
                    object
                }));
            }
        }
        for renderer in &self.spec.post_renderers {
            if let Some(kustomize) = &renderer.kustomize {
                objects = kustomized(&objects, kustomize)?;
            }
        }
        let mut changed: BTreeMap<String, Vec<Object>> = BTreeMap::new();
        for (index, mut object) in objects.into_iter().enumerate() {
            let path = match object.remove_annotation(FILE) {
                Some(serde_json::Value::String(path)) => path,
                _ => format!("generated-by-postrender-{prefix}{index}.yaml"),
            };
            self.mark(&mut object);
            changed.entry(path).or_default().push(object);
        }
        Ok(changed
            .into_iter()
            .map(|(path, objects)| (path, write_documents(objects.iter().map(Object::as_value))))
            .collect())
    }

    /// Common metadata, and then whose the object is.
    fn mark(&self, object: &mut Object) {
        drop_empty(object, "annotations");
        if let Some(common) = &self.spec.common_metadata {
            for (key, value) in &common.labels {
                object.set_label(key, value);
            }
            for (key, value) in &common.annotations {
                object.set_annotation(key, value);
            }
        }
        object.set_label(labels::HELM_NAME, self.name);
        object.set_label(labels::HELM_NAMESPACE, self.namespace);
    }
}

/// The annotation of the file may have been the only one.
fn drop_empty(object: &mut Object, field: &str) {
    let metadata = object
        .as_value_mut()
        .get_mut("metadata")
        .and_then(|value| value.as_object_mut());
    if let Some(metadata) = metadata
        && metadata
            .get(field)
            .and_then(|value| value.as_object())
            .is_some_and(serde_json::Map::is_empty)
    {
        metadata.remove(field);
    }
}

fn sorted(files: &Files) -> Result<Sorted, Failed> {
    let files = files.iter().map(|(path, text)| (path.as_str(), text.as_str()));
    sort_manifests(files, KindOrder::Install).map_err(|error| Failed::of(&error))
}

/// Hooks and the rest, each by file.
fn apart(files: &Files) -> Result<(Files, Files), Failed> {
    let Sorted { hooks, manifests, .. } = sorted(files)?;
    let group = |parts: Vec<(String, String)>| {
        let mut files = Files::new();
        for (path, text) in parts {
            add(&mut files, Files::from([(path, text)]));
        }
        files
    };
    let hooks = hooks.into_iter().map(|Hook { path, manifest, .. }| (path, manifest));
    let rest = manifests
        .into_iter()
        .map(|Manifest { source, text, .. }| (source, text));
    Ok((group(hooks.collect()), group(rest.collect())))
}

fn add(files: &mut Files, more: Files) {
    for (path, text) in more {
        files
            .entry(path)
            .and_modify(|known| {
                known.push_str("\n---\n");
                known.push_str(&text);
            })
            .or_insert(text);
    }
}

fn kustomized(objects: &[Object], renderer: &KustomizeRenderer) -> Result<Vec<Object>, Failed> {
    if objects.is_empty() {
        return Ok(Vec::new());
    }
    let mut tree = MemoryTree::new();
    let text = write_documents(objects.iter().map(Object::as_value));
    tree.insert(INPUT, text.into_bytes());
    tree.insert("kustomization.yaml", format!("resources:\n- {INPUT}\n").into_bytes());
    let overlay = Overlay {
        patches: renderer
            .patches
            .iter()
            .map(|patch| Patch {
                patch: patch.patch.clone(),
                target: patch.target.as_ref().map(|target| Selector {
                    group: target.group.clone(),
                    version: target.version.clone(),
                    kind: target.kind.clone(),
                    name: target.name.clone(),
                    namespace: target.namespace.clone(),
                    label_selector: target.label_selector.clone(),
                    annotation_selector: target.annotation_selector.clone(),
                }),
            })
            .collect(),
        images: renderer
            .images
            .iter()
            .map(|image| OverlayImage {
                name: image.name.clone(),
                new_name: image.new_name.clone(),
                new_tag: image.new_tag.clone(),
                digest: image.digest.clone(),
            })
            .collect(),
        ..Overlay::default()
    };
    let failed = |why: String| Failed::new(format!("error while running post render on files: {why}"));
    match build(&tree, "", &overlay, &Options::default(), &Answers::new()) {
        Ok(Step::Done(objects)) => Ok(objects),
        Ok(Step::Needs(_)) => Err(failed("spec.postRenderers must not refer to remote files".to_owned())),
        Err(error) => Err(failed(crate::act::chain(&error))),
    }
}

/// Paths of templates that gave something, for tests.
#[cfg(test)]
fn paths(sorted: &Sorted) -> std::collections::BTreeSet<&str> {
    sorted
        .manifests
        .iter()
        .map(|manifest| manifest.source.as_str())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const DEPLOYMENT: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  template:\n    spec:\n      containers:\n      - name: web\n        image: example.com/web:1\n";
    const HOOK: &str = "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: pre\n  annotations:\n    helm.sh/hook: pre-install\nspec:\n  template:\n    spec:\n      containers:\n      - name: web\n        image: example.com/web:1\n";

    fn run(more: Value) -> Sorted {
        let mut spec = json!({"interval": "1m", "chartRef": {"kind": "HelmChart", "name": "c"}});
        spec.as_object_mut()
            .expect("a map")
            .extend(more.as_object().expect("a map").clone());
        let spec: HelmReleaseSpec = serde_json::from_value(spec).expect("the spec is complete");
        let files = Files::from([
            ("shop/templates/all.yaml".to_owned(), format!("{DEPLOYMENT}---\n{HOOK}")),
            ("shop/templates/_helper.tpl".to_owned(), "no yaml: [".to_owned()),
            ("shop/templates/empty.yaml".to_owned(), "\n# nothing\n".to_owned()),
        ]);
        let renderer = PostRenderer {
            spec: &spec,
            strategy: spec.post_render_strategy.unwrap_or_default(),
            name: "shop",
            namespace: "team",
        };
        renderer.run(&files).expect("it renders")
    }

    #[test]
    fn everything_is_owned_and_keeps_its_template() {
        let sorted = run(json!({"commonMetadata": {"annotations": {"who": "me"}}}));
        assert_eq!(
            paths(&sorted),
            std::collections::BTreeSet::from(["shop/templates/all.yaml"])
        );
        for text in [&sorted.manifests[0].text, &sorted.hooks[0].manifest] {
            assert!(text.contains("helm.toolkit.fluxcd.io/name: shop"), "{text}");
            assert!(text.contains("helm.toolkit.fluxcd.io/namespace: team"), "{text}");
            assert!(text.contains("who: me") && !text.contains(FILE), "{text}");
        }
        let plain = run(json!({}));
        assert!(
            !plain.manifests[0].text.contains("annotations"),
            "{}",
            plain.manifests[0].text
        );
    }

    #[test]
    fn strategies_decide_about_hooks() {
        let images = json!([{"kustomize": {"images": [{"name": "example.com/web", "newTag": "2"}]}}]);
        for (strategy, hook) in [("combined", "web:2"), ("separate", "web:2"), ("nohooks", "web:1")] {
            let sorted = run(json!({"postRenderStrategy": strategy, "postRenderers": images}));
            assert!(
                sorted.manifests[0].text.contains("web:2"),
                "{}",
                sorted.manifests[0].text
            );
            assert!(
                sorted.hooks[0].manifest.contains(hook),
                "{strategy}: {}",
                sorted.hooks[0].manifest
            );
            assert_eq!(sorted.hooks[0].path, "shop/templates/all.yaml");
        }
    }
}
