//! Starting the controller: what it needs from its process, and what may be configured.

use std::{sync::Arc, time::Duration};

use futures::stream::BoxStream;
use kube::runtime::reflector::ObjectRef;
use nave_crds::GitRepository;
use nave_git::Git;
use nave_runtime::{EventRecorder, Metrics, Tasks, Watched, controller};
use nave_store::Store;

use crate::git_repository::GitRepositoryReconciler;

/// What the process lends to the controller.
#[derive(Clone)]
pub struct Ports {
    /// The cluster whose objects are reconciled.
    pub client: kube::Client,
    /// Where artifacts go.
    pub store: Arc<Store>,
    /// How remotes are read.
    pub git: Arc<Git>,
    /// Where events go.
    pub events: EventRecorder,
    /// Where measurements go.
    pub metrics: Metrics,
    /// The objects, kept current.
    pub watched: Watched<GitRepository>,
    /// The tasks of the process.
    pub tasks: Tasks,
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
    /// Which objects are ours. Others are left alone entirely, finalizers included: on a hub those without a fleet owner
    /// belong to whoever else runs there.
    pub filter: Filter,
}

/// Tells whether a source is ours.
pub type Filter = Arc<dyn Fn(&GitRepository) -> bool + Send + Sync>;

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
            filter: Arc::new(|_| true),
        }
    }
}

/// Every source that is still wanted has been reconciled at least once after this time.
const SWEEP_AFTER: Duration = Duration::from_secs(3600);

/// Reconciles GitRepositories until shutdown. `extra_triggers` names objects that should be looked at now, such as
/// those whose server has announced a push.
pub async fn run(ports: Ports, options: Options, extra_triggers: BoxStream<'static, ObjectRef<GitRepository>>) {
    let git = ports.git.clone();
    let shutdown = ports.tasks.shutdown_token().clone();
    ports.tasks.spawn("git-cache-sweep", async move {
        tokio::select! {
            _ = shutdown.cancelled() => {}
            _ = tokio::time::sleep(SWEEP_AFTER) => git.sweep(),
        }
    });
    let (watched, metrics, tasks) = (ports.watched.clone(), ports.metrics.clone(), ports.tasks.clone());
    let concurrent = options.concurrent;
    let reconciler = Arc::new(GitRepositoryReconciler::new(ports, options));
    controller::run(&watched, extra_triggers, concurrent, &metrics, reconciler, &tasks).await;
}
