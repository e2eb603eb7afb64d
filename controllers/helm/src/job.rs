//! One job: from a chart and values to a release that is as it should be, or to a failure that is reported.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{Api, ResourceExt};
use nave_apply::IgnoreRules;
use nave_chart::{Chart, Values};
use nave_crds::{
    annotations::{FORCE_AT, REQUESTED_AT, RESET_AT},
    conditions,
    helm::{HelmRelease, HelmReleaseStatus},
    managers,
    meta::Artifact,
    reasons,
};
use nave_health::HealthExpressions;
use nave_release::{Snapshot, config_digest};
use nave_runtime::{Conditions, Next, Status, schedule};
use nave_store::DownloadError;
use nave_targets::Target;
use tokio_util::sync::CancellationToken;

use crate::{
    ReadError,
    act::{Act, Failed, chain},
    depends::Key,
    notes::Notes,
    reconcile::Shared,
    report::{About, Reporter},
    running::{Finished, Turn},
    settings::{self, Place, place_of},
    status::{self, At},
    storage::Storage,
    target::target_of,
    tracked::with_digest,
};

/// When the next job may begin at once.
const NOW: Duration = Duration::from_millis(10);

/// What was found before the job began.
pub(crate) struct Input {
    pub artifact: Box<Artifact>,
    pub values: Values,
    pub expressions: Arc<HealthExpressions>,
    pub ignore: IgnoreRules,
}

/// One job on one object.
pub(crate) struct Job {
    pub shared: Arc<Shared>,
    pub object: Arc<HelmRelease>,
    pub key: Key,
    /// The status as the server has it.
    pub written: HelmReleaseStatus,
    /// The status as it will be.
    pub status: HelmReleaseStatus,
    pub preempt: CancellationToken,
}

/// How a job ends.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The release is as it should be.
    InSync,
    /// It goes on in the next job, which comes with growing pauses.
    Again,
    /// It goes on after this time.
    Retry(Duration),
    /// It goes on at once.
    Now,
    /// Nothing of it was begun: what it would delete waits for a permit.
    Held {
        message: String,
        /// What a person asked for goes on to be asked for.
        keeps_request: bool,
    },
    /// Nothing more is done until something changes.
    Stalled { reason: &'static str, message: String },
    /// Something failed that says nothing about the release.
    Failed {
        reason: &'static str,
        message: String,
        after: Option<Duration>,
    },
}

impl Ended {
    /// Uninstalling did not work.
    pub fn of_uninstall(failed: Failed) -> Ended {
        match failed.is_held() {
            true => Ended::Held {
                message: failed.message,
                keeps_request: false,
            },
            false => Ended::Failed {
                reason: reasons::helm::UNINSTALL_FAILED,
                message: failed.message,
                after: None,
            },
        }
    }
}

/// What is to be released, ready to be.
pub(crate) struct Ready {
    pub chart: Arc<Chart>,
    pub values: Values,
    pub config_digest: String,
    pub oci_digest: String,
    pub target: Arc<Target>,
    pub place: Place,
    pub expressions: Arc<HealthExpressions>,
    pub ignore: IgnoreRules,
}

impl Ready {
    pub fn about(&self) -> About {
        About {
            chart_version: self.chart.metadata.version.clone(),
            config_digest: self.config_digest.clone(),
            app_version: self.chart.metadata.app_version.clone(),
            oci_digest: self.oci_digest.clone(),
        }
    }
}

impl Job {
    /// Brings the release to what the spec says.
    pub async fn run(mut self, input: Input) -> Finished {
        let mut turn = Turn::take(self.shared.turns.clone()).await;
        let ended = match self.get_ready(input, &mut turn).await {
            Ok(ready) => self.release(&ready, &mut turn).await,
            Err(ended) => ended,
        };
        let next = self.end(ended).await;
        Finished {
            status: self.written,
            next,
            gone: false,
        }
    }

    async fn get_ready(&mut self, input: Input, turn: &mut Turn) -> Result<Ready, Ended> {
        let failed = |reason: &'static str, message: String| Ended::Failed {
            reason,
            message,
            after: None,
        };
        let options = &self.shared.options;
        let chart = match self.shared.ports.artifacts.chart(&input.artifact).await {
            Ok(chart) => chart,
            Err(ReadError::Download(DownloadError::NotFound { .. })) => {
                let wait = options.requeue_dependency;
                let text = nave_object::duration::format(wait);
                return Err(Ended::Failed {
                    reason: reasons::helm::ARTIFACT_FAILED,
                    message: format!("Source not ready: artifact not found. Retrying in {text}"),
                    after: Some(wait),
                });
            }
            Err(error) => {
                let message = format!("Could not load chart: {}", chain(&error));
                return Err(failed(reasons::helm::ARTIFACT_FAILED, message));
            }
        };
        let kind = self
            .object
            .spec
            .chart_ref
            .as_ref()
            .map_or("", |reference| &reference.kind);
        let (chart, oci_digest) = with_digest(
            chart,
            kind,
            &input.artifact.revision,
            options.gates.disable_chart_digest_tracking,
        )
        .map_err(|message| failed(reasons::helm::CHART_MUTATE_ERROR, message))?;
        let target = target_of(&self.object, &self.shared.ports, options)
            .await
            .map_err(|error| failed(reasons::helm::REST_CLIENT_ERROR, error.to_string()))?;
        let ready = Ready {
            config_digest: config_digest(&input.values),
            chart,
            values: input.values,
            oci_digest,
            target,
            place: place_of(&self.object),
            expressions: input.expressions,
            ignore: input.ignore,
        };
        if let Some(why) = self.moved(&ready) {
            tracing::info!(
                namespace = self.key.0,
                name = self.key.1,
                why,
                "uninstalling the release first"
            );
            let newest = self.status.history.first().cloned();
            if let Some(newest) = newest {
                let place = Place {
                    name: newest.name,
                    namespace: newest.namespace,
                    storage_namespace: self.status.storage_namespace.clone(),
                };
                self.uninstall_at(&place, &ready.target, &ready.expressions, turn)
                    .await
                    .map_err(Ended::of_uninstall)?;
            }
            self.status.history.clear();
            self.clear_failures();
            self.status.storage_namespace.clear();
            return Err(Ended::Now);
        }
        self.begin(&ready);
        Ok(ready)
    }

    /// Why the release is another one now, with another name, place or chart.
    fn moved(&self, ready: &Ready) -> Option<&'static str> {
        if self.status.storage_namespace.is_empty() {
            return None;
        }
        if self.status.storage_namespace != ready.place.storage_namespace {
            return Some("the storage namespace changed");
        }
        let newest = self.status.history.first()?;
        if newest.namespace != ready.place.namespace {
            return Some("the target namespace changed");
        }
        if newest.name != ready.place.name {
            return Some("the name of the release changed");
        }
        let is_other_chart = newest.chart_name != ready.chart.metadata.name;
        (is_other_chart && settings::is_reinstalled_on_new_chart(&self.object.spec))
            .then_some("the chart is another one")
    }

    /// Notes what is tried, and forgets failures of something else.
    fn begin(&mut self, ready: &Ready) {
        let version = ready.chart.metadata.version.clone();
        let generation = self.generation();
        let status = &self.status;
        let is_reset = self.request(RESET_AT, &status.last_handled_reset_at);
        let is_other = status.last_attempted_generation != generation
            || status.last_attempted_revision != version
            || status.last_attempted_config_digest != ready.config_digest;
        if is_other || is_reset {
            self.clear_failures();
        }
        if let Some(reset) = self.object.annotations().get(RESET_AT).filter(|_| is_reset) {
            self.status.last_handled_reset_at.clone_from(reset);
        }
        let status = &mut self.status;
        status.storage_namespace.clone_from(&ready.place.storage_namespace);
        status.last_attempted_generation = generation;
        status.last_attempted_revision = version;
        status.last_attempted_revision_digest.clone_from(&ready.oci_digest);
        status.last_attempted_config_digest.clone_from(&ready.config_digest);
        status.last_attempted_values_checksum.clear();
        status.last_release_revision = 0;
    }

    pub fn clear_failures(&mut self) {
        self.status.failures = 0;
        self.status.install_failures = 0;
        self.status.upgrade_failures = 0;
    }

    /// Whether a person asks for something by an annotation that goes with `requestedAt` and was not handled yet.
    pub fn request(&self, annotation: &str, handled: &str) -> bool {
        let value = |key: &str| self.object.annotations().get(key).map_or("", String::as_str);
        let requested = value(REQUESTED_AT);
        !requested.is_empty()
            && value(annotation) == requested
            && requested != self.status.last_handled_reconcile_at
            && requested != handled
    }

    /// The same for a forced release, noted as handled.
    pub fn take_force(&mut self) -> bool {
        let is_forced = self.request(FORCE_AT, &self.status.last_handled_force_at);
        if let Some(force) = self.object.annotations().get(FORCE_AT).filter(|_| is_forced) {
            self.status.last_handled_force_at.clone_from(force);
        }
        is_forced
    }

    /// Uninstalls a release of this object wherever it is. While that is held, nothing of it is done or reported.
    pub async fn uninstall_at(
        &mut self,
        place: &Place,
        target: &Arc<Target>,
        expressions: &Arc<HealthExpressions>,
        turn: &mut Turn,
    ) -> Result<(), Failed> {
        let mut storage = Storage::new(target.client().clone(), &place.storage_namespace, &place.name);
        let stored = storage.list().await.map_err(|error| Failed::of(&error))?;
        let mut history: Vec<Snapshot> = status::history_of(&self.status);
        let (shared, object, preempt) = (self.shared.clone(), self.object.clone(), self.preempt.clone());
        let mut act = Act {
            ports: &shared.ports,
            options: &shared.options,
            object: &object,
            target,
            place,
            expressions,
            preempt: &preempt,
            turn,
            storage: &mut storage,
            history: &mut history,
            oci_digest: String::new(),
            action: "uninstall",
            has_new_definitions: false,
            permitted: BTreeSet::new(),
            notes: Notes::default(),
        };
        let result = match act.prepare_uninstall(&stored).await {
            Ok(()) => act.uninstall(&stored).await,
            Err(failed) if failed.is_held() => return Err(failed),
            Err(failed) => Err(failed),
        };
        let logs = act.notes.for_event();
        status::set_history(&mut self.status, &history);
        if result.is_ok() {
            self.status.inventory = None;
        }
        let about = history.first().map(About::snapshot).unwrap_or_default();
        let name = history
            .first()
            .map(|newest| (newest.full_name(), newest.chart()))
            .unwrap_or_default();
        let (value, reason, message) = match &result {
            Ok(()) => (
                Status::False,
                reasons::helm::UNINSTALL_SUCCEEDED,
                format!("Helm uninstall succeeded for release {} with chart {}", name.0, name.1),
            ),
            Err(failed) => (
                Status::False,
                reasons::helm::UNINSTALL_FAILED,
                format!(
                    "Helm uninstall failed for release {} with chart {}: {}",
                    name.0, name.1, failed.message
                ),
            ),
        };
        let at = self.at();
        status::set(
            &mut self.status,
            conditions::RELEASED,
            value,
            reason,
            message.clone(),
            at,
        );
        match &result {
            Ok(()) => self.reporter().info(reason, &message, &about),
            Err(_) => self.reporter().warning(reason, &format!("{message}{logs}"), &about),
        }
        result
    }

    /// Reports how it ended, and says when to look again.
    pub async fn end(&mut self, ended: Ended) -> Next {
        let (at, key) = (self.at(), self.key.clone());
        let test = settings::test(&self.object.spec);
        let keeps_request = matches!(
            ended,
            Ended::Held {
                keeps_request: true,
                ..
            }
        );
        let next = match ended {
            Ended::InSync => {
                self.status.conditions.remove_condition(conditions::RECONCILING);
                status::summarize(&mut self.status, &test, at);
                self.status.observed_generation = at.generation;
                let (renderers, metadata) = settings::digests(&self.object.spec);
                self.status.observed_post_renderers_digest = renderers;
                self.status.observed_common_metadata_digest = metadata;
                self.status.failures = 0;
                self.shared.backoff.succeeded(&key);
                let interval = self.object.spec.interval.get();
                Next::After(schedule::jittered(interval, self.shared.options.interval_jitter))
            }
            Ended::Again => {
                self.with_retry(at);
                Next::Retry(self.shared.backoff.failed(key))
            }
            Ended::Retry(after) => {
                self.with_retry(at);
                Next::Retry(schedule::jittered(after, self.shared.options.interval_jitter))
            }
            Ended::Now => Next::After(NOW),
            Ended::Held { message, .. } => {
                self.failed(reasons::kustomize::PRUNE_HELD, &message, at);
                // A permit that comes later than it was asked for wakes nobody.
                Next::After(self.shared.options.requeue_dependency)
            }
            Ended::Stalled { reason, message } => {
                self.stalled(reason, &message, at);
                Next::Await
            }
            Ended::Failed { reason, message, after } => {
                self.failed(reason, &message, at);
                Next::Retry(after.unwrap_or_else(|| self.shared.backoff.failed(key)))
            }
        };
        let requested = self.object.annotations().get(REQUESTED_AT).cloned().unwrap_or_default();
        if !requested.is_empty() && !keeps_request {
            self.status.last_handled_reconcile_at = requested;
        }
        self.write().await;
        next
    }

    fn with_retry(&mut self, at: At) {
        let ready = self.status.conditions.get_condition(conditions::READY);
        let message = ready.map(|ready| ready.message.clone()).unwrap_or_default();
        let reason = reasons::PROGRESSING_WITH_RETRY;
        status::set(
            &mut self.status,
            conditions::RECONCILING,
            Status::True,
            reason,
            message,
            at,
        );
    }

    /// It will not work until somebody changes something. A failed release says more than that nothing is tried any more.
    pub fn stalled(&mut self, reason: &str, message: &str, at: At) {
        let is_told = self.told(reason, message);
        if !self
            .status
            .conditions
            .get_condition(conditions::READY)
            .is_some_and(|ready| {
                ready.status == "False" && ready.observed_generation == Some(at.generation) && self.status.failures > 0
            })
        {
            status::set(&mut self.status, conditions::READY, Status::False, reason, message, at);
        }
        status::set(&mut self.status, conditions::STALLED, Status::True, reason, message, at);
        self.status.observed_generation = at.generation;
        if !is_told {
            self.reporter().warning(reason, message, &About::default());
        }
    }

    /// It did not work this time; another try follows.
    pub fn failed(&mut self, reason: &str, message: &str, at: At) {
        let is_told = self.told(reason, message);
        status::set(&mut self.status, conditions::READY, Status::False, reason, message, at);
        let retry = reasons::PROGRESSING_WITH_RETRY;
        status::set(
            &mut self.status,
            conditions::RECONCILING,
            Status::True,
            retry,
            message,
            at,
        );
        if !is_told {
            match reason {
                reasons::helm::DEPENDENCY_NOT_READY => self.reporter().info(reason, message, &About::default()),
                _ => self.reporter().warning(reason, message, &About::default()),
            }
        }
    }

    /// Whether the same was said before.
    fn told(&self, reason: &str, message: &str) -> bool {
        [conditions::READY, conditions::STALLED].into_iter().any(|kind| {
            self.written
                .conditions
                .get_condition(kind)
                .is_some_and(|known| known.reason == reason && known.message == message)
        })
    }

    /// Writes the status if it changed. An error is not fatal: the next write has the difference.
    pub async fn write(&mut self) {
        let api: Api<HelmRelease> = Api::namespaced(self.shared.ports.client.clone(), &self.key.0);
        let result = nave_runtime::status::patch(&api, &self.key.1, managers::HELM, &self.written, &self.status).await;
        match result {
            Ok(_) => self.written = self.status.clone(),
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => tracing::warn!(
                namespace = self.key.0,
                name = self.key.1,
                error = &error as &dyn std::error::Error,
                "writing the status of a HelmRelease"
            ),
        }
    }

    pub fn generation(&self) -> i64 {
        self.object.metadata.generation.unwrap_or(0)
    }

    pub fn at(&self) -> At {
        At {
            generation: self.generation(),
            now: Timestamp::now(),
        }
    }

    pub fn reporter(&self) -> Reporter<'_> {
        Reporter {
            events: &self.shared.ports.events,
            object: &self.object,
        }
    }
}
