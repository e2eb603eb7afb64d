//! Starting the controller: what it needs from its process, and what may be configured.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream, stream::BoxStream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::reflector::ObjectRef;
use nave_bucket::Buckets;
use nave_chart_repo::Repositories;
use nave_crds::{ArtifactGenerator, Bucket, ExternalArtifact, GitRepository, HelmChart, HelmRepository, OCIRepository};
use nave_git::Git;
use nave_net::cloud::Cloud;
use nave_oci::Registries;
use nave_runtime::{EventRecorder, Metrics, Tasks, Watched, controller};
use nave_store::Store;

use crate::{
    artifact_generator,
    bucket::{BucketSteps, CloudKeys},
    common::Common,
    git_repository::GitRepositorySteps,
    helm_chart::{self, HelmChartSteps},
    helm_repository::HelmRepositorySteps,
    oci_repository::OciRepositorySteps,
    reconciler::{SourceReconciler, Steps},
    source::Source,
};

/// What the process lends to the controller.
#[derive(Clone)]
pub struct Ports {
    /// The cluster whose objects are reconciled.
    pub client: kube::Client,
    /// Where artifacts go.
    pub store: Arc<Store>,
    /// How remotes are read.
    pub git: Arc<Git>,
    /// How registries are read.
    pub registries: Registries,
    /// How chart repositories are read.
    pub repositories: Repositories,
    /// How buckets are read.
    pub buckets: Buckets,
    /// Where events go.
    pub events: EventRecorder,
    /// Where measurements go.
    pub metrics: Metrics,
    /// The objects, kept current.
    pub watched: Watched<GitRepository>,
    /// The objects of the other kinds; without, they are left alone.
    pub others: Option<Watches>,
    /// The tasks of the process.
    pub tasks: Tasks,
}

/// The kinds of sources beside GitRepository, kept current.
#[derive(Clone)]
pub struct Watches {
    /// Artifacts of registries.
    pub oci_repositories: Watched<OCIRepository>,
    /// Indexes of chart repositories.
    pub helm_repositories: Watched<HelmRepository>,
    /// Charts.
    pub helm_charts: Watched<HelmChart>,
    /// Buckets, where they are reconciled.
    pub buckets: Option<Watched<Bucket>>,
    /// What is made of sources, where it is.
    pub artifact_generators: Option<Watched<ArtifactGenerator>>,
    /// What others made, and what is made of sources.
    pub external_artifacts: Watched<ExternalArtifact>,
}

/// What may be configured; the defaults are Flux's.
#[derive(Clone)]
pub struct Options {
    /// How many objects are reconciled at once (`--concurrent`).
    pub concurrent: u16,
    /// By how many percent intervals are moved (`--interval-jitter-percentage`).
    pub interval_jitter: u8,
    /// When to look again at what waits for another object (`--requeue-dependency`).
    pub requeue_dependency: Duration,
    /// The first delay after a failure (`--min-retry-delay`).
    pub min_retry_delay: Duration,
    /// The longest delay after failures (`--max-retry-delay`).
    pub max_retry_delay: Duration,
    /// How many bytes the index of a chart repository may have (`--helm-index-max-size`).
    pub helm_index_max_size: u64,
    /// How many bytes the package of a chart may have (`--helm-chart-max-size`).
    pub helm_chart_max_size: u64,
    /// How many bytes one file of a chart may have (`--helm-chart-file-max-size`).
    pub helm_chart_file_max_size: u64,
    /// Whether an ArtifactGenerator may name sources of other namespaces (`--no-cross-namespace-refs` says no).
    pub no_cross_namespace_refs: bool,
    /// Identities in clouds; without, there are none.
    pub cloud: Option<Cloud>,
    /// The feature gate `ObjectLevelWorkloadIdentity`.
    pub object_level_workload_identity: bool,
    /// The account whose identity is used where a spec names none (`--default-service-account`); empty is none.
    pub default_service_account: String,
    /// Which GitRepositories are ours. Others are left alone entirely, finalizers included: on a hub those without a fleet owner
    /// belong to whoever else runs there.
    pub filter: Filter,
    /// Which sources of any kind are ours.
    pub kind_filter: KindFilter,
    /// Names sources of a kind that should be looked at now, such as those that became ours.
    pub wakes: Wakes,
}

/// Tells whether a source is ours.
pub type Filter = Arc<dyn Fn(&GitRepository) -> bool + Send + Sync>;
/// Tells whether a source of a kind is ours.
pub type KindFilter = Arc<dyn Fn(&str, &ObjectMeta) -> bool + Send + Sync>;
/// Namespaces and names of sources of a kind, as they come up.
pub type Wakes = Arc<dyn Fn(&str) -> BoxStream<'static, (String, String)> + Send + Sync>;

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("concurrent", &self.concurrent)
            .field("interval_jitter", &self.interval_jitter)
            .field("requeue_dependency", &self.requeue_dependency)
            .field("min_retry_delay", &self.min_retry_delay)
            .field("max_retry_delay", &self.max_retry_delay)
            .finish_non_exhaustive()
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            concurrent: 2,
            interval_jitter: 5,
            requeue_dependency: Duration::from_secs(30),
            min_retry_delay: Duration::from_millis(750),
            max_retry_delay: Duration::from_secs(15 * 60),
            helm_index_max_size: 50 << 20,
            helm_chart_max_size: 10 << 20,
            helm_chart_file_max_size: 5 << 20,
            no_cross_namespace_refs: false,
            cloud: None,
            object_level_workload_identity: false,
            default_service_account: String::new(),
            filter: Arc::new(|_| true),
            kind_filter: Arc::new(|_, _| true),
            wakes: Arc::new(|_| stream::pending().boxed()),
        }
    }
}

/// Every source that is still wanted has been reconciled at least once after this time.
const SWEEP_AFTER: Duration = Duration::from_secs(3600);

/// Reconciles sources until shutdown. `extra_triggers` names objects that should be looked at now, such as those whose
/// server has announced a push.
pub async fn run(ports: Ports, options: Options, extra_triggers: BoxStream<'static, ObjectRef<GitRepository>>) {
    let git = ports.git.clone();
    let shutdown = ports.tasks.shutdown_token().clone();
    ports.tasks.spawn("git-cache-sweep", async move {
        tokio::select! {
            _ = shutdown.cancelled() => {}
            _ = tokio::time::sleep(SWEEP_AFTER) => git.sweep(),
        }
    });
    let steps = GitRepositorySteps::new(ports.git.clone(), ports.watched.clone(), options.filter.clone());
    let repositories = run_kind(&ports, &options, &ports.watched, steps, extra_triggers);
    let others = async {
        let Some(watches) = &ports.others else { return };
        let artifacts = OciRepositorySteps {
            registries: ports.registries.clone(),
        };
        let indexes = HelmRepositorySteps {
            repositories: ports.repositories.clone(),
        };
        let charts = HelmChartSteps {
            registries: ports.registries.clone(),
            repositories: ports.repositories.clone(),
            git_repositories: ports.watched.clone(),
            helm_repositories: watches.helm_repositories.clone(),
            buckets: watches.buckets.clone(),
        };
        let buckets = BucketSteps {
            buckets: match &options.cloud {
                Some(cloud) => Buckets::with_cloud(Arc::new(CloudKeys(cloud.clone()))),
                None => ports.buckets.clone(),
            },
        };
        let chart_triggers = helm_chart::triggers(&ports.watched, watches);
        tokio::join!(
            run_kind(
                &ports,
                &options,
                &watches.oci_repositories,
                artifacts,
                stream::pending().boxed()
            ),
            run_kind(
                &ports,
                &options,
                &watches.helm_repositories,
                indexes,
                stream::pending().boxed()
            ),
            run_kind(&ports, &options, &watches.helm_charts, charts, chart_triggers),
            async {
                if let Some(watched) = &watches.buckets {
                    run_kind(&ports, &options, watched, buckets, stream::pending().boxed()).await;
                }
            },
            artifact_generator::run(&ports, &options, watches),
        );
    };
    tokio::join!(repositories, others);
}

async fn run_kind<K: Source, S: Steps<K>>(
    ports: &Ports,
    options: &Options,
    watched: &Watched<K>,
    steps: S,
    triggers: BoxStream<'static, ObjectRef<K>>,
) {
    let reconciler = Arc::new(SourceReconciler::new(Common::new(ports, options.clone()), steps));
    let wakes = (options.wakes)(&K::kind(&())).map(|(namespace, name)| ObjectRef::new(&name).within(&namespace));
    controller::run(
        watched,
        stream::select(triggers, wakes),
        options.concurrent,
        &ports.metrics,
        reconciler,
        &ports.tasks,
    )
    .await;
}
