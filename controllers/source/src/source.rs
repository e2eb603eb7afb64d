//! What the kinds of sources have in common, as the loop that reconciles them sees it.

use std::{fmt::Debug, time::Duration};

use k8s_openapi::NamespaceResourceScope;
use kube::Resource;
use nave_crds::{
    Artifact, Bucket, GitRepository, HelmChart, HelmRepository, OCIRepository,
    conditions::{
        ARTIFACT_IN_STORAGE, ARTIFACT_OUTDATED, FETCH_FAILED, RECONCILING, STALLED, STORAGE_OPERATION_FAILED,
    },
    source::{BucketStatus, GitRepositoryStatus, HelmChartStatus, HelmRepositoryStatus, OciRepositoryStatus},
};
use nave_runtime::Condition;
use serde::{Serialize, de::DeserializeOwned};

use crate::summary::Summary;

/// A kind of source.
pub(crate) trait Source:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + Sync + 'static
{
    /// As its objects and Flux's measures name it.
    const KIND: &'static str;
    type Status: SourceStatus;
    fn status(&self) -> Option<&Self::Status>;
    fn is_suspended(&self) -> bool;
    /// Zero: only a change is a reason to look again.
    fn interval(&self) -> Duration;
}

/// The fields that every source's status has.
pub(crate) trait SourceStatus: Debug + Default + Clone + PartialEq + Serialize + Send + Sync + 'static {
    /// How its conditions sum up, and which tell of failures.
    const CONDITIONS: ConditionRules;

    fn observed_generation(&self) -> i64;
    fn set_observed_generation(&mut self, generation: i64);
    fn conditions(&self) -> &Vec<Condition>;
    fn conditions_mut(&mut self) -> &mut Vec<Condition>;
    fn artifact(&self) -> Option<&Artifact>;
    fn set_artifact(&mut self, artifact: Option<Artifact>);
    fn last_handled(&self) -> &str;
    fn set_last_handled(&mut self, requested: &str);

    /// The status of an object that nobody has looked at.
    fn unseen() -> Self {
        let mut status = Self::default();
        status.set_observed_generation(-1);
        status
    }
}

/// What the conditions of one kind mean.
pub(crate) struct ConditionRules {
    /// How they sum up to `Ready`.
    pub summary: Summary,
    /// Those that tell of a failed step, whose end is worth an event.
    pub failures: &'static [&'static str],
    /// Which failures are over when a step fails, because what they tell of has worked this time.
    pub passed: fn(&str) -> &'static [&'static str],
    /// What `ArtifactInStorage` and `Ready` say of an artifact.
    pub stored: fn(&Artifact) -> String,
}

impl ConditionRules {
    /// Of kinds whose content is fetched as one, and vouched for by nobody.
    pub const OF_FETCHED: Self = ConditionRules {
        summary: Summary {
            order: &[
                STORAGE_OPERATION_FAILED,
                FETCH_FAILED,
                ARTIFACT_OUTDATED,
                ARTIFACT_IN_STORAGE,
                STALLED,
                RECONCILING,
            ],
            negative: &[
                STORAGE_OPERATION_FAILED,
                FETCH_FAILED,
                ARTIFACT_OUTDATED,
                STALLED,
                RECONCILING,
            ],
        },
        failures: &[STORAGE_OPERATION_FAILED, FETCH_FAILED],
        passed: |failed| match failed {
            FETCH_FAILED => &[STORAGE_OPERATION_FAILED],
            _ => &[FETCH_FAILED],
        },
        stored: |artifact| format!("stored artifact: revision '{}'", artifact.revision),
    };
}

macro_rules! source {
    ($kind:ty, $status:ty, $interval:expr) => {
        impl Source for $kind {
            const KIND: &'static str = stringify!($kind);
            type Status = $status;

            fn status(&self) -> Option<&$status> {
                self.status.as_ref()
            }

            fn is_suspended(&self) -> bool {
                self.spec.suspend
            }

            fn interval(&self) -> Duration {
                let interval: fn(&$kind) -> Duration = $interval;
                interval(self)
            }
        }

        impl SourceStatus for $status {
            const CONDITIONS: ConditionRules = <$status as crate::source::Rules>::RULES;

            fn observed_generation(&self) -> i64 {
                self.observed_generation
            }

            fn set_observed_generation(&mut self, generation: i64) {
                self.observed_generation = generation;
            }

            fn conditions(&self) -> &Vec<Condition> {
                &self.conditions
            }

            fn conditions_mut(&mut self) -> &mut Vec<Condition> {
                &mut self.conditions
            }

            fn artifact(&self) -> Option<&Artifact> {
                self.artifact.as_ref()
            }

            fn set_artifact(&mut self, artifact: Option<Artifact>) {
                self.artifact = artifact;
            }

            fn last_handled(&self) -> &str {
                &self.last_handled_reconcile_at
            }

            fn set_last_handled(&mut self, requested: &str) {
                requested.clone_into(&mut self.last_handled_reconcile_at);
            }
        }
    };
}

/// Stands beside each kind's status code.
pub(crate) trait Rules {
    const RULES: ConditionRules;
}

/// Flux reconciles a HelmRepository without an interval every minute.
const HELM_REPOSITORY_INTERVAL: Duration = Duration::from_secs(60);

source!(GitRepository, GitRepositoryStatus, |object| object.spec.interval.get());
source!(OCIRepository, OciRepositoryStatus, |object| object.spec.interval.get());
source!(HelmRepository, HelmRepositoryStatus, |object| object
    .spec
    .interval
    .map_or(HELM_REPOSITORY_INTERVAL, |interval| interval.get()));
source!(HelmChart, HelmChartStatus, |object| object.spec.interval.get());
source!(Bucket, BucketStatus, |object| object.spec.interval.get());
