//! Flux's layer on top: a missing kustomization file is generated, and the overlay of a
//! Kustomization's own fields is merged in (fluxcd/pkg `kustomize`, 2026).
//!
//! directory (+ generated file) + [`Overlay`] ─► kustomization ─► objects

use std::borrow::Cow;

use nave_object::Object;
use serde::Deserialize;
use serde_json::Value;

use crate::build::{Answers, Built, LoadRestriction, Options, Reorder, Step, build_with};
use crate::decode::Mode;
use crate::error::{BuildError, Problem};
use crate::kustomization::{self, FILE_NAMES, Image, Kustomization};
use crate::resource::read_resources;
use crate::tree::{Tree, normalize};

/// The fields of a Flux Kustomization that change the build.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Overlay {
    /// `targetNamespace`: takes the place of `namespace`.
    pub target_namespace: Option<String>,
    /// `namePrefix`: takes the place of the file's.
    pub name_prefix: Option<String>,
    /// `nameSuffix`: takes the place of the file's.
    pub name_suffix: Option<String>,
    /// `patches`: run after the file's.
    pub patches: Vec<Patch>,
    /// `components`: local paths relative to the directory, after the file's.
    pub components: Vec<String>,
    /// `ignoreMissingComponents`: components that do not exist are left out.
    pub ignore_missing_components: bool,
    /// `images`: merged with the file's by name.
    pub images: Vec<OverlayImage>,
    /// `buildMetadata`: takes the place of the file's when it is not empty.
    pub build_metadata: Vec<String>,
}

impl Overlay {
    /// The overlay of the `spec` of a Kustomization of Flux's API; what is not about the build is left alone.
    ///
    /// # Errors
    /// A field that is not of the API's type.
    pub fn of_spec(spec: Value) -> Result<Overlay, serde_json::Error> {
        serde_json::from_value(spec)
    }
}

/// A patch with what it is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Patch {
    /// A strategic merge or JSON patch as text.
    pub patch: String,
    /// What it is for; a strategic merge can name its object itself.
    pub target: Option<Selector>,
}

/// Chooses objects; names and kinds are anchored regular expressions, empty ones take all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Selector {
    /// API group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Label selector, such as `app=web,tier!=db`.
    pub label_selector: String,
    /// The same for annotations.
    pub annotation_selector: String,
}

/// New name, tag or digest for images of one name; empty fields change nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OverlayImage {
    /// The name as it stands in the manifests.
    pub name: String,
    /// The name to use.
    pub new_name: String,
    /// The tag to use.
    pub new_tag: String,
    /// The digest to use.
    pub digest: String,
}

/// Builds a directory as Flux does: all files of the tree may be read, and objects stay in the order
/// in which they were met, whatever `options` say.
///
/// A directory without a kustomization file gets one that lists all manifests below it; when there are
/// none, the result is empty, which is not an error.
///
/// # Errors
/// As [`crate::build()`]; a manifest that is no Kubernetes YAML where the file is generated; a component
/// that is no local path.
pub fn build(
    tree: &dyn Tree,
    dir: &str,
    overlay: &Overlay,
    options: &Options,
    answers: &Answers,
) -> Result<Step<Vec<Object>>, BuildError> {
    Ok(match build_with_warnings(tree, dir, overlay, options, answers)? {
        Step::Done(built) => Step::Done(built.objects),
        Step::Needs(needs) => Step::Needs(needs),
    })
}

/// Builds as [`build`] does, and says what kustomize warns of, too.
///
/// # Errors
/// As [`build`].
pub fn build_with_warnings(
    tree: &dyn Tree,
    dir: &str,
    overlay: &Overlay,
    options: &Options,
    answers: &Answers,
) -> Result<Step<Built>, BuildError> {
    let options = Options {
        load: LoadRestriction::None,
        reorder: Reorder::None,
        ..options.clone()
    };
    let root = normalize("", dir).ok_or_else(|| {
        let problem = Problem::Forbidden {
            what: format!("path `{dir}`"),
            why: "it leaves the root of the tree",
        };
        BuildError::new("", 0, problem)
    })?;
    if !tree.is_dir(&root) {
        let problem = Problem::Missing {
            what: "directory",
            path: dir.to_owned(),
        };
        return Err(BuildError::new("", 0, problem));
    }
    let edit = |kustomization: &mut Kustomization| merge(kustomization, tree, &root, overlay);
    if has_kustomization(tree, &root) {
        return build_with(tree, &root, &options, answers, Mode::Lenient, edit);
    }
    let mut resources = Vec::new();
    scan(tree, &root, "", &mut resources)?;
    if resources.is_empty() {
        return Ok(Step::Done(Built::default()));
    }
    let generated = Generated {
        tree,
        path: join(&root, FILE_NAMES[0]),
        text: file_text(&resources),
    };
    build_with(&generated, &root, &options, answers, Mode::Lenient, edit)
}

/// The text of the kustomization file that Flux would generate for a directory without one; `None` when
/// there is one, or no manifest.
///
/// # Errors
/// A manifest that is no Kubernetes YAML.
pub fn generate(tree: &dyn Tree, dir: &str) -> Result<Option<String>, BuildError> {
    let root = normalize("", dir).unwrap_or_default();
    if has_kustomization(tree, &root) {
        return Ok(None);
    }
    let mut resources = Vec::new();
    scan(tree, &root, "", &mut resources)?;
    Ok((!resources.is_empty()).then(|| file_text(&resources)))
}

fn merge(kustomization: &mut Kustomization, tree: &dyn Tree, root: &str, overlay: &Overlay) -> Result<(), BuildError> {
    // A file without resources would be empty to kustomize, and an empty result is none of its errors
    // to Flux.
    if kustomization.resources.is_empty() {
        kustomization.build_metadata = vec!["originAnnotations".to_owned()];
    }
    for (field, value) in [
        (&mut kustomization.namespace, &overlay.target_namespace),
        (&mut kustomization.name_prefix, &overlay.name_prefix),
        (&mut kustomization.name_suffix, &overlay.name_suffix),
    ] {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            field.clone_from(value);
        }
    }
    kustomization
        .patches
        .extend(overlay.patches.iter().map(|patch| kustomization::Patch {
            patch: patch.patch.clone(),
            target: patch.target.clone().map(Into::into),
            ..kustomization::Patch::default()
        }));
    for component in &overlay.components {
        let local = !component.is_empty()
            && !component.starts_with('/')
            && !component.contains("://")
            && crate::RepositoryUrl::parse(component).is_none();
        if !local {
            let problem = format!("`{component}` must be a local path relative to the directory");
            let field = "spec.components".to_owned();
            return Err(BuildError::new("", 0, Problem::Field { field, problem }));
        }
        let exists = normalize(root, component).is_some_and(|path| tree.is_dir(&path));
        if exists || !overlay.ignore_missing_components {
            kustomization.components.push(component.clone());
        }
    }
    for image in &overlay.images {
        merge_image(&mut kustomization.images, image);
    }
    if !overlay.build_metadata.is_empty() {
        kustomization.build_metadata.clone_from(&overlay.build_metadata);
    }
    Ok(())
}

fn merge_image(images: &mut Vec<Image>, image: &OverlayImage) {
    let Some(present) = images.iter_mut().find(|present| present.name == image.name) else {
        images.push(Image {
            name: image.name.clone(),
            new_name: image.new_name.clone(),
            new_tag: image.new_tag.clone(),
            digest: image.digest.clone(),
            ..Image::default()
        });
        return;
    };
    if !image.new_name.is_empty() {
        present.new_name.clone_from(&image.new_name);
    }
    if !(image.new_tag.is_empty() && image.digest.is_empty()) {
        present.new_tag.clone_from(&image.new_tag);
        present.digest.clone_from(&image.digest);
    }
}

impl From<Selector> for kustomization::Selector {
    fn from(selector: Selector) -> kustomization::Selector {
        kustomization::Selector {
            group: selector.group,
            version: selector.version,
            kind: selector.kind,
            name: selector.name,
            namespace: selector.namespace,
            annotation_selector: selector.annotation_selector,
            label_selector: selector.label_selector,
        }
    }
}

/// A tree with one more file.
struct Generated<'a> {
    tree: &'a dyn Tree,
    path: String,
    text: String,
}

impl Tree for Generated<'_> {
    fn read(&self, path: &str) -> Option<Cow<'_, [u8]>> {
        if path == self.path {
            Some(Cow::Borrowed(self.text.as_bytes()))
        } else {
            self.tree.read(path)
        }
    }

    fn is_dir(&self, path: &str) -> bool {
        self.tree.is_dir(path)
    }

    fn list(&self, dir: &str) -> Vec<String> {
        self.tree.list(dir)
    }

    fn real_path(&self, path: &str) -> Option<String> {
        if path == self.path {
            Some(path.to_owned())
        } else {
            self.tree.real_path(path)
        }
    }
}

/// All manifests below a directory in the order of their names; a directory with a kustomization file of
/// its own stands for what is in it.
fn scan(tree: &dyn Tree, root: &str, below: &str, into: &mut Vec<String>) -> Result<(), BuildError> {
    for name in tree.list(&join(root, below)) {
        let relative = join(below, &name);
        let path = join(root, &relative);
        if tree.is_dir(&path) {
            if has_kustomization(tree, &path) {
                into.push(relative);
            } else {
                scan(tree, root, &relative, into)?;
            }
        } else if (name.ends_with(".yaml") || name.ends_with(".yml"))
            && let Some(bytes) = tree.read(&path)
        {
            let text = std::str::from_utf8(&bytes)
                .map_err(|_| BuildError::new(path.as_str(), 0, Problem::Syntax("the file is not UTF-8".to_owned())))?;
            read_resources(text, &path)?;
            into.push(relative);
        }
    }
    Ok(())
}

fn has_kustomization(tree: &dyn Tree, dir: &str) -> bool {
    FILE_NAMES.iter().any(|name| tree.read(&join(dir, name)).is_some())
}

fn join(dir: &str, name: &str) -> String {
    match (dir, name) {
        ("", name) => name.to_owned(),
        (dir, "") => dir.to_owned(),
        (dir, name) => format!("{dir}/{name}"),
    }
}

fn file_text(resources: &[String]) -> String {
    let value = serde_json::json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": resources,
    });
    nave_object::yaml::write(&value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::MemoryTree;

    fn tree(files: &[(&str, &str)]) -> MemoryTree {
        files.iter().map(|(path, text)| (*path, text.as_bytes())).collect()
    }

    fn config_map(name: &str) -> String {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n")
    }

    fn names(tree: &MemoryTree, dir: &str, overlay: &Overlay) -> Vec<String> {
        match build(tree, dir, overlay, &Options::default(), &Answers::new()) {
            Ok(Step::Done(objects)) => objects.iter().map(ToString::to_string).collect(),
            Ok(Step::Needs(needs)) => panic!("asks for {needs:?}"),
            Err(error) => vec![error.to_string()],
        }
    }

    #[test]
    fn a_missing_file_is_generated() {
        let (b, a, base) = (config_map("b"), config_map("a"), config_map("base"));
        let files = tree(&[
            ("app/b.yaml", &b),
            ("app/a/a.yml", &a),
            ("app/notes.txt", "no manifest"),
            ("app/c/kustomization.yaml", "resources: [base.yaml]\nnamePrefix: c-\n"),
            ("app/c/base.yaml", &base),
            ("app/c/ignored.yaml", "not: [valid"),
        ]);
        let overlay = Overlay {
            target_namespace: Some("apps".into()),
            ..Overlay::default()
        };
        assert_eq!(
            names(&files, "app", &overlay),
            ["ConfigMap/apps/a", "ConfigMap/apps/b", "ConfigMap/apps/c-base"]
        );
        assert_eq!(
            generate(&files, "./app/").unwrap().unwrap(),
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n- a/a.yml\n- b.yaml\n- c\n"
        );
    }

    #[test]
    fn nothing_to_build_is_an_empty_result() {
        let files = tree(&[
            ("app/notes.txt", ""),
            ("empty/kustomization.yaml", "kind: Kustomization\n"),
        ]);
        assert_eq!(names(&files, "app", &Overlay::default()), Vec::<String>::new());
        assert_eq!(names(&files, "empty", &Overlay::default()), Vec::<String>::new());
        assert_eq!(
            names(&files, "none", &Overlay::default()),
            ["directory `none` does not exist"]
        );
    }

    #[test]
    fn a_broken_manifest_is_named_while_generating() {
        let files = tree(&[("app/x.yaml", "a: [1\n")]);
        let error = names(&files, "app", &Overlay::default()).remove(0);
        assert!(error.starts_with("app/x.yaml:"), "{error}");
    }

    #[test]
    fn overlays_are_merged_in() {
        let web = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - {name: a, image: nginx:1}\n  - {name: b, image: redis:1}\n";
        let files = tree(&[
            ("app/web.yaml", web),
            (
                "app/kustomization.yaml",
                "resources: [web.yaml]\nnamePrefix: old-\nimages:\n- {name: nginx, newTag: 2.5}\n",
            ),
            ("app/part/kustomization.yaml", "kind: Component\nnameSuffix: -part\n"),
        ]);
        let overlay = Overlay {
            name_prefix: Some("new-".into()),
            components: vec!["part".into(), "gone".into()],
            ignore_missing_components: true,
            images: vec![
                OverlayImage {
                    name: "nginx".into(),
                    new_name: "mirror/nginx".into(),
                    ..OverlayImage::default()
                },
                OverlayImage {
                    name: "redis".into(),
                    digest: "sha256:00".into(),
                    ..OverlayImage::default()
                },
            ],
            patches: vec![Patch {
                patch: "- {op: add, path: /metadata/labels, value: {a: b}}".into(),
                target: Some(Selector {
                    kind: "P.*".into(),
                    ..Selector::default()
                }),
            }],
            ..Overlay::default()
        };
        let Ok(Step::Done(objects)) = build(&files, "app", &overlay, &Options::default(), &Answers::new()) else {
            panic!("builds");
        };
        assert_eq!(objects[0].name(), "new-web-part");
        assert_eq!(objects[0].label("a"), Some("b"));
        let image = |index: usize| objects[0].pointer(&format!("/spec/containers/{index}/image")).cloned();
        assert_eq!(image(0), Some("mirror/nginx:2.5".into()));
        assert_eq!(image(1), Some("redis@sha256:00".into()));
    }

    #[test]
    fn every_field_of_a_spec_arrives() {
        let spec = serde_json::json!({
            "interval": "1m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "s"},
            "targetNamespace": "n", "namePrefix": "p-", "components": ["../c"], "ignoreMissingComponents": true,
            "patches": [{"patch": "x", "target": {"kind": "Deployment", "labelSelector": "a=b"}}],
            "images": [{"name": "i", "newTag": "1"}], "buildMetadata": ["originAnnotations"],
        });
        let wanted = Overlay {
            target_namespace: Some("n".into()),
            name_prefix: Some("p-".into()),
            name_suffix: None,
            patches: vec![Patch {
                patch: "x".into(),
                target: Some(Selector {
                    kind: "Deployment".into(),
                    label_selector: "a=b".into(),
                    ..Selector::default()
                }),
            }],
            components: vec!["../c".into()],
            ignore_missing_components: true,
            images: vec![OverlayImage {
                name: "i".into(),
                new_tag: "1".into(),
                ..OverlayImage::default()
            }],
            build_metadata: vec!["originAnnotations".into()],
        };
        assert_eq!(Overlay::of_spec(spec).expect("the spec is one of the API"), wanted);
        let broken = Overlay::of_spec(serde_json::json!({"images": "nginx"}));
        assert!(broken.is_err(), "{broken:?}");
    }

    #[test]
    fn deprecated_fields_are_told() {
        let files = tree(&[
            ("app/kustomization.yaml", "resources: [a.yaml]\ncommonLabels: {a: b}\n"),
            ("app/a.yaml", &config_map("a")),
        ]);
        let built = build_with_warnings(&files, "app", &Overlay::default(), &Options::default(), &Answers::new());
        let Ok(Step::Done(built)) = built else {
            panic!("builds");
        };
        assert_eq!(built.warnings.len(), 1, "{:?}", built.warnings);
        assert!(
            built.warnings[0].contains("'commonLabels' is deprecated"),
            "{:?}",
            built.warnings
        );
    }

    #[test]
    fn components_must_be_local_and_exist() {
        let a = config_map("a");
        let files = tree(&[("app/a.yaml", &a)]);
        for (component, part) in [
            ("https://github.com/a/b", "local path"),
            ("/abs", "local path"),
            ("gone", "does not exist"),
        ] {
            let overlay = Overlay {
                components: vec![component.into()],
                ..Overlay::default()
            };
            let error = names(&files, "app", &overlay).remove(0);
            assert!(error.contains(part), "{component}: {error}");
        }
    }
}
