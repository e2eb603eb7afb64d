//! Building, applying and pruning: what a reconcile does once nothing stands in the way.

use std::{pin::pin, sync::Arc};

use nave_apply::{Applying, Change, Check, CommonMetadata, IgnoreRules, Inventory, Step, prepare};
use nave_artifact::FileTree;
use nave_crds::{conditions, meta::Artifact, reasons};
use nave_health::HealthExpressions;
use nave_object::{Object, digest, yaml};
use nave_runtime::Conditions;
use nave_store::DownloadError;
use nave_substitute::Variables;
use nave_targets::Target;
use tokio::time::Instant;

use crate::{
    ReadError,
    act::{Apply, advance, inventory_after_failure, owner_of},
    build::{self, Built},
    decrypt::still_encrypted,
    decryption::{Decryption, decryption_of},
    memory::{Attempt, Kept, Last},
    modes::Drift,
    pruning::uids_of,
    reconcile::{Ended, Failure, Run, chain},
    report::{list_of_changes, log_of_changes},
    status,
    target::target_of,
    variables::variables_of,
    waiting::{Applied, Background, PATIENCE, Paused},
};

/// What goes into a build beside the artifact, and where it goes.
struct Needed {
    variables: Variables,
    decryption: Option<Arc<Decryption>>,
    target: Arc<Target>,
}

/// An apply that begins or goes on.
struct UnderWay {
    applying: Applying,
    /// The inventory before it began.
    before: Inventory,
    check: Check,
    is_new: bool,
    /// Of what was built when it began; none when it begins now.
    digest: Option<String>,
}

/// What is being done.
#[derive(Clone, Copy)]
enum Phase<'a> {
    Fetch,
    Build,
    /// Of all these objects, what was applied before included.
    Apply(&'a Inventory),
}

impl Phase<'_> {
    /// As kustomize-controller names it.
    fn words(self) -> &'static str {
        match self {
            Phase::Fetch => "Fetching manifests",
            Phase::Build => "Building manifests",
            Phase::Apply(_) => "Detecting drift",
        }
    }
}

impl Run<'_> {
    /// Builds, applies and prunes; goes on with what was `paused`, if it was begun with the same input.
    pub(crate) async fn go(
        &mut self,
        kept: &mut Kept,
        artifact: &Artifact,
        expressions: Arc<HealthExpressions>,
        attempt: Attempt,
        is_new: bool,
        paused: Option<Paused>,
    ) -> Result<Ended, Failure> {
        let spec = &self.object.spec;
        let ignore = IgnoreRules::new(&spec.ignore).map_err(|error| Failure {
            terminal: true,
            ..Failure::new(reasons::kustomize::BUILD_FAILED, error.to_string())
        })?;
        let Needed {
            variables,
            decryption,
            target,
        } = match self.needed().await {
            Ok(needed) => needed,
            Err(failure) => {
                // What is wrong with the artifact comes first, and only one that is well was attempted.
                self.read(artifact, is_new).await?;
                return Err(failure);
            }
        };
        kept.target = Some(target.clone());
        let former = self.former_place(kept, &target).await?;
        let input = build::input_digest(artifact, self.generation(), &variables, decryption.as_deref());
        let is_of_this = |paused: &Paused| paused.input == input && paused.target == target.id();
        let paused = self.unless_outdated(paused, is_of_this);

        if paused.is_none()
            && let Some(last) = &kept.last
            && !last.remote
            && last.input == input
            && former.is_none()
            && kept.pending.is_empty()
            && self.may_check_lightly(kept)
            && let Some(changes) = nave_apply::recheck(&target, &last.changes, &kept.apply, &expressions)
        {
            kept.light_checks += 1;
            let digest = last.digest.clone();
            artifact.revision.clone_into(&mut self.status.last_attempted_revision);
            self.digest = Some(digest.clone());
            self.report_drift(&changes);
            let applied = self.applied(digest, false);
            return Ok(self
                .wait_or_end(kept, &target, &changes, expressions, attempt, applied, is_new)
                .await);
        }
        let UnderWay {
            mut applying,
            before,
            check,
            is_new,
            digest: begun_with,
        } = self.under_way(kept, paused, is_new);

        let tree = self.read(artifact, is_new).await?;
        let building = build::build(
            self.object,
            artifact,
            tree.clone(),
            &variables,
            decryption,
            self.options,
            self.builds,
            self.ports.remote_bases.as_ref(),
        );
        let Built { objects, remote } = self.tell_if_long(building, Phase::Build, is_new).await?;
        self.reached(Phase::Apply(&Inventory::new()));
        if let Some(message) = still_encrypted(&objects) {
            return Err(Failure::new(reasons::kustomize::RECONCILIATION_FAILED, message));
        }
        let common = spec.common_metadata.clone().unwrap_or_default();
        let common = CommonMetadata {
            labels: common.labels,
            annotations: common.annotations,
        };
        let owner = owner_of(self.object);
        let digest = digest_of(&objects);
        if begun_with.is_some_and(|begun_with| begun_with != digest) {
            // A remote base came to something else meanwhile.
            applying = Applying::new();
        }
        self.digest = Some(digest.clone());
        self.claims.put(&self.key, self.object, artifact, &objects);
        let report_only = self.modes.drift == Drift::Detect && former.is_none() && self.is_applied(&digest);
        let objects = prepare(objects, &owner, &common)
            .map_err(|error| Failure::new(reasons::kustomize::BUILD_FAILED, error.to_string()))?;

        let intended: Inventory = objects.iter().map(nave_apply::entry_of).collect();
        if !before.covers(&intended) {
            self.begin(Phase::Apply(&before.union(&intended))).await;
        }
        let change = self.revision.revision.clone();
        let advancing = advance(
            &mut applying,
            Apply {
                kustomization: self.object,
                target: &target,
                objects: &objects,
                change: &change,
                inventory: &before,
                check,
                ignore: &ignore,
                expressions: &expressions,
                report_only,
                independent: self.modes.independent,
            },
            &owner,
            &mut kept.apply,
            self.ports,
            self.options,
        );
        let all = before.union(&intended);
        let outcome = match self.tell_if_long(advancing, Phase::Apply(&all), is_new).await {
            Step::Done(outcome) => outcome,
            Step::Waits(barrier) => {
                if is_new && !self.is_progressing() {
                    self.begin(Phase::Apply(&all)).await;
                }
                // What it stands for is not what is there now.
                kept.last = None;
                let target_id = target.id().to_owned();
                let wait = async move { barrier.wait(&target).await };
                kept.paused = Some(Paused {
                    attempt,
                    input,
                    target: target_id,
                    digest,
                    check,
                    applying,
                    before,
                    began: self.began,
                    was_healthy: self.was_healthy,
                    is_new,
                    background: Background::begin(&self.ports.tasks, "apply", self.triggers.of(&self.key), wait),
                });
                return Ok(Ended::Waits);
            }
        };
        self.tell_of_changes(&outcome.changes);
        let inventory = inventory_after_failure(&before, &outcome);
        if let Some(error) = outcome.error {
            // One that never applied anything has no inventory, rather than an empty one.
            if !inventory.is_empty() || self.status.inventory.is_some() {
                self.set_inventory(&inventory);
            }
            let is_held = error.is_held();
            let files = build::files_of(self.object, artifact, tree, self.options, self.builds).await;
            let message = variables.hide(&error.in_files(&files).to_string());
            if is_held {
                return Err(self.waits_for_permit(message));
            }
            return Err(Failure::new(reasons::kustomize::RECONCILIATION_FAILED, message));
        }
        self.report_drift(&outcome.changes);
        let changed = outcome.changed();
        let pruned = self.prune(kept, &target, &before, &outcome.changes).await?;
        if let Some(former) = former {
            let now = self.status.inventory.take();
            self.set_inventory(&before.union(&Inventory::from_status(now.as_ref())));
            self.leave(kept, &target, &former, &before, &uids_of(&outcome.changes))
                .await?;
            self.status.inventory = now;
        }
        let applied = self.applied(digest.clone(), changed || pruned);
        kept.last = Some(Last {
            input,
            digest,
            changes: outcome.changes.clone(),
            remote,
        });
        Ok(self
            .wait_or_end(kept, &target, &outcome.changes, expressions, attempt, applied, is_new)
            .await)
    }

    /// What was paused, if it is still to be gone on with. Otherwise what it did is told of here.
    pub(crate) fn unless_outdated(
        &self,
        paused: Option<Paused>,
        is_wanted: impl Fn(&Paused) -> bool,
    ) -> Option<Paused> {
        let paused = paused?;
        if is_wanted(&paused) {
            return Some(paused);
        }
        self.tell_of_changes(paused.applying.changes());
        None
    }

    /// Takes up what was paused, or begins.
    fn under_way(&mut self, kept: &mut Kept, paused: Option<Paused>, is_new: bool) -> UnderWay {
        let Some(mut paused) = paused else {
            let check = if self.may_check_lightly(kept) {
                Check::Known
            } else {
                kept.light_checks = 0;
                Check::Full
            };
            return UnderWay {
                applying: Applying::new(),
                before: Inventory::from_status(self.status.inventory.as_ref()),
                check,
                is_new,
                digest: None,
            };
        };
        if let Some(ended) = paused.background.outcome() {
            paused.applying.resume(ended);
        }
        self.began = paused.began;
        self.was_healthy = paused.was_healthy;
        UnderWay {
            applying: paused.applying,
            before: paused.before,
            check: paused.check,
            is_new: paused.is_new,
            digest: Some(paused.digest),
        }
    }

    fn tell_of_changes(&self, changes: &[Change]) {
        let list = list_of_changes(changes);
        if list.is_empty() {
            return;
        }
        log_of_changes(&self.key, &self.revision, changes, self.options.gates.group_change_log);
        self.reporter().info(reasons::PROGRESSING, &list, &self.revision);
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
            was_healthy: self.was_healthy,
            digest,
            changed,
            revision: self.revision.revision.clone(),
            origin_revision: self.revision.origin.clone(),
        }
    }

    /// What goes into a build beside the artifact, and the cluster that it is for.
    async fn needed(&self) -> Result<Needed, Failure> {
        let post_build = self.object.spec.post_build.clone().unwrap_or_default();
        let variables = variables_of(self.object, &post_build, &self.ports.client)
            .await
            .map_err(|error| Failure::new(reasons::kustomize::BUILD_FAILED, error.to_string()))?;
        let decryption = decryption_of(self.object, &self.ports.client, self.options, &self.ports.key_services)
            .await
            .map_err(|error| Failure::new(reasons::kustomize::BUILD_FAILED, chain(&error)))?
            .map(Arc::new);
        let target = target_of(self.object, self.ports, self.options)
            .await
            .map_err(|error| Failure::new(reasons::kustomize::RECONCILIATION_FAILED, error.to_string()))?;
        Ok(Needed {
            variables,
            decryption,
            target,
        })
    }

    /// The files of the artifact, with `spec.path` among them. From here on its revision counts as attempted.
    async fn read(&mut self, artifact: &Artifact, is_new: bool) -> Result<Arc<FileTree>, Failure> {
        self.reached(Phase::Fetch);
        let reading = self.ports.artifacts.read(artifact);
        let tree = self
            .tell_if_long(reading, Phase::Fetch, is_new)
            .await
            .map_err(|error| {
                let is_missing = matches!(error, ReadError::Download(DownloadError::NotFound { .. }));
                Failure {
                    after: is_missing.then_some(self.options.requeue_dependency),
                    ..Failure::new(reasons::kustomize::ARTIFACT_FAILED, chain(&error))
                }
            })?;
        build::path_in(&tree, &self.object.spec)?;
        artifact.revision.clone_into(&mut self.status.last_attempted_revision);
        self.reached(Phase::Build);
        Ok(tree)
    }

    /// Remembers how far it came, for the case that it fails.
    fn reached(&mut self, phase: Phase<'_>) {
        self.progress = self.progress_of(phase.words(), &self.revision.revision);
    }

    /// Says that work begins, and before an apply writes down what is going to exist, so that it is known even if this
    /// process ends now.
    async fn begin(&mut self, phase: Phase<'_>) {
        let message = self.progress_of(phase.words(), &self.revision.revision);
        let known = self.status.inventory.clone();
        let at = self.at();
        status::progressing(&mut self.status, &self.object.spec, &message, at);
        if let Phase::Apply(all) = phase {
            self.set_inventory(all);
        }
        self.write().await;
        self.status.inventory = known; // until it is applied
    }

    /// Waits for the work of a phase, and says that it goes on when it takes long, if it is of something new.
    async fn tell_if_long<T>(&mut self, work: impl Future<Output = T>, phase: Phase<'_>, is_new: bool) -> T {
        let mut work = pin!(work);
        if is_new {
            // Of an earlier phase was told already: this one gets its own time.
            let since = if self.is_progressing() {
                Instant::now()
            } else {
                self.began
            };
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep_until(since + PATIENCE) => self.begin(phase).await,
            }
        }
        work.await
    }

    pub(crate) fn set_inventory(&mut self, inventory: &Inventory) {
        self.status.inventory = Some(inventory.to_status());
    }
}

/// What was built, as the history names it: the digest of the same text as in Flux, so that either counts the other's entry on.
fn digest_of(objects: &[Object]) -> String {
    digest::sha256(yaml::write_documents(objects.iter().map(Object::as_value)))
}
