//! One Kubernetes object as JSON.

use std::fmt;

use serde_json::{Map, Value};

use crate::{id::ObjectId, pointer};

/// Group, version and kind. Displayed as `apps/v1, Kind=Deployment`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Gvk {
    /// API group, empty for the core group.
    pub group: String,
    /// Version within the group, such as `v1`.
    pub version: String,
    /// Kind, such as `Deployment`.
    pub kind: String,
}

/// A Kubernetes object as JSON: always a JSON object with non-empty `apiVersion`, `kind` and
/// `metadata.name`.
///
/// Those three fields are checked once, in [`Object::from_value`]; code that edits the value
/// through [`Object::as_value_mut`] keeps them. Only [`Object::unchecked`] lets others in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object(Value);

/// Why a value is not a Kubernetes object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// The value is a list, a text, a number, …
    #[error("expected a Kubernetes object, found {found}")]
    NotAnObject {
        /// What it is instead, such as "a list".
        found: &'static str,
    },
    /// A field that names the object is absent, empty or not a text.
    #[error("{object} has no {field}")]
    Missing {
        /// What is known of the object: `kind/name` as far as present.
        object: String,
        /// The path of the field, such as `metadata.name`.
        field: &'static str,
    },
}

impl Gvk {
    /// From `apiVersion` (`apps/v1`, or `v1` for the core group) and kind.
    pub fn new(api_version: &str, kind: &str) -> Gvk {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Gvk {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
        }
    }

    /// The `apiVersion` field: `group/version`, or `version` alone for the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

impl fmt::Display for Gvk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.group.is_empty() {
            write!(f, "{}/", self.group)?;
        }
        write!(f, "{}, Kind={}", self.version, self.kind)
    }
}

impl Object {
    /// Takes a JSON object that has `apiVersion`, `kind` and `metadata.name`.
    ///
    /// # Errors
    /// Names the field that is missing. A list kind without a name is refused too; see
    /// [`crate::yaml::read_objects`], which expands lists.
    pub fn from_value(value: Value) -> Result<Object, ObjectError> {
        if !value.is_object() {
            return Err(ObjectError::NotAnObject {
                found: type_name(&value),
            });
        }
        for (pointer, field) in [
            ("/apiVersion", "apiVersion"),
            ("/kind", "kind"),
            ("/metadata/name", "metadata.name"),
        ] {
            if text_at(&value, pointer).is_empty() {
                return Err(ObjectError::Missing {
                    object: describe(&value),
                    field,
                });
            }
        }
        Ok(Object(value))
    }

    /// Takes any map, also one without `apiVersion` or name, such as kustomize lets through.
    ///
    /// Accessors of what is missing give an empty text.
    pub fn unchecked(map: Map<String, Value>) -> Object {
        Object(Value::Object(map))
    }

    /// The JSON.
    pub fn as_value(&self) -> &Value {
        &self.0
    }

    /// The JSON, for editing; `apiVersion`, `kind` and `metadata.name` must stay texts.
    pub fn as_value_mut(&mut self) -> &mut Value {
        &mut self.0
    }

    /// The JSON, moved out.
    pub fn into_value(self) -> Value {
        self.0
    }

    /// `apiVersion`, such as `apps/v1`.
    pub fn api_version(&self) -> &str {
        text_at(&self.0, "/apiVersion")
    }

    /// `kind`, such as `Deployment`.
    pub fn kind(&self) -> &str {
        text_at(&self.0, "/kind")
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        text_at(&self.0, "/metadata/name")
    }

    /// `metadata.namespace`, `None` when absent or empty.
    pub fn namespace(&self) -> Option<&str> {
        Some(text_at(&self.0, "/metadata/namespace")).filter(|text| !text.is_empty())
    }

    /// Group, version and kind.
    pub fn gvk(&self) -> Gvk {
        Gvk::new(self.api_version(), self.kind())
    }

    /// Group, kind, namespace and name.
    pub fn id(&self) -> ObjectId {
        let api_version = self.api_version();
        ObjectId {
            group: api_version.split_once('/').map_or("", |(group, _)| group).to_owned(),
            kind: self.kind().to_owned(),
            namespace: self.namespace().unwrap_or_default().to_owned(),
            name: self.name().to_owned(),
        }
    }

    /// The value at an RFC 6901 pointer, such as `/spec/replicas`.
    pub fn pointer(&self, pointer: &str) -> Option<&Value> {
        pointer::at(&self.0, pointer)
    }

    /// The label `key`, when it is there and a text.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels()?.get(key)?.as_str()
    }

    /// The annotation `key`, when it is there and a text.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations()?.get(key)?.as_str()
    }

    /// `metadata.labels`, when it is there and a map.
    pub fn labels(&self) -> Option<&Map<String, Value>> {
        pointer::at(&self.0, "/metadata/labels")?.as_object()
    }

    /// `metadata.annotations`, when it is there and a map.
    pub fn annotations(&self) -> Option<&Map<String, Value>> {
        pointer::at(&self.0, "/metadata/annotations")?.as_object()
    }

    /// `metadata.labels`, made when absent or not a map.
    pub fn labels_mut(&mut self) -> &mut Map<String, Value> {
        self.metadata_map("labels")
    }

    /// `metadata.annotations`, made when absent or not a map.
    pub fn annotations_mut(&mut self) -> &mut Map<String, Value> {
        self.metadata_map("annotations")
    }

    /// Sets one label.
    pub fn set_label(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.labels_mut().insert(key.into(), Value::String(value.into()));
    }

    /// Sets one annotation.
    pub fn set_annotation(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.annotations_mut().insert(key.into(), Value::String(value.into()));
    }

    /// Removes one label; an empty map of labels goes with it.
    pub fn remove_label(&mut self, key: &str) -> Option<Value> {
        self.remove_metadata("labels", key)
    }

    /// Removes one annotation; an empty map of annotations goes with it.
    pub fn remove_annotation(&mut self, key: &str) -> Option<Value> {
        self.remove_metadata("annotations", key)
    }

    /// Sets `metadata.name`.
    pub fn set_name(&mut self, name: impl Into<String>) {
        self.metadata().insert("name".to_owned(), Value::String(name.into()));
    }

    /// Sets `metadata.namespace`.
    pub fn set_namespace(&mut self, namespace: impl Into<String>) {
        self.metadata()
            .insert("namespace".to_owned(), Value::String(namespace.into()));
    }

    fn metadata(&mut self) -> &mut Map<String, Value> {
        as_map(as_map(&mut self.0).entry("metadata").or_insert(Value::Null))
    }

    fn metadata_map(&mut self, field: &str) -> &mut Map<String, Value> {
        as_map(self.metadata().entry(field).or_insert(Value::Null))
    }

    fn remove_metadata(&mut self, field: &str, key: &str) -> Option<Value> {
        let metadata = self.0.get_mut("metadata")?.as_object_mut()?;
        let map = metadata.get_mut(field)?.as_object_mut()?;
        let removed = map.remove(key);
        if removed.is_some() && map.is_empty() {
            metadata.remove(field);
        }
        removed
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id().fmt(f)
    }
}

impl serde::Serialize for Object {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Object {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Object, D::Error> {
        Object::from_value(Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("made a map just above when it was none")
}

fn text_at<'a>(value: &'a Value, pointer: &str) -> &'a str {
    pointer::at(value, pointer).and_then(Value::as_str).unwrap_or_default()
}

fn describe(value: &Value) -> String {
    let (kind, name) = (text_at(value, "/kind"), text_at(value, "/metadata/name"));
    match (kind, name) {
        ("", "") => "object".to_owned(),
        ("", name) => format!("object {name}"),
        (kind, "") => kind.to_owned(),
        (kind, name) => format!("{kind}/{name}"),
    }
}

/// The JSON type of a value in words, with its article.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn identity_comes_from_the_fields() {
        let object = Object::from_value(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "prod", "labels": {"a": "b"}},
        }))
        .unwrap();
        assert_eq!(object.gvk().to_string(), "apps/v1, Kind=Deployment");
        assert_eq!(object.gvk().api_version(), "apps/v1");
        assert_eq!(object.to_string(), "Deployment/prod/web");
        assert_eq!(object.label("a"), Some("b"));
        assert_eq!(object.annotation("a"), None);
        assert_eq!(Gvk::new("v1", "Secret").to_string(), "v1, Kind=Secret");
    }

    #[test]
    fn labels_and_annotations_come_and_go() {
        let mut object = Object::from_value(
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "annotations": null}}),
        )
        .unwrap();
        object.set_annotation("k", "v");
        object.set_label("l", "m");
        assert_eq!(object.annotation("k"), Some("v"));
        assert_eq!(object.remove_annotation("k"), Some(json!("v")));
        assert_eq!(object.remove_label("none"), None);
        assert_eq!(
            object.pointer("/metadata"),
            Some(&json!({"name": "s", "labels": {"l": "m"}}))
        );
    }

    #[test]
    fn a_missing_field_is_named() {
        for (value, error) in [
            (json!([]), "expected a Kubernetes object, found a list"),
            (json!({}), "object has no apiVersion"),
            (json!({"apiVersion": "v1"}), "object has no kind"),
            (
                json!({"apiVersion": "v1", "kind": "Secret"}),
                "Secret has no metadata.name",
            ),
            (
                json!({"apiVersion": "v1", "kind": 1, "metadata": {"name": "x"}}),
                "object x has no kind",
            ),
        ] {
            assert_eq!(Object::from_value(value).unwrap_err().to_string(), error);
        }
    }
}
