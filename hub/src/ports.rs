//! What the hub lends to its controllers. The agent has a file of the same name; the controllers are the same.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use futures::stream::BoxStream;
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{reflector::ObjectRef, watcher},
};
use nave_chart_repo::Repositories;
use nave_crds::{Cluster, ExternalArtifact, FleetKustomization, GitRepository, JoinToken, Kustomization};
use nave_git::Git;
use nave_helm_controller::ChartArtifacts;
use nave_kms::KeyServices;
use nave_kustomize_controller::{ArtifactReader, RemoteBases, StoreOrHttp};
use nave_net::cloud::{CacheLimits, Cloud, Settings};
use nave_oci::Registries;
use nave_placement_controller::ChartPorts;
use nave_runtime::{
    EventRecorder, Metrics, Tasks, Watched,
    hints::Hints,
    ports::{AllowAll, PrunePermits},
    serve,
    watch::without_managed_fields,
};
use nave_source_controller::Watches;
use nave_store::{Retention, Store, advertised_address};
use nave_targets::{ClusterAccounts, KubeconfigPolicy, Targets};

use crate::{
    args::Arguments,
    referenced::{Referenced, is_ours_to_apply, is_ours_to_release},
};

/// Everything outside of the controllers.
pub struct Ports {
    /// The management cluster.
    pub client: Client,
    /// Artifacts of this process.
    pub store: Store,
    /// Clients for clusters reached by kubeconfig.
    pub targets: Arc<Targets>,
    /// Reads the files of artifacts.
    pub reader: Arc<dyn ArtifactReader>,
    /// Clusters of all workspaces.
    pub clusters: Watched<Cluster>,
    /// Join tokens of all workspaces.
    pub tokens: Watched<JoinToken>,
    /// Fleet objects of all workspaces.
    pub fleets: Watched<FleetKustomization>,
    /// Sources.
    pub git_repositories: Watched<GitRepository>,
    /// Sources.
    pub external_artifacts: Watched<ExternalArtifact>,
    /// Kustomizations; those for other clusters are the hub's.
    pub kustomizations: Watched<Kustomization>,
    /// Charts for many clusters, and what they are made of.
    pub charts: ChartPorts,
    /// Events of the hub itself.
    pub events: EventRecorder,
    /// Sources that fleet objects name.
    pub referenced: Arc<Referenced>,
    git: Git,
    key_services: KeyServices,
    remote_bases: RemoteBases,
    cloud: Cloud,
    /// Flux's `--http-retry`.
    download_tries: u32,
    source_events: EventRecorder,
    kustomize_events: EventRecorder,
    helm_events: EventRecorder,
    metrics: Metrics,
    hints: Hints,
    tasks: Tasks,
}

impl Ports {
    /// Opens the store, starts its server and the watches, and waits for the first complete lists. None when shutdown
    /// came first.
    pub async fn build(
        arguments: &Arguments,
        client: Client,
        metrics: Metrics,
        hints: Hints,
        tasks: &Tasks,
    ) -> Result<Option<Self>> {
        let hostname = std::env::var("HOSTNAME").ok();
        let address = advertised_address(
            Some(&arguments.storage_adv_addr),
            &arguments.storage_addr,
            hostname.as_deref(),
        );
        let mut options = nave_store::Options::new(&arguments.storage_path, address);
        options.retention = Retention {
            ttl: arguments.artifact_retention_ttl,
            records: arguments.artifact_retention_records,
        };
        options.limits = arguments.reconciling.limits();
        if !arguments.storage_shared.is_empty() {
            options.shared = Some(nave_store::s3(&arguments.storage_shared).context("--storage-shared")?);
        }
        let store = Store::open(options).context("opening the artifact store")?;
        serve::serve(&arguments.storage_addr, "artifacts", store.routes(), tasks).await?;
        // Beside the artifacts and not among them: the directory is served.
        let mut git = nave_git::Options::new(side_folder(arguments, "git"));
        git.ssh = nave_git::SshOptions::new(&arguments.ssh_hostkey_algos, &arguments.ssh_kex_algos)
            .context("reading --ssh-hostkey-algos and --ssh-kex-algos")?;
        let git = Git::open(git).context("opening the git object stores")?;
        // The files that name them are those of workspaces.
        let remote_bases = RemoteBases::open(side_folder(arguments, "bases"), false, None)
            .context("preparing to fetch remote bases")?;
        let key_services = KeyServices::new()
            .context("preparing the HTTP client for key services")?
            .allow_local_addresses(false);
        let limits = CacheLimits {
            entries: arguments.token_cache_max_size,
            duration: arguments.token_cache_max_duration,
        };
        let accounts = Arc::new(ClusterAccounts::new(client.clone()));
        let cloud = Cloud::new(Settings::of_process(), Some(accounts), limits)
            .context("preparing the HTTP client for clouds")?
            .without_process_identity();
        cloud.observe(Arc::new(metrics.clone()));
        let policy = KubeconfigPolicy {
            allow_exec: arguments.insecure_kubeconfig_exec,
            allow_insecure_tls: arguments.insecure_kubeconfig_tls,
            allow_local_servers: arguments.allow_loopback_kubeconfig,
            allow_proxy: false,
            // Kustomizations and ConfigMaps are those of workspaces.
            keep_own_identity: true,
        };
        let instance = hostname.unwrap_or_else(|| "nave-hub".to_owned());
        let events = |controller| {
            let address = Some(arguments.events_addr.clone());
            EventRecorder::new(client.clone(), controller, instance.clone(), address, tasks)
        };
        let fleets = watched(&client, tasks);
        let charts = ChartPorts {
            fleets: watched(&client, tasks),
            helm_releases: watched(&client, tasks),
            helm_repositories: watched(&client, tasks),
            oci_repositories: watched(&client, tasks),
            helm_charts: watched(&client, tasks),
        };
        let ports = Ports {
            clusters: watched(&client, tasks),
            tokens: watched(&client, tasks),
            git_repositories: watched(&client, tasks),
            external_artifacts: watched(&client, tasks),
            kustomizations: watched(&client, tasks),
            referenced: Referenced::new(fleets.clone(), charts.fleets.clone(), charts.helm_charts.clone()),
            fleets,
            charts,
            targets: Arc::new(Targets::overriding(
                client.clone(),
                policy,
                arguments.override_manager.clone(),
            )),
            reader: Arc::new(StoreOrHttp::new(
                Some(store.clone()),
                reqwest::Client::new(),
                arguments.reconciling.http_retry,
                arguments.reconciling.limits(),
            )),
            events: events("nave-hub"),
            source_events: events("source-controller"),
            kustomize_events: events("kustomize-controller"),
            helm_events: events("helm-controller"),
            key_services,
            remote_bases,
            cloud,
            download_tries: arguments.reconciling.http_retry,
            git,
            store,
            client,
            metrics,
            hints,
            tasks: tasks.clone(),
        };
        let ready = tokio::join!(
            ports.clusters.ready(),
            ports.tokens.ready(),
            ports.fleets.ready(),
            ports.git_repositories.ready(),
            ports.external_artifacts.ready(),
            ports.kustomizations.ready(),
        );
        let charts = tokio::join!(
            ports.charts.fleets.ready(),
            ports.charts.helm_releases.ready(),
            ports.charts.helm_repositories.ready(),
            ports.charts.oci_repositories.ready(),
            ports.charts.helm_charts.ready(),
        );
        ports.referenced.load();
        let is_ready = ready == (true, true, true, true, true, true) && charts == (true, true, true, true, true);
        Ok(is_ready.then_some(ports))
    }

    /// For the source controller.
    pub fn source(&self) -> nave_source_controller::Ports {
        nave_source_controller::Ports {
            client: self.client.clone(),
            store: Arc::new(self.store.clone()),
            git: Arc::new(self.git.clone()),
            events: self.source_events.clone(),
            metrics: self.metrics.clone(),
            watched: self.git_repositories.clone(),
            registries: Registries::default(),
            repositories: Repositories::default(),
            buckets: nave_bucket::Buckets::default(),
            others: Some(Watches {
                oci_repositories: self.charts.oci_repositories.clone(),
                helm_repositories: self.charts.helm_repositories.clone(),
                helm_charts: self.charts.helm_charts.clone(),
                // Fleet objects do not refer to them.
                buckets: None,
                artifact_generators: None,
                external_artifacts: self.external_artifacts.clone(),
            }),
            tasks: self.tasks.clone(),
        }
    }

    /// Flags of the source controller: of all sources, only the hub's.
    pub fn source_options(&self, arguments: &Arguments) -> nave_source_controller::Options {
        nave_source_controller::Options {
            concurrent: arguments.reconciling.concurrent,
            interval_jitter: arguments.reconciling.interval_jitter_percentage,
            requeue_dependency: arguments.reconciling.requeue_dependency,
            min_retry_delay: arguments.reconciling.min_retry_delay,
            max_retry_delay: arguments.reconciling.max_retry_delay,
            // A workspace must not reach another's sources, and uses the identities of its own accounts: the hub's is not lent.
            no_cross_namespace_refs: true,
            cloud: Some(self.cloud.clone()),
            object_level_workload_identity: true,
            filter: self.referenced.git_filter(),
            kind_filter: self.referenced.filter(),
            wakes: self.referenced.wakes(),
            ..nave_source_controller::Options::default()
        }
    }

    /// Repositories that hints name.
    pub fn source_triggers(&self) -> BoxStream<'static, ObjectRef<GitRepository>> {
        self.hints
            .objects(self.git_repositories.clone(), |source| &source.spec.url)
    }

    /// For the kustomize controller: kubeconfig clusters only, whose policy is their own RBAC.
    pub fn kustomize(&self, permits: Arc<dyn PrunePermits>) -> nave_kustomize_controller::Ports {
        nave_kustomize_controller::Ports {
            client: self.client.clone(),
            targets: self.targets.clone(),
            artifacts: self.reader.clone(),
            events: self.kustomize_events.clone(),
            metrics: self.metrics.clone(),
            kustomizations: self.kustomizations.clone(),
            git_repositories: self.git_repositories.clone(),
            oci_repositories: Some(self.charts.oci_repositories.clone()),
            // Fleet objects do not refer to them; other Kustomizations read them one by one.
            buckets: None,
            external_artifacts: self.external_artifacts.clone(),
            key_services: self.key_services.clone(),
            remote_bases: Some(self.remote_bases.clone()),
            permits,
            policy: Arc::new(AllowAll),
            tasks: self.tasks.clone(),
        }
    }

    /// Flags of the kustomize controller: of all Kustomizations, only the hub's.
    pub fn kustomize_options(&self, arguments: &Arguments) -> nave_kustomize_controller::Options {
        nave_kustomize_controller::Options {
            // A workspace must not reach another's sources on the hub.
            no_cross_namespace_refs: true,
            no_remote_bases: arguments.no_remote_bases,
            cloud: Some(self.cloud.clone()),
            default_kubeconfig_service_account: arguments.default_kubeconfig_service_account.clone(),
            default_decryption_service_account: arguments.default_decryption_service_account.clone(),
            sops_age_secret: (!arguments.sops_age_secret.is_empty())
                .then(|| (arguments.namespace.clone(), arguments.sops_age_secret.clone())),
            override_managers: arguments.override_manager.clone(),
            gates: arguments.gates(),
            filter: Arc::new(is_ours_to_apply),
            ..arguments.reconciling.options()
        }
    }
}

impl Ports {
    /// For the helm controller: kubeconfig clusters only, whose policy is their own RBAC.
    pub fn helm(&self, permits: Arc<dyn PrunePermits>) -> nave_helm_controller::Ports {
        nave_helm_controller::Ports {
            client: self.client.clone(),
            targets: self.targets.clone(),
            artifacts: ChartArtifacts::new(Some(self.store.clone()), reqwest::Client::new(), self.download_tries),
            events: self.helm_events.clone(),
            metrics: self.metrics.clone(),
            helm_releases: self.charts.helm_releases.clone(),
            helm_charts: Some(self.charts.helm_charts.clone()),
            oci_repositories: Some(self.charts.oci_repositories.clone()),
            external_artifacts: self.external_artifacts.clone(),
            permits,
            policy: Arc::new(AllowAll),
            tasks: self.tasks.clone(),
        }
    }

    /// Flags of the helm controller: of all HelmReleases, only the hub's.
    pub fn helm_options(&self, arguments: &Arguments) -> nave_helm_controller::Options {
        nave_helm_controller::Options {
            concurrent: arguments.reconciling.concurrent,
            concurrent_requests: arguments.reconciling.concurrent_ssa,
            requeue_dependency: arguments.reconciling.requeue_dependency,
            interval_jitter: arguments.reconciling.interval_jitter_percentage,
            min_retry_delay: arguments.reconciling.min_retry_delay,
            max_retry_delay: arguments.reconciling.max_retry_delay,
            // A workspace must not reach another's sources on the hub.
            no_cross_namespace_refs: true,
            cloud: Some(self.cloud.clone()),
            default_kubeconfig_service_account: arguments.default_kubeconfig_service_account.clone(),
            override_managers: arguments.override_manager.clone(),
            watch_configs_label_selector: arguments.reconciling.watch_configs_label_selector.clone(),
            gates: nave_helm_controller::FeatureGates {
                object_level_workload_identity: true,
                ..Default::default()
            },
            filter: Arc::new(is_ours_to_release),
            ..nave_helm_controller::Options::default()
        }
    }
}

/// The client of the management cluster: from the file, or from where a pod or a person has it.
pub async fn client(arguments: &Arguments) -> Result<Client> {
    let mut config = match &arguments.kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path).with_context(|| format!("reading {}", path.display()))?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("using {}", path.display()))?
        }
        None => Config::infer()
            .await
            .context("finding the management cluster; --kubeconfig names one")?,
    };
    config.headers.push((
        http::header::USER_AGENT,
        http::HeaderValue::from_static(concat!("nave-hub/", env!("CARGO_PKG_VERSION"))),
    ));
    // Watches are long and everything else has a deadline of its own.
    config.connect_timeout = Some(Duration::from_secs(10));
    let client = nave_runtime::metrics::client(config).context("making a client for the management cluster")?;
    client
        .apiserver_version()
        .await
        .context("the management cluster's API server does not answer")?;
    Ok(client)
}

fn watched<K>(client: &Client, tasks: &Tasks) -> Watched<K>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    Watched::start(
        Api::all(client.clone()),
        watcher::Config::default(),
        without_managed_fields,
        tasks,
    )
}

/// Where the state file is.
pub fn state_file(arguments: &Arguments) -> PathBuf {
    let given = arguments.state_path.clone();
    let folder = given.unwrap_or_else(|| side_folder(arguments, "state"));
    folder.join("state.redb")
}

/// A folder next to the served one: `/data` has `/data.git` beside it when it may be made there, else a temporary one.
fn side_folder(arguments: &Arguments, what: &str) -> PathBuf {
    let mut beside = arguments.storage_path.as_os_str().to_owned();
    beside.push(format!(".{what}"));
    let beside = PathBuf::from(beside);
    if std::fs::create_dir_all(&beside).is_ok() {
        return beside;
    }
    // A container with a read-only root has its volume and /tmp.
    std::env::temp_dir().join(format!("nave-{what}"))
}
