//! Which clusters, and what differs between them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::meta::LabelSelector;

/// Which clusters a fleet object reaches: those that the selector matches and those that are
/// named, less the excluded ones.
///
/// Only clusters of the object's own namespace and those whose `spec.access` names it count.
/// A selector that is not set matches nothing, an empty one (`{}`) everything.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// Clusters by label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// Clusters by name; `<namespace>/<name>` for one of another namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 5000))]
    pub names: Vec<String>,
    /// Clusters that are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude: Option<ClusterSelector>,
}

/// Clusters by label or by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSelector {
    /// Clusters by label; not set matches nothing, empty matches everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// Clusters by name; `<namespace>/<name>` for one of another namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 5000))]
    pub names: Vec<String>,
}

/// A change of the template for some clusters. Overrides apply in their order, `merge` before
/// `patches`; both see the template as `{metadata, spec}`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "has(self.selector) || has(self.names)",
        "message": "an override needs a selector or names; selector: {} means every cluster"
    },
    {
        "rule": "has(self.merge) || has(self.patches)",
        "message": "an override needs merge or patches"
    }
]))]
pub struct Override {
    /// Clusters by label; not set matches nothing, empty matches everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// Clusters by name; `<namespace>/<name>` for one of another namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("minItems" = 1, "maxItems" = 5000))]
    pub names: Vec<String>,
    /// A JSON merge patch (RFC 7386): maps are merged, null removes, everything else replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::free_object")]
    pub merge: Option<Map<String, Value>>,
    /// Operations of a JSON patch (RFC 6902).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("minItems" = 1, "maxItems" = 128))]
    pub patches: Vec<JsonPatchOp>,
}

/// One operation of a JSON patch (RFC 6902).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JsonPatchOp {
    /// What to do.
    #[schemars(extend("enum" = ["add", "remove", "replace", "move", "copy", "test"]))]
    pub op: String,
    /// JSON pointer to the place, such as `/spec/path`.
    #[schemars(extend("pattern" = "^(/.*)?$", "maxLength" = 1024))]
    pub path: String,
    /// JSON pointer to the origin, for `move` and `copy`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(extend("maxLength" = 1024))]
    pub from: String,
    /// The value, for `add`, `replace` and `test`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::free_value")]
    pub value: Option<Value>,
}
