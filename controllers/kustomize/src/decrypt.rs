//! Which files and objects of a build are decrypted, and how, as in kustomize-controller 1.9. Pure.
//!
//! ```text
//! kustomization ─► files of secretGenerators, patches ─► decrypted tree ─build─► objects ─► decrypted objects
//!     └─► local resources and components, and so on
//! ```
//!
//! The code over all values of a file is not verified: what kustomize has patched has another one.

use std::collections::{BTreeMap, HashSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use nave_artifact::FileTree;
use nave_crds::annotations::KUSTOMIZE_DECRYPT;
use nave_object::{
    Object,
    yaml::{Dialect, read_documents},
};
use nave_sops::{Answers, DecryptError, Format, Keys, Mac, Request, Step, decrypt, decrypt_json, looks_encrypted};
use serde_json::Value;

/// As kustomize looks for them.
const FILE_NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
/// Kubernetes' key for a registry's credentials, which are JSON.
const DOCKER_CONFIG: &str = ".dockerconfigjson";

/// Files in place of those of the artifact.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// What could not be decrypted. Shows no values.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("decrypting file {path}")]
    File { path: String, source: DecryptError },
    #[error("decrypting {object}")]
    Object { object: String, source: DecryptError },
    #[error("decrypting {object}: what comes out is no Kubernetes object")]
    Shape { object: String },
    #[error("decrypting data[{key:?}] of {object}")]
    Field {
        object: String,
        key: String,
        source: DecryptError,
    },
    #[error("kustomization in {directory:?}: {path:?} leaves the artifact")]
    Outside { directory: String, path: String },
}

/// Decrypts the files that kustomizations name as secrets or patches, from `root` through all local resources and
/// components; `components` are those that the spec adds at the root.
pub(crate) fn decrypt_files(
    tree: &FileTree,
    root: &str,
    components: &[String],
    keys: &Keys,
    answers: &Answers,
) -> Result<Step<Files>, Failure> {
    let mut search = Search {
        tree,
        keys,
        answers,
        seen: HashSet::new(),
        files: Files::new(),
        needs: Vec::new(),
    };
    let mut directories = vec![root.to_owned()];
    for component in components {
        directories.extend(join(root, component));
    }
    while let Some(directory) = directories.pop() {
        if search.seen.insert(format!("{directory}/")) {
            search.directory(&directory, &mut directories)?;
        }
    }
    Ok(if search.needs.is_empty() {
        Step::Done(search.files)
    } else {
        Step::Needs(search.needs)
    })
}

struct Search<'a> {
    tree: &'a FileTree,
    keys: &'a Keys,
    answers: &'a Answers,
    /// Files, and directories with a slash at the end.
    seen: HashSet<String>,
    files: Files,
    needs: Vec<Request>,
}

impl Search<'_> {
    /// A file that cannot be read says nothing here: the build will say it better.
    fn directory(&mut self, directory: &str, directories: &mut Vec<String>) -> Result<(), Failure> {
        let file = FILE_NAMES
            .iter()
            .find_map(|name| self.tree.get(&join(directory, name)?));
        let Some(kustomization) = file
            .and_then(|file| std::str::from_utf8(&file.data).ok())
            .and_then(|text| read_documents(text, Dialect::K8s).ok())
            .and_then(|documents| documents.into_iter().next())
        else {
            return Ok(());
        };
        let list = |value: &Value, field: &str| -> Vec<String> {
            let items = value.get(field).and_then(Value::as_array).into_iter().flatten();
            items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
        };
        let maps = |field: &str| kustomization.get(field).and_then(Value::as_array).into_iter().flatten();
        for generator in maps("secretGenerator") {
            for source in list(generator, "files") {
                let (key, path) = source.split_once('=').unwrap_or((&source, &source));
                self.file(directory, path, format_of(key))?;
            }
            let single = generator.get("env").and_then(Value::as_str).map(str::to_owned);
            for path in list(generator, "envs").into_iter().chain(single) {
                let format = match format_of(&path) {
                    Format::Binary => Format::Dotenv,
                    other => other,
                };
                self.file(directory, &path, format)?;
            }
        }
        for patch in maps("patches") {
            if let Some(path) = patch
                .get("path")
                .and_then(Value::as_str)
                .filter(|path| !path.is_empty())
            {
                self.file(directory, path, format_of(path))?;
            }
        }
        for field in ["resources", "bases", "components"] {
            let names = list(&kustomization, field);
            let below = names.iter().filter_map(|name| join(directory, name));
            directories.extend(below.filter(|path| self.tree.is_dir(path)));
        }
        Ok(())
    }

    fn file(&mut self, directory: &str, path: &str, format: Format) -> Result<(), Failure> {
        let Some(path) = join(directory, path) else {
            return Err(Failure::Outside {
                directory: directory.to_owned(),
                path: path.to_owned(),
            });
        };
        if !self.seen.insert(path.clone()) {
            return Ok(());
        }
        let Some(file) = self.tree.get(&path) else {
            return Ok(());
        };
        if !is_marked(&file.data, format) {
            return Ok(());
        }
        match decrypt(&file.data, format, format, self.keys, self.answers, Mac::Ignore) {
            Ok(Step::Done(plain)) => {
                self.files.insert(path, plain.to_vec());
                Ok(())
            }
            Ok(Step::Needs(requests)) => {
                self.needs.extend(requests);
                Ok(())
            }
            Err(source) => Err(Failure::File { path, source }),
        }
    }
}

/// Whether a file that should have this format looks encrypted in it.
fn is_marked(bytes: &[u8], format: Format) -> bool {
    match (looks_encrypted(bytes), format) {
        (Some(Format::Json), Format::Json | Format::Binary) => true,
        (found, format) => found == Some(format),
    }
}

fn format_of(name: &str) -> Format {
    if name.ends_with(DOCKER_CONFIG) {
        Format::Json
    } else {
        Format::for_path(name)
    }
}

/// A path below a directory of the tree; none when it leaves the tree, or is none.
fn join(directory: &str, path: &str) -> Option<String> {
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

/// Decrypts objects that carry the metadata of SOPS, and the values of Secrets that are encrypted files.
pub(crate) fn decrypt_objects(
    objects: &[Object],
    keys: &Keys,
    answers: &Answers,
) -> Result<Step<Vec<Object>>, Failure> {
    let mut out = Vec::with_capacity(objects.len());
    let mut needs = Vec::new();
    for object in objects {
        if is_disabled(object) {
            out.push(object.clone());
        } else if object.pointer("/sops/mac").is_some() {
            let name = || describe(object);
            match decrypt_json(object.as_value(), keys, answers, Mac::Ignore) {
                Ok(Step::Done(plain)) => {
                    out.push(Object::from_value(plain).map_err(|_| Failure::Shape { object: name() })?);
                }
                Ok(Step::Needs(requests)) => needs.extend(requests),
                Err(source) => return Err(Failure::Object { object: name(), source }),
            }
        } else if object.kind() == "Secret" {
            out.push(decrypt_data(object, keys, answers, &mut needs)?);
        } else {
            out.push(object.clone());
        }
    }
    Ok(if needs.is_empty() {
        Step::Done(out)
    } else {
        Step::Needs(needs)
    })
}

fn decrypt_data(object: &Object, keys: &Keys, answers: &Answers, needs: &mut Vec<Request>) -> Result<Object, Failure> {
    let mut changed = object.clone();
    let Some(data) = changed.as_value_mut().get_mut("data").and_then(Value::as_object_mut) else {
        return Ok(changed);
    };
    for (key, value) in data {
        // What is no base64 is for the API server to refuse.
        let Some(bytes) = value.as_str().and_then(|text| STANDARD.decode(text).ok()) else {
            continue;
        };
        let Some(from) = looks_encrypted(&bytes) else {
            continue;
        };
        match decrypt(&bytes, from, format_of(key), keys, answers, Mac::Ignore) {
            Ok(Step::Done(plain)) => *value = Value::String(STANDARD.encode(&*plain)),
            Ok(Step::Needs(requests)) => needs.extend(requests),
            Err(source) => {
                return Err(Failure::Field {
                    object: describe(object),
                    key: key.clone(),
                    source,
                });
            }
        }
    }
    Ok(changed)
}

/// Why these objects must not be applied: a Secret among them is still encrypted.
pub(crate) fn still_encrypted(objects: &[Object]) -> Option<String> {
    let secret = objects.iter().find(|object| {
        object.kind() == "Secret"
            && object.api_version() == "v1"
            && object.as_value().get("sops").is_some()
            && !is_disabled(object)
    })?;
    Some(format!(
        "{} is SOPS encrypted, configuring decryption is required for this secret to be reconciled",
        describe(secret)
    ))
}

fn is_disabled(object: &Object) -> bool {
    let value = object.annotation(KUSTOMIZE_DECRYPT);
    value.is_some_and(|value| value.eq_ignore_ascii_case("disabled"))
}

fn describe(object: &Object) -> String {
    match object.namespace() {
        Some(namespace) => format!("{}/{namespace}/{}", object.kind(), object.name()),
        None => format!("{}/{}", object.kind(), object.name()),
    }
}

#[cfg(test)]
mod tests {
    use nave_artifact::File;
    use serde_json::json;

    use super::*;

    const ENCRYPTED: &str = include_str!("../../../engine/sops/tests/fixtures/yaml-encrypted-regex/encrypted.yaml");
    const DOTENV: &str = include_str!("../../../engine/sops/tests/fixtures/dotenv-age/encrypted.env");
    const JSON: &str = include_str!("../../../engine/sops/tests/fixtures/json-age/encrypted.json");
    const KEY: &str = include_str!("../../../engine/sops/tests/fixtures/keys/age.txt");

    fn keys() -> Keys {
        let mut keys = Keys::new();
        keys.add_age(KEY).expect("the fixture is a key");
        keys
    }

    fn tree(files: &[(&str, &str)]) -> FileTree {
        let mut tree = FileTree::new();
        for (path, text) in files {
            tree.insert(*path, File::plain(text.as_bytes())).expect("a plain path");
        }
        tree
    }

    fn files(tree: &FileTree, components: &[&str]) -> Vec<String> {
        let components: Vec<String> = components.iter().map(|name| (*name).to_owned()).collect();
        match decrypt_files(tree, "app", &components, &keys(), &Answers::new()) {
            Ok(Step::Done(files)) => files.into_keys().collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn files_that_kustomizations_name_are_decrypted() {
        let tree = tree(&[
            (
                "app/kustomization.yaml",
                "resources: [../base, secret.yaml]\ncomponents: [part]\nsecretGenerator:\n- name: a\n  files: [config.json, \
                 .dockerconfigjson=registry, x=plain.txt]\n  envs: [vars]\npatches:\n- path: patch.yaml\n- patch: inline\n",
            ),
            ("app/secret.yaml", ENCRYPTED),
            ("app/config.json", JSON),
            ("app/registry", JSON),
            ("app/plain.txt", "mac: ENC["),
            ("app/vars", DOTENV),
            ("app/patch.yaml", ENCRYPTED),
            (
                "app/part/kustomization.yml",
                "resources: [../]\nsecretGenerator:\n- env: own.env\n",
            ),
            ("app/part/own.env", DOTENV),
            ("app/other/Kustomization", "patches: [{path: p.yaml}]\n"),
            ("app/other/p.yaml", ENCRYPTED),
            (
                "base/kustomization.yaml",
                "secretGenerator: [{files: [base.yaml, gone.yaml]}]\n",
            ),
            ("base/base.yaml", ENCRYPTED),
        ]);
        let wanted = [
            "app/config.json",
            "app/part/own.env",
            "app/patch.yaml",
            "app/registry",
            "app/vars",
            "base/base.yaml",
        ];
        assert_eq!(files(&tree, &[]), wanted);
        let mut with_other: Vec<&str> = wanted.to_vec();
        with_other.insert(1, "app/other/p.yaml");
        assert_eq!(files(&tree, &["other", "nowhere"]), with_other);
    }

    #[test]
    fn files_outside_are_refused_and_broken_ones_named() {
        let outside = tree(&[("app/kustomization.yaml", "patches: [{path: ../../x.yaml}]\n")]);
        let error = decrypt_files(&outside, "app", &[], &keys(), &Answers::new()).expect_err("it leaves the tree");
        assert_eq!(
            error.to_string(),
            "kustomization in \"app\": \"../../x.yaml\" leaves the artifact"
        );
        let broken = ENCRYPTED.replacen("lastmodified: \"", "lastmodified: \"x", 1);
        let tree = tree(&[
            ("app/kustomization.yaml", "patches: [{path: x.yaml}]\n"),
            ("app/x.yaml", &broken),
        ]);
        let error = decrypt_files(&tree, "app", &[], &keys(), &Answers::new()).expect_err("it is broken");
        assert_eq!(
            crate::reconcile::chain(&error),
            "decrypting file app/x.yaml: sops.lastmodified: it is no point in time in RFC 3339"
        );
    }

    fn object(value: Value) -> Object {
        Object::from_value(value).expect("it is an object")
    }

    fn encrypted_secret() -> Value {
        read_documents(ENCRYPTED, Dialect::K8s)
            .expect("the fixture is YAML")
            .remove(0)
    }

    #[test]
    fn objects_and_values_of_secrets_are_decrypted() {
        let data = json!({"x.env": STANDARD.encode(DOTENV), "x.json": STANDARD.encode(ENCRYPTED), "plain": "eA==", "bad": "?"});
        let secret = object(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "files"}, "data": data}));
        let config = object(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data}));
        let objects = [object(encrypted_secret()), secret, config.clone()];
        let Ok(Step::Done(plain)) = decrypt_objects(&objects, &keys(), &Answers::new()) else {
            panic!("the key fits");
        };
        assert_eq!(plain[0].pointer("/stringData/user"), Some(&json!("admin")));
        assert_eq!(plain[0].pointer("/sops"), None);
        let text = |key: &str| {
            let value = plain[1]
                .pointer(&format!("/data/{key}"))
                .and_then(Value::as_str)
                .expect(key);
            String::from_utf8(STANDARD.decode(value).expect("it is base64")).expect("it is text")
        };
        assert!(text("x.env").contains("B=two words\n"));
        assert!(
            text("x.json").starts_with("{\n\t\"apiVersion\": \"v1\",\n"),
            "{}",
            text("x.json")
        );
        assert_eq!(text("plain"), "x");
        assert_eq!(plain[2], config);
        assert_eq!(still_encrypted(&plain), None);
    }

    #[test]
    fn who_does_not_want_it_is_left_alone() {
        let mut value = encrypted_secret();
        assert_eq!(
            still_encrypted(&[object(value.clone())]).as_deref(),
            Some(
                "Secret/apps/creds is SOPS encrypted, configuring decryption is required for this secret to be reconciled"
            )
        );
        value["metadata"]["annotations"] = json!({KUSTOMIZE_DECRYPT: "Disabled"});
        let objects = [object(value)];
        let Ok(Step::Done(same)) = decrypt_objects(&objects, &Keys::new(), &Answers::new()) else {
            panic!("nothing is to be done");
        };
        assert_eq!(same, objects);
        assert_eq!(still_encrypted(&objects), None);
    }

    #[test]
    fn errors_name_the_object_and_field_and_no_value() {
        let error = decrypt_objects(&[object(encrypted_secret())], &Keys::new(), &Answers::new()).expect_err("no key");
        let text = crate::reconcile::chain(&error);
        assert!(
            text.starts_with("decrypting Secret/apps/creds: no key at hand opens the data key: age age1"),
            "{text}"
        );
        let data = json!({"x.env": STANDARD.encode(DOTENV.replacen("\nA=ENC[AES256_GCM,data:", "\nA=ENC[AES256_GCM,data:canary", 1))});
        let secret = object(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": data}));
        let error = decrypt_objects(&[secret], &keys(), &Answers::new()).expect_err("it was changed");
        let text = crate::reconcile::chain(&error);
        assert!(
            text.starts_with("decrypting data[\"x.env\"] of Secret/s: decrypting "),
            "{text}"
        );
        assert!(!text.contains("canary"), "{text}");
    }
}
