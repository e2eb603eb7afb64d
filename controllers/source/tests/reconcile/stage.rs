//! One test's surroundings.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use futures::{StreamExt, channel::mpsc};
use k8s_openapi::api::core::v1::{Event, Namespace, Secret};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::{reflector::ObjectRef, watcher},
};
use nave_artifact::{FileTree, Limits, unpack};
use nave_bed::{Plane, PlaneOptions, eventually};
use nave_crds::{GitRepository, source::GitRepositoryStatus};
use nave_git::Git;
use nave_oci::Registries;
use nave_runtime::{Conditions, EventRecorder, Metrics, Tasks, Watched, watch::without_managed_fields};
use nave_source_controller::{Options, Ports, Watches};
use nave_store::Store;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

pub const DEADLINE: Duration = Duration::from_secs(90);

pub async fn plane() -> &'static Plane {
    static PLANE: OnceCell<Plane> = OnceCell::const_new();
    PLANE
        .get_or_init(|| async {
            let options = PlaneOptions {
                audit: true,
                nodes: 0,
                ..PlaneOptions::named("sources")
            };
            let plane = Plane::start(options).await.expect("a control plane starts");
            let definitions = nave_crds::all();
            nave_runtime::definitions::install(plane.client(), &definitions, "test")
                .await
                .expect("definitions are installed");
            plane
        })
        .await
}

pub struct Stage {
    pub namespace: String,
    pub client: Client,
    pub store: Arc<Store>,
    pub storage: TempDir,
    pub metrics: Metrics,
    cache: TempDir,
    address: String,
    running: Option<Running>,
}

struct Running {
    tasks: Tasks,
    triggers: mpsc::Sender<ObjectRef<GitRepository>>,
}

impl Stage {
    pub async fn start(test: &str) -> Result<Stage> {
        Stage::start_with(test, |_| {}).await
    }

    pub async fn start_with(test: &str, change: impl FnOnce(&mut Options)) -> Result<Stage> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        nave_net::install_crypto_provider();
        let client = plane().await.client();
        let name = format!(
            "{test}-{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        Api::all(client.clone())
            .create(&PostParams::default(), &namespace)
            .await?;

        let storage = tempfile::tempdir()?;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let store = Arc::new(Store::open(nave_store::Options::new(storage.path(), &address))?);
        let routes = store.routes();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let mut stage = Stage {
            namespace: name,
            client,
            store,
            storage,
            metrics: Metrics::new(),
            cache: tempfile::tempdir()?,
            address,
            running: None,
        };
        stage.run(change)?;
        Ok(stage)
    }

    /// Ends the controller and starts another one over the same storage, as a restart of the process would.
    pub async fn restart(&mut self, change: impl FnOnce(&mut Options)) -> Result<()> {
        self.stop().await;
        self.store = Arc::new(Store::open(nave_store::Options::new(
            self.storage.path(),
            &self.address,
        ))?);
        self.run(change)
    }

    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.tasks.shutdown_token().cancel();
            assert!(
                running.tasks.finish(DEADLINE).await,
                "the controller ends when it is asked to"
            );
        }
    }

    fn run(&mut self, change: impl FnOnce(&mut Options)) -> Result<()> {
        let tasks = Tasks::new(CancellationToken::new());
        let api = Api::namespaced(self.client.clone(), &self.namespace);
        let watched = Watched::start(api, watcher::Config::default(), without_managed_fields, &tasks);
        let others = Watches {
            oci_repositories: self.watch(&tasks),
            helm_repositories: self.watch(&tasks),
            helm_charts: self.watch(&tasks),
            buckets: Some(self.watch(&tasks)),
            artifact_generators: Some(self.watch(&tasks)),
            external_artifacts: self.watch(&tasks),
        };
        let events = EventRecorder::new(self.client.clone(), "source-controller", "test".into(), None, &tasks);
        let ports = Ports {
            client: self.client.clone(),
            store: self.store.clone(),
            git: Arc::new(Git::open(nave_git::Options::new(self.cache.path()))?),
            events,
            metrics: self.metrics.clone(),
            watched,
            // A layer that stops coming is given up soon here.
            registries: Registries::new(Duration::from_secs(1)),
            repositories: nave_chart_repo::Repositories::default(),
            buckets: nave_bucket::Buckets::default(),
            others: Some(others),
            tasks: tasks.clone(),
        };
        let mut options = Options {
            concurrent: 4,
            min_retry_delay: Duration::from_millis(100),
            max_retry_delay: Duration::from_secs(1),
            requeue_dependency: Duration::from_millis(300),
            ..Options::default()
        };
        change(&mut options);
        if let Some(cloud) = &options.cloud {
            cloud.observe(Arc::new(self.metrics.clone()));
        }
        // The tests trigger one object at a time.
        let (triggers, receiver) = mpsc::channel(16);
        let controller = nave_source_controller::run(ports, options, receiver.boxed());
        tasks.spawn("source-controller", controller);
        self.running = Some(Running { tasks, triggers });
        Ok(())
    }

    fn watch<K>(&self, tasks: &Tasks) -> Watched<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + serde::de::DeserializeOwned
            + std::fmt::Debug
            + Send
            + Sync
            + 'static,
    {
        let api = Api::namespaced(self.client.clone(), &self.namespace);
        Watched::start(api, watcher::Config::default(), without_managed_fields, tasks)
    }

    pub fn api(&self) -> Api<GitRepository> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Makes the controller look at an object now, as a hint would.
    pub fn trigger(&mut self, name: &str) {
        let object = ObjectRef::new(name).within(&self.namespace);
        let running = self.running.as_mut().expect("the controller runs");
        running
            .triggers
            .try_send(object)
            .expect("the tests trigger one object at a time");
    }

    /// Creates or changes a GitRepository; fields that are not named get the defaults of these tests.
    pub async fn apply(&self, name: &str, url: &str, fields: Value) -> Result<()> {
        let mut spec = json!({"url": url, "interval": "1h", "ref": {"branch": "main"}});
        for (field, value) in fields.as_object().context("fields are an object")? {
            spec[field] = value.clone();
        }
        let object = json!({
            "apiVersion": nave_crds::source::API_VERSION,
            "kind": "GitRepository",
            "metadata": {"name": name},
            "spec": spec,
        });
        let parameters = PatchParams::apply("test").force();
        self.api().patch(name, &parameters, &Patch::Apply(object)).await?;
        Ok(())
    }

    pub async fn annotate(&self, name: &str, key: &str, value: &str) -> Result<()> {
        let patch = json!({"metadata": {"annotations": {key: value}}});
        self.api()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(())
    }

    pub async fn secret(&self, name: &str, data: &[(&str, &str)]) -> Result<()> {
        let data: BTreeMap<&str, &str> = data.iter().copied().collect();
        let secret: Secret = serde_json::from_value(json!({"metadata": {"name": name}, "stringData": data}))?;
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let _ = api.delete(name, &DeleteParams::default()).await; // the first time there is none
        api.create(&PostParams::default(), &secret).await?;
        Ok(())
    }

    pub async fn delete(&self, name: &str) -> Result<()> {
        self.api().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    pub async fn status(&self, name: &str) -> Result<GitRepositoryStatus> {
        Ok(self.api().get(name).await?.status.unwrap_or_default())
    }

    /// Waits until the status is as `test` wants it, having seen the spec's generation where it says so itself.
    pub async fn wait(
        &self,
        name: &str,
        what: &str,
        test: impl Fn(&GitRepositoryStatus) -> bool,
    ) -> Result<GitRepositoryStatus> {
        eventually(DEADLINE, &format!("{name}: {what}"), || async {
            let status = self.status(name).await?;
            if test(&status) {
                Ok(status)
            } else {
                Err(anyhow!("status is {}", serde_json::to_string(&status)?))
            }
        })
        .await
    }

    /// Waits for `Ready=True` at the revision.
    pub async fn ready(&self, name: &str, revision: &str) -> Result<GitRepositoryStatus> {
        let generation = self.api().get(name).await?.metadata.generation.unwrap_or_default();
        self.wait(name, &format!("ready at {revision}"), |status| {
            status.conditions.is_true("Ready")
                && status.observed_generation == generation
                && status
                    .artifact
                    .as_ref()
                    .is_some_and(|artifact| artifact.revision == revision)
        })
        .await
    }

    /// Waits for `Ready=False` with the reason, and gives its message.
    pub async fn failed(&self, name: &str, reason: &str) -> Result<String> {
        let status = self
            .wait(name, &format!("failed with {reason}"), |status| {
                status.conditions.is_false("Ready") && status.conditions.reason_of("Ready") == Some(reason)
            })
            .await?;
        let ready = status
            .conditions
            .get_condition("Ready")
            .context("there is a condition Ready")?;
        Ok(ready.message.clone())
    }

    /// The files of the artifact as another process downloads them.
    pub async fn download(&self, status: &GitRepositoryStatus) -> Result<FileTree> {
        let artifact = status.artifact.as_ref().context("there is an artifact")?;
        let response = reqwest::get(&artifact.url).await?.error_for_status()?;
        let bytes = response.bytes().await?;
        let digest = nave_artifact::Digest::sha256(&bytes).to_string();
        assert_eq!(
            (digest, bytes.len() as i64),
            (artifact.digest.clone(), artifact.size.unwrap_or_default())
        );
        Ok(unpack(bytes.as_ref(), &Limits::default())?)
    }

    /// Waits for an event of that reason on the object.
    pub async fn event(&self, name: &str, reason: &str) -> Result<Event> {
        eventually(DEADLINE, &format!("event {reason} on {name}"), || async {
            let events = self.events(name, reason).await?;
            events.into_iter().next().ok_or_else(|| anyhow!("no such event"))
        })
        .await
    }

    pub async fn events(&self, name: &str, reason: &str) -> Result<Vec<Event>> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let fields = format!("involvedObject.name={name},reason={reason}");
        Ok(api.list(&ListParams::default().fields(&fields)).await?.items)
    }

    pub fn file(&self, relative: &str) -> std::path::PathBuf {
        Path::new(self.storage.path()).join(relative)
    }
}

pub fn paths(tree: &FileTree) -> Vec<&str> {
    tree.iter().map(|(path, _)| path).collect()
}

pub fn finalizers(object: &GitRepository) -> Vec<String> {
    object.finalizers().to_vec()
}
