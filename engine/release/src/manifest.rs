//! The objects of a release's manifest, whose they are, and which of them a new version leaves behind.

use nave_object::{
    Object, ObjectId,
    yaml::{ReadObjectsError, read_objects},
};

/// On an object: `keep` leaves it when the release goes on without it.
pub const RESOURCE_POLICY: &str = "helm.sh/resource-policy";
const KEEP: &str = "keep";
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const HELM: &str = "Helm";
const RELEASE_NAME: &str = "meta.helm.sh/release-name";
const RELEASE_NAMESPACE: &str = "meta.helm.sh/release-namespace";

/// Why a manifest has no objects to show.
#[derive(Debug, thiserror::Error)]
#[error("the manifest of release {release} cannot be read")]
pub struct ManifestError {
    /// Name and version.
    pub release: String,
    /// What is wrong.
    #[source]
    pub source: ReadObjectsError,
}

/// The objects of a manifest, in its order.
///
/// # Errors
/// It is no YAML, or something in it is no object.
pub fn objects(manifest: &str, release: &str) -> Result<Vec<Object>, ManifestError> {
    read_objects(manifest, release).map_err(|source| ManifestError {
        release: release.to_owned(),
        source,
    })
}

/// The objects of `old` that are not in `new`; those are deleted, unless the live one says `keep`.
pub fn left_behind(old: &[Object], new: &[ObjectId]) -> Vec<ObjectId> {
    old.iter().map(Object::id).filter(|id| !new.contains(id)).collect()
}

/// Whether uninstalling leaves an object.
pub fn stays_on_uninstall(object: &Object) -> bool {
    object
        .annotation(RESOURCE_POLICY)
        .is_some_and(|policy| policy.trim().eq_ignore_ascii_case(KEEP))
}

/// The release that an object belongs to, as its label and annotations say.
#[derive(Debug, Clone, Copy)]
pub struct Ownership<'a> {
    /// Name of the release.
    pub name: &'a str,
    /// Namespace of the release.
    pub namespace: &'a str,
}

impl Ownership<'_> {
    /// Marks an object as the release's.
    pub fn mark(&self, object: &mut Object) {
        object.set_label(MANAGED_BY, HELM);
        object.set_annotation(RELEASE_NAME, self.name);
        object.set_annotation(RELEASE_NAMESPACE, self.namespace);
    }

    /// Why a live object is not the release's, in Helm's words; none when it is.
    pub fn problem(&self, object: &Object) -> Option<String> {
        let mut problems = Vec::new();
        let mut require = |what: &str, key: &str, found: Option<&str>, wanted: &str| match found {
            Some(found) if found == wanted => {}
            Some(found) => problems.push(format!(
                "{what} validation error: key {key:?} must equal {wanted:?}: current value is {found:?}"
            )),
            None => problems.push(format!(
                "{what} validation error: missing key {key:?}: must be set to {wanted:?}"
            )),
        };
        require("label", MANAGED_BY, object.label(MANAGED_BY), HELM);
        require("annotation", RELEASE_NAME, object.annotation(RELEASE_NAME), self.name);
        require(
            "annotation",
            RELEASE_NAMESPACE,
            object.annotation(RELEASE_NAMESPACE),
            self.namespace,
        );
        if problems.is_empty() {
            return None;
        }
        Some(format!("invalid ownership metadata; {}", problems.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "---\n# Source: shop/templates/a.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n---\n# Source: shop/templates/b.yaml\napiVersion: v1\nkind: Secret\nmetadata:\n  name: b\n  annotations:\n    helm.sh/resource-policy: \" Keep\"\n";

    #[test]
    fn what_is_left_behind() {
        let list = objects(TWO, "shop.v1").expect("it is YAML");
        assert_eq!(list.len(), 2);
        assert!(!stays_on_uninstall(&list[0]) && stays_on_uninstall(&list[1]));
        assert_eq!(left_behind(&list, &[list[1].id()]), [list[0].id()]);
        let error = objects("a: [", "shop.v1").expect_err("it is no YAML");
        assert!(error.to_string().contains("shop.v1"), "{error}");
    }

    #[test]
    fn ownership_is_marked_and_checked() {
        let mut object = objects(TWO, "shop.v1").expect("it is YAML").remove(0);
        let ours = Ownership {
            name: "shop",
            namespace: "market",
        };
        let problem = ours.problem(&object).expect("nobody owns it");
        assert!(
            problem.starts_with("invalid ownership metadata; label validation error: missing key"),
            "{problem}"
        );
        ours.mark(&mut object);
        assert_eq!(ours.problem(&object), None);
        let other = Ownership { name: "x", ..ours };
        assert!(
            other
                .problem(&object)
                .expect("it is ours")
                .contains("current value is \"shop\"")
        );
    }
}
