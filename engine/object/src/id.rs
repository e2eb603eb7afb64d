//! What names an object in the cluster, and how Flux writes that into an inventory.

use std::fmt;

/// The four kinds of this group may have `:` in their names, which Flux writes as `__`.
const RBAC_GROUP: &str = "rbac.authorization.k8s.io";
const COLON_KINDS: [&str; 4] = ["Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"];

/// Group, kind, namespace and name of an object; empty for "core group" and "no namespace".
///
/// Displayed as `<Kind>/<namespace>/<name>`, or `<Kind>/<name>` without a namespace, as Flux
/// prints it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct ObjectId {
    /// API group, empty for the core group.
    pub group: String,
    /// Kind, such as `Deployment`.
    pub kind: String,
    /// Namespace, empty for objects of the whole cluster.
    pub namespace: String,
    /// Name within the namespace.
    pub name: String,
}

/// A text that is not an inventory id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{id}` is not an inventory id of the form <namespace>_<name>_<group>_<kind>")]
pub struct InventoryIdError {
    /// What was given.
    pub id: String,
}

impl ObjectId {
    /// The id of this object in a Flux inventory: `<namespace>_<name>_<group>_<kind>`.
    ///
    /// A `:` in the name is written `__` for the four RBAC kinds, which alone may have one.
    pub fn inventory_id(&self) -> String {
        let name = if self.group == RBAC_GROUP && COLON_KINDS.contains(&self.kind.as_str()) {
            self.name.replace(':', "__")
        } else {
            self.name.clone()
        };
        format!("{}_{}_{}_{}", self.namespace, name, self.group, self.kind)
    }

    /// Reads what [`ObjectId::inventory_id`] wrote.
    ///
    /// The first `_` ends the namespace, the last two start group and kind, so a name may
    /// contain `_`; `__` in the name reads as `:`, whatever the kind is, as Flux does.
    ///
    /// # Errors
    /// Fewer than three `_`, or an empty name or kind.
    pub fn parse_inventory_id(id: &str) -> Result<ObjectId, InventoryIdError> {
        let error = || InventoryIdError { id: id.to_owned() };
        let (namespace, rest) = id.split_once('_').ok_or_else(error)?;
        let (rest, kind) = rest.rsplit_once('_').ok_or_else(error)?;
        let (name, group) = rest.rsplit_once('_').ok_or_else(error)?;
        if name.is_empty() || kind.is_empty() {
            return Err(error());
        }
        Ok(ObjectId {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.replace("__", ":"),
        })
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{}/{}", self.kind, self.name)
        } else {
            write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(namespace: &str, name: &str, group: &str, kind: &str) -> ObjectId {
        ObjectId {
            group: group.into(),
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    #[test]
    fn inventory_ids_round_trip() {
        for (object, text) in [
            (
                id("default", "web", "apps", "Deployment"),
                "default_web_apps_Deployment",
            ),
            (id("", "prod", "", "Namespace"), "_prod__Namespace"),
            (id("a", "c", "", "ConfigMap"), "a_c__ConfigMap"),
            (
                id("", "system:node", RBAC_GROUP, "ClusterRole"),
                "_system__node_rbac.authorization.k8s.io_ClusterRole",
            ),
        ] {
            assert_eq!(object.inventory_id(), text);
            assert_eq!(ObjectId::parse_inventory_id(text).as_ref(), Ok(&object), "{text}");
        }
    }

    #[test]
    fn broken_inventory_ids_are_refused() {
        for text in ["", "a", "a_b", "a_b_c", "a__apps_Deployment", "a_b_c_"] {
            assert!(ObjectId::parse_inventory_id(text).is_err(), "{text}");
        }
    }

    #[test]
    fn display_is_what_flux_prints() {
        assert_eq!(id("a", "b", "apps", "Deployment").to_string(), "Deployment/a/b");
        assert_eq!(id("", "b", "", "Namespace").to_string(), "Namespace/b");
    }
}
