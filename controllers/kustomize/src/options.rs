//! What the reconciler is given, and what of it may be chosen.

use std::{sync::Arc, time::Duration};

use kube::Client;
use nave_crds::{
    kustomize::Kustomization,
    source::{Bucket, ExternalArtifact, GitRepository, OCIRepository},
};
use nave_kms::KeyServices;
use nave_net::cloud::Cloud;
use nave_runtime::{
    EventRecorder, Metrics, Tasks, Watched,
    ports::{ApplyPolicy, PrunePermits},
};
use nave_targets::Targets;

use crate::{ArtifactReader, RemoteBases};

/// Everything outside of the reconciler.
pub struct Ports {
    /// The cluster that holds the Kustomizations, as this process.
    pub client: Client,
    /// Clients for the clusters that are applied to.
    pub targets: Arc<Targets>,
    /// Where artifacts are read.
    pub artifacts: Arc<dyn ArtifactReader>,
    /// Where events go.
    pub events: EventRecorder,
    /// Where measures go.
    pub metrics: Metrics,
    /// The Kustomizations.
    pub kustomizations: Watched<Kustomization>,
    /// Sources.
    pub git_repositories: Watched<GitRepository>,
    /// Sources; without a watch they are read one by one.
    pub oci_repositories: Option<Watched<OCIRepository>>,
    /// Sources; without a watch they are read one by one.
    pub buckets: Option<Watched<Bucket>>,
    /// Sources.
    pub external_artifacts: Watched<ExternalArtifact>,
    /// Who may delete.
    pub permits: Arc<dyn PrunePermits>,
    /// What may be touched.
    pub policy: Arc<dyn ApplyPolicy>,
    /// Who decrypts what a key service has encrypted.
    pub key_services: KeyServices,
    /// Who fetches remote bases; without it, a build that needs one fails.
    pub remote_bases: Option<RemoteBases>,
    /// Owner of everything that runs in the background.
    pub tasks: Tasks,
}

/// Flags; the defaults are Flux's.
#[derive(Clone)]
pub struct Options {
    /// `--concurrent`: reconciles at once.
    pub concurrent: u16,
    /// `--concurrent-ssa`: requests at once inside one reconcile.
    pub concurrent_ssa: usize,
    /// `--requeue-dependency`: how long to wait for what should have sent an event.
    pub requeue_dependency: Duration,
    /// `--interval-jitter-percentage`.
    pub interval_jitter: u8,
    /// `--default-service-account`; empty is none.
    pub default_service_account: String,
    /// `--default-kubeconfig-service-account`; empty is none.
    pub default_kubeconfig_service_account: String,
    /// `--default-decryption-service-account`; empty is none.
    pub default_decryption_service_account: String,
    /// Identities in clouds; without, there are none.
    pub cloud: Option<Cloud>,
    /// `--no-cross-namespace-refs`.
    pub no_cross_namespace_refs: bool,
    /// `--no-remote-bases`.
    pub no_remote_bases: bool,
    /// `--sops-age-secret`: namespace and name of a Secret with age keys for Kustomizations that name none.
    pub sops_age_secret: Option<(String, String)>,
    /// `--sops-vault-configmap`: namespace and name of a ConfigMap with the Vaults that service accounts log in to.
    pub sops_vault_config_map: Option<(String, String)>,
    /// `--override-manager`.
    pub override_managers: Vec<String>,
    /// `--custom-apply-stage-kinds`: (group, kind).
    pub custom_apply_stage_kinds: Vec<(String, String)>,
    /// `--watch-configs-label-selector`; empty watches none.
    pub watch_configs_label_selector: String,
    /// `--watch-all-namespaces=false`: the only namespace that may be watched.
    pub watch_namespace: Option<String>,
    /// `--feature-gates`.
    pub gates: FeatureGates,
    /// Every so many reconciles by interval, objects are compared by dry run though the watches see no change.
    pub full_check_every: u32,
    /// Which Kustomizations are ours; the others are left alone. The hub takes those with a fleet owner or a kubeconfig.
    pub filter: Filter,
}

/// Tells whether a Kustomization is ours.
pub type Filter = Arc<dyn Fn(&Kustomization) -> bool + Send + Sync>;

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("concurrent", &self.concurrent)
            .field("concurrent_ssa", &self.concurrent_ssa)
            .field("gates", &self.gates)
            .finish_non_exhaustive()
    }
}

/// Feature gates of kustomize-controller 1.9 that mean something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeatureGates {
    /// A referenced variable that is not set fails the build.
    pub strict_post_build_substitutions: bool,
    /// Sources of kind ExternalArtifact. On here, off in Flux: agents get their artifacts this way.
    pub external_artifact: bool,
    /// Waiting goes on although an object failed.
    pub disable_fail_fast_behavior: bool,
    /// `readyExpr` is asked beside the built-in check and not instead of it.
    pub additive_cel_dependency_check: bool,
    /// ConfigMaps and Secrets are not watched.
    pub disable_config_watchers: bool,
    /// Objects may name the account whose identity they use towards others.
    pub object_level_workload_identity: bool,
    /// Sources are read from the API server and not from the watches.
    pub direct_source_fetch: bool,
    /// The log of what was applied names the objects of each action together.
    pub group_change_log: bool,
    /// A wait that ends because something newer came is reported. It ends either way.
    pub cancel_health_check_on_new_revision: bool,
    /// Managed fields of live objects are moved to the API version of what is applied.
    pub migrate_api_version: bool,
}

impl FeatureGates {
    /// Sets a gate by its name in Flux; false when there is none of that name.
    pub fn set(&mut self, name: &str, value: bool) -> bool {
        let gate = match name {
            "StrictPostBuildSubstitutions" => &mut self.strict_post_build_substitutions,
            "ExternalArtifact" => &mut self.external_artifact,
            "DisableFailFastBehavior" => &mut self.disable_fail_fast_behavior,
            "AdditiveCELDependencyCheck" => &mut self.additive_cel_dependency_check,
            "DisableConfigWatchers" => &mut self.disable_config_watchers,
            "ObjectLevelWorkloadIdentity" => &mut self.object_level_workload_identity,
            "DirectSourceFetch" => &mut self.direct_source_fetch,
            "GroupChangeLog" => &mut self.group_change_log,
            "CancelHealthCheckOnNewRevision" => &mut self.cancel_health_check_on_new_revision,
            "MigrateAPIVersion" => &mut self.migrate_api_version,
            _ => return false,
        };
        *gate = value;
        true
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            concurrent: 4,
            concurrent_ssa: 4,
            requeue_dependency: Duration::from_secs(30),
            interval_jitter: 5,
            default_service_account: String::new(),
            default_kubeconfig_service_account: String::new(),
            default_decryption_service_account: String::new(),
            cloud: None,
            no_cross_namespace_refs: false,
            no_remote_bases: false,
            sops_age_secret: None,
            sops_vault_config_map: None,
            override_managers: Vec::new(),
            custom_apply_stage_kinds: Vec::new(),
            watch_configs_label_selector: "reconcile.fluxcd.io/watch=Enabled".to_owned(),
            watch_namespace: None,
            gates: FeatureGates::default(),
            full_check_every: 6,
            filter: Arc::new(|_| true),
        }
    }
}

impl Default for FeatureGates {
    fn default() -> Self {
        FeatureGates {
            strict_post_build_substitutions: true,
            external_artifact: true,
            disable_fail_fast_behavior: false,
            additive_cel_dependency_check: false,
            disable_config_watchers: false,
            object_level_workload_identity: false,
            direct_source_fetch: false,
            group_change_log: false,
            cancel_health_check_on_new_revision: false,
            migrate_api_version: false,
        }
    }
}
