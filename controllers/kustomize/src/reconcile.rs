//! One reconcile, from what is seen to what is reported.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{Api, ResourceExt};
use nave_crds::{
    annotations::REQUESTED_AT,
    conditions::HEALTHY,
    finalizers,
    kustomize::{Kustomization, KustomizationStatus},
    managers,
};
use nave_runtime::{Conditions, Next, Reconciler, finalizer};
use tokio::time::Instant;

use crate::{
    Options, Ports, build,
    claims::Claims,
    depends::Key,
    drift,
    memory::{Attempt, Kept, Remembered},
    modes::{Modes, modes_of},
    observe::observe,
    plan::{self, Plan, SourceSeen},
    reads::version_of,
    report::{Reporter, Revision},
    status::At,
    triggers::Triggers,
    waiting::Paused,
};

/// After a request to the API server failed that says nothing about the Kustomization.
const SOON: Duration = Duration::from_millis(500);
/// After a status could not be written, and then twice as long each time: what it says may be all that a person sees of it.
const UNWRITTEN: Duration = Duration::from_secs(1);
const UNWRITTEN_AT_MOST: Duration = Duration::from_secs(300);

/// The reconciler.
pub(crate) struct Kustomizations {
    ports: Ports,
    options: Options,
    triggers: Triggers,
    remembered: Remembered,
    builds: Arc<build::Cache>,
    claims: Claims,
}

impl Kustomizations {
    pub fn new(ports: Ports, options: Options, triggers: Triggers) -> Self {
        Kustomizations {
            ports,
            options,
            triggers,
            remembered: Remembered::default(),
            builds: Arc::default(),
            claims: Claims::default(),
        }
    }

    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Starts the tasks that wake Kustomizations.
    pub fn start_watching(&self) {
        let Ports {
            kustomizations,
            git_repositories,
            oci_repositories,
            buckets,
            external_artifacts,
            tasks,
            client,
            ..
        } = &self.ports;
        self.builds.forget_at_rest(tasks);
        self.triggers.watch_dependencies(kustomizations, tasks);
        self.triggers.watch_sources(
            "GitRepository",
            git_repositories,
            |source| source.status.as_ref()?.artifact.as_ref(),
            kustomizations,
            tasks,
        );
        if let Some(oci_repositories) = oci_repositories {
            self.triggers.watch_sources(
                "OCIRepository",
                oci_repositories,
                |source| source.status.as_ref()?.artifact.as_ref(),
                kustomizations,
                tasks,
            );
        }
        if let Some(buckets) = buckets {
            self.triggers.watch_sources(
                "Bucket",
                buckets,
                |source| source.status.as_ref()?.artifact.as_ref(),
                kustomizations,
                tasks,
            );
        }
        self.triggers.watch_sources(
            "ExternalArtifact",
            external_artifacts,
            |source| source.status.as_ref()?.artifact.as_ref(),
            kustomizations,
            tasks,
        );
        let selector = &self.options.watch_configs_label_selector;
        if !self.options.gates.disable_config_watchers && !selector.is_empty() {
            let namespace = self.options.watch_namespace.as_deref();
            self.triggers
                .watch_configs(client, namespace, selector, kustomizations, tasks);
        }
    }
}

impl Reconciler<Kustomization> for Kustomizations {
    async fn reconcile(&self, object: Arc<Kustomization>) -> Next {
        if !(self.options.filter)(&object) {
            return Next::Await;
        }
        let key = nave_runtime::watch::key(object.as_ref());
        let mut kept = self
            .remembered
            .take(&key, object.metadata.uid.as_deref().unwrap_or_default());
        let status = kept
            .status
            .clone()
            .or_else(|| object.status.clone())
            .unwrap_or_default();
        let mut run = Run {
            ports: &self.ports,
            options: &self.options,
            triggers: &self.triggers,
            builds: &self.builds,
            claims: &self.claims,
            // What is wrong with them is reported by the plan.
            modes: modes_of(object.annotations()).unwrap_or_default(),
            object: &object,
            key: key.clone(),
            was_healthy: status.conditions.is_true(HEALTHY),
            written: status.clone(),
            status,
            revision: Revision::default(),
            began: Instant::now(),
            digest: None,
            progress: String::new(),
            unwritten: false,
        };
        drift::lower(&mut kept);
        kept.recovery = None;
        if object.metadata.deletion_timestamp.is_some() {
            kept.waiting = None;
            kept.paused = None;
            self.claims.forget(&key);
            let (next, gone) = run.finalize(&mut kept).await;
            let next = if gone { next } else { run.until_written(&mut kept, next) };
            self.triggers.reads.end(&key);
            if !gone {
                kept.status = Some(run.written);
                self.remembered.put(key, kept);
            }
            return next;
        }
        self.triggers.reads.begin(&key);
        let mut next = run.reconcile(&mut kept).await;
        if !kept.pending.is_empty() {
            next = match next {
                Next::After(after) => Next::After(after.min(self.options.requeue_dependency)),
                Next::Retry(after) => Next::Retry(after.min(self.options.requeue_dependency)),
                Next::Await => next,
            };
        }
        let next = run.until_written(&mut kept, next);
        run.raise_guard(&mut kept);
        if self.triggers.reads.end(&key) {
            self.triggers.wake(&key).await;
        }
        kept.status = Some(run.written);
        self.remembered.put(key, kept);
        next
    }
}

/// One reconcile of one object.
pub(crate) struct Run<'a> {
    pub ports: &'a Ports,
    pub options: &'a Options,
    pub triggers: &'a Triggers,
    pub builds: &'a build::Cache,
    pub claims: &'a Claims,
    pub modes: Modes,
    pub object: &'a Kustomization,
    pub key: Key,
    /// The status as the server has it.
    pub written: KustomizationStatus,
    /// The status as it will be.
    pub status: KustomizationStatus,
    pub revision: Revision,
    pub began: Instant,
    /// Whether health was good before anything was done.
    pub was_healthy: bool,
    /// Digest of what was built, once it is.
    pub digest: Option<String>,
    /// What was being done last, as the status says it; empty until something is.
    pub progress: String,
    /// The status could not be written.
    pub unwritten: bool,
}

/// Why a reconcile ended early.
pub(crate) struct Failure {
    pub reason: &'static str,
    pub message: String,
    /// Instead of the retry interval.
    pub after: Option<Duration>,
    /// Only a change of the spec can help.
    pub terminal: bool,
}

impl Failure {
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Failure {
            reason,
            message: message.into(),
            after: None,
            terminal: false,
        }
    }
}

/// What comes after a step that went well.
pub(crate) enum Ended {
    Done(Next),
    /// The wait in the background will wake us.
    Waits,
}

impl Run<'_> {
    async fn reconcile(&mut self, kept: &mut Kept) -> Next {
        if !kept.has_finalizer {
            let api: Api<Kustomization> = Api::namespaced(self.ports.client.clone(), &self.key.0);
            let manager = managers::KUSTOMIZE_STATUS;
            match finalizer::add(&api, self.object, finalizers::FLUX, manager).await {
                Ok(_) => kept.has_finalizer = true,
                Err(kube::Error::Api(status)) if status.code == 404 => return Next::Await,
                // Somebody changed the object; the watch brings it as it is now.
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "adding the finalizer");
                    return Next::After(SOON);
                }
            }
        }
        if self.object.spec.suspend {
            kept.waiting = None;
            kept.paused = None;
            self.end_suspended().await;
            return Next::Await;
        }
        let seen = observe(self.object, self.ports, self.options, self.triggers).await;
        let version = match &seen.observed.source {
            SourceSeen::Ready(artifact) => {
                // Whatever is told from here on is told of this revision.
                self.revision = Revision::of(artifact);
                Some(version_of(artifact))
            }
            _ => None,
        };
        if self.triggers.reads.found(&self.key, version) {
            self.triggers.wake(&self.key).await;
        }
        let attempt = self.attempt(&seen.observed.source);
        if let Some(waiting) = kept.waiting.take_if(|waiting| waiting.attempt == attempt) {
            return match waiting.outcome() {
                None => {
                    if waiting.is_long() {
                        self.tell_of_wait(&waiting).await;
                    }
                    kept.waiting = Some(waiting);
                    Next::Await
                }
                Some(outcome) => self.end_wait(kept, &waiting, outcome).await,
            };
        }
        let paused = kept.paused.take();
        let is_of_this = |paused: &Paused| paused.attempt == attempt;
        if paused
            .as_ref()
            .is_some_and(|paused| is_of_this(paused) && paused.background.outcome().is_none())
        {
            kept.paused = paused;
            return Next::Await;
        }
        let paused = self.unless_outdated(paused, is_of_this);
        // Of something older: it is not waited for any more, whatever a gate says, so that a fix never stands behind the
        // wait for what it mends.
        if let Some(older) = kept.waiting.take()
            && self.options.gates.cancel_health_check_on_new_revision
            && older.outcome().is_none()
        {
            self.cancelled(&older, &attempt).await;
        }
        let is_new = kept.attempt.as_ref() != Some(&attempt);
        match plan::plan(&self.object.spec, seen.observed, self.options) {
            Plan::Leave => Next::Await,
            Plan::Grace(after) => Next::After(after),
            Plan::Stall { reason, message } => {
                let failure = Failure {
                    terminal: true,
                    ..Failure::new(reason, message)
                };
                self.end_failed(failure, is_new).await
            }
            Plan::Postpone { reason, message, after } => {
                let failure = Failure {
                    after: Some(after),
                    ..Failure::new(reason, message)
                };
                self.end_failed(failure, is_new).await
            }
            Plan::Go(artifact) => {
                kept.attempt = Some(attempt.clone());
                match self
                    .go(kept, &artifact, seen.expressions, attempt, is_new, paused)
                    .await
                {
                    Ok(Ended::Done(next)) => next,
                    Ok(Ended::Waits) => Next::Await,
                    Err(failure) => {
                        kept.last = None;
                        self.end_failed(failure, true).await
                    }
                }
            }
        }
    }

    /// Comes again soon when the status could not be written, whatever else is waited for.
    fn until_written(&self, kept: &mut Kept, next: Next) -> Next {
        if !self.unwritten {
            kept.unwritten = 0;
            return next;
        }
        let soon = UNWRITTEN
            .saturating_mul(1 << kept.unwritten.min(16))
            .min(UNWRITTEN_AT_MOST);
        kept.unwritten += 1;
        sooner(next, soon)
    }

    fn attempt(&self, source: &SourceSeen) -> Attempt {
        let (revision, digest) = match source {
            SourceSeen::Ready(artifact) => (artifact.revision.clone(), artifact.digest.clone()),
            _ => Default::default(),
        };
        Attempt {
            generation: self.generation(),
            revision,
            digest,
            requested_at: self.requested_at().to_owned(),
        }
    }

    pub(crate) fn requested_at(&self) -> &str {
        self.object.annotations().get(REQUESTED_AT).map_or("", String::as_str)
    }

    pub(crate) fn generation(&self) -> i64 {
        self.object.metadata.generation.unwrap_or(0)
    }

    pub(crate) fn at(&self) -> At {
        At {
            generation: self.generation(),
            now: Timestamp::now(),
        }
    }

    pub(crate) fn reporter(&self) -> Reporter<'_> {
        Reporter {
            events: &self.ports.events,
            object: self.object,
        }
    }
}

fn sooner(next: Next, soon: Duration) -> Next {
    match next {
        Next::After(after) | Next::Retry(after) => Next::Retry(after.min(soon)),
        Next::Await => Next::Retry(soon),
    }
}

impl From<build::BuildFailure> for Failure {
    fn from(failure: build::BuildFailure) -> Self {
        Failure::new(failure.reason, failure.message)
    }
}

/// The whole chain of causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
