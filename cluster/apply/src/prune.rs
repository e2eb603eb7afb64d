//! Deleting what left the inventory: the plan is made and permitted before anything is deleted.

use std::{cmp::Ordering, collections::HashSet, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, stream};
use nave_crds::{
    kustomize::ResourceRef,
    labels::{KUSTOMIZE_NAME, KUSTOMIZE_NAMESPACE},
};
use nave_object::{Gvk, Object, ObjectId, digest, order};
use nave_runtime::ports::{Action, ApplyPolicy, OwnerRef, PlannedDelete, PrunePlan};
use nave_targets::{DeleteMode, ResolveError, Resource, Target};
use serde_json::{Value, json};

use crate::{WaitError, WaitItem, inventory::object_of, problem::describe, rules, wait};

/// What became of the stale objects.
#[derive(Debug, Default)]
pub struct PruneOutcome {
    /// Deleted now, in order.
    pub deleted: Vec<ObjectId>,
    /// Left where they are, with the reason; they leave the inventory all the same.
    pub skipped: Vec<(ObjectId, String)>,
    /// Could not be deleted, with the reason; they stay in the inventory.
    pub failed: Vec<(ResourceRef, String)>,
    /// What users are told, in order: `<object> deleted`, also of what was gone already, or `<object> skipped`.
    pub listed: Vec<String>,
    waits: Vec<WaitItem>,
}

/// What deleting `stale` would do, to be permitted as a whole. `change` is the revision that caused it, or `deletion`.
pub fn plan(owner: &OwnerRef, change: &str, stale: &[ResourceRef]) -> PrunePlan {
    let mut deletes: Vec<PlannedDelete> = stale
        .iter()
        .filter_map(object_of)
        .map(|(id, _)| PlannedDelete {
            group: id.group,
            kind: id.kind,
            namespace: id.namespace,
            name: id.name,
            loses_data: false,
        })
        .collect();
    sort(&mut deletes);
    let text: String = deletes.iter().map(line).collect();
    PrunePlan {
        owner: owner.clone(),
        change: change.to_owned(),
        digest: digest::sha256(text),
        deletes,
    }
}

/// What re-creating objects would do, to be permitted as a whole before any of them is deleted.
pub(crate) fn plan_recreation(owner: &OwnerRef, change: &str, mut deletes: Vec<PlannedDelete>) -> PrunePlan {
    sort(&mut deletes);
    let text: String = deletes
        .iter()
        .map(|delete| format!("re-create {}", line(delete)))
        .collect();
    PrunePlan {
        owner: owner.clone(),
        change: change.to_owned(),
        digest: digest::sha256(text),
        deletes,
    }
}

fn sort(deletes: &mut [PlannedDelete]) {
    deletes.sort_by(|a, b| (&a.namespace, &a.name, &a.group, &a.kind).cmp(&(&b.namespace, &b.name, &b.group, &b.kind)));
}

/// One deletion in the text that a digest is made of.
fn line(delete: &PlannedDelete) -> String {
    format!(
        "{}/{}/{}/{}\n",
        delete.group, delete.kind, delete.namespace, delete.name
    )
}

/// Deletes stale objects in the reverse of the order in which they were applied.
///
/// Only objects that carry both owner labels are touched, and none whose UID is in `kept_uids`: those were applied now, under
/// another version or name of their kind.
pub async fn prune(
    target: &Target,
    stale: &[ResourceRef],
    owner: &OwnerRef,
    policy: &dyn ApplyPolicy,
    kept_uids: &HashSet<String>,
    concurrency: usize,
) -> PruneOutcome {
    let mut outcome = PruneOutcome::default();
    let mut objects: Vec<(ObjectId, Gvk, &ResourceRef)> = Vec::with_capacity(stale.len());
    for entry in stale {
        match object_of(entry) {
            Some((id, gvk)) => objects.push((id, gvk, entry)),
            None => outcome
                .failed
                .push((entry.clone(), "the inventory entry cannot be read".to_owned())),
        }
    }
    objects.sort_by(|(a, _, _), (b, _, _)| delete_order(a, b));
    let mut rest = objects.as_slice();
    while let Some((first, _, _)) = rest.first() {
        let same = rest
            .iter()
            .take_while(|(id, _, _)| id.kind == first.kind && id.group == first.group)
            .count();
        let (now, later) = rest.split_at(same);
        let results: Vec<Done> = stream::iter(
            now.iter()
                .map(|(id, gvk, _)| delete(target, id, gvk, owner, policy, kept_uids).boxed())
                .collect::<Vec<_>>(),
        )
        .buffered(concurrency.max(1))
        .collect()
        .await;
        for ((id, _, entry), done) in now.iter().zip(results) {
            match &done {
                Done::Failed(_) => {}
                Done::Skipped(_) => outcome.listed.push(format!("{id} skipped")),
                Done::Deleted(_) | Done::Gone => outcome.listed.push(format!("{id} deleted")),
            }
            match done {
                Done::Deleted(resource) => {
                    outcome.deleted.push(id.clone());
                    outcome.waits.push(WaitItem {
                        id: id.clone(),
                        resource,
                        seen: None,
                        may_vanish: false,
                    });
                }
                Done::Gone => {}
                Done::Skipped(why) => outcome.skipped.push((id.clone(), why)),
                Done::Failed(why) => outcome.failed.push(((*entry).clone(), why)),
            }
        }
        rest = later;
    }
    outcome
}

/// Waits until everything that a prune deleted is gone, finalizers included.
///
/// # Errors
/// Time is up.
pub async fn wait_gone(target: &Arc<Target>, outcome: &PruneOutcome, limit: Duration) -> Result<(), WaitError> {
    wait::wait_until_gone(target, outcome.waits.clone(), limit).await
}

/// The reason for keeping an object that was applied now through another version or name of its kind.
pub(crate) const UNDER_ANOTHER_NAME: &str = "it was applied under another name of its kind";

enum Done {
    Deleted(Resource),
    Gone,
    Skipped(String),
    Failed(String),
}

async fn delete(
    target: &Target,
    id: &ObjectId,
    gvk: &Gvk,
    owner: &OwnerRef,
    policy: &dyn ApplyPolicy,
    kept_uids: &HashSet<String>,
) -> Done {
    let (resource, live) = match find(target, id, gvk).await {
        Ok(Some(found)) => found,
        Ok(None) => return Done::Gone,
        Err(why) => return Done::Failed(why),
    };
    let uid = live
        .pointer("/metadata/uid")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if kept_uids.contains(uid) {
        return Done::Skipped(UNDER_ANOTHER_NAME.to_owned());
    }
    if let Some(why) = kept(&live, owner) {
        return Done::Skipped(why.to_owned());
    }
    let allowed = policy.check(owner, Action::Delete, &id.group, &id.kind, &id.namespace, &id.name);
    if let Err(why) = allowed {
        return Done::Failed(why);
    }
    if live
        .pointer("/metadata/deletionTimestamp")
        .is_some_and(|time| !time.is_null())
    {
        return Done::Deleted(resource); // somebody has asked for it already
    }
    let mode = DeleteMode {
        uid: Some(uid.to_owned()),
    };
    match target.delete(&resource, &id.namespace, &id.name, &mode).await {
        Ok(true) => Done::Deleted(resource),
        Ok(false) => Done::Gone,
        Err(error) => Done::Failed(describe(&error)),
    }
}

/// A stale object as it is now, and how it is addressed; none when it is gone.
pub(crate) async fn find(target: &Target, id: &ObjectId, gvk: &Gvk) -> Result<Option<(Resource, Value)>, String> {
    let resource = match target.resolve(gvk).await {
        Ok(resource) => resource,
        // With the kind went its objects. A version that is not served any more: see `other_version`.
        Err(ResolveError::NoMatch(_)) => match other_version(target, gvk).await? {
            Some(resource) => resource,
            None => return Ok(None),
        },
        Err(ResolveError::Request { source, .. }) => return Err(describe(&source)),
    };
    match target.get(&resource, &id.namespace, &id.name).await {
        Ok(live) => Ok(live.map(|live| (resource, live))),
        Err(error) => Err(describe(&error)),
    }
}

/// Why a stale object is left where it is.
pub(crate) fn kept(live: &Value, owner: &OwnerRef) -> Option<&'static str> {
    if !is_owned(live, owner) {
        return Some("it does not belong to this Kustomization any more");
    }
    rules::kept_from_pruning(live)
}

/// The kind in whatever version of its group is served today.
async fn other_version(target: &Target, gvk: &Gvk) -> Result<Option<Resource>, String> {
    if gvk.group.is_empty() {
        return Ok(None);
    }
    let groups = target
        .client()
        .list_api_groups()
        .await
        .map_err(|error| describe(&error))?;
    for version in groups
        .groups
        .into_iter()
        .filter(|group| group.name == gvk.group)
        .flat_map(|group| group.versions)
    {
        let candidate = Gvk {
            version: version.version,
            ..gvk.clone()
        };
        match target.resolve(&candidate).await {
            Ok(resource) => return Ok(Some(resource)),
            Err(ResolveError::NoMatch(_)) => {}
            Err(ResolveError::Request { source, .. }) => return Err(describe(&source)),
        }
    }
    Ok(None)
}

fn is_owned(live: &Value, owner: &OwnerRef) -> bool {
    let label = |key: &str| {
        live.pointer("/metadata/labels")
            .and_then(|labels| labels.get(key))
            .and_then(Value::as_str)
    };
    label(KUSTOMIZE_NAME) == Some(&owner.name) && label(KUSTOMIZE_NAMESPACE) == Some(&owner.namespace)
}

fn delete_order(a: &ObjectId, b: &ObjectId) -> Ordering {
    order::delete_order(&skeleton(a), &skeleton(b))
}

/// As much of an object as its place in the order depends on.
fn skeleton(id: &ObjectId) -> Object {
    let api_version = if id.group.is_empty() {
        "v1".to_owned()
    } else {
        format!("{}/v1", id.group)
    };
    Object::from_value(json!({
        "apiVersion": api_version,
        "kind": id.kind,
        "metadata": {"name": id.name, "namespace": id.namespace},
    }))
    .expect("inventory ids have a kind and a name")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str) -> ResourceRef {
        ResourceRef {
            id: id.to_owned(),
            v: "v1".to_owned(),
        }
    }

    #[test]
    fn plans_are_sorted_and_their_digest_names_the_deletions() {
        let owner = OwnerRef::default();
        let stale = [entry("b_x__ConfigMap"), entry("_a__Namespace"), entry("nonsense")];
        let forward = plan(&owner, "main@sha1:1", &stale);
        let backward = plan(&owner, "main@sha1:2", &[stale[1].clone(), stale[0].clone()]);
        assert_eq!(forward.digest, backward.digest);
        assert_eq!(forward.deletes.len(), 2);
        assert_eq!(forward.deletes[0].kind, "Namespace");
        assert_eq!(forward.cascades().count(), 1);
        assert_ne!(forward.digest, plan(&owner, "x", &stale[..1]).digest);
    }

    #[test]
    fn a_permit_to_delete_is_none_to_create_anew() {
        let owner = OwnerRef::default();
        let stale = [entry("a_x__PersistentVolumeClaim")];
        let pruned = plan(&owner, "c", &stale);
        let mut deletes = pruned.deletes.clone();
        deletes[0].loses_data = true;
        let recreated = plan_recreation(&owner, "c", deletes);
        assert_ne!(pruned.digest, recreated.digest);
        assert_eq!((pruned.cascades().count(), recreated.cascades().count()), (0, 1));
    }

    #[test]
    fn namespaces_go_last() {
        let id = |text: &str| ObjectId::parse_inventory_id(text).expect("it is an id");
        let mut ids = [id("_n__Namespace"), id("n_d_apps_Deployment"), id("n_c__ConfigMap")];
        ids.sort_by(delete_order);
        let kinds: Vec<&str> = ids.iter().map(|id| id.kind.as_str()).collect();
        assert_eq!(kinds, ["Deployment", "ConfigMap", "Namespace"]);
    }

    #[test]
    fn both_labels_make_an_owner() {
        let owner = OwnerRef {
            name: "apps".into(),
            namespace: "flux-system".into(),
            ..OwnerRef::default()
        };
        let live = |name: &str, namespace: &str| json!({"metadata": {"labels": {KUSTOMIZE_NAME: name, KUSTOMIZE_NAMESPACE: namespace}}});
        assert!(is_owned(&live("apps", "flux-system"), &owner));
        assert!(!is_owned(&live("apps", "other"), &owner));
        assert!(!is_owned(&json!({"metadata": {}}), &owner));
    }
}
