//! Flux's layer over kustomize: the kustomization file of `spec.path`, generated when it is not there, with the fields of the
//! spec merged into it.

use std::borrow::Cow;

use nave_crds::kustomize::{BuildMetadata, Image, KustomizationSpec};
use nave_kustomize::Tree;
use nave_object::yaml::{self, Dialect};
use serde_json::{Map, Value, json};

/// Names of kustomization files, in the order in which kustomize looks for them.
const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// A tree in which one file is another.
pub(crate) struct Overlaid<Below> {
    below: Below,
    directory: String,
    name: String,
    text: Vec<u8>,
}

impl<Below: Tree> Overlaid<Below> {
    fn is_ours(&self, path: &str) -> bool {
        path == join(&self.directory, &self.name)
    }
}

impl<Below: Tree> Tree for Overlaid<Below> {
    fn read(&self, path: &str) -> Option<Cow<'_, [u8]>> {
        if self.is_ours(path) {
            return Some(Cow::Borrowed(&self.text));
        }
        self.below.read(path)
    }

    fn is_dir(&self, path: &str) -> bool {
        self.below.is_dir(path)
    }

    fn list(&self, dir: &str) -> Vec<String> {
        let mut names = self.below.list(dir);
        if dir == self.directory && !names.contains(&self.name) {
            names.push(self.name.clone());
            names.sort();
        }
        names
    }
}

/// The tree with the kustomization file of `directory` as Flux would write it; none when there is nothing to build.
pub(crate) fn lay_over<Below: Tree>(
    below: Below,
    directory: &str,
    spec: &KustomizationSpec,
) -> Result<Option<Overlaid<Below>>, String> {
    let existing = NAMES
        .iter()
        .find_map(|name| Some((*name, below.read(&join(directory, name))?)));
    let (name, mut file) = match existing {
        Some((name, text)) => {
            let path = join(directory, name);
            let mut file = read(&path, &text)?;
            // Flux marks where resources come from when a kustomization has none of its own.
            let has_resources = file
                .get("resources")
                .and_then(Value::as_array)
                .is_some_and(|resources| !resources.is_empty());
            if !has_resources {
                file.insert("buildMetadata".to_owned(), json!(["originAnnotations"]));
            }
            (name, file)
        }
        None => {
            let resources = generate(&below, directory)?;
            if resources.is_empty() {
                return Ok(None);
            }
            let file = json!({
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "resources": resources,
            });
            match file {
                Value::Object(file) => (NAMES[0], file),
                _ => unreachable!("it was written as a map just above"),
            }
        }
    };
    merge(&mut file, spec, &below, directory)?;
    Ok(Some(Overlaid {
        text: yaml::write(&Value::Object(file)).into_bytes(),
        name: name.to_owned(),
        directory: directory.to_owned(),
        below,
    }))
}

fn read(path: &str, bytes: &[u8]) -> Result<Map<String, Value>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| format!("{path} is not UTF-8 text"))?;
    let mut documents =
        yaml::read_documents(text, Dialect::Kyaml).map_err(|error| format!("{path}: {error}"))?;
    match (documents.pop(), documents.pop()) {
        (Some(Value::Object(file)), None) => Ok(file),
        (None, None) => Ok(Map::new()),
        _ => Err(format!("{path} is no kustomization: it has to be one map of fields")),
    }
}

/// Every manifest below the directory; a directory with a kustomization file of its own is one entry.
fn generate(tree: &impl Tree, directory: &str) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let mut open = vec![String::new()];
    while let Some(relative) = open.pop() {
        let here = join(directory, &relative);
        for name in tree.list(&here) {
            let path = join(&here, &name);
            let entry = join(&relative, &name);
            if tree.is_dir(&path) {
                if NAMES.iter().any(|name| tree.read(&join(&path, name)).is_some()) {
                    found.push(entry);
                } else {
                    open.push(entry);
                }
            } else if name.ends_with(".yaml") || name.ends_with(".yml") {
                let bytes = tree.read(&path).unwrap_or_default();
                let text = std::str::from_utf8(&bytes).map_err(|_| format!("{path} is not UTF-8 text"))?;
                yaml::read_objects(text, &path).map_err(|error| crate::reconcile::chain(&error))?;
                found.push(entry);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn merge(
    file: &mut Map<String, Value>,
    spec: &KustomizationSpec,
    tree: &impl Tree,
    directory: &str,
) -> Result<(), String> {
    for (field, value) in [
        ("namespace", &spec.target_namespace),
        ("namePrefix", &spec.name_prefix),
        ("nameSuffix", &spec.name_suffix),
    ] {
        if !value.is_empty() {
            file.insert(field.to_owned(), json!(value));
        }
    }
    for patch in &spec.patches {
        let mut entry = json!({"patch": patch.patch});
        if let Some(target) = &patch.target {
            entry["target"] = serde_json::to_value(target).map_err(|error| error.to_string())?;
        }
        list(file, "patches")?.push(entry);
    }
    for component in &spec.components {
        if component.contains("://") || component.starts_with('/') {
            return Err(format!("spec.components: {component:?} is not a local relative path"));
        }
        let is_there = resolve(directory, component).is_some_and(|path| tree.is_dir(&path));
        if is_there || !spec.ignore_missing_components {
            list(file, "components")?.push(json!(component));
        }
    }
    for image in &spec.images {
        merge_image(list(file, "images")?, image);
    }
    if !spec.build_metadata.is_empty() {
        let names: Vec<&str> = spec
            .build_metadata
            .iter()
            .map(|name| match name {
                BuildMetadata::OriginAnnotations => "originAnnotations",
                BuildMetadata::TransformerAnnotations => "transformerAnnotations",
            })
            .collect();
        file.insert("buildMetadata".to_owned(), json!(names));
    }
    Ok(())
}

fn merge_image(images: &mut Vec<Value>, image: &Image) {
    let known = images
        .iter_mut()
        .find(|entry| entry.get("name").and_then(Value::as_str) == Some(&image.name));
    let entry = match known {
        Some(entry) => entry,
        None => {
            images.push(json!({"name": image.name}));
            images.last_mut().expect("one was pushed just above")
        }
    };
    let Some(entry) = entry.as_object_mut() else {
        return;
    };
    if !image.new_name.is_empty() {
        entry.insert("newName".to_owned(), json!(image.new_name));
    }
    // A tag in the file and a digest in the spec would contradict each other: both are replaced together.
    if !image.new_tag.is_empty() || !image.digest.is_empty() {
        for (field, value) in [("newTag", &image.new_tag), ("digest", &image.digest)] {
            if value.is_empty() {
                entry.remove(field);
            } else {
                entry.insert(field.to_owned(), json!(value));
            }
        }
    }
}

fn list<'a>(file: &'a mut Map<String, Value>, field: &str) -> Result<&'a mut Vec<Value>, String> {
    let value = file.entry(field).or_insert(Value::Null);
    if value.is_null() {
        *value = json!([]);
    }
    value
        .as_array_mut()
        .ok_or_else(|| format!("field {field} of the kustomization file is not a list"))
}

/// A relative path seen from a directory; none when it leaves the tree.
fn resolve(directory: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn join(directory: &str, name: &str) -> String {
    match (directory, name) {
        ("", name) => name.to_owned(),
        (directory, "") => directory.to_owned(),
        (directory, name) => format!("{directory}/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use nave_kustomize::MemoryTree;

    use super::*;

    const OBJECT: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n";

    fn tree(files: &[(&str, &str)]) -> MemoryTree {
        files.iter().map(|(path, text)| (*path, text.as_bytes())).collect()
    }

    #[track_caller]
    fn check_file(files: &[(&str, &str)], directory: &str, spec: Value, wanted: Value) {
        let mut all = json!({"interval": "1m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "s"}});
        all.as_object_mut().expect("a map").extend(spec.as_object().expect("a map").clone());
        let spec: KustomizationSpec = serde_json::from_value(all).expect("the spec is complete");
        let found = lay_over(tree(files), directory, &spec).map(|overlaid| {
            overlaid.map_or(Value::Null, |overlaid| {
                let text = String::from_utf8(overlaid.text).expect("YAML is text");
                yaml::read_documents(&text, Dialect::Kyaml).expect("we wrote it").remove(0)
            })
        });
        assert_eq!(found, Ok(wanted));
    }

    #[test]
    fn a_missing_file_is_generated() {
        let files = [("apps/a.yaml", OBJECT), ("apps/deep/er/b.yml", OBJECT), ("apps/own/Kustomization", "{}"), ("apps/own/c.yaml", "nonsense: ["), ("apps/x.txt", "")];
        let head = |resources: Value| json!({"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": resources});
        check_file(&files, "apps", json!({}), head(json!(["a.yaml", "deep/er/b.yml", "own"])));
        check_file(&files, "", json!({}), head(json!(["apps/a.yaml", "apps/deep/er/b.yml", "apps/own"])));
        check_file(&[("apps/x.txt", "")], "apps", json!({}), Value::Null);
        let error = lay_over(tree(&[("a.yaml", "kind: X")]), "", &KustomizationSpec::default()).map(|_| ()).unwrap_err();
        assert!(error.contains("a.yaml"), "{error}");
    }

    #[test]
    fn the_spec_is_merged_into_the_file() {
        let file = "resources: [a.yaml]\nnamespace: old\npatches: [{path: p.yaml}]\nimages: [{name: i, newTag: '1'}, {name: j, newTag: '2'}]\n";
        let spec = json!({"targetNamespace": "new", "namePrefix": "p-", "nameSuffix": "-s",
            "patches": [{"patch": "x", "target": {"kind": "Deployment"}}],
            "components": ["../there", "gone"], "ignoreMissingComponents": true, "buildMetadata": ["originAnnotations"],
            "images": [{"name": "i", "digest": "sha256:1"}, {"name": "j", "newName": "k"}, {"name": "l", "newTag": "3"}]});
        check_file(
            &[("apps/kustomization.yaml", file), ("there/kustomization.yaml", "")],
            "apps",
            spec,
            json!({"resources": ["a.yaml"], "namespace": "new", "namePrefix": "p-", "nameSuffix": "-s",
                "patches": [{"path": "p.yaml"}, {"patch": "x", "target": {"kind": "Deployment"}}],
                "components": ["../there"], "buildMetadata": ["originAnnotations"],
                "images": [{"name": "i", "digest": "sha256:1"}, {"name": "j", "newName": "k", "newTag": "2"}, {"name": "l", "newTag": "3"}]}),
        );
        check_file(&[("Kustomization", "configMapGenerator: []")], "", json!({}), json!({"configMapGenerator": [], "buildMetadata": ["originAnnotations"]}));
        let remote = KustomizationSpec { components: vec!["https://x/y".into()], ..KustomizationSpec::default() };
        assert!(lay_over(tree(&[("kustomization.yaml", "")]), "", &remote).is_err());
    }

    #[test]
    fn the_file_is_seen_through_the_tree() {
        let overlaid = lay_over(tree(&[("d/a.yaml", OBJECT)]), "d", &KustomizationSpec::default())
            .expect("it is valid")
            .expect("there is something to build");
        assert_eq!(overlaid.list("d"), ["a.yaml", "kustomization.yaml"]);
        assert!(overlaid.read("d/kustomization.yaml").is_some());
        assert!(overlaid.read("d/a.yaml").is_some());
        assert!(overlaid.is_dir("d"));
    }
}
