//! One reconcile, which looks at everything, starts a job, or takes note of the end of one.

use std::{sync::Arc, time::Duration};

use kube::{Api, ResourceExt};
use nave_crds::{
    annotations::{FORCE_AT, REQUESTED_AT, RESET_AT},
    finalizers,
    helm::HelmRelease,
    managers,
};
use nave_release::config_digest;
use nave_runtime::{Next, Reconciler, finalizer, schedule::Backoff};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    Options, Ports, capabilities,
    depends::Key,
    job::{Ended, Input, Job},
    memory::{Attempt, Kept, Remembered},
    observe::{Seen, observe},
    plan::{self, Plan, SourceSeen},
    running::{Finished, Running},
    sources::Sources,
    triggers::{self, Triggers},
};

/// After a request to the API server failed that says nothing about the HelmRelease.
const SOON: Duration = Duration::from_millis(500);

/// How long the first lists of sources may take.
const FIRST_LISTS: Duration = Duration::from_secs(30);

/// What all jobs share.
pub(crate) struct Shared {
    pub ports: Ports,
    pub options: Options,
    pub sources: Sources,
    pub capabilities: capabilities::Shared,
    pub turns: Arc<Semaphore>,
    pub backoff: Backoff<Key>,
}

/// The reconciler.
pub(crate) struct HelmReleases {
    shared: Arc<Shared>,
    triggers: Triggers,
    remembered: Remembered,
}

impl HelmReleases {
    pub fn new(ports: Ports, options: Options, triggers: Triggers) -> Self {
        HelmReleases {
            shared: Arc::new(Shared {
                sources: Sources::new(&ports),
                ports,
                capabilities: Arc::default(),
                turns: Arc::new(Semaphore::new(usize::from(options.concurrent.max(1)))),
                backoff: Backoff::new(options.min_retry_delay, options.max_retry_delay),
                options,
            }),
            triggers,
            remembered: Remembered::default(),
        }
    }

    pub fn ports(&self) -> &Ports {
        &self.shared.ports
    }

    /// Starts the tasks that wake HelmReleases.
    pub fn start_watching(&self) {
        let Shared {
            ports,
            options,
            sources,
            ..
        } = self.shared.as_ref();
        let (triggers, releases, tasks) = (&self.triggers, &ports.helm_releases, &ports.tasks);
        triggers.watch_dependencies(releases, tasks);
        triggers::watch_sources(triggers, &sources.external_artifacts, releases, tasks);
        triggers::watch_sources(triggers, &sources.helm_charts, releases, tasks);
        triggers::watch_sources(triggers, &sources.oci_repositories, releases, tasks);
        let selector = &options.watch_configs_label_selector;
        if !options.gates.disable_config_watchers && !selector.is_empty() {
            let namespace = options.watch_namespace.as_deref();
            triggers::watch_configs(triggers, &ports.client, namespace, selector, releases, tasks);
        }
    }

    /// A HelmRelease whose source is not listed yet would be said to have none. A kind that is not served is not waited for
    /// for ever.
    pub async fn wait_for_sources(&self) {
        let sources = &self.shared.sources;
        let ready = async {
            tokio::join!(
                sources.external_artifacts.ready(),
                sources.helm_charts.ready(),
                sources.oci_repositories.ready()
            )
        };
        if tokio::time::timeout(FIRST_LISTS, ready).await.is_err() {
            tracing::warn!("sources are not listed yet; those that are missing will wake their HelmReleases");
        }
    }

    fn job(&self, object: &Arc<HelmRelease>, key: &Key, kept: &Kept, preempt: CancellationToken) -> Job {
        let status = kept
            .status
            .clone()
            .or_else(|| object.status.clone())
            .unwrap_or_default();
        Job {
            shared: self.shared.clone(),
            object: object.clone(),
            key: key.clone(),
            written: status.clone(),
            status,
            preempt,
        }
    }

    fn start<F>(&self, key: &Key, attempt: Attempt, work: impl FnOnce(CancellationToken) -> F) -> Running
    where
        F: Future<Output = Finished> + Send + 'static,
    {
        Running::begin(
            &self.shared.ports.tasks,
            attempt,
            key.clone(),
            self.triggers.clone(),
            work,
        )
    }

    async fn step(&self, object: &Arc<HelmRelease>, key: &Key, kept: &mut Kept) -> (Next, bool) {
        let deletes = object.metadata.deletion_timestamp.is_some();
        if deletes && !finalizer::has(object.as_ref(), finalizers::FLUX) {
            return (Next::Await, true);
        }
        if !deletes && !kept.has_finalizer {
            let api: Api<HelmRelease> = Api::namespaced(self.shared.ports.client.clone(), &key.0);
            match finalizer::add(&api, object.as_ref(), finalizers::FLUX, managers::HELM).await {
                Ok(_) => kept.has_finalizer = true,
                Err(kube::Error::Api(status)) if status.code == 404 => return (Next::Await, true),
                // Somebody changed the object; the watch brings it as it is now.
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "adding the finalizer");
                    return (Next::After(SOON), false);
                }
            }
        }
        let mut finished = None;
        if let Some(ended) = kept.running.as_ref().and_then(Running::finished) {
            kept.status = Some(ended.status.clone());
            finished = kept.running.take().map(|running| (running.attempt.clone(), ended));
        }
        if let Some((_, ended)) = &finished
            && ended.gone
        {
            return (Next::Await, true);
        }
        let annotation = |key: &str| object.annotations().get(key).cloned().unwrap_or_default();
        let requested_at = annotation(REQUESTED_AT);
        let is_demanded = [FORCE_AT, RESET_AT]
            .into_iter()
            .any(|key| annotation(key) == requested_at);
        let mut attempt = Attempt {
            generation: object.metadata.generation.unwrap_or(0),
            demanded: if is_demanded {
                requested_at.clone()
            } else {
                String::new()
            },
            requested_at,
            deletes,
            ..Attempt::default()
        };
        if deletes {
            if let Some(running) = &kept.running {
                if !running.attempt.deletes {
                    running.preempt();
                }
                return (Next::Await, false);
            }
            if let Some((before, ended)) = finished
                && before.deletes
            {
                return (ended.next, false);
            }
            let begun = self.start(key, attempt, |preempt| self.job(object, key, kept, preempt).finalize());
            kept.running = Some(begun);
            return (Next::Await, false);
        }
        if object.spec.suspend {
            return (Next::Await, false); // a job that goes on comes to its end
        }
        let mut job = self.job(object, key, kept, CancellationToken::new());
        let Shared {
            ports,
            options,
            sources,
            ..
        } = self.shared.as_ref();
        let seen = observe(
            object,
            &mut job.status.helm_chart,
            ports,
            sources,
            options,
            &self.triggers,
        )
        .await;
        let Seen {
            observed,
            expressions,
            ignore,
            values,
        } = seen;
        if let SourceSeen::Ready(artifact) = &observed.source {
            attempt.artifact.clone_from(&artifact.digest);
            attempt.config = config_digest(&values);
        }
        if let Some(running) = &kept.running {
            // What was wanted when it began is not known any more, when there is no source or there are no values now.
            let is_known = !attempt.artifact.is_empty() && observed.values_problem.is_none();
            // Who asks for another look does not ask for the end of what is on its way.
            let wants_more = attempt.wants_more_than(&running.attempt);
            if wants_more && (is_known || running.attempt.generation != attempt.generation) {
                running.preempt();
            }
            return (Next::Await, false);
        }
        if let Some((before, ended)) = finished
            && before == attempt
        {
            return (ended.next, false);
        }
        let next = match plan::plan(&object.spec, observed, options) {
            Plan::Grace(after) => {
                self.put_off(kept, job).await;
                return (Next::After(after), false);
            }
            Plan::Stall { reason, message } => job.end(Ended::Stalled { reason, message }).await,
            Plan::Postpone { reason, message, after } => job.end(Ended::Failed { reason, message, after }).await,
            Plan::Go(artifact) => {
                let input = Input {
                    artifact,
                    values,
                    expressions,
                    ignore,
                };
                kept.running = Some(self.start(key, attempt, |preempt| Job { preempt, ..job }.run(input)));
                return (Next::Await, false);
            }
        };
        kept.status = Some(job.written);
        (next, false)
    }

    /// Nothing is said yet, but which HelmChart was made is written down.
    async fn put_off(&self, kept: &mut Kept, mut job: Job) {
        job.write().await;
        kept.status = Some(job.written);
    }
}

impl Reconciler<HelmRelease> for HelmReleases {
    async fn reconcile(&self, object: Arc<HelmRelease>) -> Next {
        if !(self.shared.options.filter)(&object) {
            return Next::Await;
        }
        let key = nave_runtime::watch::key(object.as_ref());
        let uid = object.metadata.uid.as_deref().unwrap_or_default();
        let mut kept = self.remembered.take(&key, uid);
        let (next, is_gone) = self.step(&object, &key, &mut kept).await;
        if !is_gone {
            self.remembered.put(key, kept);
        }
        next
    }
}
