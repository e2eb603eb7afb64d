//! The steps of a job: where the release stands decides on the next one, until nothing is left or nothing helps.

use std::{borrow::Cow, collections::BTreeSet, time::Instant};

use nave_chart::{Values, values::merge_maps};
use nave_crds::{
    conditions,
    helm::{DriftMode, ReleaseAction},
    reasons,
};
use nave_object::duration;
use nave_release::{Counts, Desired, Policy, Release, Snapshot, Step, decide, determine, last, truncate};
use nave_runtime::Status;

use crate::{
    act::{Act, Failed},
    drift_check::inventory_of,
    job::{Ended, Job, Ready},
    notes::Notes,
    render::Wanted,
    running::Turn,
    settings, status,
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
        let force_before = self.status.last_handled_force_at.clone();
        let was_forced = self.take_force();
        let mut forced = was_forced;
        // What is held is not announced each time that it is asked for.
        let is_waiting = nave_runtime::Conditions::reason_of(&self.written.conditions, conditions::READY)
            == Some(reasons::kustomize::PRUNE_HELD);
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
                self.note_deployed(&history);
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
            if preempt.is_cancelled() && matches!(step.kind(), "test" | "remediate") {
                return Ended::Now; // what is wanted now needs neither
            }
            let before_step = self.status.clone();
            if !is_waiting {
                self.announce(&step).await;
            }
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
                    match act.prepare_upgrade(&mut wanted, &stored).await {
                        Ok(prepared) => {
                            self.announce_late(&step, is_waiting).await;
                            act.upgrade(prepared, &stored).await
                        }
                        Err(failed) => Err(failed),
                    }
                }
                Step::Rollback(version) => {
                    act.action = "rollback";
                    match act.prepare_roll_back(*version, &stored).await {
                        Ok(prepared) => {
                            self.announce_late(&step, is_waiting).await;
                            act.roll_back(prepared, &stored).await
                        }
                        Err(failed) => Err(failed),
                    }
                }
                Step::Uninstall => {
                    act.action = "uninstall-remediation";
                    match act.prepare_uninstall(&stored).await {
                        Ok(()) => {
                            self.announce_late(&step, is_waiting).await;
                            act.uninstall(&stored).await
                        }
                        Err(failed) => Err(failed),
                    }
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
            let is_stored = history.first().map(|newest| (newest.version, newest.digest.clone())) != before;
            if let Err(failed) = &result
                && failed.is_held()
                && !is_stored
            {
                self.status = before_step;
                if was_forced {
                    self.status.last_handled_force_at = force_before;
                }
                return Ended::Held {
                    message: failed.message.clone(),
                    keeps_request: was_forced,
                };
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
            let is_canceled = result.as_ref().is_err_and(Failed::is_canceled);
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
    pub fn act<'a>(
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
            permitted: BTreeSet::new(),
            notes: Notes::default(),
        }
    }

    pub fn policy(&self, forced: bool) -> Policy {
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

    /// What is wanted is deployed, whatever failed or was remedied on the way: a release was rolled back to it, or what could
    /// not be released was taken back.
    fn note_deployed(&mut self, history: &[Snapshot]) {
        let Some(newest) = history.first() else { return };
        let (action, reason) = match newest.action.as_str() {
            "install" => ("install", reasons::helm::INSTALL_SUCCEEDED),
            _ => ("upgrade", reasons::helm::UPGRADE_SUCCEEDED),
        };
        let message = format!(
            "Helm {action} succeeded for release {} with chart {}",
            newest.full_name(),
            newest.chart()
        );
        let at = self.at();
        status::wanted_is_deployed(&mut self.status, reason, &message, at);
    }

    /// Says what is about to be done where that was not said before.
    async fn announce_late(&mut self, step: &Step, is_late: bool) {
        if is_late {
            self.announce(step).await;
        }
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

/// Where the release stands cannot be told.
pub(crate) fn state_error(message: &str) -> Ended {
    Ended::Failed {
        reason: reasons::helm::STATE_ERROR,
        message: format!("Could not determine release state: {message}"),
        after: None,
    }
}
