//! What the agent lends to its controllers. The hub has a file of the same name; the controllers are the same.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use futures::stream::BoxStream;
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{reflector::ObjectRef, watcher},
};
use nave_bucket::Buckets;
use nave_chart_repo::Repositories;
use nave_crds::{
    ExternalArtifact, GitRepository, HelmRelease, Kustomization,
    source::{Bucket, OCIRepository},
};
use nave_git::Git;
use nave_helm_controller::ChartArtifacts;
use nave_kms::KeyServices;
use nave_kustomize_controller::{ArtifactReader, Hosts, RemoteBases, StoreOrHttp};
use nave_net::cloud::{CacheLimits, Cloud, Settings};
use nave_oci::Registries;
use nave_runtime::{
    EventRecorder, Metrics, Tasks, Watched,
    hints::Hints,
    ports::{AllowAll, ApplyPolicy, PermitItself, PrunePermits},
    serve,
    watch::without_managed_fields,
};
use nave_source_controller::Watches;
use nave_store::{Retention, Store, advertised_address};
use nave_targets::{ClusterAccounts, KubeconfigPolicy, Targets};

use crate::{args::Arguments, flux_flags, joined::Joined};

/// Everything outside of the controllers.
pub struct Ports {
    /// The agent's cluster, as the agent.
    pub client: Client,
    /// Artifacts of this process.
    pub store: Store,
    /// The Kustomizations of the cluster.
    pub kustomizations: Watched<Kustomization>,
    /// The HelmReleases of the cluster.
    pub helm_releases: Watched<HelmRelease>,
    git: Git,
    key_services: KeyServices,
    remote_bases: RemoteBases,
    cloud: Cloud,
    registries: Registries,
    repositories: Repositories,
    buckets: Buckets,
    git_repositories: Watched<GitRepository>,
    sources: Watches,
    /// Also those of other shards.
    all_git_repositories: Watched<GitRepository>,
    all_oci_repositories: Watched<OCIRepository>,
    all_buckets: Option<Watched<Bucket>>,
    external_artifacts: Watched<ExternalArtifact>,
    targets: Arc<Targets>,
    permits: Arc<dyn PrunePermits>,
    policy: Arc<dyn ApplyPolicy>,
    source_events: EventRecorder,
    kustomize_events: EventRecorder,
    helm_events: EventRecorder,
    metrics: Metrics,
    hints: Hints,
    download_tries: u32,
    artifact_limits: nave_artifact::Limits,
    tasks: Tasks,
}

impl Ports {
    /// Opens the store, starts its server and the watches.
    pub async fn build(
        arguments: &Arguments,
        client: Client,
        metrics: Metrics,
        joined: Option<&Joined>,
        hints: Hints,
        tasks: &Tasks,
    ) -> Result<Self> {
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
        options.algorithm = arguments.artifact_digest_algo;
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
        let remote_bases = RemoteBases::open(
            side_folder(arguments, "bases"),
            true,
            std::env::home_dir().map(|home| home.join(".ssh")),
        )
        .context("preparing to fetch remote bases")?;
        let key_services = KeyServices::new()
            .context("preparing the HTTP client for key services")?
            .allow_local_addresses(true);
        let limits = CacheLimits {
            entries: arguments.token_cache_max_size,
            duration: arguments.token_cache_max_duration,
        };
        let accounts = Arc::new(ClusterAccounts::new(client.clone()));
        let cloud = Cloud::new(Settings::of_process(), Some(accounts), limits)
            .context("preparing the HTTP client for clouds")?;
        cloud.observe(Arc::new(metrics.clone()));
        let policy = KubeconfigPolicy {
            allow_exec: arguments.insecure_kubeconfig_exec,
            allow_insecure_tls: arguments.insecure_kubeconfig_tls,
            allow_local_servers: arguments.allow_loopback_kubeconfig,
            allow_proxy: false,
            keep_own_identity: false,
        };
        let instance = hostname.unwrap_or_else(|| "nave-agent".to_owned());
        let events = |controller| {
            let recorder = EventRecorder::new(
                client.clone(),
                controller,
                instance.clone(),
                Some(arguments.events_addr.clone()),
                tasks,
            );
            match joined {
                Some(joined) => recorder.heard_by(joined.events()),
                None => recorder,
            }
        };
        let git_repositories = Watched::start(
            api(arguments, &client),
            selected(arguments),
            without_managed_fields,
            tasks,
        );
        let all_git_repositories = of_all_shards(arguments, &client, &git_repositories, tasks);
        let external_artifacts = Watched::start(
            api(arguments, &client),
            watcher::Config::default(),
            without_managed_fields,
            tasks,
        );
        let watched_sources = Watches {
            buckets: Some(Watched::start(
                api(arguments, &client),
                selected(arguments),
                without_managed_fields,
                tasks,
            )),
            artifact_generators: Some(Watched::start(
                api(arguments, &client),
                selected(arguments),
                without_managed_fields,
                tasks,
            )),
            external_artifacts: external_artifacts.clone(),
            oci_repositories: Watched::start(
                api(arguments, &client),
                selected(arguments),
                without_managed_fields,
                tasks,
            ),
            helm_repositories: Watched::start(
                api(arguments, &client),
                selected(arguments),
                without_managed_fields,
                tasks,
            ),
            helm_charts: Watched::start(
                api(arguments, &client),
                selected(arguments),
                without_managed_fields,
                tasks,
            ),
        };
        let all_oci_repositories = of_all_shards(arguments, &client, &watched_sources.oci_repositories, tasks);
        let all_buckets = watched_sources.buckets.as_ref();
        let all_buckets = all_buckets.map(|buckets| of_all_shards(arguments, &client, buckets, tasks));
        Ok(Ports {
            git_repositories,
            all_git_repositories,
            all_oci_repositories,
            all_buckets,
            sources: watched_sources,
            registries: Registries::default(),
            repositories: Repositories::default(),
            buckets: Buckets::default(),
            external_artifacts,
            kustomizations: Watched::start(
                api(arguments, &client),
                selected(arguments),
                without_managed_fields,
                tasks,
            ),
            helm_releases: Watched::start(
                api(arguments, &client),
                selected(arguments),
                without_managed_fields,
                tasks,
            ),
            targets: Arc::new(Targets::overriding(
                client.clone(),
                policy,
                arguments.override_manager.clone(),
            )),
            permits: joined.map_or_else(|| Arc::new(PermitItself) as Arc<dyn PrunePermits>, Joined::permits),
            policy: joined.map_or_else(|| Arc::new(AllowAll) as Arc<dyn ApplyPolicy>, Joined::policy),
            source_events: events("source-controller"),
            kustomize_events: events("kustomize-controller"),
            key_services,
            remote_bases,
            cloud,
            helm_events: events("helm-controller"),
            git,
            store,
            client,
            metrics,
            hints,
            download_tries: arguments.reconciling.http_retry,
            artifact_limits: arguments.reconciling.limits(),
            tasks: tasks.clone(),
        })
    }

    /// Waits for the first complete list of every kind. False when shutdown came first.
    pub async fn wait_until_watching(&self) -> bool {
        let ready = tokio::join!(
            self.git_repositories.ready(),
            self.sources.oci_repositories.ready(),
            self.sources.helm_repositories.ready(),
            self.sources.helm_charts.ready(),
            ready(self.sources.buckets.as_ref()),
            ready(self.sources.artifact_generators.as_ref()),
            self.external_artifacts.ready(),
            self.kustomizations.ready(),
            self.helm_releases.ready()
        );
        ready == (true, true, true, true, true, true, true, true, true)
    }

    /// What this process measures of itself.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
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
            registries: self.registries.clone(),
            repositories: self.repositories.clone(),
            buckets: self.buckets.clone(),
            others: Some(self.sources.clone()),
            tasks: self.tasks.clone(),
        }
    }

    /// Flags of the source controller.
    pub fn source_options(&self, arguments: &Arguments) -> nave_source_controller::Options {
        let gate = flux_flags::gates(&arguments.feature_gates)
            .expect("checked before anything was started")
            .object_level_workload_identity;
        nave_source_controller::Options {
            concurrent: arguments.reconciling.concurrent,
            interval_jitter: arguments.reconciling.interval_jitter_percentage,
            requeue_dependency: arguments.reconciling.requeue_dependency,
            min_retry_delay: arguments.reconciling.min_retry_delay,
            max_retry_delay: arguments.reconciling.max_retry_delay,
            helm_index_max_size: arguments.helm_index_max_size,
            helm_chart_max_size: arguments.helm_chart_max_size,
            helm_chart_file_max_size: arguments.helm_chart_file_max_size,
            no_cross_namespace_refs: arguments.no_cross_namespace_refs,
            cloud: Some(self.cloud.clone()),
            object_level_workload_identity: gate,
            // The flag is kustomize-controller's too, where it means impersonation: with the gate closed nobody who sets it
            // means identities in clouds.
            default_service_account: if gate {
                arguments.default_service_account.clone()
            } else {
                String::new()
            },
            ..nave_source_controller::Options::default()
        }
    }

    /// The repositories that hints name.
    pub fn source_hints(&self) -> BoxStream<'static, ObjectRef<GitRepository>> {
        self.hints
            .objects(self.git_repositories.clone(), |source| &source.spec.url)
    }

    /// For the kustomize controller.
    pub fn kustomize(&self) -> nave_kustomize_controller::Ports {
        nave_kustomize_controller::Ports {
            client: self.client.clone(),
            targets: self.targets.clone(),
            artifacts: Arc::new(
                StoreOrHttp::new(
                    Some(self.store.clone()),
                    http_client(),
                    self.download_tries,
                    self.artifact_limits,
                )
                .with_hosts(Hosts {
                    source_controller: variable("SOURCE_CONTROLLER_LOCALHOST"),
                    source_watcher: variable("SOURCE_WATCHER_LOCALHOST"),
                }),
            ) as Arc<dyn ArtifactReader>,
            events: self.kustomize_events.clone(),
            metrics: self.metrics.clone(),
            kustomizations: self.kustomizations.clone(),
            git_repositories: self.all_git_repositories.clone(),
            oci_repositories: Some(self.all_oci_repositories.clone()),
            buckets: self.all_buckets.clone(),
            external_artifacts: self.external_artifacts.clone(),
            key_services: self.key_services.clone(),
            remote_bases: Some(self.remote_bases.clone()),
            permits: self.permits.clone(),
            policy: self.policy.clone(),
            tasks: self.tasks.clone(),
        }
    }

    /// Flags of the kustomize controller.
    pub fn kustomize_options(&self, arguments: &Arguments) -> nave_kustomize_controller::Options {
        nave_kustomize_controller::Options {
            default_service_account: arguments.default_service_account.clone(),
            default_kubeconfig_service_account: arguments.default_kubeconfig_service_account.clone(),
            default_decryption_service_account: arguments.default_decryption_service_account.clone(),
            cloud: Some(self.cloud.clone()),
            no_cross_namespace_refs: arguments.no_cross_namespace_refs,
            no_remote_bases: arguments.no_remote_bases,
            sops_age_secret: (!arguments.sops_age_secret.is_empty())
                .then(|| (arguments.namespace.clone(), arguments.sops_age_secret.clone())),
            sops_vault_config_map: (!arguments.sops_vault_configmap.is_empty())
                .then(|| (arguments.namespace.clone(), arguments.sops_vault_configmap.clone())),
            override_managers: arguments.override_manager.clone(),
            watch_namespace: arguments.only_namespace(),
            gates: flux_flags::gates(&arguments.feature_gates).expect("checked before anything was started"),
            ..arguments.reconciling.options()
        }
    }
}

impl Ports {
    /// For the helm controller.
    pub fn helm(&self) -> nave_helm_controller::Ports {
        nave_helm_controller::Ports {
            client: self.client.clone(),
            targets: self.targets.clone(),
            artifacts: ChartArtifacts::new(Some(self.store.clone()), http_client(), self.download_tries),
            events: self.helm_events.clone(),
            metrics: self.metrics.clone(),
            helm_releases: self.helm_releases.clone(),
            external_artifacts: self.external_artifacts.clone(),
            helm_charts: Some(self.sources.helm_charts.clone()),
            oci_repositories: Some(self.sources.oci_repositories.clone()),
            permits: self.permits.clone(),
            policy: self.policy.clone(),
            tasks: self.tasks.clone(),
        }
    }

    /// Flags of the helm controller.
    pub fn helm_options(&self, arguments: &Arguments) -> nave_helm_controller::Options {
        nave_helm_controller::Options {
            concurrent: arguments.reconciling.concurrent,
            concurrent_requests: arguments.reconciling.concurrent_ssa,
            requeue_dependency: arguments.reconciling.requeue_dependency,
            interval_jitter: arguments.reconciling.interval_jitter_percentage,
            min_retry_delay: arguments.reconciling.min_retry_delay,
            max_retry_delay: arguments.reconciling.max_retry_delay,
            default_service_account: arguments.default_service_account.clone(),
            default_kubeconfig_service_account: arguments.default_kubeconfig_service_account.clone(),
            cloud: Some(self.cloud.clone()),
            no_cross_namespace_refs: arguments.no_cross_namespace_refs,
            override_managers: arguments.override_manager.clone(),
            watch_configs_label_selector: arguments.reconciling.watch_configs_label_selector.clone(),
            watch_namespace: arguments.only_namespace(),
            gates: flux_flags::helm_gates(&arguments.feature_gates),
            ..nave_helm_controller::Options::default()
        }
    }
}

/// The agent's client: from the file, or from where a pod or a person has it.
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
            .context("finding the cluster; --kubeconfig names one")?,
    };
    config.headers.push((
        http::header::USER_AGENT,
        http::HeaderValue::from_static(concat!("nave-agent/", env!("CARGO_PKG_VERSION"))),
    ));
    // Watches are long and everything else has a deadline of its own.
    config.connect_timeout = Some(Duration::from_secs(10));
    let client = nave_runtime::metrics::client(config).context("making a client for the cluster")?;
    client
        .apiserver_version()
        .await
        .context("the cluster's API server does not answer")?;
    Ok(client)
}

/// The objects that are watched, or, where those are only one shard's, a watch of all: what is reconciled here may refer to
/// the sources of others.
fn of_all_shards<K>(arguments: &Arguments, client: &Client, own: &Watched<K>, tasks: &Tasks) -> Watched<K>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    if arguments.watch_label_selector.is_empty() {
        return own.clone();
    }
    Watched::start(
        api(arguments, client),
        watcher::Config::default(),
        without_managed_fields,
        tasks,
    )
}

/// Waits for the first list of a kind, if it is watched at all.
async fn ready<K>(watched: Option<&Watched<K>>) -> bool
where
    K: kube::Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    match watched {
        Some(watched) => watched.ready().await,
        None => true,
    }
}

/// A folder next to the served one: `/data` has `/data.git` beside it when it may be made there, else a temporary one.
fn side_folder(arguments: &Arguments, what: &str) -> std::path::PathBuf {
    let mut beside = arguments.storage_path.as_os_str().to_owned();
    beside.push(format!(".{what}"));
    let beside = std::path::PathBuf::from(beside);
    if std::fs::create_dir_all(&beside).is_ok() {
        return beside;
    }
    // A container with a read-only root has its volume and /tmp.
    std::env::temp_dir().join(format!("nave-{what}"))
}

/// The folder for what the link keeps.
pub fn link_folder(arguments: &Arguments) -> std::path::PathBuf {
    side_folder(arguments, "link")
}

/// A variable of the environment, where it is set and not empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn http_client() -> reqwest::Client {
    reqwest::Client::new()
}

fn api<K>(arguments: &Arguments, client: &Client) -> Api<K>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    if arguments.watch_all_namespaces {
        Api::all(client.clone())
    } else {
        Api::namespaced(client.clone(), &arguments.namespace)
    }
}

fn selected(arguments: &Arguments) -> watcher::Config {
    match arguments.watch_label_selector.as_str() {
        "" => watcher::Config::default(),
        selector => watcher::Config::default().labels(selector),
    }
}
