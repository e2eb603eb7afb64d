//! How a reconcile ends: waiting in the background, in success, or in failure; each is written and told.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::Api;
use nave_apply::{Change, Inventory, WaitError, judge};
use nave_crds::{conditions, kustomize::Kustomization, managers, reasons};
use nave_health::HealthExpressions;
use nave_object::duration;
use nave_runtime::{Conditions, Next, schedule};
use nave_targets::Target;

use crate::{
    claims::with_pending,
    history,
    memory::{Attempt, Kept},
    plan::{retry_after, timeout_of},
    reconcile::{Ended, Failure, Run},
    report::Revision,
    status,
    waiting::{Applied, Waiting, Wanted, id_of},
};

impl Run<'_> {
    /// Begins to wait for health in the background, or ends at once when there is nothing to wait for.
    #[allow(clippy::too_many_arguments)] // they are the parts of one step, used nowhere else
    pub(crate) async fn wait_or_end(
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
            for reference in &spec.health_checks {
                // Of a Job that goes soon after its end it has to be known that it was there.
                let vanishing = changes.iter().filter_map(Change::wait_item);
                let named = id_of(reference, &self.key.0);
                match vanishing.filter(|item| item.may_vanish).find(|item| item.id == named) {
                    Some(item) => items.push(item),
                    None => references.push(reference.clone()),
                }
            }
        }
        // Waiting for itself would never end.
        let is_self = |group: &str, kind: &str, namespace: &str, name: &str| {
            group == nave_crds::kustomize::GROUP
                && kind == "Kustomization"
                && (namespace, name) == (self.key.0.as_str(), self.key.1.as_str())
        };
        items.retain(|item| !is_self(&item.id.group, &item.id.kind, &item.id.namespace, &item.id.name));
        references.retain(|reference| {
            let id = id_of(reference, &self.key.0);
            !is_self(&id.group, &id.kind, &id.namespace, &id.name)
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
        let untold = is_new && !self.is_progressing();
        kept.waiting = Some(Waiting::begin(
            &self.ports.tasks,
            attempt,
            applied,
            wanted,
            self.triggers.of(&self.key),
            untold.then(|| self.triggers.of(&self.key)),
        ));
        Ended::Waits
    }

    pub(crate) async fn end_wait(
        &mut self,
        kept: &mut Kept,
        waiting: &Waiting,
        outcome: Result<(), WaitError>,
    ) -> Next {
        let applied = &waiting.applied;
        self.began = applied.began;
        self.digest = Some(applied.digest.clone());
        self.revision = Revision {
            revision: applied.revision.clone(),
            origin: applied.origin_revision.clone(),
        };
        applied.revision.clone_into(&mut self.status.last_attempted_revision);
        self.progress = self.progress_of("Running health checks", &applied.revision);
        if let Some(last) = &kept.last {
            // The status was not written when the wait began.
            let now: Inventory = last.changes.iter().map(|change| change.entry.clone()).collect();
            self.set_inventory(&with_pending(&now, &kept.pending));
        }
        let took = duration::format(whole_millis(waiting.started.elapsed()));
        match outcome {
            Ok(()) => self.end_succeeded(applied, true, Some(took)).await,
            Err(error) => {
                kept.light_checks = self.options.full_check_every; // the next one looks closely
                let (tasks, limit) = (&self.ports.tasks, retry_after(&self.object.spec));
                kept.recovery = waiting.recovery(tasks, limit, self.triggers.of(&self.key));
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
        let was_healthy = applied.was_healthy;
        let was_ready = self.written.conditions.is_true(conditions::READY);
        let new_revision = self.written.last_applied_revision != applied.revision;
        let passed = format!("Health check passed in {}", waited.as_deref().unwrap_or("0s"));
        // Nothing is as healthy as can be; Flux says nothing of it.
        let is_empty = self
            .status
            .inventory
            .as_ref()
            .is_none_or(|known| known.entries.is_empty());
        let is_waiting = status::is_waiting(spec) && !(spec.wait && is_empty);
        if !is_waiting {
            self.status.conditions.remove_condition(conditions::HEALTHY);
        } else if !was_healthy || waited.is_some() || new_revision {
            status::health(&mut self.status, spec, Ok(&passed), at);
        }
        status::succeeded(&mut self.status, &applied.revision, &applied.origin_revision, at);
        let reason = reasons::kustomize::RECONCILIATION_SUCCEEDED;
        if is_waiting && (!was_healthy || new_revision && applied.changed) {
            // The object is not Ready yet when this is told.
            self.reporter().info(reasons::PROGRESSING, &passed, &self.revision);
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

    pub(crate) async fn end_failed(&mut self, failure: Failure, tell: bool) -> Next {
        let at = self.at();
        let before = self
            .written
            .conditions
            .get_condition(conditions::READY)
            .map(|ready| (ready.reason.clone(), ready.message.clone()));
        if failure.terminal {
            status::stalled(&mut self.status, failure.reason, &failure.message, at);
        } else {
            status::failed(&mut self.status, failure.reason, &failure.message, &self.progress, at);
        }
        let news = before != Some((failure.reason.to_owned(), failure.message.clone()));
        if tell || news {
            // Waiting for others is no error.
            if failure.reason == reasons::kustomize::DEPENDENCY_NOT_READY {
                self.reporter().info(failure.reason, &failure.message, &self.revision);
            } else {
                self.reporter().failed(failure.reason, &failure.message, &self.revision);
            }
        }
        self.end(failure.reason).await;
        let after = failure.after.unwrap_or_else(|| retry_after(&self.object.spec));
        match failure.reason {
            _ if failure.terminal => Next::Await,
            // Waiting for others is no error.
            reasons::kustomize::DEPENDENCY_NOT_READY => Next::After(after),
            _ => Next::Retry(after),
        }
    }

    /// What is being done, as kustomize-controller says it.
    pub(crate) fn progress_of(&self, doing: &str, revision: &str) -> String {
        let timeout = duration::format(timeout_of(&self.object.spec));
        format!("{doing} for revision {revision} with a timeout of {timeout}")
    }

    /// Whether the status says already that work goes on.
    pub(crate) fn is_progressing(&self) -> bool {
        let ready = self.written.conditions.get_condition(conditions::READY);
        ready.is_some_and(|ready| ready.status == "Unknown" && ready.observed_generation == Some(self.generation()))
    }

    /// Says what is waited for. The inventory stays: what was pruned leaves it at the end.
    pub(crate) async fn tell_of_wait(&mut self, waiting: &Waiting) {
        if self.is_progressing() {
            return;
        }
        let message = self.progress_of("Running health checks", &waiting.applied.revision);
        let at = self.at();
        let revision = &waiting.applied.revision;
        revision.clone_into(&mut self.status.last_attempted_revision);
        status::progressing(&mut self.status, &self.object.spec, &message, at);
        self.write().await;
    }

    /// Reports that health is not waited for any more because something newer came. What came is reconciled after this.
    pub(crate) async fn cancelled(&mut self, waiting: &Waiting, newer: &Attempt) {
        let source = &self.object.spec.source_ref;
        let trigger = if waiting.attempt.digest == newer.digest {
            format!("Kustomization/{}/{}", self.key.0, self.key.1)
        } else {
            let namespace = match source.namespace.as_str() {
                "" => &self.key.0,
                namespace => namespace,
            };
            format!("{}/{namespace}/{}", source.kind, source.name)
        };
        let reason = reasons::kustomize::HEALTH_CHECK_CANCELED;
        let at = self.at();
        let message = format!("New reconciliation triggered by {trigger}");
        status::failed(&mut self.status, reason, &message, "", at);
        let revision = Revision {
            revision: waiting.applied.revision.clone(),
            origin: waiting.applied.origin_revision.clone(),
        };
        let message = format!("Health checks canceled due to new reconciliation triggered by {trigger}");
        self.reporter().info(reason, &message, &revision);
        self.write().await;
    }

    /// Reports a failure of the clean-up of an object that is being deleted.
    pub(crate) async fn fail(&mut self, reason: &'static str, message: &str) {
        let at = self.at();
        status::failed(&mut self.status, reason, message, "", at);
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
        self.note_request();
        self.write().await;
    }

    /// Ends the reconcile of a suspended object: a request counts as handled although nothing is done about it, and one that is
    /// Ready stays so at its new generation.
    pub(crate) async fn end_suspended(&mut self) {
        self.note_request();
        if self.status.conditions.is_true(conditions::READY) {
            self.status.observed_generation = self.generation();
        }
        if self.status != self.written {
            self.write().await;
        }
    }

    fn note_request(&mut self) {
        let requested = self.requested_at().to_owned();
        if !requested.is_empty() {
            self.status.last_handled_reconcile_at = requested;
        }
    }

    /// Writes the status if it changed. An error is not fatal: the next reconcile, which comes soon, writes the difference.
    pub(crate) async fn write(&mut self) {
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
            Ok(_) => {
                self.written = self.status.clone();
                self.unwritten = false;
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => {
                self.unwritten = true;
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

fn whole_millis(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
