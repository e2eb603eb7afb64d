//! What names a resource inside a build, kustomize's way.

use std::fmt;

use nave_object::yaml::SmolStr;

use crate::schema::Schemas;

/// What stands for the namespace of an object that has none (kustomize, `resid`).
pub(crate) const NO_NAMESPACE: &str = "_non_namespaceable_";
pub(crate) const DEFAULT_NAMESPACE: &str = "default";

/// Group, version and kind, each empty where it does not matter (in a selector).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Gvk {
    pub group: SmolStr,
    pub version: SmolStr,
    pub kind: SmolStr,
}

/// A kind and a name, now or at some earlier step of the build.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Id {
    pub gvk: Gvk,
    pub name: SmolStr,
    pub namespace: SmolStr,
    pub cluster_scoped: bool,
}

impl Gvk {
    pub fn new(group: &str, version: &str, kind: &str) -> Gvk {
        Gvk {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
        }
    }

    pub fn from_api_version(api_version: &str, kind: &str) -> Gvk {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Gvk::new(group, version, kind)
    }

    /// Whether `selector` takes this kind; its empty fields take everything.
    pub fn is_selected(&self, selector: &Gvk) -> bool {
        (selector.group.is_empty() || selector.group == self.group)
            && (selector.version.is_empty() || selector.version == self.version)
            && (selector.kind.is_empty() || selector.kind == self.kind)
    }

    /// The order of kustomize's own tables: some kinds first, some last, then by text.
    pub fn table_key(&self) -> (i32, String) {
        let or = |text: &SmolStr, none: &str| {
            if text.is_empty() {
                none.to_owned()
            } else {
                text.to_string()
            }
        };
        let text = format!(
            "{}_{}_{}",
            or(&self.group, "~G"),
            or(&self.version, "~V"),
            or(&self.kind, "~K")
        );
        (crate::sort::rank(&self.kind), text)
    }
}

impl fmt::Display for Gvk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or = |text: &'_ SmolStr, none: &'static str| -> String {
            if text.is_empty() { none.into() } else { text.to_string() }
        };
        write!(
            f,
            "{}.{}.{}",
            or(&self.kind, "[noKind]"),
            or(&self.version, "[noVer]"),
            or(&self.group, "[noGrp]")
        )
    }
}

impl Id {
    pub fn new(gvk: Gvk, name: &str, namespace: &str, schemas: &Schemas) -> Id {
        let cluster_scoped = schemas.is_cluster_scoped(&gvk);
        Id {
            gvk,
            name: name.into(),
            namespace: namespace.into(),
            cluster_scoped,
        }
    }

    /// The namespace for comparisons: never empty.
    pub fn effective_namespace(&self) -> &str {
        if self.cluster_scoped {
            NO_NAMESPACE
        } else if self.namespace.is_empty() {
            DEFAULT_NAMESPACE
        } else {
            &self.namespace
        }
    }

    pub fn same_namespace(&self, other: &Id) -> bool {
        self.effective_namespace() == other.effective_namespace()
    }

    pub fn same_kind_and_name(&self, other: &Id) -> bool {
        self.name == other.name && self.gvk == other.gvk
    }

    /// Equality in kustomize's sense: by effective namespace.
    pub fn same(&self, other: &Id) -> bool {
        self.same_kind_and_name(other) && self.same_namespace(other)
    }

    /// What two ids share exactly when they are the same.
    pub fn key(&self) -> (Gvk, SmolStr, SmolStr) {
        (self.gvk.clone(), self.name.clone(), self.effective_namespace().into())
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.cluster_scoped, self.namespace.as_str()) {
            (true, _) | (_, "" | NO_NAMESPACE) => write!(f, "{}/{}", self.gvk.kind, self.name),
            (_, namespace) => write!(f, "{}/{namespace}/{}", self.gvk.kind, self.name),
        }
    }
}
