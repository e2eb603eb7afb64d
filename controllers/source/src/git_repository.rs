//! GitRepository: observe, plan, act, report.

mod act;
mod include;
mod observe;
mod plan;
mod status;

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use kube::{Api, Resource, ResourceExt};
use nave_crds::{
    GitRepository, annotations, finalizers, managers,
    reasons::{self, source as source_reasons},
    source::GitRepositoryStatus,
};
use nave_runtime::{
    Next, Reconciler, Severity, events, finalizer,
    schedule::{Backoff, jittered},
    status as status_patch,
};
use nave_store::Owner;

use self::{
    act::{Done, short},
    status::{Draft, recovered},
};
use crate::{
    failure::{Failure, Retry, chain},
    run::{Options, Ports},
};

/// A step that takes longer is told of in the status while it goes on.
const PATIENCE: Duration = Duration::from_secs(1);

/// For so long after a write the watch may not have brought it back yet, and the object is read afresh: building on an
/// old status would store and announce the same artifact again.
const ECHO: Duration = Duration::from_secs(5);

pub(crate) struct GitRepositoryReconciler {
    ports: Ports,
    options: Options,
    backoff: Backoff<String>,
    written: Mutex<HashMap<String, Instant>>,
}

/// One reconcile under way.
pub(crate) struct Work {
    namespace: String,
    name: String,
    owner: Owner,
    draft: Draft,
    /// The status as the API server has it, as far as we know.
    sent: GitRepositoryStatus,
    /// The spec is new, or somebody asked: what is found is told, also when it is nothing.
    is_asked: bool,
}

impl Work {
    /// The object's name among all.
    fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// Why a reconcile ends early.
enum End {
    /// The object is gone.
    Gone,
    /// The API server did not take what was sent.
    Api(kube::Error),
}

impl From<kube::Error> for End {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == 404 => End::Gone,
            other => End::Api(other),
        }
    }
}

impl Reconciler<GitRepository> for GitRepositoryReconciler {
    async fn reconcile(&self, object: Arc<GitRepository>) -> Next {
        if !(self.options.filter)(&object) {
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
                    tracing::error!(object = key, error = chain(&error), "writing a GitRepository");
                }
                Next::After(self.backoff.failed(key))
            }
        }
    }
}

impl GitRepositoryReconciler {
    pub fn new(ports: Ports, options: Options) -> Self {
        GitRepositoryReconciler {
            backoff: Backoff::new(options.min_retry_delay, options.max_retry_delay),
            ports,
            options,
            written: Mutex::default(),
        }
    }

    async fn handle(&self, object: Arc<GitRepository>, key: &str) -> Result<Next, End> {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let object = if self.wrote_recently(key) {
            Arc::new(self.api(&namespace).get(&name).await?)
        } else {
            object
        };
        let owner = Owner::new(&GitRepository::kind(&()), &namespace, &name)
            .expect("the API server lets no name pass that is not a path segment");
        if object.meta().deletion_timestamp.is_some() {
            return self.delete(&object, &namespace, &owner, key).await;
        }
        finalizer::add(&self.api(&namespace), &*object, finalizers::FLUX, managers::SOURCE).await?;

        let sent = object.status.clone().unwrap_or_else(|| GitRepositoryStatus {
            observed_generation: -1,
            ..Default::default()
        });
        let generation = object.meta().generation.unwrap_or_default();
        let requested = object.annotations().get(annotations::REQUESTED_AT).map(String::as_str);
        let mut work = Work {
            namespace,
            name,
            owner,
            draft: Draft::new(sent.clone(), generation, Timestamp::now()),
            sent,
            is_asked: false,
        };
        if object.spec.suspend {
            work.draft.suspended();
            work.draft.handled(requested);
            self.send(&mut work).await?;
            return Ok(Next::Await);
        }
        let before = work.sent.clone();
        work.is_asked = work.draft.begin(requested);
        if work.is_asked {
            self.send(&mut work).await?;
        }
        let done = Box::pin(self.work(&object, &mut work)).await;
        let next = match &done {
            Ok(_) => {
                work.draft.succeeded();
                self.collect(&object, &work.owner, &work.draft).await;
                self.backoff.succeeded(&key.to_owned());
                match object.spec.interval.get() {
                    // As in Flux: without an interval only a change is a reason to look again.
                    Duration::ZERO => Next::Await,
                    interval => Next::After(jittered(interval, self.options.interval_jitter)),
                }
            }
            Err(failure) => {
                work.draft.failed(failure);
                match failure.retry {
                    Retry::Backoff => Next::After(self.backoff.failed(key.to_owned())),
                    Retry::Waiting => {
                        Next::After(jittered(self.options.requeue_dependency, self.options.interval_jitter))
                    }
                    Retry::Stalled => {
                        self.backoff.succeeded(&key.to_owned());
                        Next::Await
                    }
                }
            }
        };
        work.draft.handled(requested);
        self.send(&mut work).await?;
        self.tell(&object, &before, &work.draft.status, done);
        Ok(next)
    }

    async fn delete(&self, object: &GitRepository, namespace: &str, owner: &Owner, key: &str) -> Result<Next, End> {
        if !finalizer::has(object, finalizers::FLUX) {
            self.forget(key);
            return Ok(Next::Await);
        }
        if let Err(error) = self.ports.store.remove_all(owner).await {
            let message = format!("garbage collection for deleted resource failed: {error}");
            let reason = source_reasons::GARBAGE_COLLECTION_FAILED;
            self.record(object, Severity::Error, reason, &message, BTreeMap::new());
            return Ok(Next::After(self.backoff.failed(key.to_owned())));
        }
        self.ports.git.release(key);
        finalizer::remove(&self.api(namespace), object, finalizers::FLUX, managers::SOURCE).await?;
        self.forget(key);
        Ok(Next::Await)
    }

    fn forget(&self, key: &str) {
        self.ports.git.release(key);
        self.backoff.succeeded(&key.to_owned());
        self.lock_written().remove(key);
        if let Some((namespace, name)) = key.split_once('/') {
            self.ports.metrics.forget("GitRepository", namespace, name);
        }
    }

    /// Says in events what changed.
    fn tell(
        &self,
        object: &GitRepository,
        before: &GitRepositoryStatus,
        after: &GitRepositoryStatus,
        done: Result<Done, Failure>,
    ) {
        let subject = match done {
            Err(failure) => {
                let severity = match failure.retry {
                    Retry::Waiting => Severity::Trace,
                    Retry::Backoff | Retry::Stalled => Severity::Error,
                };
                return self.record(object, severity, failure.reason, &failure.message, BTreeMap::new());
            }
            Ok(Done::Stored { subject }) => Some(subject),
            Ok(Done::UpToDate) => None,
        };
        let Some(artifact) = &after.artifact else { return };
        let message = match subject {
            Some(subject) => format!("stored artifact for commit '{}'", short(&subject)),
            None => format!("stored artifact for revision '{}'", artifact.revision),
        };
        let metadata = BTreeMap::from([
            (annotations::SOURCE_REVISION.to_owned(), artifact.revision.clone()),
            (annotations::SOURCE_DIGEST.to_owned(), artifact.digest.clone()),
        ]);
        let known = before
            .artifact
            .as_ref()
            .is_some_and(|known| known.digest == artifact.digest);
        if !known {
            self.record(object, Severity::Info, source_reasons::NEW_ARTIFACT, &message, metadata);
        } else if recovered(before, after) {
            self.record(object, Severity::Info, reasons::SUCCEEDED, &message, metadata);
        }
    }

    fn record(
        &self,
        object: &GitRepository,
        severity: Severity,
        reason: &str,
        message: &str,
        metadata: BTreeMap<String, String>,
    ) {
        self.ports
            .events
            .record(events::reference(object), severity, reason, message, metadata);
    }

    /// Waits for `step`, and writes the draft when it takes long, so that people see what goes on.
    async fn with_progress<T>(&self, object: &GitRepository, work: &mut Work, step: impl Future<Output = T>) -> T {
        let mut step = pin!(step);
        tokio::select! {
            done = &mut step => return done,
            _ = tokio::time::sleep(PATIENCE) => {}
        }
        if let Err(End::Api(error)) = self.send(work).await {
            tracing::warn!(object = object.name_any(), error = chain(&error), "writing progress");
        }
        step.await
    }

    async fn send(&self, work: &mut Work) -> Result<(), End> {
        let api = self.api(&work.namespace);
        let sent = status_patch::patch(&api, &work.name, managers::SOURCE, &work.sent, &work.draft.status).await?;
        if sent {
            let mut written = self.lock_written();
            written.retain(|_, at| at.elapsed() < ECHO);
            written.insert(work.key(), Instant::now());
            drop(written);
            work.sent = work.draft.status.clone();
        }
        Ok(())
    }

    fn wrote_recently(&self, key: &str) -> bool {
        self.lock_written().get(key).is_some_and(|at| at.elapsed() < ECHO)
    }

    fn lock_written(&self) -> std::sync::MutexGuard<'_, HashMap<String, Instant>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn api(&self, namespace: &str) -> Api<GitRepository> {
        Api::namespaced(self.ports.client.clone(), namespace)
    }
}
