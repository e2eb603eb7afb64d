//! The loop that all kinds of sources go through: begin, work, report. What the work is, each kind says.

use std::{
    collections::{BTreeMap, HashSet},
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use kube::ResourceExt;
use nave_crds::{
    annotations, finalizers, managers,
    reasons::{self, source as source_reasons},
};
use nave_runtime::{
    Next, Reconciler, Severity, finalizer,
    schedule::{jittered, spread},
};
use nave_store::Owner;
use tokio::time::Instant;

use crate::{
    common::{Common, End},
    draft::{Draft, recovered},
    failure::{Failure, Retry, chain},
    source::{Source, SourceStatus},
};

#[cfg(test)]
mod day;

/// Work that takes longer is told of in the status while it goes on. What is done sooner is told of once, by its end.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is particular to a kind.
pub(crate) trait Steps<K: Source>: Send + Sync + 'static {
    /// Whether the object is ours. Others are left alone entirely, finalizers included.
    fn is_ours(&self, object: &K) -> bool;

    /// Whether the object only stands for something and is never worked on.
    fn is_static(&self, _object: &K) -> bool {
        false
    }

    /// From the object to an artifact. The draft is left as far as it got.
    fn work(
        &self,
        common: &Common<K>,
        object: &K,
        work: &mut Work<K>,
    ) -> impl Future<Output = Result<Done, Failure>> + Send;

    /// The object is gone: what was kept for it may go.
    fn release(&self, _key: &str) {}
}

/// What a reconcile came to.
pub(crate) enum Done {
    /// The stored artifact is of the current revision.
    UpToDate,
    /// A new artifact is stored; this is what its event says.
    Stored(Told),
}

/// An event of a stored artifact.
pub(crate) struct Told {
    pub reason: &'static str,
    pub message: String,
}

/// One reconcile under way.
pub(crate) struct Work<K: Source> {
    pub namespace: String,
    pub name: String,
    pub owner: Owner,
    pub draft: Draft<K::Status>,
    /// The status as the API server has it, as far as we know.
    pub sent: K::Status,
    /// The spec is new, or somebody asked: what is found is told, also when it is nothing.
    pub is_asked: bool,
    /// When the next step that is still under way is told of.
    told_at: Instant,
}

impl<K: Source> Work<K> {
    /// The object's name among all of its kind.
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

pub(crate) struct SourceReconciler<K: Source, S> {
    common: Common<K>,
    steps: S,
    /// Objects that have had their first wait in this process.
    settled: Mutex<HashSet<String>>,
}

impl<K: Source, S: Steps<K>> Reconciler<K> for SourceReconciler<K, S> {
    async fn reconcile(&self, object: Arc<K>) -> Next {
        let is_ours = &self.common.options.kind_filter;
        if !self.steps.is_ours(&object) || !is_ours(&K::kind(&()), object.meta()) {
            return Next::Await;
        }
        let key = format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any());
        match Box::pin(self.handle(object, &key)).await {
            Ok(next) => next,
            Err(End::Gone) => {
                self.forget(&key);
                Next::Await
            }
            Err(End::Api(error)) => {
                let conflict = matches!(&error, kube::Error::Api(status) if status.code == 409);
                if !conflict {
                    tracing::error!(kind = %K::kind(&()), object = key, error = chain(&error), "writing a source");
                }
                Next::Retry(self.common.backoff.failed(key))
            }
        }
    }
}

impl<K: Source, S: Steps<K>> SourceReconciler<K, S> {
    pub fn new(common: Common<K>, steps: S) -> Self {
        SourceReconciler {
            common,
            steps,
            settled: Mutex::default(),
        }
    }

    /// Until the next look at an object with which all is well.
    fn wait(&self, key: &str, interval: Duration) -> Duration {
        let percent = self.common.options.interval_jitter;
        let is_first = self.lock_settled().insert(key.to_owned());
        if is_first {
            spread(interval, percent)
        } else {
            jittered(interval, percent)
        }
    }

    fn lock_settled(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn handle(&self, object: Arc<K>, key: &str) -> Result<Next, End> {
        let common = &self.common;
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let object = if common.wrote_recently(key) {
            Arc::new(common.api(&namespace).get(&name).await?)
        } else {
            object
        };
        let owner = Owner::new(&K::kind(&()), &namespace, &name)
            .expect("the API server lets no name pass that is not a path segment");
        if object.meta().deletion_timestamp.is_some() {
            return self.delete(&object, &namespace, &owner, key).await;
        }
        if self.steps.is_static(&object) {
            return self.rest(&object, &namespace, &owner).await;
        }
        finalizer::add(&common.api(&namespace), &*object, finalizers::FLUX, managers::SOURCE).await?;

        let sent = object.status().cloned().unwrap_or_else(K::Status::unseen);
        let generation = object.meta().generation.unwrap_or_default();
        let requested = object.annotations().get(annotations::REQUESTED_AT).map(String::as_str);
        let mut work = Work {
            namespace,
            name,
            owner,
            draft: Draft::new(sent.clone(), generation, Timestamp::now()),
            sent,
            is_asked: false,
            told_at: Instant::now() + PATIENCE,
        };
        if object.is_suspended() {
            work.draft.suspended();
            work.draft.handled(requested);
            common.send(&mut work).await?;
            return Ok(Next::Await);
        }
        let before = work.sent.clone();
        work.is_asked = work.draft.begin(requested);
        let done = Box::pin(self.steps.work(common, &object, &mut work)).await;
        let next = match &done {
            Ok(_) => {
                work.draft.succeeded();
                common.collect(&object, &work.owner, &work.draft).await;
                common.backoff.succeeded(&key.to_owned());
                match object.interval() {
                    // As in Flux: without an interval only a change is a reason to look again.
                    Duration::ZERO => Next::Await,
                    interval => Next::After(self.wait(key, interval)),
                }
            }
            Err(failure) => {
                work.draft.failed(failure);
                match failure.retry {
                    Retry::Backoff => Next::Retry(common.backoff.failed(key.to_owned())),
                    Retry::Waiting => Next::After(jittered(
                        common.options.requeue_dependency,
                        common.options.interval_jitter,
                    )),
                    Retry::Stalled => {
                        common.backoff.succeeded(&key.to_owned());
                        Next::Await
                    }
                }
            }
        };
        work.draft.handled(requested);
        common.send(&mut work).await?;
        self.tell(&object, &before, &work.draft.status, done);
        Ok(next)
    }

    async fn delete(&self, object: &K, namespace: &str, owner: &Owner, key: &str) -> Result<Next, End> {
        if !finalizer::has(object, finalizers::FLUX) {
            self.forget(key);
            return Ok(Next::Await);
        }
        if let Err(error) = self.common.store.remove_all(owner).await {
            let message = format!("garbage collection for deleted resource failed: {error}");
            let reason = source_reasons::GARBAGE_COLLECTION_FAILED;
            self.common
                .record(object, Severity::Error, reason, &message, BTreeMap::new());
            return Ok(Next::Retry(self.common.backoff.failed(key.to_owned())));
        }
        self.steps.release(key);
        let api = self.common.api(namespace);
        finalizer::remove(&api, object, finalizers::FLUX, managers::SOURCE).await?;
        self.forget(key);
        Ok(Next::Await)
    }

    /// An object that only stands for something has no finalizer, no conditions and no artifact; what it had when it
    /// was another one goes, once.
    async fn rest(&self, object: &K, namespace: &str, owner: &Owner) -> Result<Next, End> {
        let api = self.common.api(namespace);
        if let Err(error) = self.common.store.remove_all(owner).await {
            tracing::warn!(object = object.name_any(), %error, "removing the artifacts of what has none any more");
        }
        if let Some(status) = object.status() {
            let rested = K::Status::unseen();
            if *status != rested {
                nave_runtime::status::patch(&api, &object.name_any(), managers::SOURCE, status, &rested).await?;
            }
        }
        finalizer::remove(&api, object, finalizers::FLUX, managers::SOURCE).await?;
        Ok(Next::Await)
    }

    fn forget(&self, key: &str) {
        self.lock_settled().remove(key);
        self.steps.release(key);
        self.common.forget(key);
    }

    /// Says in events what changed.
    fn tell(&self, object: &K, before: &K::Status, after: &K::Status, done: Result<Done, Failure>) {
        let common = &self.common;
        let told = match done {
            Err(failure) => {
                let severity = match failure.retry {
                    Retry::Waiting => Severity::Trace,
                    Retry::Backoff | Retry::Stalled => Severity::Error,
                };
                return common.record(object, severity, failure.reason, &failure.message, BTreeMap::new());
            }
            Ok(Done::Stored(told)) => Some(told),
            Ok(Done::UpToDate) => None,
        };
        let Some(artifact) = after.artifact() else { return };
        let (reason, message) = match told {
            Some(told) => (Some(told.reason), told.message),
            None => (None, (K::Status::CONDITIONS.stored)(artifact)),
        };
        let metadata = BTreeMap::from([
            (annotations::SOURCE_REVISION.to_owned(), artifact.revision.clone()),
            (annotations::SOURCE_DIGEST.to_owned(), artifact.digest.clone()),
        ]);
        let known = before.artifact().is_some_and(|known| known.digest == artifact.digest);
        if !known {
            let reason = reason.unwrap_or(source_reasons::NEW_ARTIFACT);
            common.record(object, Severity::Info, reason, &message, metadata);
        } else if recovered(before, after) {
            common.record(object, Severity::Info, reasons::SUCCEEDED, &message, metadata);
        }
    }
}

impl<K: Source> Common<K> {
    /// Waits for `step`, and writes the draft when the work takes long, so that people see what goes on.
    pub async fn with_progress<T>(&self, object: &K, work: &mut Work<K>, step: impl Future<Output = T>) -> T {
        let mut step = pin!(step);
        tokio::select! {
            done = &mut step => return done,
            _ = tokio::time::sleep_until(work.told_at) => {}
        }
        // The next step has its own time, so that one write tells of each that is slow.
        work.told_at = Instant::now() + PATIENCE;
        if let Err(End::Api(error)) = self.send(work).await {
            tracing::warn!(object = object.name_any(), error = chain(&error), "writing progress");
        }
        step.await
    }
}
