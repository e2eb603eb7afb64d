//! kube-runtime's controller behind one door: what wakes a reconcile, how many run at once, and what is measured.

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt::Debug,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{Stream, StreamExt, future};
use kube::{
    Resource, ResourceExt,
    runtime::{
        Controller,
        controller::{self, Action, Config},
        reflector::ObjectRef,
    },
};
use serde::de::DeserializeOwned;

use crate::{Metrics, Tasks, Watched};

/// Asking for a reconcile by hand (`flux reconcile`): any change of its value counts.
pub const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";

/// When to look at an object again if nothing happens meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// After this time.
    After(Duration),
    /// After this time, since it failed. It is counted as an error, and otherwise like [`Next::After`].
    Retry(Duration),
    /// Only when something changes.
    Await,
}

/// One reconcile of one object. It reports its own errors in the object's status; nothing is left for the caller to handle.
pub trait Reconciler<K>: Send + Sync + 'static {
    /// Brings the world to what `object` says and answers when to look again.
    fn reconcile(&self, object: Arc<K>) -> impl Future<Output = Next> + Send;
}

/// Runs `reconciler` until shutdown, for every object whose generation, deletion, `requestedAt` or annotations under
/// `nave.dev/` changed, and for
/// everything that `triggers` names. One object is never reconciled twice at once; what happens meanwhile is done after.
pub async fn run<K, R>(
    watched: &Watched<K>,
    triggers: impl Stream<Item = ObjectRef<K>> + Send + 'static,
    concurrency: u16,
    metrics: &Metrics,
    reconciler: Arc<R>,
    tasks: &Tasks,
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    R: Reconciler<K>,
{
    let kind = K::kind(&()).into_owned();
    if !watched.ready().await {
        return; // shut down before the first list was complete
    }
    let seen = Mutex::new(HashMap::new());
    let wakes = watched
        .changes()
        .filter(move |object| future::ready(is_news(&seen, object.as_ref())));
    let work = metrics.work(&kind.to_lowercase(), concurrency);
    let (woken, triggered, ended) = (work.clone(), work.clone(), work.clone());
    let wakes = wakes.inspect(move |object| woken.woken(crate::watch::key(object.as_ref())));
    let triggers = triggers.inspect(move |reference| triggered.woken(key_of(reference)));
    let metrics = metrics.clone();
    let shutdown = tasks.shutdown_token().clone();
    Controller::for_shared_stream(wakes, watched.store())
        .with_config(Config::default().concurrency(concurrency))
        .reconcile_on(triggers)
        .graceful_shutdown_on(async move { shutdown.cancelled().await })
        .run(
            move |object: Arc<K>, reconciler: Arc<R>| {
                let (work, metrics, kind) = (work.clone(), metrics.clone(), kind.clone());
                async move {
                    let key = crate::watch::key(object.as_ref());
                    let turn = work.begin(&key);
                    let leaves = object.meta().deletion_timestamp.is_some();
                    let next = reconciler.reconcile(object).await;
                    let took = turn.end(next);
                    if leaves && next == Next::Await {
                        // Nothing is left to do with it: another observation would bring its series back for good.
                        metrics.forget(&kind, &key.0, &key.1);
                    } else {
                        metrics.reconciled(&kind, &key.0, &key.1, took);
                    }
                    Ok::<Action, Infallible>(match next {
                        Next::After(delay) | Next::Retry(delay) => Action::requeue(delay),
                        Next::Await => Action::await_change(),
                    })
                }
            },
            |_object, error: &Infallible, _context| match *error {},
            reconciler,
        )
        .for_each(|outcome| {
            // What was deleted while it was queued.
            if let Err(controller::Error::ObjectNotFound(reference)) = outcome {
                ended.gone(&(reference.namespace.unwrap_or_default(), reference.name));
            }
            future::ready(())
        })
        .await;
}

fn key_of<K: Resource<DynamicType = ()>>(reference: &ObjectRef<K>) -> (String, String) {
    (reference.namespace.clone().unwrap_or_default(), reference.name.clone())
}

type Seen = HashMap<String, (Option<i64>, bool, Option<String>, Vec<(String, String)>)>;

/// Annotations of this prefix change what a reconcile does…
const OUR_PREFIX: &str = "nave.dev/";
/// …as does the one that suspends what has no field for it, and that resumes it…
const SUSPENDS: &str = "source.extensions.fluxcd.io/reconcile";
/// …except for the one that we write ourselves.
const WRITTEN_BY_US: &str = "nave.dev/target";

/// Whether something changed that a reconcile acts on. Status and other metadata do not count, as in Flux.
fn is_news<K: Resource<DynamicType = ()>>(seen: &Mutex<Seen>, object: &K) -> bool {
    let meta = object.meta();
    let Some(uid) = &meta.uid else { return true };
    let state = (
        meta.generation,
        meta.deletion_timestamp.is_some(),
        object.annotations().get(REQUESTED_AT).cloned(),
        object
            .annotations()
            .iter()
            .filter(|(key, _)| key.starts_with(OUR_PREFIX) && *key != WRITTEN_BY_US || *key == SUSPENDS)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    );
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    if meta.deletion_timestamp.is_some() && meta.finalizers.as_ref().is_none_or(Vec::is_empty) {
        seen.remove(uid); // gone: nothing is left to reconcile
        return false;
    }
    seen.insert(uid.clone(), state.clone()) != Some(state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::{api::core::v1::ConfigMap, jiff::Timestamp};

    fn object(generation: i64) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.uid = Some("u".into());
        object.metadata.generation = Some(generation);
        object
    }

    #[test]
    fn only_generation_requests_and_deletion_wake_a_reconcile() {
        let seen = Mutex::default();
        assert!(is_news(&seen, &object(1)));
        assert!(!is_news(&seen, &object(1)));
        let mut relabelled = object(1);
        relabelled.labels_mut().insert("a".into(), "b".into());
        assert!(!is_news(&seen, &relabelled));
        let mut requested = object(1);
        requested.annotations_mut().insert(REQUESTED_AT.into(), "now".into());
        assert!(is_news(&seen, &requested));
        assert!(!is_news(&seen, &requested));
        let mut ours = object(1);
        ours.annotations_mut().insert(REQUESTED_AT.into(), "now".into());
        ours.annotations_mut().insert(WRITTEN_BY_US.into(), "x".into());
        assert!(!is_news(&seen, &ours));
        ours.annotations_mut().insert("nave.dev/drift".into(), "Instant".into());
        assert!(is_news(&seen, &ours));
        ours.annotations_mut().insert(SUSPENDS.into(), "disabled".into());
        assert!(is_news(&seen, &ours));
        ours.annotations_mut().remove(SUSPENDS);
        assert!(is_news(&seen, &ours), "it is resumed");
        assert!(is_news(&seen, &object(2)));
        let mut leaving = object(2);
        leaving.metadata.finalizers = Some(vec!["f".into()]);
        leaving.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
            Timestamp::UNIX_EPOCH,
        ));
        assert!(is_news(&seen, &leaving));
        leaving.metadata.finalizers = None;
        assert!(!is_news(&seen, &leaving));
    }
}
