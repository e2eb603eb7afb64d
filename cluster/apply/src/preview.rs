//! What applying and pruning would do, asked with dry runs alone: nothing is written, not even managed fields.

use std::collections::HashSet;

use nave_crds::kustomize::ResourceRef;
use nave_object::{Object, ObjectId};
use nave_runtime::ports::OwnerRef;
use nave_targets::{ApplyMode, ResolveError, Target, is_not_found};
use serde_json::Value;

use crate::{
    IgnoreRules, Problem, compare,
    examine::{is_immutable, refused_dry_run},
    ignore,
    inventory::object_of,
    prune::{UNDER_ANOTHER_NAME, find, kept},
    rules::{self, Mode},
    trial::would_be_created,
};

/// What applying one object would do.
#[derive(Debug, Clone, PartialEq)]
pub enum Preview {
    /// A label or annotation says to leave it alone.
    Skipped,
    /// It is as desired.
    Unchanged {
        /// UID of the live object.
        uid: String,
    },
    /// It does not exist.
    Created,
    /// It would change.
    Changed {
        /// As it is now, without ignored fields.
        live: Value,
        /// As the API server would make it, without ignored fields; the desired object when it is re-created.
        applied: Value,
        /// Whether it would be deleted and created again, because an immutable field changes.
        recreated: bool,
    },
}

/// What a stale object would come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PruneVerdict {
    /// It would be deleted.
    Deleted,
    /// It is gone already.
    Gone,
    /// It would stay, with the reason.
    Kept(String),
}

/// Namespaces and kinds that a set of objects brings itself. What lives in them cannot be tried before they are there.
#[derive(Debug, Clone, Default)]
pub struct Brought {
    namespaces: HashSet<String>,
    kinds: HashSet<(String, String)>,
}

impl Brought {
    /// What these objects bring.
    pub fn by<'a>(objects: impl IntoIterator<Item = &'a Object>) -> Self {
        let mut brought = Brought::default();
        for object in objects {
            match (object.gvk().group.as_str(), object.kind()) {
                ("", "Namespace") => {
                    brought.namespaces.insert(object.name().to_owned());
                }
                ("apiextensions.k8s.io", "CustomResourceDefinition") => {
                    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
                    let kind = (text("/spec/group").to_owned(), text("/spec/names/kind").to_owned());
                    brought.kinds.insert(kind);
                }
                _ => {}
            }
        }
        brought
    }
}

/// What applying an object, which [`crate::prepare`] has brought into its form, would do; with `force` it may be re-created.
///
/// Fields that kubectl owns and that the desired object lacks are taken for kept, although an apply removes them: that
/// cannot be tried without writing.
///
/// # Errors
/// The API server cannot be asked or refuses the object, or its kind is unknown and not brought by the same set.
pub async fn preview(
    target: &Target,
    object: &Object,
    ignore_rules: &IgnoreRules,
    force: bool,
    brought: &Brought,
) -> Result<Preview, Problem> {
    let (id, desired) = (object.id(), object.as_value());
    if rules::is_left_alone(desired) {
        return Ok(Preview::Skipped);
    }
    let resource = match target.resolve(&object.gvk()).await {
        Ok(resource) => resource,
        Err(ResolveError::NoMatch(gvk)) if brought.kinds.contains(&(gvk.group.clone(), gvk.kind.clone())) => {
            return Ok(Preview::Created);
        }
        Err(error) => return Err(Problem::resolve(&id, desired, &error)),
    };
    if resource.namespaced && id.namespace.is_empty() {
        let reason = "set metadata.namespace or spec.targetNamespace";
        return Err(Problem::new(&id, desired, "has no namespace", reason));
    }
    let live = target
        .get(&resource, &id.namespace, &id.name)
        .await
        .map_err(|error| Problem::api(&id, desired, "cannot be read", &error))?;
    let manager = nave_targets::APPLY_MANAGER;
    let dry_run = target
        .apply(&resource, &id.namespace, &id.name, manager, desired, ApplyMode::DryRun)
        .await;
    let Some(live) = live else {
        return match dry_run {
            Ok(_) => Ok(Preview::Created),
            // The namespace comes with it.
            Err(error) if is_not_found(&error) && brought.namespaces.contains(&id.namespace) => Ok(Preview::Created),
            Err(error) => Err(refused_dry_run(&id, desired, &error)),
        };
    };
    if rules::mode(desired) == Mode::IfNotPresent || rules::is_left_alone(&live) {
        return Ok(Preview::Skipped);
    }
    let ignored = ignore_rules.paths(object);
    let (applied, recreated) = match dry_run {
        Ok(applied) => (applied, false),
        Err(error)
            if is_immutable(&error)
                && (force || rules::is_forced(desired))
                && would_be_created(target, &resource, object).await =>
        {
            (desired.clone(), true)
        }
        Err(error) => return Err(refused_dry_run(&id, desired, &error)),
    };
    let uid = uid_of(&live).to_owned();
    let (live, applied) = (ignore::without(&live, &ignored), ignore::without(&applied, &ignored));
    if recreated || compare::differs(&live, &applied) {
        Ok(Preview::Changed {
            live: live.into_owned(),
            applied: applied.into_owned(),
            recreated,
        })
    } else {
        Ok(Preview::Unchanged { uid })
    }
}

/// What pruning a stale entry of an inventory would do; none for an entry that cannot be read. An object whose UID is in
/// `kept_uids` is applied under another name of its kind.
///
/// # Errors
/// Why the object cannot be looked at.
pub async fn preview_prune(
    target: &Target,
    entry: &ResourceRef,
    owner: &OwnerRef,
    kept_uids: &HashSet<String>,
) -> Result<Option<(ObjectId, PruneVerdict)>, String> {
    let Some((id, gvk)) = object_of(entry) else {
        return Ok(None);
    };
    let verdict = match find(target, &id, &gvk).await.map_err(|why| format!("{id}: {why}"))? {
        None => PruneVerdict::Gone,
        Some((_, live)) if kept_uids.contains(uid_of(&live)) => PruneVerdict::Kept(UNDER_ANOTHER_NAME.to_owned()),
        Some((_, live)) => match kept(&live, owner) {
            Some(why) => PruneVerdict::Kept(why.to_owned()),
            None => PruneVerdict::Deleted,
        },
    };
    Ok(Some((id, verdict)))
}

fn uid_of(live: &Value) -> &str {
    live.pointer("/metadata/uid")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_set_brings_its_namespaces_and_kinds() {
        let object = |value: Value| Object::from_value(value).expect("an object");
        let objects = [
            object(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}})),
            object(json!({"apiVersion": "example.com/v1", "kind": "Namespace", "metadata": {"name": "b"}})),
            object(
                json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": "w"}, "spec": {"group": "example.com", "names": {"kind": "Widget"}}}),
            ),
        ];
        let brought = Brought::by(&objects);
        assert_eq!(brought.namespaces, HashSet::from(["a".to_owned()]));
        assert_eq!(
            brought.kinds,
            HashSet::from([("example.com".to_owned(), "Widget".to_owned())])
        );
    }
}
