//! What the reconciler is given, and what of it may be chosen.

use std::{sync::Arc, time::Duration};

use kube::Client;
use nave_crds::{
    helm::HelmRelease,
    source::{ExternalArtifact, HelmChart, OCIRepository},
};
use nave_net::cloud::Cloud;
use nave_runtime::{
    EventRecorder, Metrics, Tasks, Watched,
    ports::{ApplyPolicy, PrunePermits},
};
use nave_targets::Targets;

use crate::ChartArtifacts;

/// Everything outside of the reconciler.
pub struct Ports {
    /// The cluster that holds the HelmReleases, as this process.
    pub client: Client,
    /// Clients for the clusters that are installed to.
    pub targets: Arc<Targets>,
    /// Where charts are read.
    pub artifacts: ChartArtifacts,
    /// Where events go.
    pub events: EventRecorder,
    /// Where measures go.
    pub metrics: Metrics,
    /// The HelmReleases.
    pub helm_releases: Watched<HelmRelease>,
    /// Sources.
    pub external_artifacts: Watched<ExternalArtifact>,
    /// Sources; without a watch that the process has anyway, the reconciler starts one.
    pub helm_charts: Option<Watched<HelmChart>>,
    /// The same for sources of this kind.
    pub oci_repositories: Option<Watched<OCIRepository>>,
    /// Who may delete.
    pub permits: Arc<dyn PrunePermits>,
    /// What may be touched.
    pub policy: Arc<dyn ApplyPolicy>,
    /// Owner of everything that runs in the background.
    pub tasks: Tasks,
}

/// Flags; the defaults are Flux's.
#[derive(Clone)]
pub struct Options {
    /// `--concurrent`: actions at once, those that only wait apart.
    pub concurrent: u16,
    /// Requests at once inside one action.
    pub concurrent_requests: usize,
    /// `--requeue-dependency`: how long to wait for what should have sent an event.
    pub requeue_dependency: Duration,
    /// `--interval-jitter-percentage`.
    pub interval_jitter: u8,
    /// `--min-retry-delay`.
    pub min_retry_delay: Duration,
    /// `--max-retry-delay`.
    pub max_retry_delay: Duration,
    /// `--default-service-account`; empty is none.
    pub default_service_account: String,
    /// `--default-kubeconfig-service-account`; empty is none.
    pub default_kubeconfig_service_account: String,
    /// Identities in clouds; without, there are none.
    pub cloud: Option<Cloud>,
    /// `--no-cross-namespace-refs`.
    pub no_cross_namespace_refs: bool,
    /// `--override-manager`.
    pub override_managers: Vec<String>,
    /// `--watch-configs-label-selector`; empty watches none. With Flux's default everything that a HelmRelease names is
    /// followed, labelled or not.
    pub watch_configs_label_selector: String,
    /// `--watch-all-namespaces=false`: the only namespace that may be watched.
    pub watch_namespace: Option<String>,
    /// `--feature-gates`.
    pub gates: FeatureGates,
    /// Which HelmReleases are ours; the others are left alone. The hub takes those with a fleet owner or a kubeconfig.
    pub filter: Filter,
}

/// Tells whether a HelmRelease is ours.
pub type Filter = Arc<dyn Fn(&HelmRelease) -> bool + Send + Sync>;

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("concurrent", &self.concurrent)
            .field("gates", &self.gates)
            .finish_non_exhaustive()
    }
}

/// Feature gates of helm-controller 1.6 that mean something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeatureGates {
    /// Sources of kind ExternalArtifact. On here, off in Flux: agents get their artifacts this way.
    pub external_artifact: bool,
    /// `readyExpr` is asked beside the built-in check and not instead of it.
    pub additive_cel_dependency_check: bool,
    /// ConfigMaps and Secrets are not watched.
    pub disable_config_watchers: bool,
    /// Versions of charts from OCI carry no digest.
    pub disable_chart_digest_tracking: bool,
    /// Without a strategy, failures are retried and not remedied.
    pub default_to_retry_on_failure: bool,
    /// Where the spec says nothing, as Helm 3: installed by the client's merge, waited for by its rules, hooks not
    /// post-rendered.
    pub use_helm3_defaults: bool,
    /// Sources are read from the API server, and not from a watch.
    pub direct_source_fetch: bool,
    /// The template function `getHostByName` asks the network; else it gives an empty text.
    pub allow_dns_lookups: bool,
    /// Objects may name the account whose identity they use towards others.
    pub object_level_workload_identity: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            concurrent: 4,
            concurrent_requests: 4,
            requeue_dependency: Duration::from_secs(30),
            interval_jitter: 5,
            min_retry_delay: Duration::from_millis(750),
            max_retry_delay: Duration::from_secs(15 * 60),
            default_service_account: String::new(),
            default_kubeconfig_service_account: String::new(),
            cloud: None,
            no_cross_namespace_refs: false,
            override_managers: Vec::new(),
            watch_configs_label_selector: "reconcile.fluxcd.io/watch=Enabled".to_owned(),
            watch_namespace: None,
            gates: FeatureGates::default(),
            filter: Arc::new(|_| true),
        }
    }
}

impl Default for FeatureGates {
    fn default() -> Self {
        FeatureGates {
            external_artifact: true,
            additive_cel_dependency_check: false,
            disable_config_watchers: false,
            disable_chart_digest_tracking: false,
            default_to_retry_on_failure: false,
            use_helm3_defaults: false,
            direct_source_fetch: false,
            allow_dns_lookups: false,
            object_level_workload_identity: false,
        }
    }
}
