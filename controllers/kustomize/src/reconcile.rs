//! One reconcile, from what is seen to what is reported.

use std::{collections::HashSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{Api, ResourceExt};
use nave_apply::{Change, Check, CommonMetadata, IgnoreRules, Inventory, WaitError, judge, prepare};
use nave_crds::{
    annotations::REQUESTED_AT,
    conditions, finalizers,
    kustomize::{Kustomization, KustomizationStatus},
    managers,
    meta::Artifact,
    reasons,
};
use nave_health::HealthExpressions;
use nave_object::{Object, digest, duration};
use nave_runtime::{Conditions, Next, Reconciler, finalizer, schedule};
use nave_targets::Target;
use tokio::time::Instant;

use crate::{
    Options, Ports,
    act::{Apply, Pruned, apply_all, describe_failures, inventory_after_failure, owner_of, prune_stale},
    build::{self, Built},
    depends::Key,
    history,
    memory::{Attempt, Kept, Last, Remembered},
    observe::observe,
    plan::{self, Plan, SourceSeen, retry_after, timeout_of},
    report::{Reporter, Revision, list_of_changes, list_of_deletions},
    status::{self, At},
    target::target_of,
    triggers::Triggers,
    variables::variables_of,
    waiting::{Applied, Waiting, Wanted},
};

/// Key of an artifact's metadata: the upstream revision behind it.
const ORIGIN_REVISION: &str = "org.opencontainers.image.revision";
/// After a request to the API server failed that says nothing about the Kustomization.
const SOON: Duration = Duration::from_millis(500);

/// The reconciler.
pub(crate) struct Kustomizations {
    ports: Ports,
    options: Options,
    triggers: Triggers,
    remembered: Remembered,
    builds: build::Cache,
}

impl Kustomizations {
    pub fn new(ports: Ports, options: Options, triggers: Triggers) -> Self {
        Kustomizations {
            ports,
            options,
            triggers,
            remembered: Remembered::default(),
            builds: build::Cache::default(),
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
            external_artifacts,
            tasks,
            client,
            ..
        } = &self.ports;
        self.triggers.watch_dependencies(kustomizations, tasks);
        self.triggers.watch_sources(
            "GitRepository",
            git_repositories,
            |source| source.status.as_ref()?.artifact.as_ref(),
            kustomizations,
            tasks,
        );
        self.triggers.watch_sources(
            "ExternalArtifact",
            external_artifacts,
            |source| source.status.as_ref()?.artifact.as_ref(),
            kustomizations,
            tasks,
        );
        let selector = &self.options.watch_configs_label_selector;
        if !self.options.gates.disable_config_watchers && !selector.is_empty() {
            self.triggers.watch_configs(client, selector, kustomizations, tasks);
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
            object: &object,
            key: key.clone(),
            written: status.clone(),
            status,
            revision: Revision::default(),
            began: Instant::now(),
            digest: None,
        };
        if object.metadata.deletion_timestamp.is_some() {
            kept.waiting = None;
            let (next, gone) = run.finalize().await;
            if !gone {
                kept.status = Some(run.written);
                self.remembered.put(key, kept);
            }
            return next;
        }
        let next = run.reconcile(&mut kept).await;
        kept.status = Some(run.written);
        self.remembered.put(key, kept);
        next
    }
}

/// One reconcile of one object.
pub(crate) struct Run<'a> {
    pub ports: &'a Ports,
    pub options: &'a Options,
    triggers: &'a Triggers,
    builds: &'a build::Cache,
    pub object: &'a Kustomization,
    pub key: Key,
    /// The status as the server has it.
    written: KustomizationStatus,
    /// The status as it will be.
    pub status: KustomizationStatus,
    pub revision: Revision,
    began: Instant,
    /// Digest of what was built, once it is.
    digest: Option<String>,
}

/// Why a reconcile ended early.
struct Failure {
    reason: &'static str,
    message: String,
    /// Instead of the retry interval.
    after: Option<Duration>,
    /// Only a change of the spec can help.
    terminal: bool,
}

impl Failure {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Failure {
            reason,
            message: message.into(),
            after: None,
            terminal: false,
        }
    }
}

/// What comes after a step that went well.
enum Ended {
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
            return Next::Await;
        }
        let seen = observe(self.object, self.ports, self.options, self.triggers).await;
        let attempt = self.attempt(&seen.observed.source);
        if let Some(waiting) = kept.waiting.take_if(|waiting| waiting.attempt == attempt) {
            return match waiting.outcome() {
                None => {
                    kept.waiting = Some(waiting);
                    Next::Await
                }
                Some(outcome) => self.end_wait(kept, &waiting, outcome).await,
            };
        }
        kept.waiting = None; // of something older: it is not waited for any more
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
                match self.go(kept, &artifact, seen.expressions, attempt, is_new).await {
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

    fn requested_at(&self) -> &str {
        self.object.annotations().get(REQUESTED_AT).map_or("", String::as_str)
    }

    fn generation(&self) -> i64 {
        self.object.metadata.generation.unwrap_or(0)
    }

    fn at(&self) -> At {
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

    async fn go(
        &mut self,
        kept: &mut Kept,
        artifact: &Artifact,
        expressions: Arc<HealthExpressions>,
        attempt: Attempt,
        is_new: bool,
    ) -> Result<Ended, Failure> {
        let spec = &self.object.spec;
        self.revision = Revision {
            revision: artifact.revision.clone(),
            origin: artifact.metadata.get(ORIGIN_REVISION).cloned().unwrap_or_default(),
        };
        let ignore = IgnoreRules::new(&spec.ignore).map_err(|error| Failure {
            terminal: true,
            ..Failure::new(reasons::kustomize::BUILD_FAILED, error.to_string())
        })?;
        let post_build = spec.post_build.clone().unwrap_or_default();
        let variables = variables_of(self.object, &post_build, &self.ports.client)
            .await
            .map_err(|error| Failure::new(reasons::kustomize::BUILD_FAILED, error.to_string()))?;
        let target = target_of(self.object, self.ports, self.options)
            .await
            .map_err(|error| Failure::new(reasons::kustomize::RECONCILIATION_FAILED, error.to_string()))?;
        let input = build::input_digest(artifact, self.generation(), &variables);

        if let Some(last) = &kept.last
            && last.input == input
            && self.may_check_lightly(kept)
            && let Some(changes) = nave_apply::recheck(&target, &last.changes, &kept.apply, &expressions)
        {
            kept.light_checks += 1;
            let digest = last.digest.clone();
            artifact.revision.clone_into(&mut self.status.last_attempted_revision);
            self.digest = Some(digest.clone());
            let applied = self.applied(digest, false);
            return Ok(self
                .wait_or_end(kept, &target, &changes, expressions, attempt, applied, is_new)
                .await);
        }
        let check = if self.may_check_lightly(kept) {
            Check::Known
        } else {
            Check::Full
        };
        if check == Check::Full {
            kept.light_checks = 0;
        }

        let tree = self.ports.artifacts.read(artifact).await.map_err(|error| {
            let is_missing = matches!(error, crate::ReadError::NotFound { .. });
            Failure {
                after: is_missing.then_some(self.options.requeue_dependency),
                ..Failure::new(reasons::kustomize::ARTIFACT_FAILED, chain(&error))
            }
        })?;
        artifact.revision.clone_into(&mut self.status.last_attempted_revision);
        let Built { objects } =
            build::build(self.object, artifact, tree, &variables, self.options, self.builds).await?;
        let common = spec.common_metadata.clone().unwrap_or_default();
        let common = CommonMetadata {
            labels: common.labels,
            annotations: common.annotations,
        };
        let owner = owner_of(self.object);
        let digest = digest_of(&objects);
        self.digest = Some(digest.clone());
        let objects = prepare(objects, &owner, &common)
            .map_err(|error| Failure::new(reasons::kustomize::BUILD_FAILED, error.to_string()))?;

        let before = Inventory::from_status(self.status.inventory.as_ref());
        let intended: Inventory = objects.iter().map(nave_apply::entry_of).collect();
        if is_new || !before.covers(&intended) {
            self.begin(&before.union(&intended)).await;
        }
        let outcome = apply_all(
            Apply {
                kustomization: self.object,
                target: &target,
                objects: &objects,
                check,
                ignore: &ignore,
                expressions: &expressions,
            },
            &owner,
            &mut kept.apply,
            self.ports,
            self.options,
        )
        .await;
        let list = list_of_changes(&outcome.changes);
        if !list.is_empty() {
            self.reporter().info(reasons::PROGRESSING, &list, &self.revision);
        }
        if let Some(error) = &outcome.error {
            self.set_inventory(&inventory_after_failure(&before, &outcome));
            return Err(Failure::new(
                reasons::kustomize::RECONCILIATION_FAILED,
                error.to_string(),
            ));
        }
        let changed = outcome.changed();
        let pruned = self.prune(&target, &before, &outcome.changes).await?;
        let applied = self.applied(digest.clone(), changed || pruned);
        kept.last = Some(Last {
            input,
            digest,
            changes: outcome.changes.clone(),
        });
        Ok(self
            .wait_or_end(kept, &target, &outcome.changes, expressions, attempt, applied, is_new)
            .await)
    }

    /// By interval the watches are believed, but not for ever, and not after a failure or when a person asked.
    fn may_check_lightly(&self, kept: &Kept) -> bool {
        self.requested_at() == self.status.last_handled_reconcile_at
            && self.written.conditions.is_true(conditions::READY)
            && kept.light_checks + 1 < self.options.full_check_every
    }

    fn applied(&self, digest: String, changed: bool) -> Applied {
        Applied {
            began: self.began,
            digest,
            changed,
            revision: self.revision.revision.clone(),
            origin_revision: self.revision.origin.clone(),
        }
    }

    /// Says that work begins, and writes down what is going to exist, so that it is known even if this process ends now.
    async fn begin(&mut self, intended: &Inventory) {
        let message = format!(
            "Detecting drift for revision {} with a timeout of {}",
            self.revision.revision,
            duration::format(timeout_of(&self.object.spec))
        );
        let known = self.status.inventory.clone();
        let at = self.at();
        status::progressing(&mut self.status, &self.object.spec, &message, at);
        self.set_inventory(intended);
        self.write().await;
        self.status.inventory = known; // until it is applied
    }

    fn set_inventory(&mut self, inventory: &Inventory) {
        self.status.inventory = Some(inventory.to_status());
    }

    /// Deletes what left the set; true when something was deleted.
    async fn prune(&mut self, target: &Target, before: &Inventory, changes: &[Change]) -> Result<bool, Failure> {
        let now: Inventory = changes.iter().map(|change| change.entry.clone()).collect();
        let stale = before.stale(&now);
        self.set_inventory(&now);
        if !self.object.spec.prune || stale.is_empty() {
            return Ok(false);
        }
        let uids: HashSet<String> = changes
            .iter()
            .map(|change| change.uid.clone())
            .filter(|uid| !uid.is_empty())
            .collect();
        let owner = owner_of(self.object);
        let change = self.revision.revision.clone();
        let pruned = prune_stale(target, &stale, &owner, &change, &uids, self.ports, self.options).await;
        let (outcome, failure) = match pruned {
            Pruned::Held(reason) => {
                self.set_inventory(&now.union(&stale.into_iter().collect()));
                let message = format!("deletions wait for a permit: {reason}");
                return Err(Failure::new(reasons::kustomize::PRUNE_HELD, message));
            }
            Pruned::Done(outcome) => (outcome, None),
            Pruned::Failed(outcome) => {
                let left: Inventory = outcome.failed.iter().map(|(entry, _)| entry.clone()).collect();
                self.set_inventory(&now.union(&left));
                let message = describe_failures(&outcome);
                (outcome, Some(Failure::new(reasons::kustomize::PRUNE_FAILED, message)))
            }
        };
        for (id, why) in &outcome.skipped {
            tracing::info!(object = %id, why, "left in place");
        }
        if !outcome.deleted.is_empty() {
            let list = list_of_deletions(&outcome.deleted);
            self.reporter().info(reasons::PROGRESSING, &list, &self.revision);
        }
        match failure {
            Some(failure) => Err(failure),
            None => Ok(!outcome.deleted.is_empty()),
        }
    }

    /// Begins to wait for health in the background, or ends at once when there is nothing to wait for.
    #[allow(clippy::too_many_arguments)] // they are the parts of one step, used nowhere else
    async fn wait_or_end(
        &mut self,
        kept: &mut Kept,
        target: &Arc<Target>,
        changes: &[Change],
        expressions: Arc<HealthExpressions>,
        attempt: Attempt,
        applied: Applied,
        is_new: bool,
    ) -> Ended {
        let spec = &self.object.spec;
        let mut items = Vec::new();
        let mut references = Vec::new();
        if spec.wait {
            items = changes.iter().filter_map(Change::wait_item).collect();
        } else {
            references.clone_from(&spec.health_checks);
        }
        // Waiting for itself would never end.
        let is_self = |group: &str, kind: &str, namespace: &str, name: &str| {
            group == nave_crds::kustomize::GROUP
                && kind == "Kustomization"
                && (namespace, name) == (self.key.0.as_str(), self.key.1.as_str())
        };
        items.retain(|item| !is_self(&item.id.group, &item.id.kind, &item.id.namespace, &item.id.name));
        references.retain(|reference| {
            let group = reference.api_version.split_once('/').map_or("", |(group, _)| group);
            !is_self(group, &reference.kind, &reference.namespace, &reference.name)
        });
        items.retain(|item| {
            item.seen
                .as_ref()
                .is_none_or(|(_, health)| health.status != nave_health::Status::Current)
        });
        if items.is_empty() && references.is_empty() {
            return Ended::Done(self.end_succeeded(&applied, is_new, None).await);
        }
        let wanted = Wanted {
            target: target.clone(),
            items,
            references,
            namespace: self.key.0.clone(),
            judge: judge(expressions),
            limit: timeout_of(spec),
            fail_fast: !self.options.gates.disable_fail_fast_behavior,
        };
        kept.waiting = Some(Waiting::begin(
            &self.ports.tasks,
            attempt,
            applied,
            wanted,
            self.triggers.of(&self.key),
        ));
        Ended::Waits
    }

    async fn end_wait(&mut self, kept: &mut Kept, waiting: &Waiting, outcome: Result<(), WaitError>) -> Next {
        let applied = &waiting.applied;
        self.began = applied.began;
        self.digest = Some(applied.digest.clone());
        self.revision = Revision {
            revision: applied.revision.clone(),
            origin: applied.origin_revision.clone(),
        };
        applied.revision.clone_into(&mut self.status.last_attempted_revision);
        if let Some(last) = &kept.last {
            // The status was not written when the wait began.
            let now: Inventory = last.changes.iter().map(|change| change.entry.clone()).collect();
            self.set_inventory(&now);
        }
        let took = duration::format(whole_millis(waiting.started.elapsed()));
        match outcome {
            Ok(()) => self.end_succeeded(applied, true, Some(took)).await,
            Err(error) => {
                kept.light_checks = self.options.full_check_every; // the next one looks closely
                let message = format!("health check failed after {took}: {error}");
                let at = self.at();
                status::health(&mut self.status, &self.object.spec, Err(&message), at);
                self.end_failed(Failure::new(reasons::kustomize::HEALTH_CHECK_FAILED, message), true)
                    .await
            }
        }
    }

    async fn end_succeeded(&mut self, applied: &Applied, is_new: bool, waited: Option<String>) -> Next {
        let at = self.at();
        let spec = &self.object.spec;
        let was_healthy = self.written.conditions.is_true(conditions::HEALTHY);
        let was_ready = self.written.conditions.is_true(conditions::READY);
        let new_revision = self.written.last_applied_revision != applied.revision;
        let passed = format!("Health check passed in {}", waited.as_deref().unwrap_or("0s"));
        if status::is_waiting(spec) && (!was_healthy || waited.is_some() || new_revision) {
            status::health(&mut self.status, spec, Ok(&passed), at);
        } else if !status::is_waiting(spec) {
            status::health(&mut self.status, spec, Ok(""), at);
        }
        status::succeeded(&mut self.status, &applied.revision, &applied.origin_revision, at);
        let reason = reasons::kustomize::RECONCILIATION_SUCCEEDED;
        if status::is_waiting(spec) && (!was_healthy || new_revision && applied.changed) {
            self.reporter().info(reason, &passed, &self.revision);
        }
        let next = schedule::jittered(spec.interval.get(), self.options.interval_jitter);
        if is_new || !was_ready || applied.changed {
            let message = format!(
                "Reconciliation finished in {}, next run in {}",
                duration::format(whole_millis(self.began.elapsed())),
                duration::format(spec.interval.get())
            );
            self.reporter().finished(reason, &message, &self.revision);
        }
        self.end(reason).await;
        Next::After(next)
    }

    async fn end_failed(&mut self, failure: Failure, tell: bool) -> Next {
        let at = self.at();
        let before = self
            .written
            .conditions
            .get_condition(conditions::READY)
            .map(|ready| (ready.reason.clone(), ready.message.clone()));
        if failure.terminal {
            status::stalled(&mut self.status, failure.reason, &failure.message, at);
        } else {
            status::failed(&mut self.status, failure.reason, &failure.message, at);
        }
        let news = before != Some((failure.reason.to_owned(), failure.message.clone()));
        if tell || news {
            self.reporter().failed(failure.reason, &failure.message, &self.revision);
        }
        self.end(failure.reason).await;
        if failure.terminal {
            Next::Await
        } else {
            Next::After(failure.after.unwrap_or_else(|| retry_after(&self.object.spec)))
        }
    }

    /// Reports a failure of the clean-up of an object that is being deleted.
    pub(crate) async fn fail(&mut self, reason: &'static str, message: &str) {
        let at = self.at();
        status::failed(&mut self.status, reason, message, at);
        self.reporter().failed(reason, message, &self.revision);
        self.write().await;
    }

    async fn end(&mut self, reason: &str) {
        if let Some(digest) = &self.digest {
            let entry = history::Entry {
                digest,
                reason,
                took: whole_millis(self.began.elapsed()),
                metadata: self.revision.for_history(),
            };
            history::record(&mut self.status.history, entry, Timestamp::now());
        }
        let requested = self.requested_at().to_owned();
        if !requested.is_empty() {
            self.status.last_handled_reconcile_at = requested;
        }
        self.write().await;
    }

    /// Writes the status if it changed. An error is not fatal: the next reconcile writes the difference.
    async fn write(&mut self) {
        let api: Api<Kustomization> = Api::namespaced(self.ports.client.clone(), &self.key.0);
        let written = nave_runtime::status::patch(
            &api,
            &self.key.1,
            managers::KUSTOMIZE_STATUS,
            &self.written,
            &self.status,
        )
        .await;
        match written {
            Ok(_) => self.written = self.status.clone(),
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => {
                tracing::warn!(
                    namespace = self.key.0,
                    name = self.key.1,
                    error = &error as &dyn std::error::Error,
                    "writing the status of a Kustomization"
                );
            }
        }
    }
}

impl From<build::BuildFailure> for Failure {
    fn from(failure: build::BuildFailure) -> Self {
        Failure::new(failure.reason, failure.message)
    }
}

/// What was built, as the history names it.
fn digest_of(objects: &[Object]) -> String {
    let mut text = Vec::new();
    for object in objects {
        serde_json::to_writer(&mut text, object.as_value()).expect("JSON values can always be written to memory");
        text.push(b'\n');
    }
    digest::sha256(text)
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

fn whole_millis(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
