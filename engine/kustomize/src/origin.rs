//! Where an object comes from, for the annotations that `buildMetadata` asks for.

use nave_object::yaml::{Dialect, Tag, resolve, write};
use serde_json::Value;

use crate::repository::RepositoryUrl;
use crate::tree::normalize;

/// Annotation that says where an object was read or generated.
pub(crate) const ORIGIN: &str = "config.kubernetes.io/origin";
/// Annotation that lists what changed an object.
pub(crate) const TRANSFORMATIONS: &str = "alpha.config.kubernetes.io/transformations";

/// A place, and for generators and transformers what is configured there.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Origin {
    pub path: String,
    pub repo: String,
    pub reference: String,
    pub configured_in: String,
    pub configured_by: Option<Plugin>,
}

/// The generator or transformer.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Plugin {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub namespace: String,
}

impl Origin {
    /// The origin one step further, into a directory, a file or a repository.
    pub fn append(&self, path: &str) -> Origin {
        let mut origin = self.clone();
        if let Some(url) = RepositoryUrl::parse(path) {
            origin.repo = url.clone_url();
            origin.reference = url.reference;
            origin.path = url.path;
        } else {
            origin.path = join(&origin.path, path);
        }
        origin
    }

    /// The origin of what the built-in plugin `kind` of a kustomization file makes or changes.
    pub fn builtin(&self, file_name: &str, kind: &str) -> Origin {
        Origin {
            path: String::new(),
            repo: self.repo.clone(),
            reference: self.reference.clone(),
            configured_in: join(&self.path, file_name),
            configured_by: Some(Plugin {
                api_version: "builtin".to_owned(),
                kind: kind.to_owned(),
                ..Plugin::default()
            }),
        }
    }

    pub fn to_yaml(&self) -> String {
        let mut out = String::new();
        self.write("", "", &mut out);
        out
    }

    pub fn list_to_yaml(list: &[Origin]) -> String {
        let mut out = String::new();
        for origin in list {
            origin.write("- ", "  ", &mut out);
        }
        out
    }

    fn write(&self, first: &str, indent: &str, out: &mut String) {
        let mut lead = first;
        for (field, text) in [
            ("path", &self.path),
            ("repo", &self.repo),
            ("ref", &self.reference),
            ("configuredIn", &self.configured_in),
        ] {
            if !text.is_empty() {
                out.push_str(&format!("{lead}{field}: {}\n", scalar(text)));
                lead = indent;
            }
        }
        if let Some(plugin) = &self.configured_by {
            out.push_str(&format!("{lead}configuredBy:\n"));
            for (field, text) in [
                ("apiVersion", &plugin.api_version),
                ("kind", &plugin.kind),
                ("name", &plugin.name),
                ("namespace", &plugin.namespace),
            ] {
                if !text.is_empty() {
                    out.push_str(&format!("{indent}  {field}: {}\n", scalar(text)));
                }
            }
        }
    }
}

/// Joins like Go's `filepath.Join`: `..` is resolved where there is something to go up from.
fn join(base: &str, path: &str) -> String {
    match normalize(base, path) {
        Some(path) if path.is_empty() => ".".to_owned(),
        Some(path) => path,
        None => {
            let mut parts: Vec<&str> = Vec::new();
            for part in base.split('/').chain(path.split('/')) {
                match part {
                    "" | "." => {}
                    ".." if parts.last().is_some_and(|last| *last != "..") => {
                        parts.pop();
                    }
                    part => parts.push(part),
                }
            }
            parts.join("/")
        }
    }
}

fn scalar(text: &str) -> String {
    let written = write(&Value::String(text.to_owned()));
    // go-yaml 3, which writes these, quotes less than go-yaml 2: `yes` is a text for both ends.
    if resolve(text, Dialect::Kyaml) == Tag::Str && !text.contains(['\n', '"', '\'', '#', ':']) {
        return text.to_owned();
    }
    written.trim_end().to_owned()
}
