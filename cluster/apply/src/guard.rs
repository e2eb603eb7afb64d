//! Noticing at once that an object departs from what was applied.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use nave_health::Health;
use nave_targets::{Fingerprint, KindWatch, Resource, Subscription, Target};
use serde_json::Value;
use tokio::sync::Notify;

use crate::{Action, Change, Memory};

/// Events come in bursts, and one look serves them all.
const BURST: Duration = Duration::from_millis(50);
/// Until the next look while a watch does not know yet.
const UNSURE: Duration = Duration::from_secs(2);
/// Until the next look in any case: a watch that was broken may have missed something.
const AT_LAST: Duration = Duration::from_secs(300);

/// An object that is not to depart from what was seen of it when it was applied.
#[derive(Debug, Clone)]
pub struct Guarded {
    resource: Resource,
    namespace: String,
    name: String,
    fingerprint: Fingerprint,
}

/// What an apply left behind, to be guarded.
pub fn guarded(changes: &[Change], memory: &Memory) -> Vec<Guarded> {
    changes
        .iter()
        .filter_map(|change| {
            if change.action == Action::Skipped {
                return None; // whatever becomes of it is left alone
            }
            let resource = change.resource.clone()?;
            let namespace = if resource.namespaced {
                change.id.namespace.clone()
            } else {
                String::new()
            };
            Some(Guarded {
                namespace,
                name: change.id.name.clone(),
                fingerprint: memory.seen_fingerprint(&change.id)?,
                resource,
            })
        })
        .collect()
}

/// Returns once one of the objects is gone or is not any more as it was when it was applied. Never returns while all are,
/// nor for kinds that the identity may not watch.
///
/// It holds no worker: it sleeps until a watch has news. What a watch suspects is read once, since a watch may still be
/// behind our own write.
pub async fn until_drift(target: Arc<Target>, guarded: Vec<Guarded>) {
    let wake = Arc::new(Notify::new());
    let scopes = watches(&target, guarded, &wake);
    loop {
        let mut unsure = false;
        for (watch, _, objects) in &scopes {
            if watch.is_denied() {
                continue;
            }
            for object in objects {
                let suspected = match watch.known(&object.namespace, &object.name) {
                    Some(known) => known.fingerprint != object.fingerprint,
                    None if watch.is_current() => true,
                    None => {
                        unsure = true;
                        false
                    }
                };
                if !suspected {
                    continue;
                }
                match target.get(&object.resource, &object.namespace, &object.name).await {
                    Ok(Some(live)) if is_as_before(&target, object, &live) => unsure = true,
                    Ok(_) => return,
                    Err(_) => unsure = true,
                }
            }
        }
        let limit = if unsure { UNSURE } else { AT_LAST };
        if tokio::time::timeout(limit, wake.notified()).await.is_ok() {
            tokio::time::sleep(BURST).await;
        }
    }
}

fn is_as_before(target: &Target, object: &Guarded, live: &Value) -> bool {
    Fingerprint::of_value(live, target.override_managers()) == Some(object.fingerprint)
}

type Scope = (Arc<KindWatch>, Subscription, Vec<Guarded>);

fn watches(target: &Target, guarded: Vec<Guarded>, wake: &Arc<Notify>) -> Vec<Scope> {
    let mut kinds: BTreeMap<(Resource, String), Vec<Guarded>> = BTreeMap::new();
    for object in guarded {
        let scope = if target.account().is_some() {
            object.namespace.clone()
        } else {
            String::new()
        };
        kinds.entry((object.resource.clone(), scope)).or_default().push(object);
    }
    kinds
        .into_iter()
        .map(|((resource, namespace), objects)| {
            let watch = target.watch(&resource, &namespace);
            let names = objects
                .iter()
                .map(|object| (object.namespace.clone(), object.name.clone()));
            let indifferent = Arc::new(|_: &Value| Health::current(""));
            let subscription = watch.subscribe(names, indifferent, wake.clone());
            (watch, subscription, objects)
        })
        .collect()
}
