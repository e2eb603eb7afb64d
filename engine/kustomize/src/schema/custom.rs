//! An OpenAPI v2 description that the user gives (`openapi.path`).

use serde_json::Value;

use crate::ids::Gvk;

const GVK: &str = "x-kubernetes-group-version-kind";
/// The parts of an OpenAPI description that merging needs.
pub(crate) struct CustomSchema {
    document: Value,
    /// (`apiVersion`, kind, name of the definition)
    kinds: Vec<(String, String, String)>,
    /// Kinds with a path outside namespaces and none inside.
    cluster_scoped: Vec<(String, String)>,
}

impl CustomSchema {
    /// Takes `{definitions: {...}, paths: {...}}`.
    pub fn new(document: Value) -> CustomSchema {
        let mut kinds = Vec::new();
        for (name, definition) in document["definitions"].as_object().into_iter().flatten() {
            for gvk in definition[GVK].as_array().into_iter().flatten() {
                let (api_version, kind) = api_version_and_kind(gvk);
                kinds.push((api_version, kind, name.clone()));
            }
        }
        let (mut namespaced, mut cluster_scoped) = (Vec::new(), Vec::new());
        for (path, operations) in document["paths"].as_object().into_iter().flatten() {
            let gvk = &operations["get"][GVK];
            if gvk.is_object() {
                let key = api_version_and_kind(gvk);
                if path.contains("namespaces/{namespace}") {
                    namespaced.push(key);
                } else {
                    cluster_scoped.push(key);
                }
            }
        }
        cluster_scoped.retain(|key| !namespaced.contains(key));
        CustomSchema {
            document,
            kinds,
            cluster_scoped,
        }
    }

    pub fn is_cluster_scoped(&self, gvk: &Gvk) -> bool {
        let api_version = if gvk.group.is_empty() {
            gvk.version.to_string()
        } else {
            format!("{}/{}", gvk.group, gvk.version)
        };
        self.cluster_scoped
            .iter()
            .any(|(version, kind)| *version == api_version && *kind == gvk.kind)
    }

    /// The schema of a kind.
    pub fn of(&self, api_version: &str, kind: &str) -> Option<&Value> {
        // The last definition of a kind wins, as later ones overwrite earlier ones in kustomize.
        let (_, _, name) = self
            .kinds
            .iter()
            .rev()
            .find(|(version, name, _)| version == api_version && name == kind)?;
        self.definition(name)
    }

    /// The definition of a name, such as `io.k8s.api.core.v1.PodSpec`.
    pub fn definition(&self, name: &str) -> Option<&Value> {
        self.document["definitions"].get(name)
    }

    /// What a JSON pointer leads to.
    pub fn at(&self, pointer: &str) -> Option<&Value> {
        self.document.pointer(pointer)
    }

    /// The schema of a field, which may be a reference.
    pub fn field<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
        match schema["properties"].get(name) {
            Some(field) => Some(field),
            None => schema.get("additionalProperties").filter(|schema| schema.is_object()),
        }
    }

    /// The schema of the elements of a list, which may be a reference.
    pub fn elements(schema: &Value) -> Option<&Value> {
        let kind = match &schema["type"] {
            Value::Array(kinds) => kinds.first().filter(|_| kinds.len() == 1)?,
            kind => kind,
        };
        schema.get("items").filter(|items| kind == "array" && items.is_object())
    }

    pub fn merge_keys(schema: &Value) -> Option<Vec<&str>> {
        let strategy = schema["x-kubernetes-patch-strategy"].as_str()?;
        if !strategy.split(',').any(|part| part == "merge") {
            return None;
        }
        if let Some(keys) = schema["x-kubernetes-list-map-keys"].as_array() {
            return Some(keys.iter().filter_map(Value::as_str).collect());
        }
        Some(schema["x-kubernetes-patch-merge-key"].as_str().into_iter().collect())
    }
}

fn api_version_and_kind(gvk: &Value) -> (String, String) {
    let text = |field: &str| gvk[field].as_str().unwrap_or_default();
    let api_version = match (text("group"), text("version")) {
        ("", version) => version.to_owned(),
        (group, version) => format!("{group}/{version}"),
    };
    (api_version, text("kind").to_owned())
}
