//! What every test starts from: a namespace, a source whose artifacts the test publishes, and a running reconciler.

use std::{collections::BTreeMap, fmt::Debug, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Event, Namespace, Secret, ServiceAccount},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
    runtime::watcher,
};
use nave_artifact::{File, FileTree, Limits};
use nave_bed::{Plane, PlaneOptions, eventually};
use nave_crds::{
    kustomize::{Kustomization, KustomizationStatus},
    source::{Bucket, ExternalArtifact, GitRepository, OCIRepository},
};
use nave_kms::KeyServices;
use nave_kustomize_controller::{Options, Ports, RemoteBases, StoreOrHttp, run};
use nave_runtime::{
    Conditions, EventRecorder, Metrics, Tasks, Watched,
    ports::{AllowAll, ApplyPolicy, PermitItself, PrunePermits},
    watch::without_managed_fields,
};
use nave_store::{Owner, Store};
use nave_targets::{KubeconfigPolicy, Targets};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// How long anything may take on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The plane of all tests, with our definitions; it ends with the process.
pub async fn plane() -> &'static Plane {
    static PLANE: OnceCell<Plane> = OnceCell::const_new();
    PLANE
        .get_or_init(|| async {
            let plane = Plane::start(PlaneOptions {
                audit: true,
                ..PlaneOptions::named("kustomize")
            })
            .await
            .expect("a control plane starts");
            install(&plane).await.expect("our definitions can be installed");
            plane
        })
        .await
}

async fn install(plane: &Plane) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(plane.client());
    for definition in nave_crds::all() {
        let name = definition.name_any();
        let parameters = PatchParams::apply("test").force();
        api.patch(&name, &parameters, &Patch::Apply(&definition)).await?;
        eventually(DEADLINE, &format!("{name} is served"), || async {
            let found = api.get(&name).await?;
            let established = found.status.and_then(|status| status.conditions).into_iter().flatten();
            let mut established = established.filter(|c| c.type_ == "Established" && c.status == "True");
            established.next().map(|_| ()).context("it is not established")
        })
        .await?;
    }
    Ok(())
}

pub struct Stage {
    pub plane: &'static Plane,
    pub client: Client,
    /// The reconciler's way to the API server, where it is another one.
    pub through: Option<Client>,
    pub namespace: String,
    pub store: Store,
    tasks: Tasks,
    metrics: Metrics,
    _directory: tempfile::TempDir,
    bases: tempfile::TempDir,
}

/// What a test may replace.
pub struct Setup {
    pub options: Options,
    pub permits: Arc<dyn PrunePermits>,
    pub policy: Arc<dyn ApplyPolicy>,
    /// `--watch-label-selector`.
    pub selector: &'static str,
    /// As on a hub.
    pub keeps_own_identity: bool,
    /// Where a key for remote bases lies.
    pub ssh: Option<PathBuf>,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            options: Options {
                concurrent: 4,
                requeue_dependency: Duration::from_secs(20),
                interval_jitter: 0,
                ..Options::default()
            },
            permits: Arc::new(PermitItself),
            policy: Arc::new(AllowAll),
            selector: "",
            keeps_own_identity: false,
            ssh: None,
        }
    }
}

impl Stage {
    pub async fn start(test: &str) -> Result<Stage> {
        Stage::start_with(test, Setup::default()).await
    }

    pub async fn start_with(test: &str, setup: Setup) -> Result<Stage> {
        let stage = Stage::idle(test).await?;
        stage.run(setup);
        Ok(stage)
    }

    /// Everything but the reconciler.
    pub async fn idle(test: &str) -> Result<Stage> {
        Stage::idle_at(test, "http://127.0.0.1:1").await
    }

    /// Everything but the reconciler; artifacts say that they are served at this address.
    pub async fn idle_at(test: &str, address: &str) -> Result<Stage> {
        let plane = plane().await;
        let client = plane.client();
        let object = serde_json::from_value(json!({"metadata": {"generateName": format!("{test}-")}}))?;
        let created = Api::<Namespace>::all(client.clone())
            .create(&PostParams::default(), &object)
            .await?;
        let namespace = created.metadata.name.context("a created namespace has a name")?;
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &namespace);
        eventually(DEADLINE, "the default service account", || async {
            Ok(accounts.get("default").await?)
        })
        .await?;
        let directory = tempfile::tempdir()?;
        let store = Store::open(nave_store::Options::new(directory.path(), address))?;
        Ok(Stage {
            plane,
            client,
            through: None,
            namespace,
            store,
            tasks: Tasks::new(Default::default()),
            metrics: Metrics::new(),
            _directory: directory,
            bases: tempfile::tempdir()?,
        })
    }

    /// Starts a reconciler for this namespace.
    pub fn run(&self, setup: Setup) {
        let (client, tasks) = (self.through.as_ref().unwrap_or(&self.client), &self.tasks);
        let config = || match setup.selector {
            "" => watcher::Config::default(),
            selector => watcher::Config::default().labels(selector),
        };
        let policy = KubeconfigPolicy {
            allow_local_servers: true,
            keep_own_identity: setup.keeps_own_identity,
            ..KubeconfigPolicy::default()
        };
        if let Some(cloud) = &setup.options.cloud {
            cloud.observe(Arc::new(self.metrics.clone()));
        }
        let ports = Ports {
            client: client.clone(),
            targets: Arc::new(Targets::new(client.clone(), policy)),
            artifacts: Arc::new(StoreOrHttp::new(
                Some(self.store.clone()),
                reqwest::Client::new(),
                0,
                Limits::default(),
            )),
            events: EventRecorder::new(client.clone(), "kustomize-controller", "test".into(), None, tasks),
            metrics: self.metrics.clone(),
            kustomizations: Watched::start(
                Api::namespaced(client.clone(), &self.namespace),
                config(),
                without_managed_fields::<Kustomization>,
                tasks,
            ),
            git_repositories: Watched::start(
                Api::namespaced(client.clone(), &self.namespace),
                config(),
                without_managed_fields::<GitRepository>,
                tasks,
            ),
            oci_repositories: Some(Watched::start(
                Api::namespaced(client.clone(), &self.namespace),
                config(),
                without_managed_fields::<OCIRepository>,
                tasks,
            )),
            buckets: Some(Watched::start(
                Api::namespaced(client.clone(), &self.namespace),
                config(),
                without_managed_fields::<Bucket>,
                tasks,
            )),
            external_artifacts: Watched::start(
                Api::namespaced(client.clone(), &self.namespace),
                config(),
                without_managed_fields::<ExternalArtifact>,
                tasks,
            ),
            key_services: KeyServices::with_client(reqwest::Client::new()).allow_local_addresses(true),
            permits: setup.permits,
            policy: setup.policy,
            // Away from what the store serves and collects.
            remote_bases: Some(
                RemoteBases::open(self.bases.path(), true, setup.ssh).expect("a folder of our own can be opened"),
            ),
            tasks: tasks.clone(),
        };
        tasks.spawn("kustomize", run(ports, setup.options));
    }

    /// Ends the reconciler and starts another one that remembers nothing.
    pub async fn restart(&mut self) -> Result<()> {
        self.pause().await?;
        self.run(Setup::default());
        Ok(())
    }

    /// Ends the reconciler.
    pub async fn pause(&mut self) -> Result<()> {
        self.tasks.shutdown_token().cancel();
        let old = std::mem::replace(&mut self.tasks, Tasks::new(Default::default()));
        ensure!(old.finish(DEADLINE).await, "the reconciler did not stop");
        self.metrics = Metrics::new();
        Ok(())
    }

    /// Makes these files the artifact of the GitRepository `source`, at this revision.
    pub async fn publish(&self, revision: &str, files: &[(&str, String)]) -> Result<()> {
        let spec = json!({"interval": "1h", "url": "https://example.com/repo"});
        self.publish_as::<GitRepository>("source", spec, revision, files).await
    }

    /// The same for an ExternalArtifact.
    pub async fn publish_external(&self, name: &str, revision: &str, files: &[(&str, String)]) -> Result<()> {
        let spec = json!({"sourceRef": {"apiVersion": "example.com/v1", "kind": "Maker", "name": "maker"}});
        self.publish_as::<ExternalArtifact>(name, spec, revision, files).await
    }

    /// The same for an OCIRepository.
    pub async fn publish_oci(&self, name: &str, revision: &str, files: &[(&str, String)]) -> Result<()> {
        let spec = json!({"interval": "1h", "url": "oci://registry.example.com/app"});
        self.publish_as::<OCIRepository>(name, spec, revision, files).await
    }

    /// The same for a Bucket.
    pub async fn publish_bucket(&self, name: &str, revision: &str, files: &[(&str, String)]) -> Result<()> {
        let spec = json!({"interval": "1h", "bucketName": "apps", "endpoint": "s3.example.com"});
        self.publish_as::<Bucket>(name, spec, revision, files).await
    }

    async fn publish_as<K>(&self, name: &str, spec: Value, revision: &str, files: &[(&str, String)]) -> Result<()>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let mut tree = FileTree::new();
        for (path, text) in files {
            tree.insert(*path, File::plain(text.clone().into_bytes()))?;
        }
        let kind = K::kind(&()).into_owned();
        let owner = Owner::new(&kind, &self.namespace, name)?;
        let stored = self
            .store
            .put_tree(&owner, &format!("{revision}.tar.gz"), Arc::new(tree))
            .await?;
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.namespace);
        let source = json!({"apiVersion": K::api_version(&()), "kind": kind, "metadata": {"name": name}, "spec": spec});
        api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&source))
            .await?;
        let status = json!({"status": {"artifact": {"path": stored.path, "url": stored.url, "digest": stored.digest.to_string(),
            "revision": format!("main@sha1:{revision}"), "lastUpdateTime": "2026-01-01T00:00:00Z", "size": stored.size}}});
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(status))
            .await?;
        Ok(())
    }

    pub fn kustomizations(&self) -> Api<Kustomization> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates or changes a Kustomization of path `./<name>` with these fields beside the required ones.
    pub async fn apply(&self, name: &str, more: Value) -> Result<()> {
        let mut spec = json!({"interval": "1h", "retryInterval": "1h", "timeout": "1m", "prune": true, "path": format!("./{name}"),
            "sourceRef": {"kind": "GitRepository", "name": "source"}});
        spec.as_object_mut()
            .context("a map")?
            .extend(more.as_object().context("a map")?.clone());
        let object = json!({"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": {"name": name}, "spec": spec});
        self.kustomizations()
            .patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&object))
            .await?;
        Ok(())
    }

    pub async fn annotate(&self, name: &str, annotations: Value) -> Result<()> {
        let patch = json!({"metadata": {"annotations": annotations}});
        self.kustomizations()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(())
    }

    pub async fn status(&self, name: &str) -> Result<KustomizationStatus> {
        Ok(self.kustomizations().get(name).await?.status.unwrap_or_default())
    }

    /// Waits until it is ready at its generation and this revision.
    pub async fn ready(&self, name: &str, revision: &str) -> Result<KustomizationStatus> {
        let revision = format!("main@sha1:{revision}");
        eventually(DEADLINE, &format!("{name} is ready at {revision}"), || async {
            let object = self.kustomizations().get(name).await?;
            let status = object.status.unwrap_or_default();
            let ready =
                status.conditions.is_true("Ready") && Some(status.observed_generation) == object.metadata.generation;
            ensure!(ready && status.last_applied_revision == revision, "{status:?}");
            Ok(status)
        })
        .await
    }

    /// Waits until it is not ready for this reason; gives the message.
    pub async fn failed(&self, name: &str, reason: &str) -> Result<String> {
        eventually(DEADLINE, &format!("{name} fails with {reason}"), || async {
            let status = self.status(name).await?;
            let ready = status.conditions.get_condition("Ready").context("no Ready condition")?;
            ensure!(ready.status == "False" && ready.reason == reason, "{ready:?}");
            Ok(ready.message.clone())
        })
        .await
    }

    pub async fn config(&self, name: &str) -> Result<Option<BTreeMap<String, String>>> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        Ok(api.get_opt(name).await?.map(|found| found.data.unwrap_or_default()))
    }

    pub async fn gone(&self, name: &str) -> Result<()> {
        eventually(DEADLINE, &format!("{name} is gone"), || async {
            ensure!(
                self.kustomizations().get_opt(name).await?.is_none(),
                "it is still there"
            );
            Ok(())
        })
        .await
    }

    pub async fn delete(&self, name: &str) -> Result<()> {
        self.kustomizations().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    pub async fn secret(&self, name: &str, data: &[(&str, String)]) -> Result<()> {
        let data: BTreeMap<&str, &String> = data.iter().map(|(key, value)| (*key, value)).collect();
        let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&object))
            .await?;
        Ok(())
    }

    /// All measures as Prometheus reads them.
    pub fn metrics(&self) -> String {
        String::from_utf8_lossy(&self.metrics.render()).into_owned()
    }

    /// Reasons and messages of the events about an object.
    pub async fn events(&self, name: &str) -> Result<Vec<String>> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let list = api.list(&ListParams::default()).await?;
        Ok(list
            .items
            .into_iter()
            .filter(|event| event.involved_object.name.as_deref() == Some(name))
            .map(|event| {
                format!(
                    "{} {}",
                    event.reason.unwrap_or_default(),
                    event.message.unwrap_or_default()
                )
            })
            .collect())
    }

    pub async fn stop(self) -> Result<()> {
        self.tasks.shutdown_token().cancel();
        ensure!(self.tasks.finish(DEADLINE).await, "the reconciler did not stop");
        Ok(())
    }
}

/// A ConfigMap as a manifest.
pub fn config(namespace: &str, name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  namespace: {namespace}\ndata:\n  value: \"{value}\"\n"
    )
}

/// A Deployment of one pod as a manifest; annotations are those of its pods.
pub fn deployment(namespace: &str, name: &str, annotations: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  namespace: {namespace}\nspec:\n  selector:\n    matchLabels: {{app: {name}}}\n  \
         template:\n    metadata:\n      labels: {{app: {name}}}\n      annotations: {{{annotations}}}\n    spec:\n      containers:\n      - name: app\n        image: example.com/app:1\n"
    )
}
