//! The steps of a job: where the release stands decides on the next one, until nothing is left or nothing helps.

use std::{borrow::Cow, time::Instant};

use nave_chart::{Values, values::merge_maps};
use nave_crds::{
    conditions,
    helm::{DriftMode, ReleaseAction},
    kustomize::ResourceInventory,
    reasons,
};
use nave_object::duration;
use nave_release::{
    Counts, Desired, Policy, Release, Snapshot, Step, Stop, decide, determine, last, objects, truncate,
};
use nave_runtime::Status;

use crate::{
    act::{Act, Failed},
    definitions::entries_of,
    drift,
    job::{Ended, Job, Ready},
    notes::Notes,
    render::Wanted,
    report::About,
    running::Turn,
    settings,
    status::{self, At},
    storage::Storage,
    write::Method,
};

impl Job {
    /// Takes one step after the other.
    pub async fn release(&mut self, ready: &Ready, turn: &mut Turn) -> Ended {
        let shared = self.shared.clone();
        let (object, preempt) = (self.object.clone(), self.preempt.clone());
        let spec = &object.spec;
        let mut storage = Storage::new(
            ready.target.client().clone(),
            &ready.place.storage_namespace,
            &ready.place.name,
        );
        let mut history = status::history_of(&self.status);
        let mut forced = self.take_force();
        let mut done: Vec<&'static str> = Vec::new();
        loop {
            let stored = match storage.list().await {
                Ok(stored) => stored,
                Err(error) => return state_error(&crate::act::chain(&error)),
            };
            let test = settings::test(spec);
            let policy = self.policy(forced);
            let values = self.wanted_values(ready, &stored);
            let state = determine(&stored, &history, self.desired(ready, &values, &policy));
            let state = match state {
                Ok(state) => state,
                Err(error) => return state_error(&error.to_string()),
            };
            tracing::debug!(
                namespace = self.key.0,
                name = self.key.1,
                ?state,
                "where the release stands"
            );
            let step = match decide(&state, &policy, &history, &stored) {
                Ok(step) => step,
                Err(stop) => return self.stopped(stop, &policy),
            };
            if matches!(
                step,
                Step::Done | Step::CheckDrift | Step::Rollback(_) | Step::Uninstall
            ) {
                truncate(&mut history, policy.ignores_tests(test.ignore_failures));
                status::set_history(&mut self.status, &history);
            }
            if step == Step::Done || step == Step::Test || step == Step::CheckDrift {
                self.note_remedied(&history);
            }
            if step == Step::Done {
                let mut act = self.act(ready, &shared, &object, &preempt, turn, &mut storage, &mut history);
                let inventory = match done.is_empty() && self.status.inventory.is_some() {
                    true => None,
                    false => Some(inventory_of(&mut act, &stored, ready).await),
                };
                match inventory {
                    None => {}
                    Some(Ok(inventory)) => self.status.inventory = Some(inventory),
                    Some(Err(failed)) => {
                        return Ended::Failed {
                            reason: reasons::helm::INVENTORY_BUILD_FAILED,
                            message: failed.message,
                            after: None,
                        };
                    }
                }
                if settings::drift_mode(spec) == DriftMode::Disabled {
                    nave_runtime::Conditions::remove_condition(&mut self.status.conditions, conditions::DRIFTED);
                    self.measure_drift(None);
                }
                return Ended::InSync;
            }
            if done.contains(&step.kind()) {
                return self.enough(&policy);
            }
            self.announce(&step).await;
            let began = Instant::now();
            if matches!(step, Step::Install | Step::Upgrade { adopt: true }) {
                history.clear();
            }
            let before = history.first().map(|newest| (newest.version, newest.digest.clone()));
            if step.kind() == "release" {
                forced = false;
                self.status.last_attempted_release_action = Some(match step {
                    Step::Install => ReleaseAction::Install,
                    _ => ReleaseAction::Upgrade,
                });
                let list = &mut self.status.conditions;
                nave_runtime::Conditions::remove_condition(list, conditions::TEST_SUCCESS);
                nave_runtime::Conditions::remove_condition(list, conditions::REMEDIATED);
            }
            let mut wanted = Wanted {
                chart: &ready.chart,
                values: &ready.values,
                revision: 1,
                is_upgrade: false,
                skip_schema_validation: false,
                method: Method::default(),
                capabilities: &shared.capabilities,
            };
            let mut act = self.act(ready, &shared, &object, &preempt, turn, &mut storage, &mut history);
            let mut tests = 0;
            let mut logs = String::new();
            let result = match &step {
                Step::Install => {
                    act.action = "install";
                    act.install(&mut wanted, &stored).await
                }
                Step::Upgrade { .. } => {
                    act.action = "upgrade";
                    act.upgrade(&mut wanted, &stored).await
                }
                Step::Rollback(version) => {
                    act.action = "rollback";
                    act.roll_back(*version, &stored).await
                }
                Step::Uninstall => {
                    act.action = "uninstall-remediation";
                    act.uninstall(&stored).await
                }
                Step::Test => act.test(&stored).await.map(|count| tests = count),
                Step::Unlock => act.unlock(&stored).await,
                Step::CheckDrift => {
                    // Comparing takes a while; what was done before is known by then, should this process end.
                    self.write().await;
                    let refresh = !done.is_empty();
                    return self
                        .check_drift(ready, turn, &mut storage, &mut history, &stored, refresh)
                        .await;
                }
                Step::Done => Ok(()),
            };
            if result.is_err() {
                logs = act.notes.for_event();
            }
            status::set_history(&mut self.status, &history);
            if step.kind() == "release" {
                let took = duration::format(std::time::Duration::from_millis(
                    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                ));
                self.status.last_attempted_release_action_duration = Some(took);
            }
            if step == Step::Uninstall && result.is_ok() {
                self.status.inventory = None;
            }
            let is_stored = history.first().map(|newest| (newest.version, newest.digest.clone())) != before;
            let is_canceled = result.as_ref().is_err_and(|failed| failed.canceled);
            let at = self.at();
            let ended = self.report(&step, result, tests, is_stored, &history, ready, &logs, at);
            status::summarize(&mut self.status, &test, at);
            if is_canceled {
                return Ended::Now;
            }
            if let Some(ended) = ended {
                return ended;
            }
            if step.kind() == "remediate" {
                return self.after_remediation();
            }
            // What comes next is written with this: the end of the job, or what is done then.
            done.push(step.kind());
        }
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "they are borrowed apart so that the job can go on"
    )]
    fn act<'a>(
        &self,
        ready: &'a Ready,
        shared: &'a crate::reconcile::Shared,
        object: &'a nave_crds::helm::HelmRelease,
        preempt: &'a tokio_util::sync::CancellationToken,
        turn: &'a mut Turn,
        storage: &'a mut Storage,
        history: &'a mut Vec<Snapshot>,
    ) -> Act<'a> {
        Act {
            ports: &shared.ports,
            options: &shared.options,
            object,
            target: &ready.target,
            place: &ready.place,
            expressions: &ready.expressions,
            preempt,
            turn,
            storage,
            history,
            oci_digest: ready.oci_digest.clone(),
            action: "",
            has_new_definitions: false,
            notes: Notes::default(),
        }
    }

    fn policy(&self, forced: bool) -> Policy {
        let counts = Counts {
            install: self.status.install_failures,
            upgrade: self.status.upgrade_failures,
        };
        let last = self.status.last_attempted_release_action;
        settings::policy_of(&self.object.spec, &self.shared.options.gates, counts, last, forced)
    }

    /// The values that the release should have: where upgrades keep those that were there, all of them.
    fn wanted_values<'a>(&self, ready: &'a Ready, stored: &[Release]) -> Cow<'a, Values> {
        match last(stored) {
            Some(newest) if settings::upgrade(&self.object.spec).preserve_values => {
                let mut kept = newest.config.clone();
                merge_maps(&mut kept, ready.values.clone());
                Cow::Owned(kept)
            }
            _ => Cow::Borrowed(&ready.values),
        }
    }

    fn desired<'a>(&self, ready: &'a Ready, values: &'a Values, policy: &Policy) -> Desired<'a> {
        let test = settings::test(&self.object.spec);
        let (renderers, metadata) = settings::digests(&self.object.spec);
        let is_new = self.status.observed_generation != self.generation() && self.status.observed_generation > 0;
        let differ = renderers != self.status.observed_post_renderers_digest
            || metadata != self.status.observed_common_metadata_digest;
        // An upgrade of this generation has applied them, though it was not noted yet.
        let is_applied = self.written.last_attempted_generation == self.generation()
            && self.status.last_attempted_release_action.is_some()
            && self.status.conditions.iter().any(|condition| {
                condition.type_ == conditions::RELEASED
                    && condition.status == "True"
                    && condition.observed_generation == Some(self.generation())
            });
        Desired {
            chart_name: &ready.chart.metadata.name,
            chart_version: &ready.chart.metadata.version,
            values,
            settings_changed: is_new && differ && !is_applied,
            tests: test.enable.then(|| !policy.ignores_tests(test.ignore_failures)),
        }
    }

    /// What a release was rolled back to may be what is wanted now.
    fn note_remedied(&mut self, history: &[Snapshot]) {
        let Some(newest) = history.first() else { return };
        let message = format!(
            "Helm upgrade succeeded for release {} with chart {}",
            newest.full_name(),
            newest.chart()
        );
        let at = self.at();
        status::remedied_is_wanted(&mut self.status, reasons::helm::UPGRADE_SUCCEEDED, &message, at);
    }

    /// Says in the status what is about to be done.
    async fn announce(&mut self, step: &Step) {
        let spec = &self.object.spec;
        let (name, own) = match step {
            Step::Install => ("install", settings::install(spec).timeout),
            Step::Upgrade { .. } => ("upgrade", settings::upgrade(spec).timeout),
            Step::Test => ("test", settings::test(spec).timeout),
            Step::Rollback(_) => ("rollback", settings::rollback(spec).timeout),
            Step::Uninstall => ("uninstall", settings::uninstall(spec).timeout),
            Step::Unlock => ("unlock", None),
            Step::CheckDrift | Step::Done => return,
        };
        let limit = duration::format(settings::timeout(spec, own));
        let message = format!("Running '{name}' action with timeout of {limit}");
        let (at, reason) = (self.at(), reasons::PROGRESSING);
        status::set(
            &mut self.status,
            conditions::RECONCILING,
            Status::True,
            reason,
            message.clone(),
            at,
        );
        if step.kind() == "release" {
            status::set(
                &mut self.status,
                conditions::READY,
                Status::Unknown,
                reason,
                message,
                at,
            );
        }
        self.write().await;
    }

    /// Puts the result of a step into the status, and tells it. What ends the job is given back.
    #[allow(
        clippy::too_many_arguments,
        reason = "they are the parts of one result, used nowhere else"
    )]
    fn report(
        &mut self,
        step: &Step,
        result: Result<(), Failed>,
        tests: usize,
        is_stored: bool,
        history: &[Snapshot],
        ready: &Ready,
        logs: &str,
        at: At,
    ) -> Option<Ended> {
        use reasons::helm as reason;
        let spec = &self.object.spec;
        let newest = history.first();
        let (full, chart) = newest
            .map(|newest| (newest.full_name(), newest.chart()))
            .unwrap_or_default();
        let about = newest.map(About::snapshot).unwrap_or_default();
        let (condition, good, bad, what) = match step {
            Step::Install => (
                conditions::RELEASED,
                reason::INSTALL_SUCCEEDED,
                reason::INSTALL_FAILED,
                "install",
            ),
            Step::Upgrade { .. } => (
                conditions::RELEASED,
                reason::UPGRADE_SUCCEEDED,
                reason::UPGRADE_FAILED,
                "upgrade",
            ),
            Step::Test => (
                conditions::TEST_SUCCESS,
                reason::TEST_SUCCEEDED,
                reason::TEST_FAILED,
                "test",
            ),
            Step::Rollback(_) => (
                conditions::REMEDIATED,
                reason::ROLLBACK_SUCCEEDED,
                reason::ROLLBACK_FAILED,
                "rollback to previous release",
            ),
            Step::Uninstall => (
                conditions::REMEDIATED,
                reason::UNINSTALL_SUCCEEDED,
                reason::UNINSTALL_FAILED,
                "uninstall remediation for release",
            ),
            Step::Unlock => {
                if let Err(failed) = result {
                    return Some(state_error(&failed.message));
                }
                let (place, chart) = (&ready.place, &ready.chart.metadata.name);
                let message = format!(
                    "Unlocked Helm release {}/{} with chart {chart}",
                    place.namespace, place.name
                );
                self.reporter().info(reason::PENDING_RELEASE, &message, &about);
                let (kind, why) = (conditions::RELEASED, reason::PENDING_RELEASE);
                status::set(&mut self.status, kind, Status::False, why, message, at);
                return None;
            }
            Step::CheckDrift | Step::Done => return None,
        };
        let is_release = step.kind() == "release";
        let is_remediation = step.kind() == "remediate";
        match result {
            Ok(()) => {
                let message = match step {
                    Step::Test => {
                        let count = match tests {
                            0 => "no test hooks".to_owned(),
                            1 => "1 test hook completed successfully".to_owned(),
                            count => format!("{count} test hooks completed successfully"),
                        };
                        format!("Helm test succeeded for release {full} with chart {chart}: {count}")
                    }
                    _ if is_remediation => format!("Helm {what} {full} with chart {chart} succeeded"),
                    _ => format!("Helm {what} succeeded for release {full} with chart {chart}"),
                };
                self.reporter().info(good, &message, &about);
                status::set(&mut self.status, condition, Status::True, good, message, at);
                if is_release {
                    if settings::test(spec).enable {
                        let message = format!("Helm release {full} with chart {chart} is awaiting tests");
                        let (kind, why) = (conditions::TEST_SUCCESS, reason::AWAITING_TESTS);
                        status::set(&mut self.status, kind, Status::Unknown, why, message, at);
                    } else {
                        self.clear_failures();
                    }
                }
                if *step == Step::Test {
                    self.clear_failures();
                }
                None
            }
            Err(failed) => {
                let text = failed.message.trim();
                let bad = match failed.canceled {
                    true => reason::HEALTH_CHECK_CANCELED,
                    false => bad,
                };
                let message = match step {
                    Step::Test => format!("Helm test failed for release {full} with chart {chart}: {text}"),
                    _ if is_remediation => format!("Helm {what} {full} with chart {chart} failed: {text}"),
                    _ => format!(
                        "Helm {what} failed for release {}/{} with chart {}@{}: {text}",
                        ready.place.namespace,
                        ready.place.name,
                        ready.chart.metadata.name,
                        ready.chart.metadata.version
                    ),
                };
                let about = if is_release { ready.about() } else { about };
                self.reporter().warning(bad, &format!("{message}{logs}"), &about);
                self.status.failures += 1;
                status::set(&mut self.status, condition, Status::False, bad, message.clone(), at);
                let is_tested = newest.is_some_and(|newest| newest.tests.is_some());
                let counts = match step {
                    Step::Test => is_tested && !self.policy(false).ignores_tests(settings::test(spec).ignore_failures),
                    _ => is_release && is_stored,
                };
                if counts {
                    match self.status.last_attempted_release_action {
                        Some(ReleaseAction::Install) => self.status.install_failures += 1,
                        Some(ReleaseAction::Upgrade) => self.status.upgrade_failures += 1,
                        None => {}
                    }
                }
                // What left no trace in the storage is tried again as it is.
                let is_traceless = match step {
                    Step::Test => !is_tested,
                    _ => !is_stored,
                };
                is_traceless.then_some(Ended::Failed {
                    reason: bad,
                    message,
                    after: None,
                })
            }
        }
    }

    /// Everything that may be done in one job was done.
    fn enough(&mut self, policy: &Policy) -> Ended {
        match policy.active() {
            Some((remediation, _)) if remediation.retry_on_failure => {
                Ended::Retry(settings::retry_interval(&self.object.spec, policy.last))
            }
            _ if policy.may_retry() => Ended::Again,
            _ => self.exceeded(policy),
        }
    }

    fn after_remediation(&mut self) -> Ended {
        let policy = self.policy(false);
        match policy.may_retry() {
            true => Ended::Again,
            false => self.exceeded(&policy),
        }
    }

    fn stopped(&mut self, stop: Stop, policy: &Policy) -> Ended {
        match stop {
            Stop::RetriesExceeded => self.exceeded(policy),
            Stop::MissingRollbackTarget => Ended::Stalled {
                reason: reasons::helm::MISSING_ROLLBACK_TARGET,
                message: format!("Failed to perform remediation: {stop}"),
            },
        }
    }

    fn exceeded(&self, policy: &Policy) -> Ended {
        let (action, failures) = match self.status.last_attempted_release_action {
            Some(ReleaseAction::Upgrade) => ("upgrade", policy.counts.upgrade),
            _ => ("install", policy.counts.install),
        };
        Ended::Stalled {
            reason: reasons::helm::RETRIES_EXCEEDED,
            message: format!("Failed to {action} after {failures} attempt(s)"),
        }
    }

    /// The metric; none where drift is not looked for.
    fn measure_drift(&self, count: Option<usize>) {
        let (namespace, name) = &self.key;
        self.shared.ports.metrics.drifted("HelmRelease", namespace, name, count);
    }

    async fn check_drift(
        &mut self,
        ready: &Ready,
        turn: &mut Turn,
        storage: &mut Storage,
        history: &mut Vec<Snapshot>,
        stored: &[Release],
        refresh: bool,
    ) -> Ended {
        let mode = settings::drift_mode(&self.object.spec);
        let shared = self.shared.clone();
        let (object, preempt) = (self.object.clone(), self.preempt.clone());
        let mut act = self.act(ready, &shared, &object, &preempt, turn, storage, history);
        let Some(release) = last(stored) else {
            return state_error("the release is gone");
        };
        if self.status.inventory.is_none() || refresh {
            match inventory_of(&mut act, stored, ready).await {
                Ok(inventory) => self.status.inventory = Some(inventory),
                Err(failed) => {
                    return Ended::Failed {
                        reason: reasons::helm::INVENTORY_BUILD_FAILED,
                        message: failed.message,
                        after: None,
                    };
                }
            }
        }
        let drifted = match act.find_drift(release, &ready.ignore).await {
            Ok(drifted) => drifted,
            Err(failed) => return state_error(&format!("unable to determine cluster state: {}", failed.message)),
        };
        let at = self.at();
        let about = act.history.first().map(About::snapshot).unwrap_or_default();
        let name = act.history.first().map(Snapshot::full_name).unwrap_or_default();
        let (kind, reason) = (conditions::DRIFTED, reasons::helm::NO_DRIFT_DETECTED);
        self.measure_drift(Some(drifted.len()));
        if drifted.is_empty() {
            let message = format!("No drift detected for release {name}");
            status::set(&mut self.status, kind, Status::False, reason, message, at);
            return Ended::InSync;
        }
        let list = drift::list(&drifted);
        let message = format!("Cluster state of release {name} has drifted from the desired state:\n{list}");
        let found = reasons::helm::DRIFT_DETECTED;
        let is_told = nave_runtime::Conditions::get_condition(&self.written.conditions, kind)
            .is_some_and(|known| known.message == message);
        status::set(&mut self.status, kind, Status::True, found, message.clone(), at);
        if !is_told || mode == DriftMode::Enabled {
            self.reporter().warning(found, &message, &about);
        }
        if mode != DriftMode::Enabled {
            return Ended::InSync;
        }
        match act.correct(release, drifted).await {
            Ok(()) => {
                self.measure_drift(Some(0));
                let message = format!("Cluster state of release {name} has been corrected:\n{list}");
                self.reporter().info(reasons::helm::DRIFT_CORRECTED, &message, &about);
                let message = format!("No drift detected for release {name}");
                status::set(&mut self.status, kind, Status::False, reason, message, at);
                Ended::InSync
            }
            Err(failed) => {
                let reason = reasons::helm::DRIFT_CORRECTION_FAILED;
                let message = format!(
                    "Failed to correct the cluster state of release {name}: {}",
                    failed.message
                );
                Ended::Failed {
                    reason,
                    message,
                    after: None,
                }
            }
        }
    }
}

impl Act<'_> {
    /// Marks a version that was never ended as failed.
    async fn unlock(&mut self, stored: &[Release]) -> Result<(), Failed> {
        let Some(newest) = last(stored) else { return Ok(()) };
        let mut release = newest.clone();
        let action = match release.status() {
            nave_release::Status::PendingInstall => "install",
            nave_release::Status::PendingRollback => "rollback",
            _ => "upgrade",
        };
        let text = format!("Release unlocked from stale '{}' state", release.status());
        release.set_status(nave_release::Status::Failed, text);
        let is_known = self.history.iter().any(|known| known.is_of(&release));
        if is_known || self.storage.is_ours(release.version) {
            // A process that ended in the middle of an action did not come to write down what it had begun. Taken for a
            // stranger's, the version would cost the history, and with it what can be rolled back to.
            self.action = action;
            return self.store(&release).await;
        }
        self.storage.update(&release).await.map_err(|error| Failed::of(&error))
    }
}

/// The objects of the newest version and the chart's definitions.
async fn inventory_of(act: &mut Act<'_>, stored: &[Release], ready: &Ready) -> Result<ResourceInventory, Failed> {
    let Some(release) = last(stored) else {
        return Ok(ResourceInventory::default());
    };
    let found = objects(&release.manifest, &release.name).map_err(|error| Failed::of(&error))?;
    let mut entries: Vec<_> = act.place_known(found).await?.iter().map(|one| one.entry()).collect();
    entries.extend(entries_of(&ready.chart.crds()));
    entries.sort_by(|a, b| a.id.cmp(&b.id));
    entries.dedup();
    Ok(ResourceInventory { entries })
}

fn state_error(message: &str) -> Ended {
    Ended::Failed {
        reason: reasons::helm::STATE_ERROR,
        message: format!("Could not determine release state: {message}"),
        after: None,
    }
}
